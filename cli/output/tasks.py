"""Summaries and labels in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from taleward.chains.classification.result import Classification
from taleward.chains.summarization.result import Summary
from taleward.cli.output.console import plain, say, warn

_out = Console(highlight=False)


def show_summary(made: Summary) -> None:
    """The summary, where it comes from, and what in it the text does not bear out."""
    _out.print(Text(plain(made.text)))
    parts = f", read in {made.parts} parts" if made.parts > 1 else ""
    share = f"{made.compression:.0%} of the text's words"
    say(f"{made.method} by {made.model}, task {made.prompt.name}@{made.prompt.version}, {share}{parts}")
    if made.faithfulness is None:
        return
    if made.faithfulness.detail:
        warn(f"not checked: {made.faithfulness.detail}")
    for support in made.faithfulness.sentences:
        if not support.supported:
            warn(plain(f"{support.why}: {support.sentence}"))


def show_classification(found: Classification) -> None:
    """The labels, and the score of each."""
    if found.outcome == "label":
        _out.print(Text(", ".join(found.labels) or "none of the labels", style="bold"))
    else:
        _out.print(Text(found.outcome, style="bold yellow"))
    if found.scores:
        table = Table("label", "score")
        for label, score in sorted(found.scores.items(), key=lambda each: -each[1]):
            table.add_row(Text(plain(label)), f"{score:.3f}")
        _out.print(table)
    if found.detail:
        warn(plain(found.detail))
    say(f"by {found.model}, task {found.prompt.name}@{found.prompt.version}")
