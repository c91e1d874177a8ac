"""Tales under review, and what people say of them."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.panel import Panel
from rich.table import Column, Table
from rich.text import Text

from taleward.cli.output.console import plain, show_verdict
from taleward.evaluation.feedback.agreement import Agreement
from taleward.evaluation.feedback.feedback import Feedback
from taleward.evaluation.feedback.store import FeedbackChange, RecordedTale
from taleward.evaluation.report.html import format_interval, format_number

_out = Console(highlight=False)


def show_told(tale: RecordedTale, which: str) -> None:
    """A tale with what its judge found marked."""
    released = "released" if tale.released else "not released"
    _out.print(Text(f"\ntale {tale.id}, {which}: {released}, {tale.policy} for ages {tale.band}", style="bold"))
    if tale.verdict is None:
        _out.print(Panel(Text(plain(tale.text))))
    else:
        show_verdict(tale.verdict, tale.text)


def show_feedback(tale: RecordedTale, said: Iterable[Feedback]) -> None:
    """A row for each person."""
    heads = ("person", "rating", "kid-friendly", "against it", "marked", "comment", "when")
    table = Table(*(Column(head, overflow="fold") for head in heads))
    for f in said:
        marks = ", ".join(
            repr(tale.text[s.start : s.end]) + (f" ({s.category})" if s.category else "") for s in f.spans or ()
        )
        cells = (
            f.person,
            "" if f.rating is None else str(f.rating),
            {True: "yes", False: "no", None: ""}[f.kid_friendly],
            ", ".join(f.categories or ()),
            marks,
            f.comment or "",
            f"{f.at:%Y-%m-%d %H:%M}",
        )
        table.add_row(*(Text(plain(cell)) for cell in cells))
        for name, value in f.unread.items():
            table.add_row("", "", "", "", "", Text(plain(f"{name} {value!r} cannot be read"), style="yellow"), "")
    _out.print(table if table.rows else Text("nobody has said anything of it"))


def show_history(changes: Iterable[FeedbackChange]) -> None:
    """Every answer, oldest first."""
    table = Table("when", "person", "what", "answer", "holds")
    for c in changes:
        answer = "taken back" if c.value is None else str(c.value)
        cells = (f"{c.at:%Y-%m-%d %H:%M:%S}", c.person, c.field, answer, "yes" if c.holds else "no")
        table.add_row(*(Text(plain(cell)) for cell in cells))
    _out.print(table)


def show_agreement(found: Iterable[Agreement]) -> None:
    """A row for each period."""
    table = Table(
        "tales of", "tales", "answers", "kappa", "alpha", "agreed", "let through", title="95 % intervals in brackets"
    )
    for a in found:
        through = "-" if a.let_through is None else f"{a.let_through:.0%}"
        kappa, alpha = (f"{format_number(score.value)} {format_interval(score)}" for score in (a.kappa, a.alpha))
        table.add_row(a.period, str(a.tales), str(a.answers), kappa, alpha, f"{a.agreed:.0%}", through)
    _out.print(table)
    _out.print(Text("let through: of the answers that say not kid-friendly, those on tales that the judge passed"))
