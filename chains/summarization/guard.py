"""SummaryGuard: summarize a text, judge the summary, and classify the text, for example by age band."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import model_validator

from taleward.chains.classification.label_chain import LabelChain
from taleward.chains.classification.result import Classification
from taleward.chains.summarization.result import Summary
from taleward.chains.summarization.summarizer import Summarizer
from taleward.core.errors import Refused
from taleward.core.frozen_model import FrozenModel
from taleward.core.tale import Tale
from taleward.core.verdict import Verdict
from taleward.moderation.judges.base import Judge


class JudgedSummary(FrozenModel):
    """A summary that passed its judge, or the verdict that withheld it.

    It cannot be constructed with a summary unless the verdict is a pass.

    Attributes:
        summary: The summary; `None` if it did not pass.
        verdict: The judge's verdict on the summary's text.
        label: The classification of the whole text, for example its age band; `None` without a classifier.
    """

    summary: Summary | None
    verdict: Verdict
    label: Classification | None = None

    @model_validator(mode="after")
    def _summary_requires_pass(self) -> JudgedSummary:
        if (self.summary is not None) != self.verdict.passed:
            raise ValueError("a judged summary must have a summary exactly if its verdict is a pass")
        return self

    @property
    def released(self) -> bool:
        """Whether the summary was released."""
        return self.summary is not None

    @property
    def text(self) -> str:
        """The summary's text.

        Raises:
            Refused: If the summary did not pass; the message gives the judge and the outcome.
        """
        if self.summary is None:
            raise Refused(
                f"this summary was not released: the verdict of {self.verdict.judge} is {self.verdict.outcome}.",
                hint="Check `.released` first; `.verdict` says why.",
            )
        return self.summary.text


class SummaryGuard(Runnable[str | Tale, JudgedSummary]):
    """A Runnable that summarizes a text or a released tale and judges the summary.

    Args:
        summarizer: Writes the summary, for example `Summarizer(task="parents")`.
        judge: Judges the summary, which is released only if it passes.
        classifier: Classifies the whole text, for example `ZeroShotClassifier(task="age-band")`.
    """

    def __init__(self, summarizer: Summarizer, judge: Judge, classifier: LabelChain | None = None) -> None:
        self.summarizer, self.judge, self.classifier = summarizer, judge, classifier

    def invoke(self, input: str | Tale, config: RunnableConfig | None = None, **kwargs: Any) -> JudgedSummary:
        """Summarize a text and judge the summary.

        Raises:
            Refused: If the input is a tale that was not released.
        """
        return self._call_with_config(self._run, input, config, run_type="chain")

    async def ainvoke(self, input: str | Tale, config: RunnableConfig | None = None, **kwargs: Any) -> JudgedSummary:
        """Async version of `invoke`."""
        return await self._acall_with_config(self._arun, input, config, run_type="chain")

    def _run(self, input: str | Tale, run_manager: CallbackManagerForChainRun, config: RunnableConfig) -> JudgedSummary:
        text = _text_of(input)
        summary = self.summarizer.invoke(text, config)
        verdict = self.judge.invoke(summary.text, config)
        # Not the summary: it leaves out the details that make a story unsuitable for an age.
        label = self.classifier.invoke(text, config) if self.classifier else None
        return _judged_summary(summary, verdict, label)

    async def _arun(
        self, input: str | Tale, run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig
    ) -> JudgedSummary:
        text = _text_of(input)
        summary = await self.summarizer.ainvoke(text, config)
        verdict = await self.judge.ainvoke(summary.text, config)
        label = await self.classifier.ainvoke(text, config) if self.classifier else None
        return _judged_summary(summary, verdict, label)


def _text_of(input: str | Tale) -> str:
    return input.text if isinstance(input, Tale) else input


def _judged_summary(summary: Summary, verdict: Verdict, label: Classification | None) -> JudgedSummary:
    return JudgedSummary(summary=summary if verdict.passed else None, verdict=verdict, label=label)
