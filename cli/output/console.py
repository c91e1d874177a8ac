"""Print results to standard output; notes, warnings and errors to standard error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from errno import EACCES, EPERM, EROFS
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markdown import Markdown
from rich.panel import Panel
from rich.status import Status
from rich.table import Column, Table
from rich.text import Text

from taleward.backends.discovery import DiscoveredModel
from taleward.core.errors import TalewardError
from taleward.core.events import DoneEvent, Event, RetractionEvent, RevisionEvent, TextEvent
from taleward.core.redaction import redact
from taleward.core.tale import Refusal, Tale
from taleward.core.verdict import Finding, Verdict
from taleward.moderation.text.request_coverage import missing_wishes

if TYPE_CHECKING:
    from taleward.agents.result import RouterResult, TurnEvent

# Texts are printed as `Text`, because Rich interprets brackets in a plain string as markup.
_stdout = Console(highlight=False)
_stderr = Console(stderr=True, highlight=False)

OUTCOME_COLORS = {"pass": "green", "fail": "red", "abstain": "yellow", "unparsable": "yellow", "error": "yellow"}
SEVERITY_STYLES = {"mild": "black on bright_yellow", "moderate": "black on dark_orange", "severe": "white on red"}

_DEBUG_HINT = "Set TALEWARD_DEBUG=1 to see the traceback."
_READ_ONLY_HINT = "Run the command in a folder that you can write to, or name one with --folder."
_SHOWN_WISHES = 6
_RETRACTED = "please disregard the text above: the story as a whole did not pass and was not released"


def print_note(message: str) -> None:
    """Print a note, such as where something was saved."""
    _stderr.print(Text(message, style="dim"))


def print_warning(message: str) -> None:
    """Print a warning."""
    _stderr.print(Text(f"warning: {message}", style="yellow"))


def print_error(error: Exception) -> None:
    """Print what went wrong, and what to do next."""
    hint = _hint(error) or (None if isinstance(error, TalewardError) else _DEBUG_HINT)
    _stderr.print(Text(f"error: {_message(error)}", style="red"))
    if hint:
        _stderr.print(Text(printable(hint)))


def warn_not_recorded(subject: str, error: Exception) -> None:
    """Warn that a result was shown but could not be recorded.

    Args:
        subject: What was not recorded, such as `"the tale"`.
        error: Why not.
    """
    hint = _hint(error)
    print_warning(f"{subject} was not recorded: {_message(error)}" + (f"\n{printable(hint)}" if hint else ""))


def _message(error: Exception) -> str:
    message = str(error) if isinstance(error, TalewardError) else f"{type(error).__name__}: {error}"
    return printable(redact(message))


def _hint(error: Exception) -> str | None:
    if isinstance(error, TalewardError):
        return error.hint
    return _READ_ONLY_HINT if isinstance(error, OSError) and error.errno in (EACCES, EPERM, EROFS) else None


def spinner(activity: str) -> AbstractContextManager[object]:
    """Show a spinner while something takes seconds; only if standard error is a terminal."""
    return _stderr.status(f"{activity} ...")


def progress_status(activity: str) -> Status:
    """Like `spinner`, with a text that can be updated."""
    return _stderr.status(activity)


def standard_output() -> Console:
    """Return the console of results."""
    return _stdout


def show_stream(events: Iterable[Event], wanted: Sequence[str]) -> Tale:
    """Print each sentence as it is released, then what `show_tale` prints below a tale; return the tale."""
    tale: Tale | None = None
    for event in events:
        if isinstance(event, TextEvent):
            # `out` does not wrap lines: a chunk does not know where its line began.
            _stdout.out(printable(event.text), end="", highlight=False)
        elif isinstance(event, RevisionEvent):
            reason = ", ".join(event.categories) or "the judge reached no decision"
            consequence = "ends the story here" if event.closing else "continues from here"
            print_note(f"[a sentence was held back: {reason}; the writer {consequence}]")
        elif isinstance(event, RetractionEvent):
            _stdout.print("\n")
            print_warning(_RETRACTED)
        elif isinstance(event, DoneEvent):
            tale = event.tale
    if tale is None:
        msg = "the stream ended without its last event"
        raise RuntimeError(msg)
    _stdout.print("\n")
    if tale.refusal:
        _print_refusal(tale.refusal)
    _print_details(tale, wanted)
    return tale


def show_turn(event: TurnEvent) -> RouterResult | None:
    """Print an event of a chat turn; return the turn's result with its last event."""
    if isinstance(event, TextEvent):
        _stdout.out(printable(event.text), end="", highlight=False)
    elif isinstance(event, RetractionEvent):
        _stdout.print("\n")
        print_warning(_RETRACTED)
    else:
        _stdout.print()
        return event.result
    return None


def show_tale(tale: Tale, wanted: Sequence[str]) -> None:
    """Print the released text or the refusal, then the verdict, the wishes that are in it, and the lineage.

    Args:
        tale: The tale.
        wanted: The wishes of the request, see `taleward.moderation.text.request_coverage`.
    """
    if tale.refusal:
        _print_refusal(tale.refusal)
    else:
        _stdout.print(Panel(Text(printable(tale.text)), title="a tale", border_style="green", padding=(1, 2)))
    _print_details(tale, wanted)


