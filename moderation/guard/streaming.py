"""A tale told while it is written: sentence by sentence behind verdicts, bad turns revised, the whole checked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from langchain_core.runnables import Runnable, RunnableConfig

from taleward.core.events import (
    DoneEvent,
    Event,
    RefusalEvent,
    RetractionEvent,
    RevisionEvent,
    TextEvent,
    VerdictEvent,
)
from taleward.core.tale import Attempt, RefusalReason, StretchDecision
from taleward.core.verdict import Passage, Verdict
from taleward.moderation.guard.hold_back import CONTEXT_CHARACTERS, JudgedSentence, hold_back
from taleward.moderation.guard.repetition import RepetitionDetector
from taleward.moderation.guard.revision import Revision
from taleward.moderation.guard.run import GuardRun
from taleward.moderation.tracing.langchain_callbacks import mute_callbacks

T = TypeVar("T")
_CLOSING_SENTENCES = 3
_NO_ANSWER = ("unparsable", "error")
_NO_WORDS = {"quote": None, "start": None, "end": None, "rationale": ""}


@dataclass
class _Run:
    """One run of the writer, and what came of it."""

    revision: Revision
    calls_before: int
    began: float = field(default_factory=time.monotonic)
    decisions: list[StretchDecision] = field(default_factory=list)
    turned_down: JudgedSentence | None = None
    late: bool = False


class GuardedStream:
    """One tale's way from its inputs to its end.

    Args:
        guard_run: Settings, clock and ending.
        writer: Gives the text in pieces.
        continues: Whether the writer goes on from what is told when a `Revision` says so.
        config: The run's config.
    """

    def __init__(
        self, guard_run: GuardRun, writer: Runnable[Any, str], *, continues: bool, config: RunnableConfig
    ) -> None:
        self._guard_run, self._writer, self._continues = guard_run, writer, continues
        self._config = mute_callbacks(config)
        self._told = ""
        self._attempts: list[Attempt] = []
        self._closed = False
        self._reason: RefusalReason | None = None
        self._last: Verdict | None = None
        self._current = _Run(Revision(attempt=1), 0)

    async def events(self, inputs: Mapping[str, Any], about: str) -> AsyncGenerator[Event, None]:
        """All events, the last one `done`; closing the generator stops the writer and the judges.

        Args:
            inputs: For the writer.
            about: What is judged before anything is written; nothing where it is empty.
        """
        if about:
            self._last = await self._settled(Passage(text=about))
            if not self._last.passed:
                self._reason = "input" if self._last.outcome == "fail" else self._unjudged()
        if self._reason is None:
            async with aclosing(self._tell(inputs)) as events:
                async for event in events:
                    yield event
        if self._reason is None:
            yield await self._check_whole()
        guard_run = self._guard_run
        if self._reason is None:
            tale = guard_run.released_tale(self._told, self._attempts, closed=self._closed)
        else:
            tale = guard_run.refused_tale(self._reason, self._attempts, self._last)
        if tale.refusal is not None:
            if self._told:
                yield RetractionEvent(start=0, end=len(self._told), categories=tale.refusal.categories)
            yield RefusalEvent(refusal=tale.refusal)
        yield DoneEvent(tale=await asyncio.to_thread(guard_run.finish, tale, inputs))

    async def _tell(self, inputs: Mapping[str, Any]) -> AsyncGenerator[Event, None]:
        """Write, and go on from what is told where a sentence is turned down, until the attempts are spent."""
        guard_run, stuck = self._guard_run, False
        for number in range(1, guard_run.attempts + 1):
            findings = self._last.findings if self._last else ()
            run = self._run(Revision(attempt=number, findings=findings, released=self._told))
            async with aclosing(self._write(run, inputs)) as events:
                async for event in events:
                    yield event
            self._keep(run)
            if self._reason is None:
                return
            stuck = self._last is not None and self._last.outcome in _NO_ANSWER
            if run.late or stuck or number == guard_run.attempts or (self._told and not self._continues):
                break
            yield RevisionEvent(attempt=number + 1, start=len(self._told), categories=self._categories)
        if self._told.strip() and not stuck and guard_run.judge.policy.ending == "close":
            guard_run.allow_closing()
            async with aclosing(self._close(self._current, inputs)) as events:
                async for event in events:
                    yield event

    async def _write(
        self, run: _Run, inputs: Mapping[str, Any], most: int | None = None
    ) -> AsyncGenerator[Event, None]:
        """Run the writer and tell what passes, until something does not or `most` sentences are told."""
        loops = RepetitionDetector()
        config = self._guard_run.writer_config(self._config, run.revision)
        async with aclosing(
            hold_back(self._writer.astream(inputs, config), self._answer, preceding=self._told)
        ) as pieces:
            while most is None or len(run.decisions) < most:
                try:
                    piece = await self._in_time(anext(pieces, None))
                except TimeoutError:
                    run.late = self._guard_run.timed_out()
                    if run.late:
                        return
                    raise  # the writer's own time limit, not ours
                if piece is None:
                    return
                verdict = piece.verdict
                if verdict.outcome in _NO_ANSWER:
                    verdict = await self._settled(
                        Passage(text=piece.text, context=self._told[-CONTEXT_CHARACTERS:]), verdict
                    )
                if loops.repeats(piece.text):
                    verdict = verdict.model_copy(
                        update={"outcome": "fail", "detail": "the writer goes round in circles"}
                    )
                piece = JudgedSentence(piece.text, piece.start, verdict, piece.held_s)
                run.decisions.append(_decision(piece, time.monotonic() - run.began))
                yield self._said(piece, run.revision.attempt)
                if not verdict.passed:
                    run.turned_down = piece
                    return
                self._told += piece.text
                yield TextEvent(text=piece.text, start=piece.start)

    async def _close(self, last: _Run, inputs: Mapping[str, Any]) -> AsyncGenerator[Event, None]:
        """Bring the told text to an end: by the writer where it can, else with the policy's words for the band."""
        number = last.revision.attempt + 1
        if self._continues and not last.late:
            yield RevisionEvent(attempt=number, start=len(self._told), categories=self._categories, closing=True)
            findings = self._last.findings if self._last else ()
            run = self._run(Revision(attempt=number, findings=findings, released=self._told, closing=True))
            async with aclosing(self._write(run, inputs, _CLOSING_SENTENCES)) as events:
                async for event in events:
                    yield event
            if run.turned_down is None and not run.late and run.decisions:
                self._closed, self._reason = True, None
                return
        words = self._guard_run.judge.policy.band(self._guard_run.judge.band).closing
        if not words:
            return
        text = words if self._told[-1].isspace() else f" {words}"
        since = time.monotonic()
        verdict = await self._settled(Passage(text=text, context=self._told[-CONTEXT_CHARACTERS:]))
        piece = JudgedSentence(text, len(self._told), verdict, time.monotonic() - since)
        yield self._said(piece, number)
        if verdict.passed:
            self._told += text
            self._closed, self._reason = True, None
            yield TextEvent(text=text, start=piece.start)

    async def _check_whole(self) -> VerdictEvent:
        """Judge the told text as one: harm may build up over sentences that are harmless one by one."""
        since, run = time.monotonic(), self._current
        verdict = await self._settled(Passage(text=self._told))
        self._attempts.append(self._attempt(run, self._told, verdict))
        self._last = verdict
        if not verdict.passed:
            self._reason = "failed" if verdict.outcome == "fail" else self._unjudged()
        piece = JudgedSentence(self._told, 0, verdict, time.monotonic() - since)
        return self._said(piece, run.revision.attempt, whole=True)

    def _run(self, revision: Revision) -> _Run:
        self._current = _Run(revision, len(self._guard_run.call_recorder.calls))
        return self._current

    def _keep(self, run: _Run) -> None:
        """Note why a run did not end the text; nothing where it did."""
        self._reason = None
        if run.late:
            self._reason = "timeout"
        elif run.turned_down is not None:
            piece = run.turned_down
            findings = tuple(f.shifted(piece.start) for f in piece.verdict.findings)
            self._last = piece.verdict.model_copy(update={"findings": findings})
            self._attempts.append(self._attempt(run, self._told + piece.text, self._last))
            self._reason = "failed" if self._last.outcome == "fail" else self._unjudged()
        elif not self._told.strip():
            self._last = self._guard_run.verdict("abstain", "the writer wrote nothing")
            self._attempts.append(self._attempt(run, self._told, self._last))
            self._reason = "unjudged"

    def _attempt(self, run: _Run, draft: str, verdict: Verdict) -> Attempt:
        return self._guard_run.attempt(
            run.revision.attempt,
            draft,
            verdict,
            calls_before=run.calls_before,
            writing_s=time.monotonic() - run.began,
            decisions=run.decisions,
        )

    async def _answer(self, passage: Passage) -> Verdict:
        """The judge's answer; one in trouble lets nothing pass."""
        try:
            return self._guard_run.verdict_from_answer(await self._guard_run.judge.ainvoke(passage, self._config))
        except Exception as error:  # noqa: BLE001  a verdict of its own
            return self._guard_run.verdict_from_error(error)

    async def _settled(self, passage: Passage, verdict: Verdict | None = None) -> Verdict:
        """Ask until there is a plain answer, as often as there are attempts; `verdict` is the first answer."""
        for _ in range(self._guard_run.attempts - (verdict is not None)):
            try:
                verdict = await self._in_time(self._answer(passage))
            except TimeoutError:
                return self._guard_run.verdict("error", "no answer before the time was over")
            if verdict.outcome not in _NO_ANSWER:
                break
        return verdict if verdict is not None else self._guard_run.verdict("error", "the judge was not asked")

    async def _in_time(self, awaitable: Awaitable[T]) -> T:
        return await asyncio.wait_for(awaitable, self._guard_run.remaining_s())

    def _unjudged(self) -> RefusalReason:
        return "timeout" if self._guard_run.timed_out() else "unjudged"

    def _said(self, piece: JudgedSentence, attempt: int, *, whole: bool = False) -> VerdictEvent:
        verdict = piece.verdict
        if not verdict.passed and not self._guard_run.keep_drafts:
            wordless = tuple(f.model_copy(update=_NO_WORDS) for f in verdict.findings)
            verdict = verdict.model_copy(update={"findings": wordless})
        return VerdictEvent(
            start=piece.start, end=piece.end, whole=whole, attempt=attempt, verdict=verdict, held_s=piece.held_s
        )

    @property
    def _categories(self) -> tuple[str, ...]:
        return self._last.categories if self._last else ()


def _decision(piece: JudgedSentence, at_s: float) -> StretchDecision:
    return StretchDecision(
        start=piece.start,
        end=piece.end,
        outcome=piece.verdict.outcome,
        categories=piece.verdict.categories,
        held_s=piece.held_s,
        at_s=at_s,
    )
