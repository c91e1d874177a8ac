"""A picture book as data: pages of judged text with judged pictures, saved as a folder that is always readable."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from taleward.core.frozen_model import FrozenModel, ValidatedModel
from taleward.core.tale import digest
from taleward.core.verdict import Verdict
from taleward.images.picture import Picture
from taleward.images.prompt_spec import CastMember, PromptSpec

if TYPE_CHECKING:
    from taleward.core.tale import Tale

Shot = Literal["wide", "medium", "close", "from above"]
"""How much of a scene a picture shows, and from where."""

MIN_PAGES, MAX_PAGES = 1, 24


class Clearance(FrozenModel):
    """What lets a text or a picture into a book: its digest, and the verdicts, all of which passed.

    Attributes:
        sha256: `digest` of the text, or the SHA-256 of the picture's file.
        verdicts: The verdicts, at least one.
    """

    sha256: str
    verdicts: tuple[Verdict, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_passed(self) -> Self:
        if odd := [verdict.outcome for verdict in self.verdicts if not verdict.passed]:
            msg = f"only what every judge passed enters a book; got the outcome {odd[0]!r}"
            raise ValueError(msg)
        return self


class PictureCandidate(FrozenModel):
    """A picture that was drawn for a page, and how well it fits.

    Attributes:
        sha256: Identifies it.
        seed: Its seed.
        coverage: Share of what the prompt asks for that the picture shows, from 0 to 1; `None` if unknown.
        likeness: Share of the cast that is drawn as the cast sheet says, from 0 to 1; `None` if unknown.
        chosen: Whether the book has it.
    """

    sha256: str
    seed: int | None = None
    coverage: float | None = Field(default=None, ge=0.0, le=1.0)
    likeness: float | None = Field(default=None, ge=0.0, le=1.0)
    chosen: bool = False


class Drawing(FrozenModel):
    """How a page's picture came about.

    Attributes:
        key: SHA-256 of prompt, model and seed; a finished picture is kept as long as its key stays the same.
        model: The image model that was asked.
        drawer: Who drew it: the model, or the fallback.
        reason: Why the fallback drew, or why there is no picture; empty if the model did.
        candidates: What was drawn and passed, the best of which is in the book.
        not_drawn: What the prompt asks for and the picture lacks, as far as its model says so.
        cost_usd: What it cost in US dollars, `None` if unknown.
    """

    key: str
    model: str
    drawer: Literal["model", "fallback"] = "model"
    reason: str = ""
    candidates: tuple[PictureCandidate, ...] = ()
    not_drawn: tuple[str, ...] = ()
    cost_usd: float | None = Field(default=None, ge=0.0)


class _Illustrated(ValidatedModel):
    """A picture with its description, both judged.

    Attributes:
        picture: The picture, `None` as long as it is not drawn. Its file is marked as made by AI.
        picture_clearance: The verdicts on it.
        alt_text: What it shows, for readers who cannot see it; empty if there is no picture.
        alt_clearance: The verdicts on the alt text.
        prompt: What it is drawn from.
        drawing: How it came about, `None` as long as it was not tried.
    """

    picture: Picture | None = None
    picture_clearance: Clearance | None = None
    alt_text: str = ""
    alt_clearance: Clearance | None = None
    prompt: PromptSpec | None = None
    drawing: Drawing | None = None

    @model_validator(mode="after")
    def _check_picture(self) -> Self:
        if self.picture is not None:
            _check_cleared("a picture", self.picture.sha256, self.picture_clearance)
            if not self.alt_text.strip():
                msg = "a picture needs an alt text"
                raise ValueError(msg)
        if self.alt_text:
            _check_cleared("an alt text", digest(self.alt_text), self.alt_clearance)
        return self


class BookPage(_Illustrated):
    """A page: its text and its picture.

    Attributes:
        number: Its number, from 1.
        text: Its text; paragraphs are separated by an empty line.
        text_clearance: The verdicts on the text.
        shot: How much of the scene the picture shows.
        place: Where the page happens, such as `"in the forest"`; empty if unknown.
    """

    number: int = Field(ge=1)
    text: str = Field(min_length=1)
    text_clearance: Clearance
    shot: Shot = "medium"
    place: str = ""

    @model_validator(mode="after")
    def _check_text(self) -> Self:
        _check_cleared("a page's text", digest(self.text), self.text_clearance)
        return self


class BookCover(_Illustrated):
    """The cover's picture; the title stands in the book."""


class BookEdit(FrozenModel):
    """A change of a finished book.

    Attributes:
        kind: What was done: `redo`, `text`, `swap`, `style` or `band`.
        page: The page, `None` if it concerns the whole book.
        request: What was asked for.
        at: When.
        before: The file in `history/` with the book before the change.
    """

    kind: Literal["redo", "text", "swap", "style", "band"]
    page: int | None = None
    request: str = ""
    at: AwareDatetime
    before: str = ""


