"""The state of one guarded generation: settings, deadline, model calls, and the tale it ends with."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Literal, Protocol, TypeAlias

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs

from taleward.core.redaction import format_error
from taleward.core.tale import Attempt, Lineage, Refusal, RefusalReason, StretchDecision, Tale, digest
from taleward.core.verdict import Outcome, Verdict
from taleward.moderation.guard.call_recorder import CallRecorder
from taleward.moderation.guard.revision_context import Revision, with_revision
from taleward.moderation.guard.text_size_limits import MAX_DRAFT_CHARS, MAX_INPUT_CHARS, count_chars, draft_too_long
from taleward.moderation.judges.base import Judge

_log = logging.getLogger(__name__)
_CHILD_MESSAGES: dict[RefusalReason, str] = {
    "failed": "I could not find a good story for you this time. Shall we try another idea?",
    "unjudged": "My story checker is taking a rest. Please ask again in a little while.",
    "timeout": "My story is taking too long today. Please ask again in a little while.",
    "input": "I would rather not tell a story about that. Shall we think of something else?",
}
ClosedBy: TypeAlias = Literal["writer", "policy"]
CLOSING_S = 5.0
"""Seconds after the deadline in which a partly released text may still be closed and checked."""


class Recorder(Protocol):
    """Stores finished tales, for example in MLflow."""

    def record(self, tale: Tale, inputs: Mapping[str, Any]) -> None:
        """Store one tale, whose attempts hold their drafts; a string as input comes as the value of `input`."""


@dataclass
class GuardRun:
    """One guarded generation in progress.

    Attributes:
        judge: The judge.
        attempts: Drafts at most.
        timeout_s: The time limit in seconds; `None` for none.
        keep_drafts: Whether the tale keeps its drafts.
        recorders: Where the tale is recorded.
        max_input_chars: Characters in the input at most.
        max_draft_chars: Characters in a draft at most.
        option: How the limit on drafts is called, for messages.
        call_recorder: Records the writer's model calls.
        started_at: When the run began.
    """

    judge: Judge
    attempts: int
    timeout_s: float | None
    keep_drafts: bool
    recorders: Sequence[Recorder]
    max_input_chars: int = MAX_INPUT_CHARS
    max_draft_chars: int = MAX_DRAFT_CHARS
    option: str = "max_draft_chars"
    call_recorder: CallRecorder = field(default_factory=CallRecorder)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    # Monotonic, since the wall clock may be set back or forward during a run.
    _started_s: float = field(default_factory=time.monotonic)
    _deadline_s: float | None = field(init=False)

    def __post_init__(self) -> None:
        self._deadline_s = None if self.timeout_s is None else self._started_s + self.timeout_s

    def remaining_s(self) -> float | None:
        """Seconds until the deadline, not below 0; `None` without a time limit."""
        return None if self._deadline_s is None else max(0.0, self._deadline_s - time.monotonic())

    def timed_out(self) -> bool:
        """Whether the deadline has passed."""
        return self.remaining_s() == 0.0

    def overdue_s(self) -> float:
        """Seconds since the deadline; 0 before it, or without a time limit."""
        return 0.0 if self._deadline_s is None else max(0.0, time.monotonic() - self._deadline_s)

    def allow_closing(self) -> None:
        """Extend the deadline, so that a partly released text can be closed and checked."""
        if self._deadline_s is not None:
            self._deadline_s = max(self._deadline_s, time.monotonic() + CLOSING_S)

    def writer_config(
        self, config: RunnableConfig, revision: Revision, call_recorder: CallRecorder | None = None
    ) -> RunnableConfig:
        """Return the config for a run of the writer: with the revision, and with its model calls recorded.

        Args:
            config: The config of the guard's own run.
            revision: The revision.
            call_recorder: What records the calls; by default the run's recorder.
        """
        # `merge_configs` keeps a callback manager intact, with its parent run; a plain list would lose it.
        return with_revision(merge_configs(config, {"callbacks": [call_recorder or self.call_recorder]}), revision)

    def verdict(self, outcome: Outcome, detail: str) -> Verdict:
        """Return a verdict of the guard's own, for when the judge gave none."""
        judge = self.judge
        return Verdict(outcome=outcome, judge=judge.spec, policy=judge.policy.id, band=judge.band, detail=detail)

    def input_too_long(self, inputs: object) -> Verdict | None:
        """Return the verdict on an input that is too long; `None` for any other."""
        chars = count_chars(inputs)
        if chars <= self.max_input_chars:
            return None
        return self.verdict(
            "abstain",
            f"the input has {chars:,} characters and the guard takes {self.max_input_chars:,}; max_input_chars raises "
            "the limit",
        )

    def draft_too_long(self) -> Verdict:
        """Return the verdict on a draft that is too long."""
        return self.verdict("abstain", draft_too_long(self.max_draft_chars, self.option))

    def verdict_from_answer(self, answer: object) -> Verdict:
        """Return the judge's answer if it is a verdict; otherwise a verdict with outcome `error`."""
        if isinstance(answer, Verdict):
            return answer
        return self.verdict("error", f"the judge returned {type(answer).__name__} instead of a Verdict")

    def verdict_from_error(self, error: Exception) -> Verdict:
        """Return a verdict with outcome `error` for an exception of the judge."""
        return self.verdict("error", format_error(error))

    def attempt(
        self,
        number: int,
        draft: str,
        verdict: Verdict,
        *,
        calls_before: int,
        writing_s: float,
        decisions: Sequence[StretchDecision] = (),
    ) -> Attempt:
        """Return a draft with its verdict and its model calls.

        Args:
            number: The attempt's number, from 1.
            draft: The text.
            verdict: The verdict on it.
            calls_before: Model calls that were recorded before this draft.
            writing_s: Seconds spent writing.
            decisions: Verdicts on its sentences, if it was streamed.
        """
        return Attempt(
            number=number,
            draft_sha256=digest(draft),
            draft=draft,
            # Later attempts are asked to revise, in words that tell what was wrong with a draft.
            messages=self.call_recorder.messages if number == 1 else (),
            characters=len(draft),
            verdict=verdict,
            calls=tuple(self.call_recorder.calls[calls_before:]),
            writing_s=writing_s,
            decisions=tuple(decisions),
        )

    def released_tale(self, text: str, attempts: Sequence[Attempt], *, closed_by: ClosedBy | None = None) -> Tale:
        """Return a tale with a text; the last attempt's verdict must be a pass on that text."""
        lineage = self._lineage(closed_by=closed_by)
        return Tale(id=uuid.uuid4().hex, released_text=text, attempts=tuple(attempts), lineage=lineage)

    def refused_tale(
        self, reason: RefusalReason, attempts: Sequence[Attempt], verdict: Verdict | None, inputs: str = ""
    ) -> Tale:
        """Return a tale without a text.

        Args:
            reason: Why.
            attempts: The drafts with their verdicts.
            verdict: The last verdict, on the last attempt's draft or on the inputs.
            inputs: The judged inputs; neither their words nor a draft's are in the refusal's message.
        """
        for text in (inputs, attempts[-1].draft if attempts else None):
            verdict = verdict.without_words(text) if verdict and text else verdict
        refusal = Refusal(
            reason=reason,
            message=self._refusal_message(reason, len(attempts), verdict),
            child_message=_CHILD_MESSAGES[reason],
            categories=verdict.categories if verdict else (),
        )
        return Tale(id=uuid.uuid4().hex, refusal=refusal, attempts=tuple(attempts), lineage=self._lineage())

    def finish(self, tale: Tale, inputs: Mapping[str, Any]) -> Tale:
        """Record the tale, and remove the drafts from it unless they are to be kept."""
        for recorder in self.recorders:
            try:
                recorder.record(tale, inputs)
            except Exception as error:  # noqa: BLE001  a store that is down must not cost the reader the tale
                _log.warning("the tale %s was not recorded: %s", tale.id, format_error(error))
        return tale if self.keep_drafts else tale.without_drafts()

    def _lineage(self, *, closed_by: ClosedBy | None = None) -> Lineage:
        return Lineage(
            taleward=version("taleward"),
            prompt=self.call_recorder.prompt,
            judge=self.judge.spec,
            policy=self.judge.policy.id,
            band=self.judge.band,
            started_at=self.started_at,
            duration_s=time.monotonic() - self._started_s,
            closed_by=closed_by,
        )

    def _refusal_message(self, reason: RefusalReason, drafts: int, verdict: Verdict | None) -> str:
        categories = ", ".join(verdict.categories if verdict else ()) or "no category named"
        if reason == "timeout":
            return f"the time limit of {self.timeout_s:g} s passed after {drafts} drafts"
        if reason == "input":
            if verdict and verdict.outcome != "fail":
                return f"the inputs were not judged: {verdict.detail}"
            return f"the inputs did not pass the judge: {categories}"
        if reason == "failed":
            return f"none of {drafts} drafts passed the judge; the last one failed for: {categories}"
        last = f"{verdict.outcome}: {verdict.detail}" if verdict else "nothing"
        return f"the judge gave no clear verdict in {drafts} attempts; last: {last}"
