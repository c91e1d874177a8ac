"""`taleward book`: make a picture book of a tale, change it, and bind it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taleward.cli.options import (
    DEFAULT_FOLDER,
    REFUSED,
    AsJson,
    BandName,
    BaseUrl,
    Folder,
    JudgeSpecs,
    PolicyName,
)
from taleward.cli.suggestions import SuggestingGroup
from taleward.core.errors import ConfigurationError, Refused

if TYPE_CHECKING:
    from taleward.books.book import Book
    from taleward.core.tale import Tale

_MAKE = "make"
FORMATS = ("html", "epub", "epub-reflowable", "pdf", "folder")
_FILES = {
    "html": "{}.html",
    "epub": "{}.epub",
    "epub-reflowable": "{}-reflowable.epub",
    "pdf": "{}.pdf",
    "folder": "{}-files",
}


class _BookGroup(SuggestingGroup):
    """Takes what is no command for a request: `taleward book "a fox who finds a key"` makes a book."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `make` first unless there is a command, or somebody asks for help."""
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = [_MAKE, *args]
        return super().parse_args(ctx, args)


book_app = typer.Typer(name="book", cls=_BookGroup, help="Make a picture book of a tale, change it, and bind it.")

BookFolder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the book.")]
Images = Annotated[
    str | None,
    typer.Option(
        "--images",
        help="collage (offline), diffusers:REPO_OR_FOLDER or openai-image:MODEL. By default the collage, or what drew "
        "the book.",
    ),
]
MaxCost = Annotated[
    float | None, typer.Option("--max-cost", min=0.0, help="What the pictures may cost together, in US dollars.")
]
Formats = Annotated[
    str | None, typer.Option("--format", help=f"What to bind, separated by commas: {', '.join(FORMATS)}.")
]
PageNumber = Annotated[int, typer.Option("--page", min=1, help="The page.")]
Candidates = Annotated[int, typer.Option(min=1, max=8, help="Pictures drawn for each page; the best is taken.")]


