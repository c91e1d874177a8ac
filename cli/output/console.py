"""What the terminal shows. The page goes to standard output, remarks go to standard error."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from errno import EACCES, EPERM, EROFS
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markdown import Markdown
from rich.panel import Panel
from rich.table import Column, Table
from rich.text import Text

from taleward.backends.discovery import DiscoveredModel
from taleward.chains.template import Template
from taleward.core.errors import TalewardError
from taleward.core.events import DoneEvent, Event, RetractionEvent, RevisionEvent, TextEvent
from taleward.core.redaction import redact
from taleward.core.tale import Refusal, Tale
from taleward.core.verdict import Finding, Verdict

if TYPE_CHECKING:
    from taleward.agents.result import RouterResult, TurnEvent

_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)

_COLOURS = {"pass": "green", "fail": "red", "abstain": "yellow", "unparsable": "yellow", "error": "yellow"}
_MARKS = {"mild": "black on bright_yellow", "moderate": "black on dark_orange", "severe": "white on red"}


_DEBUG = "TALEWARD_DEBUG=1 shows where it happened."
_WRITABLE = "Work in a folder that can be written, or name one with --folder."


def say(message: str) -> None:
    """A remark."""
    _err.print(Text(message, style="dim"))


def warn(message: str) -> None:
    """A warning."""
    _err.print(Text(f"warning: {message}", style="yellow"))


def say_error(error: Exception) -> None:
    """What went wrong, and the next step."""
    hint = _hint(error) or (None if isinstance(error, TalewardError) else _DEBUG)
    _err.print(Text(f"error: {_said(error)}", style="red"))
    if hint:
        _err.print(Text(plain(hint)))


def warn_unrecorded(what: str, error: Exception) -> None:
    """A warning that something was done and shown, but its record is lost."""
    hint = _hint(error)
    warn(f"{what} was not recorded: {_said(error)}" + (f"\n{plain(hint)}" if hint else ""))


def _said(error: Exception) -> str:
    said = str(error) if isinstance(error, TalewardError) else f"{type(error).__name__}: {error}"
    return plain(redact(said))


def _hint(error: Exception) -> str | None:
    if isinstance(error, TalewardError):
        return error.hint
    return _WRITABLE if isinstance(error, OSError) and error.errno in (EACCES, EPERM, EROFS) else None


def working(what: str) -> AbstractContextManager[object]:
    """A sign of life while something takes seconds; nothing where no person watches."""
    return _err.status(f"{what} ...")


def show_stream(events: Iterable[Event]) -> Tale:
    """Each sentence as it is released, then the verdict and where the tale comes from; the tale."""
    tale: Tale | None = None
    for event in events:
        if isinstance(event, TextEvent):
            _out.out(plain(event.text), end="", highlight=False)
        elif isinstance(event, RevisionEvent):
            why = ", ".join(event.categories) or "no plain verdict"
            say(f"[a sentence was held back: {why}; the writer {'closes' if event.closing else 'goes on from here'}]")
        elif isinstance(event, RetractionEvent):
            _out.print("\n")
            warn("please forget the text above: as a whole it was not released")
        elif isinstance(event, DoneEvent):
            tale = event.tale
    if tale is None:
        msg = "the stream ended without its last event"
        raise RuntimeError(msg)
    _out.print("\n")
    if tale.refusal:
        _refusal(tale.refusal)
    _end(tale)
    return tale


def show_turn(event: TurnEvent) -> RouterResult | None:
    """A piece of a conversation's answer as it comes; at its end what became of the turn."""
    if isinstance(event, TextEvent):
        _out.out(plain(event.text), end="", highlight=False)
    elif isinstance(event, RetractionEvent):
        _out.print("\n")
        warn("please forget the text above: as a whole it was not released")
    else:
        _out.print()
        return event.result
    return None


def show_tale(tale: Tale) -> None:
    """The released text or the refusal, then the verdict and where the tale comes from."""
    if tale.refusal:
        _refusal(tale.refusal)
    else:
        _out.print(Panel(Text(plain(tale.text)), title="a tale", border_style="green", padding=(1, 2)))
    _end(tale)