def show_verdict(verdict: Verdict, text: str) -> None:
    """Print a text with the findings highlighted, the verdict, and the findings as a table."""
    highlighted = Text(printable(text))
    for finding in verdict.findings:
        if finding.start is not None and finding.end is not None:
            highlighted.stylize(SEVERITY_STYLES[finding.severity], finding.start, finding.end)
    _stdout.print(Panel(highlighted, border_style=OUTCOME_COLORS[verdict.outcome]))
    _stdout.print(verdict_line(verdict))
    print_findings(verdict.findings)


def show_models(models: Iterable[DiscoveredModel], devices: Iterable[str]) -> None:
    """Print the models you can use, what is missing for the others, and the devices they run on."""
    models = list(models)
    # A spec is kept whole to be copied, unless it is a path so long that no room for the description is left.
    fits = max((len(model.spec) for model in models), default=0) <= _stdout.width // 2
    spec = Column("spec", no_wrap=fits, overflow="fold")
    table = Table(spec, "usable", Column("description, or what is missing", overflow="fold"))
    for model in models:
        usable = Text("yes", style="green") if model.usable else Text("no", style="red")
        context = f"context {model.context:,}" if model.context else ""
        parts = (f"{model.kind}: {model.description}", _format_parameters(model.parameters), context)
        description = Text(", ".join(part for part in parts if part))
        if model.folder:
            description.append(f"\n{model.folder}", style="dim")
        table.add_row(Text(model.spec), usable, description)
    _stdout.print(table, Text(f"devices: {', '.join(devices)}"))
    _stdout.print(Text("To use a model: taleward tell --model SPEC, or in Python: taleward.chat_model('SPEC')."))


def show_card(markdown: str) -> None:
    """Print a model card."""
    _stdout.print(Markdown(printable(markdown)))


def _format_parameters(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count / 1e9:.1f} B parameters" if count >= 1e9 else f"{count / 1e6:.1f} M parameters"


def _print_refusal(refusal: Refusal) -> None:
    _stdout.print(Panel(refusal.child_message, title="refused", border_style="red"))
    _stdout.print(Text(printable(refusal.message)))


def _print_details(tale: Tale, wanted: Sequence[str]) -> None:
    if tale.verdict:
        _stdout.print(verdict_line(tale.verdict))
        print_findings(tale.verdict.findings)
    if wanted and tale.released_text is not None:
        _stdout.print(Text(printable(_wishes_line(wanted, tale.released_text))))
    _stdout.print(Text(_lineage_line(tale), style="dim"))


def verdict_line(verdict: Verdict) -> Text:
    """Return the outcome, the judge and its rules, and why there is no decision, as one line."""
    context = f" by {verdict.judge} under {verdict.policy} for ages {verdict.band} in {verdict.latency_s:.2f} s"
    context += ", from the cache" if verdict.cached else ""
    detail = f" ({printable(verdict.detail)})" if verdict.detail else ""
    return Text.assemble("verdict: ", (verdict.outcome, f"bold {OUTCOME_COLORS[verdict.outcome]}"), context, detail)


def print_findings(findings: tuple[Finding, ...]) -> None:
    """Print findings as a table; nothing if there are none."""
    if not findings:
        return
    table = Table("category", "severity", "quote", "offsets", "rationale")
    for finding in findings:
        offsets = f"{finding.start}-{finding.end}" if finding.start is not None else "-"
        quote = Text(printable(finding.quote or "-"), style=SEVERITY_STYLES[finding.severity])
        table.add_row(finding.category, finding.severity, quote, offsets, Text(printable(finding.rationale)))
    _stdout.print(table)


def _wishes_line(wanted: Sequence[str], text: str) -> str:
    missing = missing_wishes(wanted, text)
    noun, verb = ("wish", "is") if len(wanted) == 1 else ("wishes", "are")
    line = f"{len(wanted) - len(missing)} of {len(wanted)} {noun} {verb} in the tale"
    if not missing:
        return line
    more = f", and {len(missing) - _SHOWN_WISHES} more" if len(missing) > _SHOWN_WISHES else ""
    return f"{line}; missing: {', '.join(missing[:_SHOWN_WISHES])}{more}"


def _lineage_line(tale: Tale) -> str:
    lineage, calls = tale.lineage, [call for attempt in tale.attempts for call in attempt.calls]
    attempts = "nothing written"
    if tale.attempts:
        last_attempt, count = tale.attempts[-1], len(tale.attempts)
        # Drafts that compete have ranks, and the best one comes last, whatever its number.
        attempts = f"draft {last_attempt.number} of {count}" if last_attempt.ranks else f"attempt {count}"
    template = f"template {lineage.prompt.name}@{lineage.prompt.version}" if lineage.prompt else ""
    parts = [template, calls[-1].model if calls else "", attempts, f"{lineage.duration_s:.1f} s"]
    tokens = sum(call.output_tokens or 0 for call in calls)
    return " | ".join(part for part in (*parts, f"{tokens} tokens written") if part)


def printable(text: str) -> str:
    """Replace control characters in a text, so that it cannot steer the terminal; offsets stay the same."""
    return "".join(c if c in "\n\t" or c.isprintable() else "\ufffd" for c in text)
