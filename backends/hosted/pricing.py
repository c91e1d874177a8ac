"""What hosted models cost: prices are data, see `prices.yaml`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from taleward.backends.base.spec import ModelSpec
from taleward.core.errors import ConfigurationError, InvalidFile
from taleward.core.yaml_files import YamlFile

_SHIPPED = Path(__file__).with_name("prices.yaml")
_VARIABLE = "TALEWARD_PRICES"
_RELEASE = re.compile(r"-(\d{4}-?\d{2}-?\d{2}|latest|\d{3})$")
_MILLION = 1e6


class Price(NamedTuple):
    """US dollars for a million tokens.

    Attributes:
        read: Of the prompt.
        cached: Of the prompt, where the vendor had it in its cache.
        written: Of the answer.
    """

    read: float
    cached: float
    written: float

    def of(self, usage: Mapping[str, Any]) -> float:
        """US dollars for a call.

        Args:
            usage: LangChain's `usage_metadata`.
        """
        cached = (usage.get("input_token_details") or {}).get("cache_read") or 0
        read = usage["input_tokens"] - cached
        return float(read * self.read + cached * self.cached + usage["output_tokens"] * self.written) / _MILLION


def price_of(spec: ModelSpec) -> Price | None:
    """The price of a model, from the file that `TALEWARD_PRICES` names or else ours; `None` where nobody says.

    Raises:
        InvalidFile: The file cannot be read.
    """
    own = os.environ.get(_VARIABLE)
    for path in (Path(own), _SHIPPED) if own else (_SHIPPED,):
        listed = _prices(path).get(spec.provider, {})
        for name in (spec.model, _RELEASE.sub("", spec.model)):
            if name in listed:
                return listed[name]
    return None


def given_price(price_usd: Any) -> Price:
    """A price from `(read, written)` or `(read, cached, written)`.

    Raises:
        ConfigurationError: It is none.
    """
    try:
        numbers = [float(value) for value in price_usd]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) == 2:
        numbers.insert(1, numbers[0])
    if len(numbers) != 3 or min(numbers) < 0:
        raise ConfigurationError(
            f"price_usd is US dollars for a million tokens read and a million written, such as (0.25, 2.0); got "
            f"{price_usd!r}."
        )
    return Price(*numbers)


@lru_cache
def _prices(path: Path) -> dict[str, dict[str, Price]]:
    content = YamlFile(path, "prices").data
    try:
        return {
            str(provider): {str(name): given_price(price) for name, price in models.items()}
            for provider, models in content["prices"].items()
        }
    except (KeyError, AttributeError, TypeError, ConfigurationError) as error:
        raise InvalidFile(
            f"the prices {path} hold `prices:`, providers, and models with [read, cached, written]: {error}"
        ) from error
