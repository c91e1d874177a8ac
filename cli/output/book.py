"""What `taleward book` prints: the price, progress, the pages with what their pictures show, and what a change did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.table import Column, Table
from rich.text import Text

from taleward.books.book import Book
from taleward.books.illustrate import Illustrator
from taleward.books.make import BookProgress
from taleward.books.metrics import BookMetrics
from taleward.cli.output.console import print_note, print_warning, printable, progress_status, standard_output


def show_cost(illustrator: Illustrator, pictures: int) -> None:
    """Say what the pictures will cost, before anything is bought; nothing if they are free."""
    estimate = illustrator.estimate_usd(pictures)
    drawn = pictures * illustrator.candidates
    if estimate is None:
        limit = illustrator.max_cost_usd
        up_to = f"; it stops at {limit:.2f} US dollars" if limit is not None else "; set a limit with --max-cost"
        print_warning(f"{drawn} pictures of {illustrator.model.spec}, whose price is known after the first{up_to}")
    elif estimate > 0:
        print_note(f"{drawn} pictures of {illustrator.model.spec} cost about {estimate:.2f} US dollars")


@contextmanager
def watch_book() -> Iterator[Callable[[BookProgress], None]]:
    """Show progress while a book is made, if standard error is a terminal."""
    with progress_status("judging the tale ...") as status:

        def tell(progress: BookProgress) -> None:
            if progress.step == "judged":
                status.update(f"drawing and judging {progress.pages} pages and the cover ...")
            elif progress.step == "drawn" and progress.page is not None:
                which = f"page {progress.page} of {progress.pages}" if progress.page else "the cover"
                status.update(f"drawn and judged: {which} ...")
                if progress.note:
                    print_note(f"[{which}: the collage drew it; {printable(progress.note)}]")

        yield tell


def show_book(
    book: Book, folder: Path, metrics: BookMetrics, files: Mapping[str, Path], *, whole: bool = False
) -> None:
    """Print the pages, the measures and the files.

    Args:
        book: The book.
        folder: Its folder.
        metrics: Its measures.
        files: The bound files by format.
        whole: Whether to print its history, too.
    """
    stdout = standard_output()
    stdout.print(Text(printable(book.title), style="bold"))
    table = Table(
        "", Column("text", overflow="fold", ratio=1), Column("picture shows", overflow="fold", ratio=1), "shot"
    )
    table.add_row("", "", Text(printable(book.cover.alt_text)), "cover", end_section=True)
    for page in book.pages:
        table.add_row(str(page.number), Text(printable(page.text)), Text(printable(page.alt_text)), page.shot)
    stdout.print(table)
    stdout.print(Text(_measures(metrics), style="dim"))
    for edit in book.edits if whole else ():
        what = " ".join(part for part in (edit.kind, f"page {edit.page}" if edit.page else "", edit.request) if part)
        stdout.print(Text(f"{edit.at:%Y-%m-%d %H:%M} {printable(what)}; before: {edit.before}", style="dim"))
    for credit in book.colophon.credits:
        print_note(printable(credit))
    stdout.print(Text(f"{folder}: {', '.join(path.name for path in files.values()) or 'book.json, plan.yaml, pages/'}"))


def show_change(before: Book, book: Book, folder: Path, files: Mapping[str, Path]) -> None:
    """Print which pages a change concerned."""
    stdout = standard_output()
    old = {page.number: page for page in before.pages}
    for page in book.pages:
        earlier = old.get(page.number)
        parts = []
        if earlier is None or earlier.text != page.text:
            parts.append("text")
        if earlier is None or earlier.picture != page.picture:
            parts.append("picture")
        if parts:
            stdout.print(
                Text(f"page {page.number}: {' and '.join(parts)} changed; it shows: {printable(page.alt_text)}")
            )
    if before.cover.picture != book.cover.picture:
        stdout.print(Text(f"the cover changed; it shows: {printable(book.cover.alt_text)}"))
    if before.title != book.title:
        stdout.print(Text(f"the title is now: {printable(book.title)}"))
    kept = book.edits[-1].before if book.edits else ""
    stdout.print(
        Text(f"{folder}: the book before is {kept}" + "".join(f", {p.name} bound anew" for p in files.values()))
    )


def _measures(metrics: BookMetrics) -> str:
    shares = {
        "prompt coverage": metrics.coverage,
        "cast shown": metrics.cast_shown,
        "cast consistency": metrics.cast_consistency,
        "page balance": metrics.page_balance,
    }
    known = [f"{name} {share:.0%}" for name, share in shares.items() if share is not None]
    known += [f"{metrics.words_per_page:.0f} words a page", f"reading grade {metrics.reading_grade:.1f}"]
    fallbacks = [f"{metrics.fallbacks} pictures by the fallback"] if metrics.fallbacks else []
    return " | ".join([*known, f"{metrics.shots} shots", *fallbacks])
