"""The pictures of a book: drawn through an image guard, the best of several candidates, and never without one."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from taleward.books.book import Clearance, Drawing, PictureCandidate
from taleward.books.clearing import clear_picture, clear_text
from taleward.core.errors import BackendError, ConfigurationError, InvalidInputs, Refused
from taleward.core.redaction import format_error
from taleward.images.guard.guarded_picture import GuardedPicture
from taleward.images.guard.image_guard import ImageGuard
from taleward.images.guard.picture_judge import PictureJudgeLike
from taleward.images.models.base import ImageModel
from taleward.images.models.factory import image_model
from taleward.images.models.request import ImageRequest
from taleward.images.picture import Picture
from taleward.images.prompt_spec import PromptSpec
from taleward.moderation.judges.base import Judge

_log = logging.getLogger(__name__)
_FREE = ("collage", "diffusers", "midjourney")
"""Providers that run here, so that a picture costs nothing."""
_PLAIN_ALT = "A picture of this page."


class Illustrator:
    """Draws the pictures of a book, one after the other.

    Args:
        images: An image model, or the spec of one.
        judge: The judge of prompts and alt texts; its policy and band hold for the pictures too.
        picture_judges: The judges of pictures; by default `picture-checks`, and unless it is the collage `open-nsfw`.
        candidates: How many pictures to draw for each place in the book; the best is taken.
        attempts: How often the model draws at most, if no picture passes.
        fallback: Who draws if no picture of the model passes, or if the money is spent.
        max_cost_usd: What all pictures may cost together, in US dollars; `None` for no limit.

    Raises:
        ConfigurationError: If an option is out of range, or a limit is set and the price of the model is unknown.
    """

    def __init__(
        self,
        images: ImageModel | str,
        judge: Judge,
        *,
        picture_judges: Sequence[PictureJudgeLike] | None = None,
        candidates: int = 1,
        attempts: int = 2,
        fallback: ImageModel | str | None = "collage",
        max_cost_usd: float | None = None,
    ) -> None:
        if candidates < 1:
            raise ConfigurationError(f"candidates must be 1 or more; got {candidates}.")
        if max_cost_usd is not None and not max_cost_usd >= 0:
            raise ConfigurationError(f"max_cost_usd must be 0 or more; got {max_cost_usd}.")
        self.model, self.judge, self.candidates = image_model(images), judge, candidates
        self.max_cost_usd, self.spent_usd = max_cost_usd, 0.0
        self._highest_usd = self.price_usd or 0.0
        if max_cost_usd is not None and self.price_usd is None and not getattr(self.model, "_price", None):
            raise ConfigurationError(
                f"the price of {self.model.spec} is unknown, so that a limit of {max_cost_usd:.2f} US dollars cannot "
                "be kept.",
                hint="Create the model with price_usd, the US dollars per picture.",
            )
        is_collage = self.model.spec.startswith("collage")
        judges = picture_judges or (("picture-checks",) if is_collage else ("picture-checks", "open-nsfw"))
        self.guard = ImageGuard(
            self.model, judge, picture_judges=judges, attempts=attempts, n=candidates,
            fallback=None if is_collage else fallback,
        )  # fmt: skip
        self._fallback = self.guard
        if not is_collage and fallback is not None:
            self._fallback = ImageGuard(fallback, judge, picture_judges=judges, attempts=attempts, n=1, fallback=None)

    @property
    def price_usd(self) -> float | None:
        """US dollars for one picture: 0 for a model that runs here, `None` if it is not known beforehand."""
        if self.model.spec.partition(":")[0] in _FREE:
            return 0.0
        price: float | None = getattr(self.model, "price_usd", None)
        return price

    def estimate_usd(self, pictures: int) -> float | None:
        """Return what that many pictures cost if each passes at once, in US dollars; `None` if it is not known."""
        return None if self.price_usd is None else self.price_usd * pictures * self.candidates

    def check_estimate(self, pictures: int) -> None:
        """Check, before anything is bought, that the money is enough.

        Raises:
            ConfigurationError: If it is not.
        """
        estimate = self.estimate_usd(pictures)
        if self.max_cost_usd is not None and estimate is not None and estimate > self.max_cost_usd:
            raise ConfigurationError(
                f"{pictures} pictures of {self.model.spec} cost {estimate:.2f} US dollars, above the limit of "
                f"{self.max_cost_usd:.2f}.",
                hint="Raise the limit, take fewer pages or candidates, or draw with the collage, which costs nothing.",
            )

    def key(self, prompt: PromptSpec, seed: int, references: Sequence[Picture] = ()) -> str:
        """Return what identifies a picture before it is drawn: prompt, model, seed, band and candidates."""
        request = ImageRequest(prompt=prompt, seed=seed, references=tuple(references))
        return request.sha256(model=self.model.spec, band=self.judge.band, candidates=self.candidates)

    def draw(
        self,
        prompt: PromptSpec,
        seed: int,
        *,
        created: datetime,
        key: str,
        references: Sequence[Picture] = (),
        start_from: Picture | None = None,
    ) -> dict[str, Any]:
        """Draw a picture; return the fields of its page.

        If the model's pictures do not pass, or it fails, the fallback draws; if the prompt itself does not pass, a
        plainer one is drawn: who is there, and where.

        Args:
            prompt: What to draw.
            seed: The seed.
            created: When the book was begun.
            key: See `key`.
            references: Pictures of the characters, for models that follow some.
            start_from: The picture to change, for models that change pictures.

        Returns:
            `picture`, `picture_clearance`, `alt_text`, `alt_clearance`, `prompt`, `drawing`; no picture if none passes.
        """
        reason, spent_before = "", self.spent_usd
        for spec, guard in ((prompt, self.guard), (prompt, self._fallback), (_plainer(prompt), self._fallback)):
            if guard is self.guard and not self._can_pay():
                reason = f"the limit of {self.max_cost_usd:.2f} US dollars is reached"
                if self._fallback is not self.guard:
                    continue
            result, failure = self._ask(guard, spec, seed, references, start_from)
            if result is None or not result.released:
                reason = reason or failure
                continue
            if result.drawer == "fallback" and not reason:
                reason = next((a.failure or a.blocked for a in result.attempts if a.failure or a.blocked), "")
                reason = reason or "no picture of the model passed its judges"
            return self._entered(spec, result, key, created, reason, self.spent_usd - spent_before)
        drawing = Drawing(key=key, model=self.model.spec, reason=reason, cost_usd=self.spent_usd - spent_before)
        return {"prompt": prompt, "drawing": drawing, **dict.fromkeys(_EMPTY), "alt_text": ""}

    def _ask(
        self, guard: ImageGuard, prompt: PromptSpec, seed: int, references: Sequence[Picture], start: Picture | None
    ) -> tuple[GuardedPicture | None, str]:
        can = guard.model.capabilities
        fields: dict[str, Any] = {"prompt": prompt, "seed": seed if can.seed else None}
        fields["references"] = tuple(references)[: can.references]
        if start is not None and can.image_to_image and can.text_to_image:
            fields["init_image"] = start
        try:
            result = guard.invoke(ImageRequest.model_validate(fields))
        except (BackendError, InvalidInputs) as error:
            _log.warning("a page's picture could not be drawn: %s", format_error(error))
            return None, format_error(error)
        self._book(result)
        return result, "" if result.refusal is None else result.refusal.message

    def _entered(
        self, prompt: PromptSpec, result: GuardedPicture, key: str, created: datetime, reason: str, cost_usd: float
    ) -> dict[str, Any]:
        scored = [(_score(picture), picture) for picture in result.pictures]
        best = max(range(len(scored)), key=lambda i: (sum(s or 0.0 for s in scored[i][0]), -i))
        picture = scored[best][1]
        alt_text, alt_clearance = self._alt_text(picture, prompt)
        entered, clearance = clear_picture(picture, result, alt_text, created)
        missing = str(picture.lineage.parameters.get("not_drawn") or "")
        drawing = Drawing(
            key=key,
            model=self.model.spec,
            drawer="fallback" if picture.lineage.model != self.model.spec else "model",
            reason=reason,
            candidates=tuple(
                PictureCandidate(sha256=p.sha256, seed=p.seed, coverage=s[0], likeness=s[1], chosen=i == best)
                for i, (s, p) in enumerate(scored)
            ),
            not_drawn=tuple(word for word in missing.split("; ") if word),
            cost_usd=cost_usd,
        )
        return {
            "picture": entered,
            "picture_clearance": clearance,
            "alt_text": alt_text,
            "alt_clearance": alt_clearance,
            "prompt": prompt,
            "drawing": drawing,
        }

    def _alt_text(self, picture: Picture, prompt: PromptSpec) -> tuple[str, Clearance]:
        """Return the first description that the judge passes."""
        for text in (picture.alt_text, f"{prompt.subject}."):
            try:
                return text, clear_text(self.judge, text, "an alt text")
            except Refused as error:
                _log.warning("%s", error)
        return _PLAIN_ALT, clear_text(self.judge, _PLAIN_ALT, "an alt text")

    def _can_pay(self) -> bool:
        if self.max_cost_usd is None or self.price_usd == 0.0:
            return True
        return self.spent_usd + self._highest_usd * self.candidates <= self.max_cost_usd

    def _book(self, result: GuardedPicture) -> None:
        costs = [p.lineage.cost_usd or 0.0 for attempt in result.attempts for p in attempt.pictures]
        self.spent_usd += sum(costs)
        self._highest_usd = max([self._highest_usd, *costs])


_EMPTY = ("picture", "picture_clearance", "alt_clearance")


def _plainer(prompt: PromptSpec) -> PromptSpec:
    """Return a prompt for who is there and where, without what they do."""
    who = " and ".join(member.name for member in prompt.cast) or prompt.setting or "a quiet place"
    return prompt.model_copy(update={"subject": who, "details": (), "action": ""})


def _score(picture: Picture) -> tuple[float | None, float | None]:
    """Return how much of what was asked for a picture shows, and of whose looks, as far as its model says so."""
    parameters = picture.lineage.parameters
    if "drawn" not in parameters:
        return None, None
    drawn = [thing for thing in str(parameters["drawn"]).split("; ") if thing]
    missing = [word for word in str(parameters.get("not_drawn", "")).split("; ") if _is_thing(word, picture.prompt)]
    coverage = len(drawn) / (len(drawn) + len(missing)) if drawn or missing else 1.0
    cast, shown = picture.prompt.cast, picture.alt_text.casefold()
    likeness = sum(member.name.casefold() in shown for member in cast) / len(cast) if cast else 1.0
    return coverage, likeness


def _is_thing(word: str, prompt: PromptSpec) -> bool:
    """Whether a word that was not drawn names a thing in the prompt, not what somebody does."""
    article = r"\b(?:an?|the|his|her|its|their|some|one|two|three|many)"
    return bool(word and re.search(rf"{article} (?:[\w-]+ ){{0,2}}?{re.escape(word)}\b", prompt.scene, re.IGNORECASE))
