"""What a guard returns: a tale with its attempts, verdicts and lineage."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import AwareDatetime, Field, model_validator

from taleward.core.errors import Refused
from taleward.core.frozen_model import FrozenDict, FrozenModel
from taleward.core.html_display import tale_html
from taleward.core.policy import Probability
from taleward.core.verdict import Outcome, Verdict

RefusalReason = Literal["failed", "unjudged", "timeout", "input"]
"""Why nothing was released.

* `failed`: every draft was judged and none passed.
* `unjudged`: the last draft got no plain answer from the judge (abstained, unparsable, error).
* `timeout`: the budget of seconds ran out.
* `input`: what the writer was to write about did not pass.
"""


def digest(text: str) -> str:
    """SHA-256 of a text's UTF-8 bytes in hexadecimal; how records name a draft without holding it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class PromptVersion(FrozenModel):
    """The template that a draft was written from.

    Attributes:
        name: The template's name.
        version: The template's version.
    """

    name: str
    version: str


class ModelCall(FrozenModel):
    """One call of a model while a draft was written.

    Attributes:
        model: The model's spec, or the name it goes by.
        parameters: Sampling parameters the call was made with.
        seed: The seed, `None` where none was given.
        input_tokens: Tokens read, `None` where the model does not say.
        output_tokens: Tokens written, `None` where the model does not say.
        cost_usd: US dollars, `None` where the price is not known.
        duration_s: Seconds from call to answer.
    """

    model: str
    parameters: FrozenDict[str, str | int | float | bool | None] = FrozenDict()
    seed: int | None = None
    input_tokens: int | None = Field(default=None, ge=0)
    output_tokens: int | None = Field(default=None, ge=0)
    cost_usd: float | None = Field(default=None, ge=0.0)
    duration_s: float = Field(ge=0.0)


class StretchDecision(FrozenModel):
    """What became of one stretch of a draft that was judged while it was being written.

    Attributes:
        start: Offset of its first character in the draft.
        end: Offset behind its last character.
        outcome: The verdict's outcome.
        categories: Categories of the verdict's findings.
        held_s: Seconds from the stretch's last character to the verdict.
        at_s: Seconds from the attempt's beginning to the decision.
    """

    start: int = Field(ge=0)
    end: int = Field(ge=0)
    outcome: Outcome
    categories: tuple[str, ...] = ()
    held_s: float = Field(ge=0.0)
    at_s: float = Field(default=0.0, ge=0.0)


class Attempt(FrozenModel):
    """One draft and what the judge said of it.

    Attributes:
        number: 1 for the first.
        draft_sha256: `digest` of the draft. The draft itself is not kept, so that a refused text does not
            travel with the tale.
        draft: The draft, only where the guard was told to keep drafts.
        characters: The draft's length.
        verdict: The judge's answer.
        calls: The model calls that wrote it; empty where an earlier draft was judged again.
        writing_s: Seconds spent writing; while streaming, the judging of its stretches is within them.
        decisions: Its stretches, where it was judged while it was being written.
        ranks: Where drafts competed: `safety`, `relevance`, `variety` and `total`, each in 0..1.
    """

    number: int = Field(ge=1)
    draft_sha256: str
    draft: str | None = Field(default=None, repr=False)
    characters: int = Field(ge=0)
    verdict: Verdict
    calls: tuple[ModelCall, ...] = ()
    writing_s: float = Field(default=0.0, ge=0.0)
    decisions: tuple[StretchDecision, ...] = ()
    ranks: FrozenDict[str, Probability] = FrozenDict()


class Lineage(FrozenModel):
    """Where a tale comes from.

    Attributes:
        taleward: Version of this library.
        prompt: The template, `None` where the writer has none.
        judge: The judge's spec.
        policy: The policy, as `name@version`.
        band: The age band.
        started_at: When the guard began.
        duration_s: Seconds from then to the end.
        closed: Whether the guard had the text brought to its end because the attempts were spent.
    """

    taleward: str
    prompt: PromptVersion | None = None
    judge: str
    policy: str
    band: str
    started_at: AwareDatetime
    duration_s: float = Field(ge=0.0)
    closed: bool = False


class Refusal(FrozenModel):
    """Why there is no text.

    Attributes:
        reason: See `RefusalReason`.
        message: For the people who run the app.
        child_message: For the child who waits; says nothing of what was written.
        categories: Categories of the findings on the last draft, or on the inputs.
    """

    reason: RefusalReason
    message: str
    child_message: str
    categories: tuple[str, ...] = ()


class Tale(FrozenModel):
    """The end of a guarded generation: a released text, or a refusal.

    A tale with text cannot be made unless the last attempt's draft is that very text and passed.

    Attributes:
        id: Names the tale in records and feedback.
        released_text: The text that may leave; read it as `text`.
        refusal: Why there is none.
        attempts: Every draft with its verdict, in order.
        lineage: Where the tale comes from.
    """

    id: str = Field(min_length=1)
    released_text: str | None = None
    refusal: Refusal | None = None
    attempts: tuple[Attempt, ...] = ()
    lineage: Lineage

    @model_validator(mode="after")
    def _only_what_passed(self) -> Tale:
        if (self.released_text is None) == (self.refusal is None):
            msg = "a tale has either a released text or a refusal"
            raise ValueError(msg)
        if self.released_text is not None:
            last = self.attempts[-1] if self.attempts else None
            if last is None or not last.verdict.passed or last.draft_sha256 != digest(self.released_text):
                msg = "the released text must be the last attempt's draft, and its verdict a pass"
                raise ValueError(msg)
        return self

    def _repr_html_(self) -> str:
        return tale_html(self)

    @property
    def released(self) -> bool:
        """Whether there is a text."""
        return self.released_text is not None

    @property
    def text(self) -> str:
        """The released text.

        Raises:
            Refused: Nothing was released; the message says why.
        """
        if self.released_text is None:
            reason = self.refusal.message if self.refusal else "no text"
            raise Refused(
                f"this tale was not released: {reason}",
                hint="Check `tale.released` first, or show `tale.refusal.child_message`.",
            )
        return self.released_text

    @property
    def verdict(self) -> Verdict | None:
        """The verdict on the last draft; `None` where no draft was judged."""
        return self.attempts[-1].verdict if self.attempts else None
