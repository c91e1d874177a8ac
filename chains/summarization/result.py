"""Summary and Faithfulness: the results of a summarizer and its check."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from taleward.core.frozen_model import FrozenModel
from taleward.core.policy import Probability
from taleward.core.tale import PromptVersion

SummaryMethod = Literal["extractive", "encoder-decoder", "chat"]
"""`extractive`: sentences of the text. `encoder-decoder`: written by a model such as T5 or BART. `chat`: written by a
chat or completion model."""


class SourceSpan(FrozenModel):
    """A span of the summarized text.

    Attributes:
        quote: The span's text.
        start: Offset of the first character, in Unicode code points from 0.
        end: Offset after the last character.
    """

    quote: str
    start: int = Field(ge=0)
    end: int = Field(ge=0)


class SentenceSupport(FrozenModel):
    """How well the text supports a sentence of the summary.

    Attributes:
        sentence: The sentence.
        score: The support, from 0 to 1.
        supported: Whether the sentence counts as supported.
        source: The span of the text that supports it best; `None` if none was determined.
        why: Why the sentence is not supported.
    """

    sentence: str
    score: Probability
    supported: bool
    source: SourceSpan | None = None
    why: str = ""


class Faithfulness(FrozenModel):
    """Whether a summary says only what its text says.

    Attributes:
        outcome: `checked`, or `unparsable` if the checking model's answer could not be parsed.
        sentences: The support for each sentence of the summary, in order.
        by: The spec of the model that checked.
        detail: Why the answer could not be parsed.
    """

    outcome: Literal["checked", "unparsable"] = "checked"
    sentences: tuple[SentenceSupport, ...] = ()
    by: str
    detail: str = ""

    @property
    def score(self) -> float:
        """The share of supported sentences, from 0 to 1; 0 if there are none."""
        if not self.sentences:
            return 0.0
        return sum(support.supported for support in self.sentences) / len(self.sentences)

    @property
    def faithful(self) -> bool:
        """Whether the summary was checked and every sentence is supported."""
        return self.outcome == "checked" and all(support.supported for support in self.sentences)


class Summary(FrozenModel):
    """A summary and how it was made.

    Attributes:
        text: The summary; empty for a blank text.
        method: How it was made.
        spans: The sentences that an extractive summary consists of, in order; `text` is their quotes joined by spaces.
        compression: Words of the summary divided by words of the text; 0 for a blank text.
        parts: Number of parts that the text was split into; more than one if it did not fit into the model's context.
        rounds: How many times the parts' summaries were summarized again; 0 if the text was not split.
        faithfulness: Whether it says only what the text says; `None` if this was not checked.
        model: The model's spec.
        prompt: Name and version of the task.
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
    def _extractive_text_is_quotes(self) -> Summary:
        if self.method == "extractive" and self.text != " ".join(span.quote for span in self.spans):
            raise ValueError("the text of an extractive summary must be the quotes of its spans, joined by spaces")
        return self
