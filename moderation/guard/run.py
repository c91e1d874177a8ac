"""What a guarded text has in common however it is told: the guard's settings, the clock, the way a tale ends."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Protocol

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs

from taleward.core.redaction import format_error
from taleward.core.tale import Attempt, Lineage, Refusal, RefusalReason, StretchDecision, Tale, digest
from taleward.core.verdict import Outcome, Verdict
from taleward.moderation.guard.call_recorder import CallRecorder
from taleward.moderation.guard.revision import Revision, with_revision
from taleward.moderation.judges.base import Judge

_log = logging.getLogger(__name__)
_CHILD_MESSAGES: dict[RefusalReason, str] = {
    "failed": "I could not find a good story for you this time. Shall we try another idea?",
    "unjudged": "My story checker is taking a rest. Please ask again in a little while.",
    "timeout": "My story is taking too long today. Please ask again in a little while.",
    "input": "I would rather not tell a story about that. Shall we think of something else?",
}
GRACE_S = 5.0
"""Seconds in which a text that was told in part may still be closed and checked once its time is over."""


class Recorder(Protocol):
    """Keeps finished tales, for example in MLflow."""

    def record(self, tale: Tale, inputs: Mapping[str, Any]) -> None:
        """Keep one tale; its attempts hold their drafts."""


@dataclass
class GuardRun:
    """One tale under way.

    Attributes:
        judge: Who judges.
        attempts: Drafts, at most.
        timeout_s: The budget; `None` for none.
        keep_drafts: Whether drafts stay in the tale.
        recorders: Where the tale is recorded.
        observer: What was seen of the writer's models.
    """

    judge: Judge
    attempts: int
    timeout_s: float | None
    keep_drafts: bool
    recorders: Sequence[Recorder]
    observer: CallRecorder = field(default_factory=CallRecorder)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _begun: float = field(default_factory=time.monotonic)
    _ends: float | None = field(init=False)

    def __post_init__(self) -> None:
        self._ends = None if self.timeout_s is None else self._begun + self.timeout_s

    def left(self) -> float | None:
        """Seconds left, not below 0; `None` without a limit."""
        return None if self._ends is None else max(0.0, self._ends - time.monotonic())

    def over(self) -> bool:
        """Whether the time is over."""
        return self.left() == 0.0

    def grace(self) -> None:
        """Give what was told in part the time to be closed and checked."""
        if self._ends is not None:
            self._ends = max(self._ends, time.monotonic() + GRACE_S)

    def writing(self, config: RunnableConfig, revision: Revision) -> RunnableConfig:
        """The config for a run of the writer: watched, and told what to revise."""
        return with_revision(merge_configs(config, {"callbacks": [self.observer]}), revision)

    def verdict(self, outcome: Outcome, detail: str) -> Verdict:
        """The guard's own verdict, where the judge has none."""
        judge = self.judge
        return Verdict(outcome=outcome, judge=judge.spec, policy=judge.policy.id, band=judge.band, detail=detail)

    def checked(self, answer: object) -> Verdict:
        """The judge's answer if it is a verdict; else the verdict `error`."""
        if isinstance(answer, Verdict):
            return answer
        return self.verdict("error", f"the judge returned a {type(answer).__name__}, not a verdict")

    def failed(self, error: Exception) -> Verdict:
        """The verdict `error` for an exception of the judge."""
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
        """A draft with its verdict and the model calls made since there were `calls_before`."""
        return Attempt(
            number=number,
            draft_sha256=digest(draft),
            draft=draft,
            characters=len(draft),
            verdict=verdict,
            calls=tuple(self.observer.calls[calls_before:]),
            writing_s=writing_s,
            decisions=tuple(decisions),
        )

    def released(self, text: str, attempts: Sequence[Attempt], *, closed: bool = False) -> Tale:
        """The tale with its text; the last attempt's verdict must be a pass on that very text."""
        return Tale(
            id=uuid.uuid4().hex, released_text=text, attempts=tuple(attempts), lineage=self._lineage(closed=closed)
        )

    def refused(self, reason: RefusalReason, attempts: Sequence[Attempt], verdict: Verdict | None) -> Tale:
        """The tale without a text; `verdict` is the last one."""
        refusal = Refusal(
            reason=reason,
            message=self._why(reason, len(attempts), verdict),
            child_message=_CHILD_MESSAGES[reason],
            categories=verdict.categories if verdict else (),
        )
        return Tale(id=uuid.uuid4().hex, refusal=refusal, attempts=tuple(attempts), lineage=self._lineage())

    def finish(self, tale: Tale, inputs: Mapping[str, Any]) -> Tale:
        """Record the tale, and take the drafts out of it unless they are to be kept."""
        for recorder in self.recorders:
            try:
                recorder.record(tale, inputs)
            except Exception as error:  # noqa: BLE001  a store in trouble does not take the tale away
                _log.warning("the tale %s was not recorded: %s", tale.id, format_error(error))
        if self.keep_drafts:
            return tale
        bare = tuple(a.model_copy(update={"draft": None}) for a in tale.attempts)
        return tale.model_copy(update={"attempts": bare})

    def _lineage(self, *, closed: bool = False) -> Lineage:
        return Lineage(
            taleward=version("taleward"),
            prompt=self.observer.prompt,
            judge=self.judge.spec,
            policy=self.judge.policy.id,
            band=self.judge.band,
            started_at=self.started_at,
            duration_s=time.monotonic() - self._begun,
            closed=closed,
        )

    def _why(self, reason: RefusalReason, drafts: int, verdict: Verdict | None) -> str:
        named = ", ".join(verdict.categories if verdict else ()) or "no category named"
        if reason == "timeout":
            return f"the budget of {self.timeout_s:g} s ran out after {drafts} drafts"
        if reason == "input":
            return f"the inputs did not pass the judge: {named}"
        if reason == "failed":
            return f"none of {drafts} drafts passed the judge; the last one failed for: {named}"
        said = f"{verdict.outcome}: {verdict.detail}" if verdict else "nothing"
        return f"the judge gave no plain answer in {drafts} attempts; last: {said}"
