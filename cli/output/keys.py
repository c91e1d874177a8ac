"""Print API keys as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

if TYPE_CHECKING:
    from taleward.serving.operations.api_keys import ApiKey


def show_keys(keys: Sequence[ApiKey], *, now: float, spent: Mapping[str, float]) -> None:
    """Print keys with their scopes, limits and state.

    Args:
        keys: The keys.
        now: Seconds since the epoch.
        spent: US dollars that keys spent in their current budget period, by id.
    """
    table = Table(Column("id", no_wrap=True), "name", "may call", Column("limits", no_wrap=True), "state")
    for key in keys:
        style = None if key.is_active(now) else "dim"
        cells = (key.id, key.name, "\n".join(key.scopes), _limits(key, spent))
        table.add_row(*(Text(cell) for cell in cells), _state(key, now), style=style)
    Console(highlight=False).print(table)


def _limits(key: ApiKey, spent: Mapping[str, float]) -> str:
    limits = key.limits
    lines = []
    if limits.requests_per_minute is not None:
        lines.append(f"{limits.requests_per_minute:,} requests/min")
    if limits.tokens_per_minute is not None:
        lines.append(f"{limits.tokens_per_minute:,} tokens/min")
    if limits.budget_usd is not None:
        period = "in total" if limits.budget_period == "total" else f"a {limits.budget_period}"
        lines.append(f"${spent.get(key.id, 0.0):.2f} of ${limits.budget_usd:g} {period}")
    return "\n".join(lines) or "none"


def _state(key: ApiKey, now: float) -> Text:
    if key.revoked is not None:
        return Text(f"revoked {key.revoked:%Y-%m-%d}", style="red")
    if not key.is_active(now):
        return Text(f"expired {key.expires:%Y-%m-%d}", style="red")
    return Text("active" if key.expires is None else f"until {key.expires:%Y-%m-%d}", style="green")
