"""The guard: write, judge, revise within a budget, release or refuse. It owns the only door out."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any, Protocol, TypeAlias

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import merge_configs

from taleward.core.errors import ConfigurationError
from taleward.core.redact import redact
from taleward.core.tale import Attempt, Lineage, Refusal, RefusalReason, Tale, digest
from taleward.core.verdict import Finding, Verdict
from taleward.moderation.deadline import call_until
from taleward.moderation.judges.base import Judge
from taleward.moderation.observe import WritingObserver
from taleward.moderation.revision import Revision, with_revision

_log = logging.getLogger(__name__)

_CHILD_MESSAGES: dict[RefusalReason, str] = {
    "failed": "I could not find a good story for you this time. Shall we try another idea?",
    "unjudged": "My story checker is taking a rest. Please ask again in a little while.",
    "timeout": "My story is taking too long today. Please ask again in a little while.",
}


class Recorder(Protocol):
    """Keeps finished tales, for example in MLflow."""

    def record(self, tale: Tale, inputs: Mapping[str, Any]) -> None:
        """Keep one tale; its attempts hold their drafts."""


@dataclass
class _Write:
    attempt: int
    findings: tuple[Finding, ...]
    observer: WritingObserver


@dataclass
class _Ask:
    text: str


_Step: TypeAlias = _Write | _Ask
_Plan: TypeAlias = Generator[tuple[_Step, float | None], Any, Tale]
_Next: TypeAlias = tuple[_Step, float | None] | Tale


class Guard(Runnable[Mapping[str, Any], Tale]):
    """A Runnable from a writer's inputs to a tale: a text that was judged and passed, or a refusal.

    Nothing but a verdict with outcome `pass` releases a text. A draft that fails is written anew with the findings as
    instruction; a draft without a plain answer (unparsable, error) is judged again. An exception of the writer reaches
    the caller; one of the judge is a verdict with outcome `error`.

    Args:
        writer: A Runnable from inputs to a text.
        judge: A judge.
        attempts: Verdicts asked for at most, 1 or more.
        seconds: Wall-clock budget for all of it; what is not judged by then is refused. `None` for none.
        keep_drafts: Whether the tale's attempts hold their drafts. Drafts may be texts that were refused: keep them
            away from children.
        recorder: Where finished tales are recorded; one that fails is logged and does not stop the tale.

    Raises:
        ConfigurationError: A budget is out of range, or the judge is none.
    """

    def __init__(
        self,
        writer: Runnable[Any, str],
        judge: Judge,
        *,
        attempts: int = 3,
        seconds: float | None = 120.0,
        keep_drafts: bool = False,
        recorder: Recorder | None = None,
    ) -> None:
        if not isinstance(judge, Judge):
            raise ConfigurationError(
                f"a guard needs a judge; got {type(judge).__name__}.",
                hint="Make one with taleward.judge('embedded:judge', policy='kids', band='6-8').",
            )
        if attempts < 1:
            raise ConfigurationError(f"attempts must be 1 or more; got {attempts}.")
        if seconds is not None and seconds <= 0:
            raise ConfigurationError(f"seconds must be above 0, or None for no limit; got {seconds}.")
        self.writer, self.judge = writer, judge
        self.attempts, self.seconds = attempts, seconds
        self.keep_drafts, self.recorder = keep_drafts, recorder

    def invoke(self, input: Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any) -> Tale:
        """Tell one tale."""
        return self._call_with_config(self._run, input, config, run_type="chain")

    async def ainvoke(self, input: Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any) -> Tale:
        """As `invoke`, without blocking the event loop."""
        return await self._acall_with_config(self._arun, input, config, run_type="chain")

    def _run(self, inputs: Mapping[str, Any], run_manager: CallbackManagerForChainRun, config: RunnableConfig) -> Tale:
        plan = self._plan()
        at: _Next = next(plan)
        while not isinstance(at, Tale):
            step, left = at
            try:
                answer = call_until(left, partial(self._take, step, inputs, config))
            except Exception as error:  # noqa: BLE001  the plan decides what it means
                at = _advance(plan, error=error)
            else:
                at = _advance(plan, answer)
        return self._finish(at, inputs)

    async def _arun(
        self, inputs: Mapping[str, Any], run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig
    ) -> Tale:
        plan = self._plan()
        at: _Next = next(plan)
        while not isinstance(at, Tale):
            step, left = at
            try:
                answer = await asyncio.wait_for(self._atake(step, inputs, config), left)
            except Exception as error:  # noqa: BLE001  the plan decides what it means
                at = _advance(plan, error=error)
            else:
                at = _advance(plan, answer)
        return await asyncio.to_thread(self._finish, at, inputs)

    def _take(self, step: _Step, inputs: Mapping[str, Any], config: RunnableConfig) -> object:
        if isinstance(step, _Write):
            return self.writer.invoke(inputs, _told(config, step))
        return self.judge.invoke(step.text, config)

    async def _atake(self, step: _Step, inputs: Mapping[str, Any], config: RunnableConfig) -> object:
        if isinstance(step, _Write):
            return await self.writer.ainvoke(inputs, _told(config, step))
        return await self.judge.ainvoke(step.text, config)

    def _plan(self) -> _Plan:
        """The whole course of a tale, as steps that either shell carries out.

        Yields a step and the seconds left for it; is sent the step's answer, or thrown its exception.
        """
        started, begun = datetime.now(UTC), time.monotonic()
        done: list[Attempt] = []
        observer = WritingObserver()
        draft: str | None = None
        writing_s = 0.0
        reason: RefusalReason = "failed"

        def left() -> float | None:
            return None if self.seconds is None else self.seconds - (time.monotonic() - begun)

        def lineage() -> Lineage:
            return Lineage(
                taleward=version("taleward"),
                prompt=observer.prompt,
                judge=self.judge.spec,
                policy=self.judge.policy.id,
                band=self.judge.band,
                started_at=started,
                duration_s=time.monotonic() - begun,
            )

        for number in range(1, self.attempts + 1):
            if (remaining := left()) is not None and remaining <= 0:
                reason = "timeout"
                break
            calls_before = len(observer.calls)
            since = time.monotonic()
            if draft is None:
                findings = done[-1].verdict.findings if done else ()
                try:
                    draft = yield _Write(number, findings, observer), left()
                except TimeoutError:
                    if (remaining := left()) is None or remaining > 0:
                        raise  # the writer's own time limit, not ours
                    reason = "timeout"
                    break
                if not isinstance(draft, str):
                    msg = (
                        f"a writer must return text (str); {type(self.writer).__name__} returned {type(draft).__name__}"
                    )
                    raise TypeError(msg)
                writing_s = time.monotonic() - since
            else:
                writing_s = 0.0
            verdict = yield from self._judged(draft, left)
            done.append(
                Attempt(
                    number=number,
                    draft_sha256=digest(draft),
                    draft=draft,
                    characters=len(draft),
                    verdict=verdict,
                    calls=tuple(observer.calls[calls_before:]),
                    writing_s=writing_s,
                )
            )
            if verdict.passed:
                return Tale(id=uuid.uuid4().hex, released_text=draft, attempts=tuple(done), lineage=lineage())
            if verdict.outcome in ("fail", "abstain"):
                draft = None
            reason = "failed" if verdict.outcome == "fail" else "unjudged"
        if (remaining := left()) is not None and remaining <= 0:
            reason = "timeout"
        return Tale(id=uuid.uuid4().hex, refusal=_refusal(reason, done, self), attempts=tuple(done), lineage=lineage())

    def _judged(
        self, draft: str, left: Callable[[], float | None]
    ) -> Generator[tuple[_Step, float | None], Any, Verdict]:
        """Ask the judge; whatever is not a verdict of this judge's policy and band becomes outcome `error`."""
        try:
            verdict = yield _Ask(draft), left()
        except Exception as error:  # noqa: BLE001  a judge in trouble lets nothing pass
            return self._no_verdict(redact(f"{type(error).__name__}: {error}"))
        if not isinstance(verdict, Verdict):
            return self._no_verdict(f"the judge returned a {type(verdict).__name__}, not a verdict")
        return verdict

    def _no_verdict(self, detail: str) -> Verdict:
        judge = self.judge
        return Verdict(outcome="error", judge=judge.spec, policy=judge.policy.id, band=judge.band, detail=detail)

    def _finish(self, tale: Tale, inputs: Mapping[str, Any]) -> Tale:
        if self.recorder is not None:
            try:
                self.recorder.record(tale, inputs)
            except Exception as error:  # noqa: BLE001  a store in trouble does not take the tale away
                _log.warning("the tale %s was not recorded: %s: %s", tale.id, type(error).__name__, redact(str(error)))
        if self.keep_drafts:
            return tale
        bare = tuple(a.model_copy(update={"draft": None}) for a in tale.attempts)
        return tale.model_copy(update={"attempts": bare})


def _advance(plan: _Plan, answer: object = None, error: Exception | None = None) -> _Next:
    try:
        if error is not None:
            return plan.throw(error)
        return plan.send(answer)
    except StopIteration as end:
        tale: Tale = end.value
        return tale


def _told(config: RunnableConfig, step: _Write) -> RunnableConfig:
    watched = merge_configs(config, {"callbacks": [step.observer]})
    return with_revision(watched, Revision(attempt=step.attempt, findings=step.findings))


def _refusal(reason: RefusalReason, done: list[Attempt], guard: Guard) -> Refusal:
    last = done[-1].verdict if done else None
    if reason == "timeout":
        message = f"the budget of {guard.seconds:g} s ran out after {len(done)} verdicts"
    elif reason == "failed":
        named = ", ".join(last.categories if last else ()) or "no category named"
        message = f"none of {len(done)} drafts passed the judge; the last one failed for: {named}"
    else:
        said = f"{last.outcome}: {last.detail}" if last else "nothing"
        message = f"the judge gave no plain answer in {len(done)} attempts; last: {said}"
    return Refusal(
        reason=reason,
        message=message,
        child_message=_CHILD_MESSAGES[reason],
        categories=last.categories if last else (),
    )