@book_app.command(_MAKE)
def make(
    request: Annotated[str | None, typer.Argument(help="What the tale is about; a tale is told for it.")] = None,
    tale: Annotated[str | None, typer.Option("--tale", help="Text file with a tale; - for standard input.")] = None,
    plan: Annotated[Path | None, typer.Option(help="An edited plan to go on from.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the book. A book that was begun there is finished.")] = Path(
        "book"
    ),
    pages: Annotated[int | None, typer.Option(min=1, max=24, help="Pages; by the tale's length if left out.")] = None,
    title: Annotated[str | None, typer.Option(help="Title; found by rules if left out.")] = None,
    images: Images = None,
    base_url: BaseUrl = None,
    style: Annotated[str, typer.Option(help="Style of the pictures, such as crayon or paper.")] = "watercolor",
    aspect_ratio: Annotated[str, typer.Option("--aspect-ratio", "--ar", help="Format of the pictures.")] = "4:3",
    band: BandName = "6-8",
    policy: PolicyName = "kids",
    judge: JudgeSpecs = None,
    picture_judge: Annotated[list[str] | None, typer.Option(help="Judge of the pictures; repeat for several.")] = None,
    model: Annotated[str, typer.Option(help="Model spec of the writer.")] = "embedded:storyteller",
    planner: Annotated[str | None, typer.Option(help="Chat model that plans the pages; by rules if left out.")] = None,
    candidates: Candidates = 1,
    seed: Annotated[int, typer.Option(min=0, help="With models that run here, the same seed gives the same book.")] = 0,
    series: Annotated[
        list[Path] | None, typer.Option(help="Folder of an earlier book, whose characters look the same in this one.")
    ] = None,
    max_cost: MaxCost = None,
    format: Formats = "html,epub,pdf",
    plan_only: Annotated[bool, typer.Option("--plan-only", help="Write plan.yaml to edit, and draw nothing.")] = False,
    as_json: AsJson = False,
    record: Annotated[bool, typer.Option(help="Record the book in MLflow.")] = False,
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Make a picture book of a tale, or of a request for one.

    taleward book "a story about a fox who finds a key" --out fox --pages 8 --style watercolor --seed 3

    Every text and every picture is judged before it enters the book. A run that was killed goes on where it was.

    Exit codes: 0 complete, 1 a model could not be reached, 2 wrong use, 3 refused.
    """
    from taleward.books.folder import PLAN_FILE
    from taleward.books.illustrate import Illustrator
    from taleward.books.make import finish_book
    from taleward.books.plan import BookPlan
    from taleward.cli.output.book import show_book, show_cost, watch_book

    formats = _formats(format)
    if sum(given is not None for given in (request, tale, plan)) > 1:
        raise ConfigurationError("give a request, --tale or --plan; got several.", hint="Leave all but one out.")
    begun = plan is None and (out / PLAN_FILE).exists()
    if begun and (request or tale or title or pages):
        raise ConfigurationError(
            f"{out} holds a book already.",
            hint=f"Go on with it: taleward book --out {out}. Or choose another folder with --out.",
        )
    options: dict[str, Any] = {"policy": policy, "style": style, "seed": seed, "aspect_ratio": aspect_ratio}
    options |= {"title": title, "pages": pages, "cast": _series(series)}
    with _refusals():
        if begun or plan is not None:
            the_plan = BookPlan.load(plan or out)
            the_judge = _judge(judge, policy, the_plan.band)
        else:
            the_judge = _judge(judge, policy, band)
            told: Tale | str = _tale_file(tale) if tale is not None else _tell(request, model, the_judge, seed)
            the_plan = _plan(told, the_judge, planner, options)
        if plan_only:
            path = the_plan.save(out)
            typer.echo(f"{path}: {len(the_plan.pages)} pages; edit it, then: taleward book --out {out}")
            return
        illustrator = Illustrator(
            _images(images or "collage", base_url), the_judge, picture_judges=picture_judge, candidates=candidates,
            max_cost_usd=max_cost,
        )  # fmt: skip
        show_cost(illustrator, len(the_plan.pages) + 1)
        with watch_book() as tell:
            book = finish_book(the_plan, illustrator, folder=out, on_progress=tell)
        files = _bind(book, out, formats)
    _report(book, out, files, as_json=as_json, show=show_book)
    if record:
        _record(book, out, folder)


@book_app.command()
def redo(
    folder: BookFolder,
    page: PageNumber,
    request: Annotated[str, typer.Argument(help='What to change, such as "make the owl smaller".')] = "",
    images: Images = None,
    base_url: BaseUrl = None,
    judge: JudgeSpecs = None,
    candidates: Candidates = 1,
    max_cost: MaxCost = None,
    format: Formats = None,
) -> None:
    """Draw a page's picture again; nothing else changes.

    taleward book redo fox --page 4 "make the owl smaller"
    """
    _edit(folder, lambda editor: editor.redo(page, request), images, base_url, judge, format, max_cost, candidates)


@book_app.command()
def text(
    folder: BookFolder,
    page: PageNumber,
    words: Annotated[str, typer.Argument(metavar="TEXT", help="The new text; - reads it from standard input.")],
    judge: JudgeSpecs = None,
    images: Images = None,
    base_url: BaseUrl = None,
    max_cost: MaxCost = None,
    format: Formats = None,
) -> None:
    """Give a page another text, which is judged; its picture is drawn again if it has to show something else."""
    new = sys.stdin.read() if words == "-" else words
    _edit(folder, lambda editor: editor.change_text(page, new), images, base_url, judge, format, max_cost)


@book_app.command()
def swap(
    folder: BookFolder,
    old: Annotated[str, typer.Argument(help='A character of the book, such as "the fox".')],
    new: Annotated[str, typer.Argument(help='Who comes in its place, such as "a rabbit" or "Tom, a boy".')],
    judge: JudgeSpecs = None,
    images: Images = None,
    base_url: BaseUrl = None,
    max_cost: MaxCost = None,
    format: Formats = None,
) -> None:
    """Replace a character everywhere, in texts and pictures."""
    _edit(folder, lambda editor: editor.swap(old, new), images, base_url, judge, format, max_cost)


@book_app.command()
def style(
    folder: BookFolder,
    name: Annotated[str, typer.Argument(metavar="STYLE", help="The new style, such as crayon.")],
    judge: JudgeSpecs = None,
    images: Images = None,
    base_url: BaseUrl = None,
    max_cost: MaxCost = None,
    format: Formats = None,
) -> None:
    """Draw every picture in another style."""
    _edit(folder, lambda editor: editor.restyle(name), images, base_url, judge, format, max_cost)


@book_app.command("band")
def another_band(
    folder: BookFolder,
    band: Annotated[str, typer.Argument(help="The new age band.")],
    model: Annotated[
        str | None, typer.Option(help="Chat model that tells the tale again, such as openai:gpt-5-mini.")
    ] = None,
    judge: JudgeSpecs = None,
    images: Images = None,
    base_url: BaseUrl = None,
    max_cost: MaxCost = None,
    format: Formats = None,
) -> None:
    """Have the tale told again for another age band, with the same cast."""
    _edit(folder, lambda editor: editor.reband(band, model), images, base_url, judge, format, max_cost, band=band)


@book_app.command()
def bind(
    folder: BookFolder,
    format: Annotated[str, typer.Option("--format", help=f"Separated by commas: {', '.join(FORMATS)}.")] = (
        "html,epub,pdf"
    ),
    out: Annotated[Path | None, typer.Option(help="Folder of the files; the book's own if left out.")] = None,
) -> None:
    """Write a book as HTML, EPUB or PDF."""
    from taleward.books.book import Book

    formats = _formats(format)
    book = Book.load(folder)
    for path in _bind(book, out or folder, formats).values():
        typer.echo(str(path))


@book_app.command()
def show(folder: BookFolder, as_json: AsJson = False) -> None:
    """Show a book's pages, measures and history."""
    from taleward.books.book import Book
    from taleward.cli.output.book import show_book

    _report(Book.load(folder), folder, {}, as_json=as_json, show=show_book, whole=True)


def _edit(
    folder: Path,
    change: Any,
    images: str | None,
    base_url: str | None,
    judge: list[str] | None,
    format: str | None,
    max_cost: float | None,
    candidates: int = 1,
    *,
    band: str | None = None,
) -> None:
    from taleward.books.book import Book
    from taleward.books.edit import BookEditor
    from taleward.cli.output.book import show_change, watch_book

    formats = _formats(format) if format else _bound(folder)
    before = Book.load(folder)
    the_judge = _judge(judge, before.colophon.policy.partition("@")[0] or "kids", band or before.band)
    drawn_by = images or next((p.drawing.model for p in before.pages if p.drawing is not None), "collage")
    with _refusals():
        with watch_book() as tell:
            editor = BookEditor(
                folder, images=_images(drawn_by, base_url), judge=the_judge, max_cost_usd=max_cost,
                candidates=candidates, on_progress=tell,
            )  # fmt: skip
            book = change(editor)
        files = _bind(book, folder, formats)
    show_change(before, book, folder, files)


def _judge(specs: list[str] | None, policy: str, band: str) -> Any:
    from taleward.cli.judge_specs import make_judge
    from taleward.cli.output.console import spinner

    with spinner("loading the judge"):
        return make_judge(specs, policy=policy, band=band)


def _images(spec: str, base_url: str | None) -> Any:
    from taleward.images.models.factory import image_model

    if base_url is not None and not spec.startswith("openai-image:"):
        raise ConfigurationError(
            f"--base-url is the server of an openai-image: model; the model is {spec}.",
            hint="Write --images openai-image:NAME, or leave --base-url out.",
        )
    return image_model(spec, **({"base_url": base_url} if base_url else {}))


def _tale_file(file: str) -> str:
    from taleward.cli.input import read_text

    text = read_text(file)
    if not text.strip():
        raise ConfigurationError(f"the tale in {file} is blank.")
    return text


def _tell(request: str | None, model: str, judge: Any, seed: int) -> Tale:
    """Have the tale told for a request, the best of several drafts."""
    from taleward.chains.story import StoryChain
    from taleward.chains.template import load_template
    from taleward.cli.output.console import print_note, spinner
    from taleward.cli.story_input import fill_values
    from taleward.moderation.guard.best_of import BestOf

    inputs: Any = request
    if request is None:
        inputs, note = fill_values(load_template("adventure"), {}, None)
        print_note(note)
    with spinner("telling the tale"):
        writer = StoryChain(model, policy=judge.policy, band=judge.band)
        writer.seed = seed
        return BestOf(writer, judge, candidates=4, timeout_s=300.0).invoke(inputs)


def _plan(tale: Tale | str, judge: Any, planner: str | None, options: dict[str, Any]) -> Any:
    from taleward.books.make import plan_book

    return plan_book(tale, judge, planner=planner, **{k: v for k, v in options.items() if k != "policy"})


def _series(folders: list[Path] | None) -> Any:
    from taleward.books.series import series_cast

    return series_cast(folders) if folders else None


def _record(book: Book, out: Path, folder: Path) -> None:
    from taleward.books.book_recorder import record_book
    from taleward.cli.output.console import print_note, spinner, warn_not_recorded
    from taleward.evaluation.tracking.tale_recorder import default_tracking_uri

    try:
        with spinner("recording"):
            run_id = record_book(book, out, default_tracking_uri(folder))
    except Exception as error:  # noqa: BLE001  the book has been made; only its record is lost
        warn_not_recorded("the book", error)
    else:
        print_note(f"recorded in {folder / 'mlflow.db'} as run {run_id}; see it with: taleward ui")


def _formats(format: str | None) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip().lower() for name in (format or "").split(",") if name.strip()))
    if unknown := [name for name in names if name not in FORMATS]:
        raise ConfigurationError(
            f"unknown format {unknown[0]!r}; expected {', '.join(FORMATS)}.", hint="For example --format html,epub"
        )
    return names