class Colophon(FrozenModel):
    """How a book was made: what its last page says, and its manifest.

    Attributes:
        taleward: The version of Taleward.
        created: When the book was begun.
        writer: Who wrote the tale: a model's spec, or `"pasted"`.
        judge: The judge of the texts.
        policy: The policy's id, `name@version`.
        image_models: The image models whose pictures are in the book.
        picture_judges: The judges of the pictures.
        credits: Whose drawings are in the pictures, with their licenses.
        tale_id: The tale's id, empty if it was pasted.
    """

    taleward: str
    created: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    writer: str = "pasted"
    judge: str = ""
    policy: str = ""
    image_models: tuple[str, ...] = ()
    picture_judges: tuple[str, ...] = ()
    credits: tuple[str, ...] = ()
    tale_id: str = ""


class Book(ValidatedModel):
    """A picture book: `Book(tale, images="collage")` makes one, and with fields it is one as data.

    Text and pictures enter only with the verdicts that passed them; a book with anything else cannot be created, copied
    or loaded. A book is complete once every page has its picture.

    Attributes:
        title: The title.
        title_clearance: The verdicts on the title.
        band: The age band it is written for.
        language: The language's code.
        pages: The pages, numbered from 1.
        clearance: The verdicts on the whole text, `text`.
        cover: The cover.
        cast: The characters, who look the same on every page.
        style: The pictures' style, such as `"watercolor"`.
        seed: The seed that the pictures' seeds follow from.
        colophon: How it was made.
        edits: What was changed since.
    """

    title: str = Field(min_length=1, max_length=200)
    title_clearance: Clearance
    band: str = Field(min_length=1)
    language: str = "en"
    pages: tuple[BookPage, ...] = Field(min_length=MIN_PAGES, max_length=MAX_PAGES)
    clearance: Clearance
    cover: BookCover = BookCover()
    cast: tuple[CastMember, ...] = ()
    style: str = ""
    seed: int = Field(default=0, ge=0)
    colophon: Colophon
    edits: tuple[BookEdit, ...] = ()

    def __init__(self, tale: Tale | str | None = None, /, **fields: Any) -> None:
        """Make a book of a tale, see `taleward.books.make_book` for the options; or create one from its fields."""
        if tale is not None:
            from taleward.books.make import make_book

            fields = dict(make_book(tale, **fields))
        super().__init__(**fields)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if [page.number for page in self.pages] != list(range(1, len(self.pages) + 1)):
            msg = f"pages are numbered from 1 in order; got {', '.join(str(page.number) for page in self.pages)}"
            raise ValueError(msg)
        _check_cleared("the title", digest(self.title), self.title_clearance)
        _check_cleared("the whole text", digest(self.text), self.clearance)
        return self

    @property
    def text(self) -> str:
        """The pages' texts, with empty lines between them."""
        return "\n\n".join(page.text for page in self.pages)

    @property
    def is_complete(self) -> bool:
        """Whether the cover and every page have their picture."""
        return self.cover.picture is not None and all(page.picture is not None for page in self.pages)

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The pictures that are there, the cover's first."""
        return tuple(place.picture for _, place in self.illustrated() if place.picture is not None)

    @property
    def cost_usd(self) -> float | None:
        """What the pictures cost in US dollars; `None` if a cost is unknown."""
        costs = [place.drawing.cost_usd for _, place in self.illustrated() if place.drawing is not None]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    def illustrated(self) -> Iterator[tuple[str, BookCover | BookPage]]:
        """Yield `("cover", cover)` and `("page-01", page)` for every page."""
        yield "cover", self.cover
        for page in self.pages:
            yield f"page-{page.number:02}", page

    def save(self, folder: Path | str) -> Path:
        """Write the book into a folder: `book.json`, and `pages/page-01-DIGEST.png` for every picture.

        A picture's name has the beginning of its digest, and is never overwritten, so that a process killed at any
        moment leaves the book as it was before or as it is now.

        Returns:
            The folder.

        Raises:
            OSError: If the folder cannot be written.
        """
        from taleward.books.folder import save_book

        return save_book(self, Path(folder))

    @classmethod
    def load(cls, folder: Path | str) -> Book:
        """Read a book from its folder; texts and pictures that are not those that were judged are refused.

        Raises:
            InvalidFile: If there is no book, or it cannot be read.
            IntegrityError: If a text or a picture was changed by something else than Taleward.
        """
        from taleward.books.folder import load_book

        return load_book(Path(folder))

    def bind(self, path: Path | str, *, format: str | None = None, **options: Any) -> Path:
        """Write the book as one file, or as a folder with a manifest.

        Args:
            path: The file; its ending says the format unless `format` does.
            format: `html`, `epub`, `epub-reflowable`, `pdf` or `folder`.
            options: Options of the format.

        Returns:
            The file.

        Raises:
            ConfigurationError: If the format is unknown.
            OSError: If the file cannot be written.
        """
        from importlib import import_module

        bound: Path = import_module("taleward.books.binding.bind").bind(self, Path(path), format=format, **options)
        return bound


def _check_cleared(what: str, sha256: str, clearance: Clearance | None) -> None:
    if clearance is None:
        msg = f"{what} enters a book only after it was judged; its clearance is missing"
        raise ValueError(msg)
    if clearance.sha256 != sha256:
        msg = f"{what} is not the one that was judged: digests {sha256[:12]} and {clearance.sha256[:12]}"
        raise ValueError(msg)
