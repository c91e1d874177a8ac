"""What a guard says while a tale is being told. Only `text` events hold words for the reader."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from taleward.core.frozen_model import FrozenModel
from taleward.core.tale import Refusal, Tale
from taleward.core.verdict import Verdict


class TextEvent(FrozenModel):
    """A sentence that passed.

    Attributes:
        text: The words, with the white space behind them; all of them, joined, are what was written.
        start: Offset of the first character in the told text, in code points from 0.
    """

    type: Literal["text"] = "text"
    text: str = Field(min_length=1)
    start: int = Field(ge=0)


class VerdictEvent(FrozenModel):
    """A sentence, or at the end the whole text, was judged.

    Attributes:
        start: Offset of the judged stretch in the text.
        end: Offset behind it.
        whole: Whether it is the check of the whole text.
        attempt: The attempt that wrote it.
        verdict: The answer. Findings of a stretch that did not pass come without its words, unless the guard keeps
            drafts.
        held_s: Seconds from the stretch's last character to the verdict.
    """

    type: Literal["verdict"] = "verdict"
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    whole: bool = False
    attempt: int = Field(ge=1)
    verdict: Verdict
    held_s: float = Field(ge=0.0)


class RevisionEvent(FrozenModel):
    """The writer was stopped and goes on from the told text.

    Attributes:
        attempt: The attempt that begins now.
        start: Offset from which it writes: the length of the told text.
        categories: What the dropped part was turned down for.
        closing: Whether it is asked to bring the text to its end.
    """

    type: Literal["revision"] = "revision"
    attempt: int = Field(ge=2)
    start: int = Field(ge=0)
    categories: tuple[str, ...] = ()
    closing: bool = False


class RetractionEvent(FrozenModel):
    """A told stretch must be withdrawn: the text as a whole was not released.

    Attributes:
        start: Offset of its first character.
        end: Offset behind its last character.
        categories: Why, where the judge named any.
    """

    type: Literal["retraction"] = "retraction"
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    categories: tuple[str, ...] = ()


class RefusalEvent(FrozenModel):
    """There will be no text.

    Attributes:
        refusal: Why; its `child_message` is for the child.
    """

    type: Literal["refusal"] = "refusal"
    refusal: Refusal


class DoneEvent(FrozenModel):
    """The last event.

    Attributes:
        tale: What `invoke` would have returned. It is for the app, not for the child.
    """

    type: Literal["done"] = "done"
    tale: Tale


Event: TypeAlias = Annotated[
    TextEvent | VerdictEvent | RevisionEvent | RetractionEvent | RefusalEvent | DoneEvent,
    Field(discriminator="type"),
]
"""Any of the events; `type` tells which."""
