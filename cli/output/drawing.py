"""What `taleward draw` prints: progress, the files with their seeds and descriptions, or the refusal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.panel import Panel
from rich.table import Column, Table
from rich.text import Text

from taleward.cli.output.console import (
    print_findings,
    print_note,
    printable,
    progress_status,
    standard_output,
    verdict_line,
)
from taleward.images.guard.events import GuardedPictureEvent, ImageGuardEvent, PictureVerdictEvent, RedrawEvent
from taleward.images.guard.guarded_picture import GuardedPicture
from taleward.images.models.events import DrawingProgress

_SHOWN_NOTES = 3


def show_drawing(events: Iterable[ImageGuardEvent]) -> GuardedPicture:
    """Show progress while pictures are drawn, if standard error is a terminal; return the result."""
    with progress_status("drawing and judging ...") as status:
        for event in events:
            match event:
                case DrawingProgress():
                    which = ", ".join(str(index + 1) for index in event.indices)
                    status.update(f"drawing {which}: step {event.step} of {event.steps} ...")
                case PictureVerdictEvent(what="picture"):
                    status.update(f"judged a picture: {event.verdict.outcome} ...")
                case RedrawEvent():
                    reason = ", ".join(event.categories) or "no picture passed"
                    who = "the collage draws instead" if event.drawer == "fallback" else "drawing again, softer"
                    print_note(f"[{reason}; {who}]")
                case GuardedPictureEvent():
                    return event.result
    msg = "the stream ended without its last event"
    raise RuntimeError(msg)


def show_pictures(result: GuardedPicture, files: Mapping[str, Path]) -> None:
    """Print the files with seeds and descriptions, or the refusal, then the verdict and what was not drawn as asked.

    Args:
        result: The result.
        files: The files by the pictures' digests; the contact sheet's as `sheet`.
    """
    stdout = standard_output()
    if result.refusal is not None:
        stdout.print(Panel(result.refusal.child_message, title="refused", border_style="red"))
        stdout.print(Text(printable(result.refusal.message)))
    else:
        table = Table("seed", "size", Column("shows", overflow="fold"), Column("file", overflow="fold"))
        for picture in result.pictures:
            seed = "-" if picture.seed is None else str(picture.seed)
            size = f"{picture.width}x{picture.height}"
            table.add_row(seed, size, Text(printable(picture.alt_text)), Text(str(files[picture.sha256])))
        stdout.print(table)
        if "sheet" in files:
            stdout.print(Text(f"contact sheet: {files['sheet']}"))
    if result.verdict is not None:
        stdout.print(verdict_line(result.verdict))
        # Those on a prompt come without its words, and repeat the line above.
        print_findings(tuple(f for f in result.verdict.findings if f.rationale or f.quote))
    if result.released:
        _show_remarks(result)
    drawn = sum(len(attempt.pictures) for attempt in result.attempts)
    count = f"{len(result.released_pictures)} of {drawn} pictures released" if drawn else "nothing drawn"
    parts = [result.lineage.model, count]
    stdout.print(Text(" | ".join([*parts, f"{result.lineage.duration_s:.1f} s"]), style="dim"))


def _show_remarks(result: GuardedPicture) -> None:
    """Say what the model could not draw as asked, and whose drawings are in the pictures."""
    notes: dict[str, None] = {}
    for picture in result.pictures:
        notes |= dict.fromkeys(picture.lineage.notes)
        if missing := picture.lineage.parameters.get("not_drawn"):
            notes[f"not drawn: {missing}"] = None
    for note in list(notes)[:_SHOWN_NOTES]:
        print_note(printable(note))
    for credit in dict.fromkeys(credit for picture in result.pictures for credit in picture.credits):
        print_note(printable(credit))
