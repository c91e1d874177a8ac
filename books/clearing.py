"""The only ways into a book: texts that a judge passes, and pictures that an image guard released."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from taleward.books.book import Clearance
from taleward.core.errors import Refused
from taleward.core.tale import digest
from taleward.core.verdict import Passage, Verdict
from taleward.images.guard.guarded_picture import GuardedPicture
from taleward.images.picture import Picture
from taleward.images.picture_metadata import labeled
from taleward.moderation.judges.base import Judge


def clear_text(judge: Judge, text: str, what: str, *, context: str = "") -> Clearance:
    """Judge a text, and return what lets it into a book.

    Args:
        judge: The judge.
        text: The text.
        what: What it is, for the message, such as `"the text of page 3"`.
        context: The text before it.

    Raises:
        Refused: If it does not pass; the message names categories, not the text.
    """
    verdict = judge.invoke(Passage(text=text, context=context))
    if not verdict.passed:
        raise Refused(
            f"{what} did not pass the judge {verdict.judge} ({verdict.outcome}): {_why(verdict)}",
            hint="Change it, or choose a band that it fits.",
        )
    return Clearance(sha256=digest(text), verdicts=(verdict,))


def clear_picture(
    picture: Picture, result: GuardedPicture, alt_text: str, created: datetime
) -> tuple[Picture, Clearance]:
    """Return a released picture with its label as made by AI, and what lets it into a book.

    Args:
        picture: One of the released pictures.
        result: The result of the guard that released it.
        alt_text: What it shows; a judge has passed it.
        created: What the label says about when it was made.

    Raises:
        Refused: If the guard did not release it.
    """
    verdicts = released_verdicts(result).get(picture.sha256)
    if verdicts is None:
        raise Refused("this picture was not released by the image guard, so it cannot enter a book.")
    lineage = picture.lineage.model_copy(update={"created": created})
    marked = picture.model_copy(update={"alt_text": alt_text, "lineage": lineage})
    entered = Picture.from_bytes(
        labeled(marked),
        prompt=marked.prompt,
        lineage=lineage,
        alt_text=alt_text,
        seed=marked.seed,
        flags=marked.flags,
        credits=marked.credits,
    )
    # The label changes the file, not what can be seen.
    return entered, Clearance(sha256=entered.sha256, verdicts=verdicts)


def released_verdicts(result: GuardedPicture) -> Mapping[str, tuple[Verdict, ...]]:
    """Return the verdicts on each released picture, by its digest."""
    released = {picture.sha256 for picture in result.released_pictures}
    judged = result.attempts[-1].pictures if result.attempts else ()
    return {picture.sha256: picture.verdicts for picture in judged if picture.sha256 in released and picture.passed}


def _why(verdict: Verdict) -> str:
    return ", ".join(verdict.categories) or verdict.detail or "no reason given"
