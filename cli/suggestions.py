"""The application's group of commands, which suggests the option that a misspelled one is meant to be."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


class SuggestingGroup(TyperGroup):
    """A group that answers a misspelled option of any of its commands with "Did you mean --band?"."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the group's own options."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            _suggest(error)
            raise

    def invoke(self, ctx: Any) -> Any:
        """Parse the options of a command, also of one in a group within this one, and run it."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            _suggest(error)
            raise


def _suggest(error: Exception) -> None:
    """Rewrite the message of an error about an unknown option, whose class some versions of Typer do not export."""
    option, possibilities = getattr(error, "option_name", None), getattr(error, "possibilities", None)
    if isinstance(option, str) and possibilities:
        error.message = f"No such option: {option}. Did you mean {' or '.join(possibilities)}?"  # type: ignore[attr-defined]
        error.possibilities = None  # type: ignore[attr-defined]
