"""How many of a batch go at the same time: LangChain's own default is a few threads a core, and models share theirs."""

from __future__ import annotations

from typing import cast

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list

AT_ONCE = 64
"""Runs of a chain or guard at the same time."""


def with_max_concurrency(
    config: RunnableConfig | list[RunnableConfig] | None, count: int, max_concurrency: int = AT_ONCE
) -> list[RunnableConfig]:
    """The configuration of each of a batch's runs, with `max_concurrency` where it was not given."""
    return [
        cast("RunnableConfig", {"max_concurrency": max_concurrency, **each}) for each in get_config_list(config, count)
    ]
