"""The guard: write, judge, revise within a budget, release or refuse. It owns the only door out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import Runnable, RunnableConfig

from taleward.core.concurrency.batch_config import with_max_concurrency
from taleward.core.concurrency.deadline import call_with_timeout
from taleward.core.concurrency.event_loop import iterate_async
from taleward.core.errors import ConfigurationError
from taleward.core.events import Event
from taleward.core.tale import Attempt, RefusalReason, Tale
from taleward.core.verdict import Finding, Passage, Verdict
from taleward.moderation.guard.inputs import input_texts, masked
from taleward.moderation.guard.revision import Revision
from taleward.moderation.guard.run import GuardRun, Recorder
from taleward.moderation.guard.streaming import GuardedStream
from taleward.moderation.judges.base import Judge, check_judge, check_timeout
from taleward.moderation.tracing.langchain_callbacks import mute_callbacks

__all__ = ["Guard", "Recorder"]


@dataclass
class _Write:
    attempt: int
    findings: tuple[Finding, ...]


@dataclass
class _Ask:
    text: str


@dataclass
class Embed:
    """A step: vectors of texts."""

    texts: list[str]
    by: Embeddings


_Step: TypeAlias = _Write | _Ask | Embed
Plan: TypeAlias = Generator[_Step, Any, Tale]
"""A tale's run as steps that either shell carries out: it is sent a step's answer, or thrown its exception."""


class Guard(Runnable[Mapping[str, Any], Tale]):
    """A Runnable from a writer's inputs to a tale: a text that was judged and passed, or a refusal.

    Nothing but a verdict with outcome `pass` releases a text. A draft that fails is written anew with the findings as
    instruction; a draft without a plain answer (unparsable, error) is judged again. An exception of the writer reaches
    the caller; one of the judge is a verdict with outcome `error`.

    `invoke`, `ainvoke` and `batch` give tales. `stream` and `astream` give events while the tale is written: each
    sentence leaves behind its own verdict, a sentence that fails is dropped and the writer goes on from what was told,
    and the whole is judged once more before the end; see `taleward.core.events`. As a step of a longer chain a guard
    hands on the tale.

    Args:
        writer: A Runnable from inputs to a text. One with an attribute `continues = True` looks at its `Revision` and
            goes on from the told text; any other is only asked again while nothing is told.
        judge: A judge.
        attempts: Drafts at most, 1 or more; a draft that is judged again counts as one too.
        timeout_s: Wall-clock budget for all of it; what is not judged by then is refused. `None` for none. A text that
            was told in part is given up to five more to be closed and checked.
        judge_inputs: Whether the inputs' texts are judged before any model is called.
        mask_personal_data: Whether personal data in the inputs (addresses, telephone and card numbers by their form)
            is replaced by its kind before anything reads it.
        keep_drafts: Whether the tale's attempts hold their drafts, and verdict events the words that failed. Those may
            be texts that were refused: keep them away from children.
        recorder: Where finished tales are recorded, or several such places, for example MLflow and a `TaleMemory`; one
            that fails is logged and does not stop the tale.

    Raises:
        ConfigurationError: A budget is out of range, or the judge is none.
    """

    def __init__(
        self,
        writer: Runnable[Any, str],
        judge: Judge,
        *,
        attempts: int = 3,
        timeout_s: float | None = 120.0,
        judge_inputs: bool = True,
        mask_personal_data: bool = False,
        keep_drafts: bool = False,
        recorder: Recorder | Sequence[Recorder] | None = None,
    ) -> None:
        check_judge("a guard", judge)
        if attempts < 1:
            raise ConfigurationError(f"attempts must be 1 or more; got {attempts}.")
        check_timeout(timeout_s)
        self.writer, self.judge = writer, judge
        self.attempts, self.timeout_s = attempts, timeout_s
        self.judge_inputs, self.mask_personal_data = judge_inputs, mask_personal_data
        self.keep_drafts = keep_drafts
        several = () if recorder is None else recorder
        self.recorders: tuple[Recorder, ...] = tuple(several) if isinstance(several, Sequence) else (several,)

    def invoke(self, input: Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any) -> Tale:
        """Tell one tale."""
        return self._call_with_config(self._run, input, config, run_type="chain")

    async def ainvoke(self, input: Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any) -> Tale:
        """As `invoke`, without blocking the event loop."""
        return await self._acall_with_config(self._arun, input, config, run_type="chain")

    def batch(
        self,
        inputs: list[Mapping[str, Any]],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Tale]:
        """A tale for each; `max_concurrency` bounds how many at the same time, 64 by default."""
        configs = with_max_concurrency(config, len(inputs))
        return super().batch(inputs, configs, return_exceptions=return_exceptions, **kwargs)

    def stream(  # type: ignore[override]
        self, input: Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[Event]:
        """Tell one tale sentence by sentence; the last event is `done` with the tale."""
        events: Iterator[Any] = self._transform_stream_with_config(
            iter([input]), self._stream, config, run_type="chain"
        )
        yield from events

    async def astream(  # type: ignore[override]
        self, input: Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Event]:
        """As `stream`, without blocking the event loop."""

        async def one() -> AsyncIterator[Mapping[str, Any]]:
            yield input

        run: Any = self._atransform_stream_with_config(one(), self._astream, config, run_type="chain")
        async with aclosing(run) as events:
            async for event in events:
                yield event

    def transform(
        self, input: Iterator[Mapping[str, Any]], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[Tale]:
        """As a step of a chain that streams: the tale, when it is told."""
        for inputs in input:
            yield self.invoke(inputs, config)

    async def atransform(
        self, input: AsyncIterator[Mapping[str, Any]], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Tale]:
        """As `transform`, without blocking the event loop."""
        async for inputs in input:
            yield await self.ainvoke(inputs, config)

    def _new_run(self) -> GuardRun:
        return GuardRun(self.judge, self.attempts, self.timeout_s, self.keep_drafts, self.recorders)

    def _prepared(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        return masked(inputs) if self.mask_personal_data and isinstance(inputs, Mapping) else inputs

    def _about(self, inputs: Mapping[str, Any]) -> str:
        return input_texts(inputs) if self.judge_inputs else ""

    def _stream(
        self, inputs: Iterator[Mapping[str, Any]], run_manager: CallbackManagerForChainRun, config: RunnableConfig
    ) -> Iterator[Any]:
        telling, prepared = self._telling(config), self._prepared(next(inputs))
        yield from iterate_async(lambda: telling.events(prepared, self._about(prepared)))

    async def _astream(
        self,
        inputs: AsyncIterator[Mapping[str, Any]],
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
    ) -> AsyncIterator[Any]:
        prepared = self._prepared(await anext(inputs))
        async with aclosing(self._telling(config).events(prepared, self._about(prepared))) as events:
            async for event in events:
                yield event

    def _telling(self, config: RunnableConfig) -> GuardedStream:
        continues = bool(getattr(self.writer, "continues", False))
        return GuardedStream(self._new_run(), self.writer, continues=continues, config=config)

    def _run(self, inputs: Mapping[str, Any], run_manager: CallbackManagerForChainRun, config: RunnableConfig) -> Tale:
        inputs, config, run = self._prepared(inputs), mute_callbacks(config), self._new_run()
        plan = self._plan(run, inputs)
        at: _Step | Tale = next(plan)
        while not isinstance(at, Tale):
            try:
                answer = call_with_timeout(run.remaining_s(), partial(self._take, at, run, inputs, config))
            except Exception as error:  # noqa: BLE001  the plan decides what it means
                at = _advance(plan, error=error)
            else:
                at = _advance(plan, answer)
        return run.finish(at, inputs)

    async def _arun(
        self, inputs: Mapping[str, Any], run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig
    ) -> Tale:
        inputs, config, run = self._prepared(inputs), mute_callbacks(config), self._new_run()
        plan = self._plan(run, inputs)
        at: _Step | Tale = next(plan)
        while not isinstance(at, Tale):
            try:
                answer = await asyncio.wait_for(self._atake(at, run, inputs, config), run.remaining_s())
            except Exception as error:  # noqa: BLE001  the plan decides what it means
                at = _advance(plan, error=error)
            else:
                at = _advance(plan, answer)
        return await asyncio.to_thread(run.finish, at, inputs)

    def _take(self, step: _Step, run: GuardRun, inputs: Mapping[str, Any], config: RunnableConfig) -> object:
        if isinstance(step, _Write):
            return self.writer.invoke(inputs, run.writer_config(config, Revision(**vars(step))))
        if isinstance(step, _Ask):
            return self.judge.invoke(Passage(text=step.text), config)
        return step.by.embed_documents(step.texts)

    async def _atake(self, step: _Step, run: GuardRun, inputs: Mapping[str, Any], config: RunnableConfig) -> object:
        if isinstance(step, _Write):
            return await self.writer.ainvoke(inputs, run.writer_config(config, Revision(**vars(step))))
        if isinstance(step, _Ask):
            return await self.judge.ainvoke(Passage(text=step.text), config)
        return await step.by.aembed_documents(step.texts)

    def _plan(self, run: GuardRun, inputs: Mapping[str, Any]) -> Plan:
        """The whole run of a tale that is told at once."""
        if question := self._about(inputs):
            for _ in range(self.attempts):
                verdict = yield from judged(run, question)
                if verdict.outcome not in ("unparsable", "error"):
                    break
            if not verdict.passed:
                unjudged: RefusalReason = "timeout" if run.timed_out() else "unjudged"
                return run.refused_tale("input" if verdict.outcome == "fail" else unjudged, (), verdict)
        return (yield from self._drafts(run, inputs))

    def _drafts(self, run: GuardRun, inputs: Mapping[str, Any]) -> Plan:
        """Drafts and verdicts until one passes or a budget is spent."""
        done: list[Attempt] = []
        draft: str | None = None
        reason: RefusalReason = "failed"
        for number in range(1, self.attempts + 1):
            calls_before, since = len(run.call_recorder.calls), time.monotonic()
            if draft is None:
                draft = yield from written(run, number, done[-1].verdict.findings if done else ())
            if draft is None:
                break
            writing_s = time.monotonic() - since
            verdict = yield from judged(run, draft)
            done.append(run.attempt(number, draft, verdict, calls_before=calls_before, writing_s=writing_s))
            if verdict.passed:
                return run.released_tale(draft, done)
            if verdict.outcome in ("fail", "abstain"):
                draft = None
            reason = "failed" if verdict.outcome == "fail" else "unjudged"
        return run.refused_tale("timeout" if run.timed_out() else reason, done, done[-1].verdict if done else None)


def written(run: GuardRun, attempt: int, findings: tuple[Finding, ...]) -> Generator[_Step, Any, str | None]:
    """A draft; `None` when the time is over."""
    if run.timed_out():
        return None
    try:
        draft: object = yield _Write(attempt, findings)
    except TimeoutError:
        if run.timed_out():
            return None
        raise  # the writer's own time limit, not ours
    if isinstance(draft, str):
        return draft
    raise TypeError(f"a writer must return text (str); it returned {type(draft).__name__}")


def judged(run: GuardRun, text: str) -> Generator[_Step, Any, Verdict]:
    """The judge's answer; whatever is not a verdict becomes outcome `error`."""
    try:
        answer = yield _Ask(text)
    except Exception as error:  # noqa: BLE001  a judge in trouble lets nothing pass
        return run.verdict_from_error(error)
    return run.verdict_from_answer(answer)


def _advance(plan: Plan, answer: object = None, error: Exception | None = None) -> _Step | Tale:
    try:
        if error is not None:
            return plan.throw(error)
        return plan.send(answer)
    except StopIteration as end:
        tale: Tale = end.value
        return tale
