"""Change a finished book in its folder: only what a change concerns is judged and drawn again; history is kept."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage

from taleward.agents.untrusted_text import DATA_RULE, fence_text
from taleward.backends.chat_models import chat_model
from taleward.books.book import Book, BookEdit
from taleward.books.changes import is_understood
from taleward.books.folder import BOOK_FILE, HISTORY, write_whole
from taleward.books.illustrate import Illustrator
from taleward.books.make import OnProgress, finish_book
from taleward.books.plan import BookPlan
from taleward.books.plan_by_rules import plan_by_rules
from taleward.books.seen import seen_on
from taleward.books.swap import swap_in_plan
from taleward.core.errors import ConfigurationError, InvalidInputs, Refused
from taleward.images.models.base import ImageModel
from taleward.moderation.judges import judge as make_judge
from taleward.moderation.judges.base import Judge

Kind = Literal["redo", "text", "swap", "style", "band"]


class BookEditor:
    """Changes the book in a folder.

    Args:
        folder: The book's folder.
        images: An image model, or the spec of one; the one that drew the book if `None`.
        judge: The judge of texts and prompts, or the spec of one.
        policy: The policy, if `judge` is a spec.
        max_cost_usd: What the new pictures may cost together, in US dollars.
        candidates: How many pictures to draw for each page; the best is taken.
        on_progress: Called with every step.

    Raises:
        InvalidFile: If there is no book, or it cannot be read.
        IntegrityError: If something else than Taleward has changed it.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        images: ImageModel | str | None = None,
        judge: Judge | str = "embedded:judge",
        policy: str = "kids",
        max_cost_usd: float | None = None,
        candidates: int = 1,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.book, self.plan = Book.load(self.folder), BookPlan.load(self.folder)
        self._judge, self._policy, self._on_progress = judge, policy, on_progress
        self._images = images or next((p.drawing.model for p in self.book.pages if p.drawing is not None), "collage")
        self._options: dict[str, Any] = {"max_cost_usd": max_cost_usd, "candidates": candidates}

    def redo(self, page: int, request: str = "") -> Book:
        """Draw a page's picture again.

        Args:
            page: The page.
            request: What to change, such as `"make the owl smaller"`; without it the same is drawn with another seed.

        Raises:
            Refused: If the new picture does not pass; the book stays as it was.
        """
        planned = self._page(page)
        request = " ".join(request.split())
        update: dict[str, Any] = {"changes": (*planned.changes, request)} if request else {}
        if not request or not is_understood(self.plan.prompt(page), request):
            # What is understood changes that alone; for anything else another seed at least gives another picture.
            update["again"] = planned.again + 1
        return self._apply("redo", self._with_page(page, update), only={page}, page=page, request=request)

    def change_text(self, page: int, text: str) -> Book:
        """Give a page another text; its picture is drawn again if there is something else to be seen.

        Raises:
            Refused: If the text does not pass; the book stays as it was.
        """
        self._page(page)
        if not text.strip():
            raise InvalidInputs(None, [f"page {page} needs a text; got none"])
        texts = [p.text for p in self.plan.pages]
        texts[page - 1] = text.strip()
        seen = seen_on(texts, self.plan.cast)[page - 1]
        place = seen.place if any(p.name == seen.place for p in self.plan.places) else self._page(page).place
        update = {"text": text.strip(), "shows": seen.shows, "things": seen.things, "cast": seen.cast}
        plan = self._with_page(page, {**update, "place": place or seen.place, "light": seen.light, "changes": ()})
        return self._apply("text", plan, only=self._changed(plan), page=page)

    def swap(self, old: str, new: str) -> Book:
        """Replace a character in every text and picture, see `swap_in_plan`."""
        plan = swap_in_plan(self.plan, old, new)
        return self._apply("swap", plan, only=self._changed(plan), request=f"{old} by {new}")

    def restyle(self, style: str) -> Book:
        """Draw every picture in another style."""
        if not style.strip():
            raise InvalidInputs(None, ["say which style, such as 'crayon'; got nothing"])
        plan = self.plan.model_copy(update={"style": " ".join(style.split())})
        return self._apply("style", plan, only=None, request=style)

    def reband(self, band: str, writer: BaseChatModel | str | None = None, **options: Any) -> Book:
        """Have the tale told again for another age band, with the same cast.

        Args:
            band: The band.
            writer: A chat model that follows instructions.
            options: Options of the writer, if it is a spec.

        Raises:
            ConfigurationError: If there is no writer.
            Refused: If the new text does not pass.
        """
        if writer is None:
            raise ConfigurationError(
                f"for {band} the tale has to be told in other words, and there is no writer to tell it.",
                hint="Name one that follows instructions, such as openai:gpt-5-mini.",
            )
        judge = self._judge_for(band)
        rules = judge.policy.band(band)
        model = chat_model(writer, **options)
        message = (
            f"Retell the story for readers of {rules.ages[0]} to {rules.ages[1]} years. {rules.writing} Keep its "
            f"characters, their names and what happens. Answer with the story alone. {DATA_RULE}"
        )
        text = model.invoke([SystemMessage(message), HumanMessage(fence_text(self.book.text))]).text.strip()
        plan = plan_by_rules(
            text, policy=judge.policy, band=band, title=self.plan.title, style=self.plan.style, seed=self.plan.seed,
            cast=self.plan.cast, aspect_ratio=self.plan.aspect_ratio, created=self.plan.created,
            writer=getattr(model, "model_name", None) or str(writer), tale_id=self.plan.tale_id,
        )  # fmt: skip
        return self._apply("band", plan, only=range(len(plan.pages) + 1), request=band)

    def _page(self, page: int) -> Any:
        if not 1 <= page <= len(self.plan.pages):
            raise InvalidInputs(None, [f"the book has pages 1 to {len(self.plan.pages)}; got {page}"])
        return self.plan.pages[page - 1]

    def _with_page(self, page: int, update: dict[str, Any]) -> BookPlan:
        pages = list(self.plan.pages)
        pages[page - 1] = pages[page - 1].model_copy(update=update)
        return BookPlan.model_validate({**dict(self.plan), "pages": tuple(pages)})

    def _changed(self, plan: BookPlan) -> set[int]:
        """Return the pages whose picture has something else to show; 0 is the cover."""
        changed = {
            n
            for n in range(1, len(plan.pages) + 1)
            if plan.prompt(n) != self.plan.prompt(n) or plan.picture_seed(n) != self.plan.picture_seed(n)
        }
        return changed | ({0} if _people(plan.cover_prompt()) != _people(self.plan.cover_prompt()) else set())

    def _judge_for(self, band: str) -> Judge:
        if isinstance(self._judge, Judge):
            return self._judge
        return make_judge(self._judge, policy=self._policy, band=band)

    def _apply(
        self, kind: Kind, plan: BookPlan, *, only: Collection[int] | None, page: int | None = None, request: str = ""
    ) -> Book:
        illustrator = Illustrator(self._images, self._judge_for(plan.band), **self._options)
        number = len(list((self.folder / HISTORY).glob("*.json"))) + 1
        name = f"{number:04}.json"
        kept = (self.folder / HISTORY / name, self.folder / HISTORY / f"{number:04}.yaml")
        write_whole(kept[0], (self.folder / BOOK_FILE).read_bytes())
        self.plan.save(kept[1])
        edit = BookEdit(kind=kind, page=page, request=request, at=datetime.now(UTC), before=f"{HISTORY}/{name}")
        before = self.book.model_copy(update={"edits": (*self.book.edits, edit)})
        try:
            book = finish_book(
                plan, illustrator, folder=self.folder, before=before, only=only, on_progress=self._on_progress
            )
        except Refused:
            # Nothing has changed, so that there is no earlier version to keep.
            self.plan.save(self.folder)
            self.book.save(self.folder)
            for file in kept:
                file.unlink()
            raise
        self.book, self.plan = book, plan
        return book


def _people(prompt: Any) -> Any:
    return prompt.cast
