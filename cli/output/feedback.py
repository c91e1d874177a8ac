"""Print recorded tales and people's feedback on them."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.panel import Panel
from rich.table import Column, Table
from rich.text import Text

from taleward.cli.output.console import printable, show_verdict
from taleward.evaluation.feedback.agreement import Agreement
from taleward.evaluation.feedback.feedback import Feedback
from taleward.evaluation.feedback.from_assessments import FeedbackChange
from taleward.evaluation.feedback.mlflow_store import RecordedTale
from taleward.evaluation.report.html import format_interval, format_number

_stdout = Console(highlight=False)
_YES_NO = {True: "yes", False: "no", None: ""}


def show_recorded_tale(tale: RecordedTale, position: str) -> None:
    """Print a tale with the judge's findings highlighted.

    Args:
        tale: The tale.
        position: Its place in the review, such as `"2 of 5"`.
    """
    released = "released" if tale.released else "not released"
    title = f"\ntale {tale.id}, {position}: {released}, {tale.policy} for ages {tale.band}"
    _stdout.print(Text(title, style="bold"))
    if tale.verdict is None:
        _stdout.print(Panel(Text(printable(tale.text))))
    else:
        show_verdict(tale.verdict, tale.text)


def show_feedback(tale: RecordedTale, feedback: Iterable[Feedback]) -> None:
    """Print one row per person, with what is not in a column below it."""
    titles = ("person", "rating", "kid-friendly", "makes sense", "categories", "marked", "comment", "date")
    table = Table(*(Column(title, overflow="fold") for title in titles))
    for f in feedback:
        marked = ", ".join(
            repr(tale.text[span.start : span.end]) + (f" ({span.category})" if span.category else "")
            for span in f.spans or ()
        )
        cells = (
            f.person,
            "" if f.rating is None else str(f.rating),
            _YES_NO[f.kid_friendly],
            _YES_NO[f.makes_sense],
            ", ".join(f.categories or ()),
            marked,
            f.comment or "",
            f"{f.at:%Y-%m-%d %H:%M}",
        )
        table.add_row(*(Text(printable(cell)) for cell in cells))
        known = tale.categories
        unknown = [name for name in f.categories or () if known and name not in known]
        problems = [f"invalid {name}: {value!r}" for name, value in f.unparsed.items()]
        problems += [f"{tale.policy} has no category {name!r}" for name in unknown]
        said = {name: getattr(f, name) for name in ("for_training", "requested_by_child", "guardian_consent")}
        notes = [f"{name}: {_YES_NO[answer]}" for name, answer in said.items() if answer is not None]
        notes += [f"correction: {f.correction}"] if f.correction else []
        notes += [f"{name}: {value}" for name, value in f.other.items()]
        notes += [f"reason for {name}: {rationale}" for name, rationale in f.rationales.items()]
        lines = [*(Text(printable(note)) for note in notes), *(Text(printable(p), style="yellow") for p in problems)]
        for line in lines:
            table.add_row("", "", "", "", "", "", line, "")
    _stdout.print(table if table.rows else Text("no feedback on this tale yet"))


def show_history(changes: Iterable[FeedbackChange]) -> None:
    """Print every answer, oldest first."""
    table = Table("date", "person", "field", "answer", "current")
    for change in changes:
        answer = "withdrawn" if change.value is None else str(change.value)
        if change.rationale:
            answer += f" (reason: {change.rationale})"
        current = "yes" if change.current else "no"
        cells = (f"{change.at:%Y-%m-%d %H:%M:%S}", change.person, change.field, answer, current)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    _stdout.print(table)


def show_agreement(agreements: Iterable[Agreement]) -> None:
    """Print one row per period."""
    titles = ("period", "tales", "answers", "kappa", "alpha", "agreement", "missed")
    table = Table(*titles, title="95 % intervals in brackets")
    for agreement in agreements:
        missed = "-" if agreement.miss_rate is None else f"{agreement.miss_rate:.0%}"
        scores = (agreement.kappa, agreement.alpha)
        kappa, alpha = (f"{format_number(score.value)} {format_interval(score)}" for score in scores)
        counts = (str(agreement.tales), str(agreement.answers))
        table.add_row(agreement.period, *counts, kappa, alpha, f"{agreement.agreement_rate:.0%}", missed)
    _stdout.print(table)
    _stdout.print(Text("missed: the share of the answers 'not kid-friendly' on tales that the judge passed"))
