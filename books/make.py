"""Make a book: plan, judge, draw, judge again; a folder keeps every step, so that a killed run goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from os import environ
from pathlib import Path
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel

from taleward.books.book import Book, BookCover, BookPage, Clearance, Colophon
from taleward.books.clearing import clear_text
from taleward.books.folder import BOOK_FILE, PLAN_FILE
from taleward.books.illustrate import Illustrator
from taleward.books.plan import DEFAULT_STYLE, BookPlan
from taleward.books.plan_by_rules import plan_by_rules
from taleward.core.errors import ConfigurationError, Refused
from taleward.core.frozen_model import FrozenModel
from taleward.core.policy import Policy
from taleward.core.tale import Tale
from taleward.images.guard.picture_judge import PictureJudgeLike
from taleward.images.models.base import ImageModel
from taleward.images.picture import Picture
from taleward.images.prompt_spec import CastMember
from taleward.moderation.judges import judge as make_judge
from taleward.moderation.judges.base import Judge

DEFAULT_BAND = "6-8"


class BookProgress(FrozenModel):
    """A step of making a book.

    Attributes:
        step: `planned`, `judged` (the texts passed), `kept` or `drawn` (a picture), or `done`.
        page: The page, 0 for the cover; `None` for the whole book.
        pages: How many pages the book has.
        note: What went otherwise than asked; empty if nothing did.
    """

    step: Literal["planned", "judged", "kept", "drawn", "done"]
    page: int | None = None
    pages: int
    note: str = ""


OnProgress = Callable[[BookProgress], None]


def make_book(
    tale: Tale | str,
    *,
    images: ImageModel | str = "collage",
    judge: Judge | str = "embedded:judge",
    policy: Policy | str = "kids",
    band: str | None = None,
    pages: int | None = None,
    title: str | None = None,
    style: str = DEFAULT_STYLE,
    aspect_ratio: str = "4:3",
    seed: int = 0,
    candidates: int = 1,
    planner: BaseChatModel | str | None = None,
    cast: Sequence[CastMember] | None = None,
    picture_judges: Sequence[PictureJudgeLike] | None = None,
    max_cost_usd: float | None = None,
    folder: Path | str | None = None,
    on_progress: OnProgress | None = None,
) -> Book:
    """Make a picture book of a tale.

    The tale is judged, whole and page by page, before anything is drawn; each picture leaves through an image guard.

    Args:
        tale: A released tale, or the text of one.
        images: An image model, or the spec of one.
        judge: The judge of texts, or the spec of one.
        policy: The policy, if `judge` is a spec.
        band: The age band; the tale's own, or 6-8.
        pages: The number of pages, 1 to 24; by the length of the tale if `None`.
        title: The title; found by rules if `None`.
        style: The pictures' style, such as `"watercolor"`.
        aspect_ratio: The pictures' format.
        seed: Makes the book repeatable, with an image model that takes seeds.
        candidates: How many pictures to draw for each page; the best is taken.
        planner: A chat model that plans the book; by rules if `None`, and if the model's plan cannot be used.
        cast: Characters that the reader knows already; their looks stay.
        picture_judges: The judges of pictures, see `Illustrator`.
        max_cost_usd: What the pictures may cost together, in US dollars.
        folder: Where every step is kept. A book of the same tale that was begun there is finished.
        on_progress: Called with every step.

    Raises:
        Refused: If the tale was not released, or a text or a page's picture did not pass.
        InvalidInputs: If there is no text, or too much.
        ConfigurationError: If an option is out of range, or the folder holds another book.
    """
    text = tale if isinstance(tale, str) else tale.text
    band = band or (tale.lineage.band if isinstance(tale, Tale) else DEFAULT_BAND)
    the_judge = judge if isinstance(judge, Judge) else make_judge(judge, policy=policy, band=band)
    if the_judge.band != band:
        raise ConfigurationError(f"the judge is for {the_judge.band}; the book is for {band}.")
    path = None if folder is None else Path(folder)
    plan = _plan_in(path, text)
    if plan is None:
        plan = plan_book(
            tale, the_judge, planner=planner, pages=pages, title=title, style=style, aspect_ratio=aspect_ratio,
            seed=seed, cast=cast,
        )  # fmt: skip
    illustrator = Illustrator(
        images, the_judge, picture_judges=picture_judges, candidates=candidates, max_cost_usd=max_cost_usd
    )
    return finish_book(plan, illustrator, folder=path, on_progress=on_progress)


def plan_book(
    tale: Tale | str, judge: Judge, *, planner: BaseChatModel | str | None = None, **options: Any
) -> BookPlan:
    """Judge a tale and plan its book.

    Args:
        tale: A released tale, or the text of one.
        judge: The judge, whose band the book is for.
        planner: A chat model that plans the book; by rules if `None`.
        options: Options of `plan_by_rules`.

    Raises:
        Refused: If the tale was not released, or does not pass.
        InvalidInputs: If there is no text, or too much.
    """
    text = tale if isinstance(tale, str) else tale.text
    if text.strip():
        clear_text(judge, text, "the tale")
    options = {"policy": judge.policy, "band": judge.band, "created": _now(), "writer": _writer(tale), **options}
    options["tale_id"] = tale.id if isinstance(tale, Tale) else ""
    if planner is None:
        return plan_by_rules(text, **options)
    from taleward.books.plan_with_model import plan_with_model

    return plan_with_model(text, planner, **options)


def finish_book(
    plan: BookPlan,
    illustrator: Illustrator,
    *,
    folder: Path | str | None = None,
    before: Book | None = None,
    only: Collection[int] | None = None,
    on_progress: OnProgress | None = None,
) -> Book:
    """Make a book from its plan; what is there already, and still fits the plan, is kept.

    Args:
        plan: The plan, perhaps edited by a person: its texts are judged.
        illustrator: Who draws.
        folder: Where every step is kept.
        before: The book as it was; the one in the folder if `None`.
        only: The pages whose pictures may be drawn, 0 being the cover; all if `None`.
        on_progress: Called with every step.

    Raises:
        Refused: If a text or a page's picture did not pass; what is finished stays in the folder.
        ConfigurationError: If the judge is for another band, or the pictures would cost too much.
    """
    if illustrator.judge.band != plan.band:
        raise ConfigurationError(f"the judge is for {illustrator.judge.band}; the plan is for {plan.band}.")
    path = None if folder is None else Path(folder)
    if before is None and path is not None and (path / BOOK_FILE).exists():
        before = Book.load(path)
    tell = on_progress or (lambda _progress: None)
    book = judged_book(plan, illustrator, before)
    wanted = _to_draw(book, plan, illustrator, only)
    illustrator.check_estimate(len(wanted))
    if path is not None:
        plan.save(path)
        book.save(path)
    tell(BookProgress(step="judged", pages=len(plan.pages)))
    refused: list[str] = []
    for number in range(len(plan.pages) + 1):
        if number not in wanted:
            tell(BookProgress(step="kept", page=number, pages=len(plan.pages)))
            continue
        book = _draw(book, plan, illustrator, number)
        if path is not None:
            book.save(path)
        place = book.pages[number - 1] if number else book.cover
        reason = place.drawing.reason if place.drawing else ""
        if place.picture is None:
            refused.append(f"{f'page {number}' if number else 'the cover'}: {reason}")
        tell(BookProgress(step="drawn", page=number, pages=len(plan.pages), note=reason))
    if refused:
        raise Refused(
            f"these pictures did not pass, so the book is not complete: {'; '.join(refused)}",
            hint="Change what the pictures show in plan.yaml, and go on with `taleward book --out DIR --plan FILE`.",
        )
    tell(BookProgress(step="done", pages=len(plan.pages)))
    return book


def judged_book(plan: BookPlan, illustrator: Illustrator, before: Book | None) -> Book:
    """Return the book of a plan with texts that passed, and with the pictures of an earlier one on their pages."""
    judge = illustrator.judge
    known = _clearances(before, judge)

    def clear(text: str, what: str, context: str = "") -> Clearance:
        from taleward.core.tale import digest

        return known.get(digest(text)) or clear_text(judge, text, what, context=context)

    texts = [_tidy(page.text) for page in plan.pages]
    pages, told = [], ""
    for number, (planned, text) in enumerate(zip(plan.pages, texts, strict=True), 1):
        old = before.pages[number - 1] if before is not None and number <= len(before.pages) else None
        clearance = clear(text, f"the text of page {number}", told)
        fields = {"number": number, "text": text, "text_clearance": clearance, "shot": planned.shot}
        pages.append(BookPage.model_validate({**_picture_fields(old), **fields, "place": planned.place}))
        told += f"{text}\n\n"
    colophon = Colophon(
        taleward=version("taleward"),
        created=plan.created,
        writer=plan.writer,
        tale_id=plan.tale_id,
        judge=judge.spec,
        policy=judge.policy.id,
        picture_judges=tuple(p.spec for p in illustrator.guard.picture_judges),
    )
    return _with_credits(
        Book(
            title=plan.title,
            title_clearance=clear(plan.title, "the title"),
            band=plan.band,
            language=plan.language,
            pages=tuple(pages),
            clearance=clear("\n\n".join(texts), "the tale"),
            cover=before.cover if before is not None else BookCover(),
            cast=plan.cast,
            style=plan.style,
            seed=plan.seed,
            colophon=colophon,
            edits=before.edits if before is not None else (),
        )
    )


def _to_draw(book: Book, plan: BookPlan, illustrator: Illustrator, only: Collection[int] | None) -> set[int]:
    """Return the pages whose picture is missing or is not the one that the plan asks for; 0 is the cover."""
    wanted = set()
    for number, (_, place) in enumerate(book.illustrated()):
        if place.picture is None or (only is not None and number in only):
            wanted.add(number)
        elif only is None and place.drawing is not None:
            references = _references(book, illustrator, number)
            if place.drawing.key != illustrator.key(_prompt(plan, number), plan.picture_seed(number), references):
                wanted.add(number)
    return wanted


def _draw(book: Book, plan: BookPlan, illustrator: Illustrator, number: int) -> Book:
    prompt, seed = _prompt(plan, number), plan.picture_seed(number)
    references = _references(book, illustrator, number)
    key = illustrator.key(prompt, seed, references)
    place = book.pages[number - 1] if number else book.cover
    changed = bool(number and plan.pages[number - 1].changes)
    fields = illustrator.draw(
        prompt,
        seed,
        created=plan.created,
        key=key,
        references=references,
        start_from=place.picture if changed else None,
    )
    if number == 0:
        return _with_credits(book.model_copy(update={"cover": book.cover.model_copy(update=fields)}))
    pages = list(book.pages)
    pages[number - 1] = pages[number - 1].model_copy(update=fields)
    return _with_credits(book.model_copy(update={"pages": tuple(pages)}))


def _prompt(plan: BookPlan, number: int) -> Any:
    return plan.prompt(number) if number else plan.cover_prompt()


def _references(book: Book, illustrator: Illustrator, number: int) -> tuple[Picture, ...]:
    """Return the cover, which shows the cast, for models that follow pictures."""
    picture = book.cover.picture
    return (picture,) if number and picture is not None and illustrator.model.capabilities.references else ()


def _with_credits(book: Book) -> Book:
    models = dict.fromkeys(picture.lineage.model for picture in book.pictures)
    thanks = dict.fromkeys(credit for picture in book.pictures for credit in picture.credits)
    update = {"image_models": tuple(models), "credits": tuple(thanks)}
    return book.model_copy(update={"colophon": book.colophon.model_copy(update=update)})


def _clearances(before: Book | None, judge: Judge) -> dict[str, Clearance]:
    """Return the verdicts of an earlier book on its texts, if the same judge gave them."""
    if before is None or (before.band, before.colophon.policy) != (judge.band, judge.policy.id):
        return {}
    given = [before.title_clearance, before.clearance, *(page.text_clearance for page in before.pages)]
    return {c.sha256: c for c in given if all(verdict.judge == judge.spec for verdict in c.verdicts)}


def _picture_fields(page: BookPage | None) -> dict[str, Any]:
    names = ("picture", "picture_clearance", "alt_text", "alt_clearance", "prompt", "drawing")
    return {} if page is None else {name: getattr(page, name) for name in names}


def _plan_in(folder: Path | None, text: str) -> BookPlan | None:
    """Return the plan that a folder holds; `None` if there is none.

    Raises:
        ConfigurationError: If it is another tale's.
    """
    if folder is None or not (folder / PLAN_FILE).exists():
        if folder is not None and (folder / BOOK_FILE).exists():
            raise ConfigurationError(f"{folder} holds a book without its plan.", hint="Choose another folder.")
        return None
    plan = BookPlan.load(folder)
    if " ".join(" ".join(page.text for page in plan.pages).split()) != " ".join(text.split()):
        raise ConfigurationError(
            f"{folder} holds the book {plan.title!r}, of another tale.", hint="Choose another folder with --out."
        )
    return plan


def _writer(tale: Tale | str) -> str:
    if isinstance(tale, str):
        return "pasted"
    calls = tale.attempts[-1].calls if tale.attempts else ()
    return calls[-1].model if calls else "unknown"


def _now() -> datetime:
    """Return when the book is begun; `SOURCE_DATE_EPOCH` fixes it, so that its files are the same to the bit."""
    epoch = environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(epoch), UTC) if epoch.isdigit() else datetime.now(UTC).replace(microsecond=0)


def _tidy(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n") if part.strip())
