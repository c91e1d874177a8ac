"""How many runs of a batch execute at once."""

from __future__ import annotations

from typing import cast

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list

DEFAULT_MAX_CONCURRENCY = 64
"""Concurrent runs of a chain or guard. LangChain's default, a few threads per core, would starve models that batch."""


def with_max_concurrency(
    config: RunnableConfig | list[RunnableConfig] | None, count: int, max_concurrency: int = DEFAULT_MAX_CONCURRENCY
) -> list[RunnableConfig]:
    """Return one config per run of a batch, with `max_concurrency` set where the caller did not set it.

    Args:
        config: What the caller passed to `batch`: one config, one per input, or `None`.
        count: The number of inputs.
        max_concurrency: The default to fill in.
    """
    return [
        cast("RunnableConfig", {"max_concurrency": max_concurrency, **each}) for each in get_config_list(config, count)
    ]