def _bound(folder: Path) -> tuple[str, ...]:
    """Return the formats that a book is bound in already, so that an edit renews them."""
    return tuple(name for name in FORMATS if any(folder.glob(_FILES[name].format("book"))))


def _bind(book: Book, folder: Path, formats: tuple[str, ...]) -> dict[str, Path]:
    from taleward.cli.output.console import spinner

    files = {}
    for name in formats:
        with spinner(f"binding {name}"):
            files[name] = book.bind(folder / _FILES[name].format("book"), format=name)
    return files


@contextmanager
def _refusals() -> Iterator[None]:
    """End the command with exit code 3 when something was refused."""
    from taleward.cli.output.console import print_error

    try:
        yield
    except Refused as error:
        print_error(error)
        raise typer.Exit(REFUSED) from None


def _report(book: Book, folder: Path, files: dict[str, Path], *, as_json: bool, show: Any, whole: bool = False) -> None:
    from taleward.books.metrics import measure_book

    metrics = measure_book(book)
    if as_json:
        from taleward.books.folder import to_json

        plain = json.loads(to_json(book))
        plain |= {"metrics": metrics.model_dump(), "files": {name: str(path) for name, path in files.items()}}
        sys.stdout.write(json.dumps(plain, indent=2, ensure_ascii=False) + "\n")
    else:
        show(book, folder, metrics, files, whole=whole)
