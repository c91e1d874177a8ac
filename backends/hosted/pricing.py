"""What calls of hosted models cost: your own prices, a price file, or the price list of `genai-prices`."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from taleward.backends.base.spec import ModelSpec
from taleward.core.errors import ConfigurationError, InvalidFile
from taleward.core.yaml_files import YamlFile

_log = logging.getLogger(__name__)
_PRICE_FILE_VARIABLE = "TALEWARD_PRICES"
_RELEASE_SUFFIX = re.compile(r"-(\d{4}-?\d{2}-?\d{2}|latest|\d{3})$")
_MILLION = 1e6
_PROVIDER_IDS = {
    "anthropic_bedrock": "aws",
    "azure_ai": "azure",
    "azure_openai": "azure",
    "google_anthropic_vertex": "google",
}
"""LangChain's provider names that `genai-prices` would not resolve, or would resolve to another provider."""


class TokenPrice(NamedTuple):
    """A fixed price, in US dollars per million tokens.

    Attributes:
        input: For prompt tokens.
        cached_input: For prompt tokens read from the vendor's cache.
        output: For generated tokens.
    """

    input: float
    cached_input: float
    output: float

    def cost_usd(self, usage: Mapping[str, Any]) -> float | None:
        """The cost of a call in US dollars.

        Args:
            usage: LangChain's `usage_metadata`.
        """
        cached = (usage.get("input_token_details") or {}).get("cache_read") or 0
        uncached = usage["input_tokens"] - cached
        total = uncached * self.input + cached * self.cached_input + usage["output_tokens"] * self.output
        return float(total) / _MILLION


class ListedPrice(NamedTuple):
    """A price from the list of `genai-prices`, which knows context tiers, cache writes and price changes.

    Attributes:
        provider: The provider's id in the list.
        model: The model's name, as sent to the provider.
    """

    provider: str
    model: str

    def cost_usd(self, usage: Mapping[str, Any]) -> float | None:
        """The cost of a call in US dollars; `None` if the token counts contradict each other.

        Args:
            usage: LangChain's `usage_metadata`.
        """
        # `calc_price` reads the snapshot shipped with the package. It only goes online if a program starts
        # `genai_prices.UpdatePrices`, which Taleward never does.
        from genai_prices import Usage, calc_price

        details = usage.get("input_token_details") or {}
        # langchain-anthropic sets `cache_creation` to 0 when it reports cache writes by time-to-live.
        written_1h = details.get("ephemeral_1h_input_tokens") or 0
        written_5m = details.get("ephemeral_5m_input_tokens") or 0
        try:
            tokens = Usage(
                input_tokens=usage["input_tokens"],
                output_tokens=usage["output_tokens"],
                cache_read_tokens=details.get("cache_read") or 0,
                cache_write_tokens=(details.get("cache_creation") or 0) + written_5m + written_1h,
                cache_write_1h_tokens=written_1h,
            )
            return float(calc_price(tokens, self.model, provider_id=self.provider).total_price)
        except ValueError as error:  # the answer itself is fine: no cost is better than no answer
            _log.warning("the cost of a call of %s:%s is unknown: %s", self.provider, self.model, error)
            return None


def find_price(spec: ModelSpec) -> TokenPrice | ListedPrice | None:
    """The price of a model, from the file named by `TALEWARD_PRICES`, else from `genai-prices`.

    Dated releases (`gpt-5-mini-2025-08-07`) use the price of their model.

    Returns:
        The price, or `None` if neither lists the model.

    Raises:
        InvalidFile: If the file cannot be read or is not a price file.
    """
    names = (spec.model, _RELEASE_SUFFIX.sub("", spec.model))
    if price_file := os.environ.get(_PRICE_FILE_VARIABLE):
        models = _read_price_file(Path(price_file)).get(spec.provider, {})
        for name in names:
            if name in models:
                return models[name]
    return next((price for name in names if (price := _find_listed_price(spec.provider, name))), None)


def parse_price(price_usd: Any) -> TokenPrice:
    """A price from `(input, output)` or `(input, cached input, output)`, in US dollars per million tokens.

    Raises:
        ConfigurationError: If `price_usd` is not two or three non-negative numbers.
    """
    try:
        numbers = [float(value) for value in price_usd]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) == 2:
        numbers.insert(1, numbers[0])
    if len(numbers) != 3 or not all(number >= 0 for number in numbers):
        raise ConfigurationError(
            f"price_usd must be two non-negative numbers, US dollars per million input and output tokens; got "
            f"{price_usd!r}.",
            hint="For example (0.25, 2.0), or (0.25, 0.025, 2.0) with the price of cached input tokens in the middle.",
        )
    return TokenPrice(*numbers)


def _find_listed_price(provider: str, model: str) -> ListedPrice | None:
    from genai_prices import Usage, calc_price

    price = ListedPrice(_PROVIDER_IDS.get(provider, provider), model)
    try:
        calc_price(Usage(input_tokens=0, output_tokens=0), price.model, provider_id=price.provider)
    except LookupError:
        return None
    return price


@lru_cache
def _read_price_file(path: Path) -> dict[str, dict[str, TokenPrice]]:
    content = YamlFile(path, "prices").data
    try:
        return {
            str(provider): {str(name): parse_price(price) for name, price in models.items()}
            for provider, models in content["prices"].items()
        }
    except (KeyError, AttributeError, TypeError, ConfigurationError) as error:
        raise InvalidFile(
            f"{path} is not a valid price file: {error}",
            hint="It must map `prices:` to providers, and those to models with [input, cached input, output] in US "
            "dollars per million tokens.",
        ) from error