def show_verdict(verdict: Verdict, text: str) -> None:
    """The text with the findings marked, the verdict, and the findings as a table."""
    marked = Text(plain(text))
    for finding in verdict.findings:
        if finding.start is not None and finding.end is not None:
            marked.stylize(_MARKS[finding.severity], finding.start, finding.end)
    _out.print(Panel(marked, border_style=_COLOURS[verdict.outcome]))
    _out.print(_line(verdict))
    _findings(verdict.findings)


def show_models(found: Iterable[DiscoveredModel], devices: Iterable[str]) -> None:
    """What can be used here, and why not the rest; what it runs on."""
    table = Table(Column("spec", no_wrap=True), "usable", Column("what it is, or what it lacks", overflow="fold"))
    for row in found:
        usable = Text("yes", style="green") if row.usable else Text("no", style="red")
        sizes = (_parameters(row.parameters), f"context {row.context:,}" if row.context else "")
        about = Text(", ".join(part for part in (f"{row.kind}: {row.description}", *sizes) if part))
        if row.folder:
            about.append(f"\n{row.folder}", style="dim")
        table.add_row(Text(row.spec), usable, about)
    _out.print(table, Text(f"devices: {', '.join(devices)}"))
    _out.print(Text("Use one: taleward tell --model SPEC, or in Python: taleward.chat_model('SPEC')."))


def show_card(text: str) -> None:
    """A model's card."""
    _out.print(Markdown(plain(text)))


def _parameters(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count / 1e9:.1f} B parameters" if count >= 1e9 else f"{count / 1e6:.1f} M parameters"


def show_templates(templates: Iterable[Template]) -> None:
    """Each template with its variables."""
    for template in templates:
        table = Table("variable", "what it is", "example", "characters", title=f"{template.name} @ {template.version}")
        for name, variable in template.variables.items():
            table.add_row(name, variable.description, variable.example, f"up to {variable.max_length}")
        _out.print(table, Text(template.text, style="italic"), "")


def _refusal(refusal: Refusal) -> None:
    _out.print(Panel(refusal.child_message, title="refused", border_style="red"))
    _out.print(Text(plain(refusal.message)))


def _end(tale: Tale) -> None:
    if tale.verdict:
        _out.print(_line(tale.verdict))
        _findings(tale.verdict.findings)
    _out.print(Text(_origin(tale), style="dim"))


def _line(verdict: Verdict) -> Text:
    where = f" by {verdict.judge} under {verdict.policy} for ages {verdict.band} in {verdict.latency_s:.2f} s"
    where += ", from the cache" if verdict.cached else ""
    detail = f" ({plain(verdict.detail)})" if verdict.detail else ""
    return Text.assemble("verdict: ", (verdict.outcome, f"bold {_COLOURS[verdict.outcome]}"), where, detail)


def _findings(findings: tuple[Finding, ...]) -> None:
    if not findings:
        return
    table = Table("category", "severity", "quote", "at", "why")
    for f in findings:
        at = f"{f.start}-{f.end}" if f.start is not None else "-"
        quote, why = Text(plain(f.quote or "-"), style=_MARKS[f.severity]), Text(plain(f.rationale))
        table.add_row(f.category, f.severity, quote, at, why)
    _out.print(table)


def _origin(tale: Tale) -> str:
    line, calls = tale.lineage, [call for attempt in tale.attempts for call in attempt.calls]
    parts = [f"attempt {len(tale.attempts)}" if tale.attempts else "nothing written", f"{line.duration_s:.1f} s"]
    if line.prompt:
        parts.insert(0, f"template {line.prompt.name}@{line.prompt.version}")
    if calls:
        last = calls[-1]
        parts.insert(1, last.model + (f", seed {last.seed}" if last.seed is not None else ""))
    tokens = sum(call.output_tokens or 0 for call in calls)
    return " | ".join([*parts, f"{tokens} tokens written"])


def plain(text: str) -> str:
    """The text with control characters made visible, one for one, so that it cannot steer the terminal."""
    return "".join(c if c in "\n\t" or c.isprintable() else "\ufffd" for c in text)
