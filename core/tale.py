"""The tale that a guard returns, with its attempts, verdicts and lineage."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import AwareDatetime, Field, model_validator

from taleward.core.errors import Refused
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel, ValidatedModel
from taleward.core.html_display import tale_html
from taleward.core.policy import Probability
from taleward.core.verdict import Outcome, Verdict

RefusalReason = Literal["failed", "unjudged", "timeout", "input"]
"""Why nothing was released.

* `failed`: every draft was judged and none passed.
* `unjudged`: the judge reached no decision on the last draft (`abstain`, `unparsable` or `error`).
* `timeout`: the time budget ran out.
* `input`: the inputs did not pass.
"""


def digest(text: str) -> str:
    """Return the SHA-256 of a text's UTF-8 bytes in hexadecimal, which identifies a draft without storing it."""
    # JSON from a server can contain lone surrogates, which plain UTF-8 cannot encode.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class ChatTurn(FrozenModel):
    """One message of a conversation, in the form that chat templates read.

    Attributes:
        role: Who says it.
        content: The text.
    """

    role: Literal["system", "user", "assistant"]
    content: str = Field(min_length=1)


class PromptVersion(FrozenModel):
    """The template from which a draft was written.

    Attributes:
        name: The template's name.
        version: The template's version.
    """

    name: str
    version: str


class ModelCall(FrozenModel):
    """One model call made while writing a draft.

    Attributes:
        model: The model's spec or name.
        parameters: The sampling parameters.
        seed: The seed, `None` if unset.
        input_tokens: Tokens in the prompt, `None` if not reported.
        output_tokens: Tokens generated, `None` if not reported.
        cost_usd: Cost in US dollars, `None` if the price is unknown.
        duration_s: Seconds from the call to its answer.
    """

    model: str
    parameters: FrozenMapping[str, str | int | float | bool | None] = FrozenDict()
    seed: int | None = None
    input_tokens: int | None = Field(default=None, ge=0)
    output_tokens: int | None = Field(default=None, ge=0)
    cost_usd: float | None = Field(default=None, ge=0.0)
    duration_s: float = Field(ge=0.0)


class StretchDecision(FrozenModel):
    """The decision on one passage of a draft that was judged while it was being written.

    Attributes:
        start: Offset of the passage's first character in the draft.
        end: Offset after its last character.
        outcome: The verdict's outcome.
        categories: The categories of the verdict's findings.
        held_s: Seconds from the passage's last character to the verdict.
        at_s: Seconds from the start of the attempt to the decision.
    """

    start: int = Field(ge=0)
    end: int = Field(ge=0)
    outcome: Outcome
    categories: tuple[str, ...] = ()
    held_s: float = Field(ge=0.0)
    at_s: float = Field(default=0.0, ge=0.0)


class Attempt(FrozenModel):
    """One draft and its verdict.

    Attributes:
        number: The attempt's number, from 1.
        draft_sha256: `digest` of the draft. The draft itself is dropped by default, so that a refused text does not
            travel with the tale.
        draft: The draft, if the guard keeps drafts.
        messages: What the writer's model was sent for the first attempt, if the guard keeps drafts; empty if it was not
            one plain conversation: for a writer without a chat model, or with several different calls.
        characters: The draft's length in code points.
        verdict: The judge's verdict.
        calls: The model calls that wrote the draft; empty if an earlier draft was judged again.
        writing_s: Seconds spent writing; for a stream, this includes judging its passages.
        decisions: The decision on each passage, if the draft was judged while it was being written.
        ranks: For drafts that competed: `safety`, `relevance`, `variety` and `total`, each from 0 to 1.
    """

    number: int = Field(ge=1)
    draft_sha256: str
    draft: str | None = Field(default=None, repr=False)
    messages: tuple[ChatTurn, ...] = Field(default=(), repr=False)
    characters: int = Field(ge=0)
    verdict: Verdict
    calls: tuple[ModelCall, ...] = ()
    writing_s: float = Field(default=0.0, ge=0.0)
    decisions: tuple[StretchDecision, ...] = ()
    ranks: FrozenMapping[str, Probability] = FrozenDict()


class Lineage(FrozenModel):
    """How a tale was made.

    Attributes:
        taleward: The version of Taleward.
        prompt: The template, `None` if the writer has none.
        judge: The judge's spec.
        policy: The policy's id, `name@version`.
        band: The age band.
        started_at: When the guard started.
        duration_s: Seconds from start to end.
        closed_by: Who ended the text because no attempts were left: the `writer`, who was asked to, or the `policy`,
            whose closing words no model wrote. `None` if the text ended by itself.
    """

    taleward: str
    prompt: PromptVersion | None = None
    judge: str
    policy: str
    band: str
    started_at: AwareDatetime
    duration_s: float = Field(ge=0.0)
    closed_by: Literal["writer", "policy"] | None = None


class Refusal(FrozenModel):
    """Why no text was released.

    Attributes:
        reason: The kind of refusal, see `RefusalReason`.
        message: An explanation for the people who run the app.
        child_message: A message to show to the child; reveals nothing of the draft.
        categories: The categories of the findings in the last draft or in the inputs.
    """

    reason: RefusalReason
    message: str
    child_message: str
    categories: tuple[str, ...] = ()


class Tale(ValidatedModel):
    """The result of a guarded generation: a released text or a refusal.

    A tale with a text cannot be created unless the last attempt's draft is that very text and passed.

    Attributes:
        id: Identifies the tale in records and feedback.
        released_text: The released text, `None` if refused; `text` raises instead.
        refusal: Why no text was released, `None` if one was.
        attempts: Every attempt, in order.
        lineage: How the tale was made.
    """

    id: str = Field(min_length=1)
    released_text: str | None = None
    refusal: Refusal | None = None
    attempts: tuple[Attempt, ...] = ()
    lineage: Lineage

    @model_validator(mode="after")
    def _check_release(self) -> Tale:
        if (self.released_text is None) == (self.refusal is None):
            msg = "a tale has either a released text or a refusal"
            raise ValueError(msg)
        if self.released_text is not None:
            # Compared by digest, since the attempt has usually dropped its draft.
            last = self.attempts[-1] if self.attempts else None
            if last is None or not last.verdict.passed or last.draft_sha256 != digest(self.released_text):
                msg = "the released text must be the last attempt's draft, and its verdict a pass"
                raise ValueError(msg)
        return self

    def _repr_html_(self) -> str:
        return tale_html(self)

    def without_drafts(self) -> Tale:
        """Return the tale without its drafts and prompts, and without the words of drafts that were not released.

        The verdicts on unreleased drafts keep outcome, scores, categories and severities; see `Verdict.without_words`.
        """
        attempts = []
        for attempt in self.attempts:
            is_released = self.released_text is not None and attempt is self.attempts[-1]
            verdict = attempt.verdict if is_released else attempt.verdict.without_words(attempt.draft or "")
            attempts.append(attempt.model_copy(update={"draft": None, "messages": (), "verdict": verdict}))
        return self.model_copy(update={"attempts": tuple(attempts)})

    @property
    def released(self) -> bool:
        """Whether a text was released."""
        return self.released_text is not None

    @property
    def text(self) -> str:
        """The released text.

        Raises:
            Refused: If no text was released; the message says why.
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
        """The verdict on the last draft; `None` if no draft was judged."""
        return self.attempts[-1].verdict if self.attempts else None
