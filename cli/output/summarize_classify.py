"""Print summaries and classifications."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from taleward.chains.classification.result import Classification
from taleward.chains.summarization.result import Summary
from taleward.cli.output.console import print_note, print_warning, printable

_stdout = Console(highlight=False)


def show_summary(summary: Summary) -> None:
    """Print a summary, how it was made, and a warning for each sentence that the text does not support."""
    _stdout.print(Text(printable(summary.text)))
    parts = f", read in {summary.parts} parts" if summary.parts > 1 else ""
    length = f"{summary.compression:.0%} of the text's words"
    task = f"{summary.prompt.name}@{summary.prompt.version}"
    print_note(f"{summary.method} by {summary.model}, task {task}, {length}{parts}")
    if summary.faithfulness is None:
        return
    if summary.faithfulness.detail:
        print_warning(f"not checked: {summary.faithfulness.detail}")
    for support in summary.faithfulness.sentences:
        if not support.supported:
            print_warning(printable(f"{support.why}: {support.sentence}"))


def show_classification(classification: Classification) -> None:
    """Print the labels, and the score of each."""
    if classification.outcome == "label":
        _stdout.print(Text(", ".join(classification.labels) or "none of the labels", style="bold"))
    else:
        _stdout.print(Text(classification.outcome, style="bold yellow"))
    if classification.scores:
        table = Table("label", "score")
        for label, score in sorted(classification.scores.items(), key=lambda item: -item[1]):
            table.add_row(Text(printable(label)), f"{score:.3f}")
        _stdout.print(table)
    if classification.detail:
        print_warning(printable(classification.detail))
    print_note(f"by {classification.model}, task {classification.prompt.name}@{classification.prompt.version}")
