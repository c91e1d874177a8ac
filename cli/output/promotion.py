"""Print the decision about a tuned writer."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from taleward.cli.output.console import print_note, printable
from taleward.cli.output.evaluation import show_comparison, show_gates
from taleward.tuning.promotion_result import Promotion

_stdout = Console(highlight=False)


def show_promotion(promotion: Promotion) -> None:
    """Print both sides, what each rule says, and the decision."""
    show_comparison(promotion.comparison)
    _stdout.print()
    show_gates(promotion.results)
    style = "bold green" if promotion.promoted else "bold red"
    _stdout.print(Text(printable(f"\n{promotion.conclusion}"), style=style))
    print_note(f"recorded as run {promotion.run_id}; see it with: taleward ui")
    if promotion.promoted and promotion.former_version is not None:
        print_note(f"to go back to version {promotion.former_version}: taleward rollback {promotion.name}")
