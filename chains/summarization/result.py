"""What a summarizer answers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from taleward.core.frozen_model import FrozenModel
from taleward.core.policy import Probability
from taleward.core.tale import PromptVersion

SummaryMethod = Literal["extractive", "encoder-decoder", "chat"]


class SourceSpan(FrozenModel):
    """A place in the text that was summarised.

    Attributes:
        quote: Its words.
        start: Offset of its first character, in Unicode code points from 0.
        end: Offset behind its last one.
    """

    quote: str
    start: int = Field(ge=0)
    end: int = Field(ge=0)


class Support(FrozenModel):
    """How well a summary's sentence is borne out by the text.

    Attributes:
        sentence: The sentence.
        score: From 0 to 1.
        supported: Whether that is enough.
        source: The place in the text that bears it out best; `None` where none was looked for.
        why: Why it is not supported.
    """

    sentence: str
    score: Probability
    supported: bool
    source: SourceSpan | None = None
    why: str = ""


class Faithfulness(FrozenModel):
    """Whether a summary says only what its text says.

    Attributes:
        outcome: `checked`; or `unparsable` where the model that was asked gave no plain answer.
        sentences: Each of its sentences, in order.
        by: What checked it.
        detail: Why there is no plain answer.
    """

    outcome: Literal["checked", "unparsable"] = "checked"
    sentences: tuple[Support, ...] = ()
    by: str
    detail: str = ""

    @property
    def score(self) -> float:
        """The share of supported sentences, 0..1; 0 where nothing was checked."""
        if not self.sentences:
            return 0.0
        return sum(support.supported for support in self.sentences) / len(self.sentences)

    @property
    def faithful(self) -> bool:
        """Whether it was checked and every sentence is supported."""
        return self.outcome == "checked" and all(support.supported for support in self.sentences)


class Summary(FrozenModel):
    """A summary, and where it comes from.

    Attributes:
        text: The summary; empty for a blank text.
        method: How it was made.
        spans: The sentences that an extractive summary took from the text, in their order; `text` is their quotes,
            joined by spaces.
        compression: The summary's words for each word of the text; 0 for a blank text.
        parts: Parts that the text was read in; more than one where it did not fit the model.
        rounds: Times that summaries were summarised again; 0 for a text that was read whole.
        faithfulness: Whether it says only what the text says; `None` where that was not checked.
        model: The model's spec.
        prompt: The task.
    """

    text: str
    method: SummaryMethod
    spans: tuple[SourceSpan, ...] = ()
    compression: float = Field(ge=0.0)
    parts: int = Field(default=1, ge=0)
    rounds: int = Field(default=0, ge=0)
    faithfulness: Faithfulness | None = None
    model: str
    prompt: PromptVersion

    @model_validator(mode="after")
    def _spans_are_the_text(self) -> Summary:
        if self.method == "extractive" and self.text != " ".join(span.quote for span in self.spans):
            raise ValueError("an extractive summary's text must be its spans' quotes, joined by spaces")
        return self
