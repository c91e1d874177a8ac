"""Summarise, then judge, then say for which age: a parent's summary of a tale."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import model_validator

from taleward.chains.classification.chain import LabelChain
from taleward.chains.classification.result import Classification
from taleward.chains.summarization.result import Summary
from taleward.chains.summarization.summarizer import Summarizer
from taleward.core.errors import Refused
from taleward.core.frozen_model import FrozenModel
from taleward.core.tale import Tale
from taleward.core.verdict import Verdict
from taleward.moderation.judges.base import Judge


class JudgedSummary(FrozenModel):
    """A summary that passed, or the verdict that held it back.

    It cannot be made with a summary unless the verdict is a pass.

    Attributes:
        summary: The summary; `None` where it did not pass.
        verdict: The judge's verdict on the summary's text.
        label: What the classifier says of the whole text, for example its age band; `None` without a classifier.
    """

    summary: Summary | None
    verdict: Verdict
    label: Classification | None = None

    @model_validator(mode="after")
    def _only_what_passed(self) -> JudgedSummary:
        if (self.summary is not None) != self.verdict.passed:
            raise ValueError("there is a summary exactly where the verdict is a pass")
        return self

    @property
    def released(self) -> bool:
        """Whether there is a text."""
        return self.summary is not None

    @property
    def text(self) -> str:
        """The summary's text.

        Raises:
            Refused: It did not pass; the message says how it was judged.
        """
        if self.summary is None:
            raise Refused(
                f"this summary was not released: {self.verdict.judge} said {self.verdict.outcome}.",
                hint="Check `.released` first; `.verdict` says why.",
            )
        return self.summary.text


class SummaryGuard(Runnable[str | Tale, JudgedSummary]):
    """A Runnable from a text or a released tale to a summary that was judged.

    Args:
        summarizer: Writes the summary, for example `Summarizer(task="parents")`.
        judge: Judges it. Nothing but a pass releases it.
        classifier: Says what the whole text is, for example `ZeroShotClassifier(task="age-band")`.
    """

    def __init__(self, summarizer: Summarizer, judge: Judge, classifier: LabelChain | None = None) -> None:
        self.summarizer, self.judge, self.classifier = summarizer, judge, classifier

    def invoke(self, input: str | Tale, config: RunnableConfig | None = None, **kwargs: Any) -> JudgedSummary:
        """The judged summary.

        Raises:
            Refused: A tale came that was not released.
        """
        return self._call_with_config(self._run, input, config, run_type="chain")

    async def ainvoke(self, input: str | Tale, config: RunnableConfig | None = None, **kwargs: Any) -> JudgedSummary:
        """As `invoke`, without blocking the event loop."""
        return await self._acall_with_config(self._arun, input, config, run_type="chain")

    def _run(self, input: str | Tale, run_manager: CallbackManagerForChainRun, config: RunnableConfig) -> JudgedSummary:
        text = _text(input)
        summary = self.summarizer.invoke(text, config)
        verdict = self.judge.invoke(summary.text, config)
        return _judged(summary, verdict, self.classifier.invoke(text, config) if self.classifier else None)

    async def _arun(
        self, input: str | Tale, run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig
    ) -> JudgedSummary:
        text = _text(input)
        summary = await self.summarizer.ainvoke(text, config)
        verdict = await self.judge.ainvoke(summary.text, config)
        return _judged(summary, verdict, await self.classifier.ainvoke(text, config) if self.classifier else None)


def _text(input: str | Tale) -> str:
    return input.text if isinstance(input, Tale) else input


def _judged(summary: Summary, verdict: Verdict, label: Classification | None) -> JudgedSummary:
    return JudgedSummary(summary=summary if verdict.passed else None, verdict=verdict, label=label)
