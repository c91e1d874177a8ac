"""Events of a guarded stream. Only `text` events carry words for the reader."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from taleward.core.frozen_model import FrozenModel
from taleward.core.tale import Refusal, Tale
from taleward.core.verdict import Verdict


class TextEvent(FrozenModel):
    """A sentence passed and is released.

    Attributes:
        text: The sentence with the white space after it. All texts joined are the released text.
        start: Offset of its first character in the released text, in code points from 0.
        source: Who wrote the words: the `writer`, or the `policy`, whose closing words end a text that the writer could
            not.
    """

    type: Literal["text"] = "text"
    text: str = Field(min_length=1)
    start: int = Field(ge=0)
    source: Literal["writer", "policy"] = "writer"


class VerdictEvent(FrozenModel):
    """A sentence was judged or, at the end, the whole text.

    Attributes:
        start: Offset of the judged passage in the text.
        end: Offset after its last character.
        whole: Whether this is the check of the whole text.
        attempt: The number of the attempt that wrote it, from 1.
        verdict: The verdict. For a passage that did not pass, it comes without the passage's words unless the guard
            keeps drafts.
        held_s: Seconds from the passage's last character to the verdict.
    """

    type: Literal["verdict"] = "verdict"
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    whole: bool = False
    attempt: int = Field(ge=1)
    verdict: Verdict
    held_s: float = Field(ge=0.0)


class RevisionEvent(FrozenModel):
    """The writer was stopped and continues from the released text.

    Attributes:
        attempt: The number of the attempt that starts now.
        start: Offset at which it starts writing: the length of the released text.
        categories: The categories for which the dropped text failed.
        closing: Whether the writer is asked to end the text.
    """

    type: Literal["revision"] = "revision"
    attempt: int = Field(ge=2)
    start: int = Field(ge=0)
    categories: tuple[str, ...] = ()
    closing: bool = False


class RetractionEvent(FrozenModel):
    """A released passage must be withdrawn, because the text as a whole did not pass.

    Attributes:
        start: Offset of its first character.
        end: Offset after its last character.
        categories: The categories for which the text failed; empty if the judge named none.
    """

    type: Literal["retraction"] = "retraction"
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    categories: tuple[str, ...] = ()


class RefusalEvent(FrozenModel):
    """The generation ended without a released text.

    Attributes:
        refusal: The reason; show its `child_message` to the child.
    """

    type: Literal["refusal"] = "refusal"
    refusal: Refusal


class DoneEvent(FrozenModel):
    """The last event of every stream.

    Attributes:
        tale: What `invoke` would have returned; for the app, not for the child.
    """

    type: Literal["done"] = "done"
    tale: Tale


Event: TypeAlias = Annotated[
    TextEvent | VerdictEvent | RevisionEvent | RetractionEvent | RefusalEvent | DoneEvent,
    Field(discriminator="type"),
]
"""Any event, discriminated by `type`."""
