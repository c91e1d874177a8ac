"""Stream a tale while it is written: release sentence by sentence, revise, and judge the whole at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TypeVar

from langchain_core.runnables import RunnableConfig

from taleward.core.events import (
    DoneEvent,
    Event,
    RefusalEvent,
    RetractionEvent,
    RevisionEvent,
    TextEvent,
    VerdictEvent,
)
from taleward.core.tale import Attempt, RefusalReason, StretchDecision, Tale
from taleward.core.verdict import Passage, Verdict
from taleward.moderation.guard.hold_back import CONTEXT_CHARACTERS, JudgedSentence, hold_back
from taleward.moderation.guard.input_checks import WriterInput, as_mapping
from taleward.moderation.guard.release import (
    RELEASE,
    TIMED_OUT,
    Decision,
    decide,
    has_answer,
    judge_once,
    judge_until_answered,
    release,
)
from taleward.moderation.guard.repetition import RepetitionDetector
from taleward.moderation.guard.revision_context import Revision
from taleward.moderation.guard.run import CLOSING_S, ClosedBy, GuardRun
from taleward.moderation.guard.steps import JudgePassage, arun_steps
from taleward.moderation.guard.text_size_limits import DraftTooLong
from taleward.moderation.guard.writer import TextWriter
from taleward.moderation.tracing.mute_callbacks import mute_callbacks

T = TypeVar("T")
_MAX_CLOSING_SENTENCES = 3


@dataclass
class _StreamedDraft:
    """One run of the writer.

    Attributes:
        revision: The revision that the writer received.
        calls_before: Model calls that were recorded before this run.
        started_s: When it began, on the monotonic clock.
        decisions: The verdicts on its sentences.
        rejected: The sentence that did not pass and ended the run.
        timed_out: Whether the deadline ended the run.
        too_long: Whether the limit on its characters ended the run.
    """

    revision: Revision
    calls_before: int
    started_s: float = field(default_factory=time.monotonic)
    decisions: list[StretchDecision] = field(default_factory=list)
    rejected: JudgedSentence | None = None
    timed_out: bool = False
    too_long: bool = False


class GuardedStream:
    """The generation of one streamed tale.

    Args:
        run: The settings and the deadline.
        writer: Streams the text.
        config: The config of the guard's LangChain run.
    """

    def __init__(self, run: GuardRun, writer: TextWriter, config: RunnableConfig) -> None:
        self._run, self._writer = run, writer
        self._config = mute_callbacks(config)
        self._released_text = ""
        self._attempts: list[Attempt] = []
        self._closed_by: ClosedBy | None = None
        self._decision: Decision = RELEASE
        self._verdict: Verdict | None = None
        self._draft = _StreamedDraft(Revision(attempt=1), 0)

    async def events(self, inputs: WriterInput, text_to_judge: str) -> AsyncGenerator[Event, None]:
        """Yield all events, the last one `done`; closing the generator stops the writer and the judge.

        Args:
            inputs: The writer's inputs.
            text_to_judge: What is judged before the writer runs; nothing if it is empty.
        """
        run = self._run
        if too_long := run.input_too_long(inputs):
            self._verdict, self._decision = too_long, Decision("refuse", "input")
        elif text_to_judge:
            verdict, self._decision = await self._judge(Passage(text=text_to_judge), if_failed="input")
            # Findings on inputs that passed are no findings on a draft: the writer must not be asked to avoid them.
            self._verdict = None if self._decision.released else verdict
        if self._decision.released:
            async with aclosing(self._write_drafts(inputs)) as events:
                async for event in events:
                    yield event
        if self._decision.released:
            yield await self._judge_whole()
        if self._decision.released and self._verdict is not None:
            text = release(self._released_text, self._verdict)
            tale = run.released_tale(text, self._attempts, closed_by=self._closed_by)
        else:
            tale = run.refused_tale(self._decision.reason, self._attempts, self._verdict, text_to_judge)
        for event in self._refusal_events(tale):
            yield event
        yield DoneEvent(tale=await asyncio.to_thread(run.finish, tale, as_mapping(inputs)))

    def is_overdue(self) -> bool:
        """Whether the stream should have ended, with all that may follow the deadline."""
        return self._run.overdue_s() > CLOSING_S

    def abandon(self, inputs: WriterInput) -> Iterator[Event]:
        """Yield the last events of a stream whose writer or judge blocks its event loop: it is refused for its time."""
        tale = self._run.refused_tale("timeout", self._attempts, None)
        yield from self._refusal_events(tale)
        yield DoneEvent(tale=self._run.finish(tale, as_mapping(inputs)))

    def _refusal_events(self, tale: Tale) -> Iterator[Event]:
        if tale.refusal is not None:
            if self._released_text:
                yield RetractionEvent(start=0, end=len(self._released_text), categories=tale.refusal.categories)
            yield RefusalEvent(refusal=tale.refusal)

    async def _write_drafts(self, inputs: WriterInput) -> AsyncGenerator[Event, None]:
        """Write, and revise from the released text on after a rejected sentence, until the attempts are used up."""
        run = self._run
        for number in range(1, run.attempts + 1):
            findings = self._verdict.findings if self._verdict else ()
            draft = self._start_draft(Revision(attempt=number, findings=findings, released=self._released_text))
            async with aclosing(self._write(draft, inputs)) as events:
                async for event in events:
                    yield event
            # A writer that cannot continue would repeat what is released already.
            revisions_left = run.attempts - number if self._writer.continues or not self._released_text else 0
            self._decision = self._decide(draft, revisions_left)
            if self._decision.released:
                return
            if self._decision.action == "refuse":
                break
            yield RevisionEvent(attempt=number + 1, start=len(self._released_text), categories=self._categories)
        # A judge that does not answer would not answer about a closing sentence either.
        judge_answers = self._verdict is None or has_answer(self._verdict)
        if self._released_text.strip() and judge_answers and run.judge.policy.ending == "close":
            run.allow_closing()
            async with aclosing(self._close(inputs)) as events:
                async for event in events:
                    yield event

    async def _write(
        self, draft: _StreamedDraft, inputs: WriterInput, max_sentences: int | None = None
    ) -> AsyncGenerator[Event, None]:
        """Run the writer and release its sentences, until one does not pass or `max_sentences` are released."""
        repetition = RepetitionDetector()
        chunks = self._writer.stream(inputs, self._run.writer_config(self._config, draft.revision))
        async with aclosing(hold_back(chunks, self._judge_once, preceding=self._released_text)) as sentences:
            while max_sentences is None or len(draft.decisions) < max_sentences:
                try:
                    sentence = await self._in_time(anext(sentences, None))
                except TimeoutError:
                    draft.timed_out = self._run.timed_out()
                    if draft.timed_out:
                        return
                    raise  # the writer's own time limit, not the guard's
                except DraftTooLong:
                    draft.too_long = True
                    return
                if sentence is None:
                    return
                passage = Passage(text=sentence.text, context=self._released_text[-CONTEXT_CHARACTERS:])
                verdict, _ = await self._judge(passage, first=sentence.verdict)
                if repetition.repeats(sentence.text):
                    verdict = verdict.model_copy(update={"outcome": "fail", "detail": "the writer repeats itself"})
                sentence = replace(sentence, verdict=verdict)
                draft.decisions.append(_stretch_decision(sentence, time.monotonic() - draft.started_s))
                yield self._verdict_event(sentence, draft.revision.attempt)
                if not verdict.passed:
                    draft.rejected = sentence
                    return
                yield self._release(sentence)

    async def _close(self, inputs: WriterInput) -> AsyncGenerator[Event, None]:
        """End the released text: with the writer if it can, otherwise with the policy's closing words for the band."""
        number, timed_out = self._draft.revision.attempt + 1, self._draft.timed_out
        # A writer that was too slow for the time limit is too slow for the few seconds that are left.
        if self._writer.continues and not timed_out:
            start = len(self._released_text)
            yield RevisionEvent(attempt=number, start=start, categories=self._categories, closing=True)
            findings = self._verdict.findings if self._verdict else ()
            draft = self._start_draft(
                Revision(attempt=number, findings=findings, released=self._released_text, closing=True)
            )
            async with aclosing(self._write(draft, inputs, _MAX_CLOSING_SENTENCES)) as events:
                async for event in events:
                    yield event
            if draft.rejected is None and not draft.timed_out and not draft.too_long and draft.decisions:
                self._closed_by, self._decision = "writer", RELEASE
                return
        words = self._run.judge.policy.band(self._run.judge.band).closing
        if not words:
            return
        text = words if self._released_text[-1].isspace() else f" {words}"
        started_s = time.monotonic()
        verdict, decision = await self._judge(Passage(text=text, context=self._released_text[-CONTEXT_CHARACTERS:]))
        sentence = JudgedSentence(text, len(self._released_text), verdict, time.monotonic() - started_s)
        yield self._verdict_event(sentence, number)
        if decision.released:
            self._closed_by, self._decision = "policy", decision
            yield self._release(sentence, source="policy")

    async def _judge_whole(self) -> VerdictEvent:
        """Judge the released text as one: harm can build up over sentences that are harmless one by one."""
        started_s = time.monotonic()
        self._verdict, self._decision = await self._judge(Passage(text=self._released_text))
        self._attempts.append(self._attempt(self._draft, self._released_text, self._verdict))
        judged_text = JudgedSentence(self._released_text, 0, self._verdict, time.monotonic() - started_s)
        return self._verdict_event(judged_text, self._draft.revision.attempt, whole=True)

    def _start_draft(self, revision: Revision) -> _StreamedDraft:
        self._draft = _StreamedDraft(revision, len(self._run.call_recorder.calls))
        return self._draft

    def _decide(self, draft: _StreamedDraft, revisions_left: int) -> Decision:
        """Decide how to go on after a run of the writer, and record it as an attempt if it was rejected."""
        if draft.timed_out:
            return TIMED_OUT
        if draft.rejected is not None:
            rejected = draft.rejected
            findings = tuple(finding.shifted(rejected.start) for finding in rejected.verdict.findings)
            text = self._released_text + rejected.text
            verdict = rejected.verdict.model_copy(update={"findings": findings})
        elif draft.too_long:
            text, verdict = self._released_text, self._run.draft_too_long()
            # A writer that continues would only make it longer.
            revisions_left = 0 if text else revisions_left
        elif not self._released_text.strip():
            text = self._released_text
            verdict = self._run.verdict("abstain", "the writer wrote nothing")
        else:
            return RELEASE  # `_judge_whole` follows
        self._verdict = verdict
        self._attempts.append(self._attempt(draft, text, verdict))
        return decide(verdict, timed_out=self._run.timed_out(), revisions_left=revisions_left)

    def _attempt(self, draft: _StreamedDraft, text: str, verdict: Verdict) -> Attempt:
        return self._run.attempt(
            draft.revision.attempt,
            text,
            verdict,
            calls_before=draft.calls_before,
            writing_s=time.monotonic() - draft.started_s,
            decisions=draft.decisions,
        )

    async def _judge_once(self, passage: Passage) -> Verdict:
        """Ask the judge without a time limit: the caller waits for the sentence with one."""
        return await arun_steps(judge_once(self._run, passage), self._ask_judge)

    async def _judge(
        self, passage: Passage, *, first: Verdict | None = None, if_failed: RefusalReason = "failed"
    ) -> tuple[Verdict, Decision]:
        # `first` comes from the call that was made while later sentences were written; what is left is to ask again.
        steps = judge_until_answered(self._run, passage, first=first, if_failed=if_failed)
        return await arun_steps(steps, lambda step: self._in_time(self._ask_judge(step)))

    async def _ask_judge(self, step: JudgePassage) -> object:
        return await self._run.judge.ainvoke(step.passage, self._config)

    async def _in_time(self, awaitable: Awaitable[T]) -> T:
        return await asyncio.wait_for(awaitable, self._run.remaining_s())

    def _release(self, sentence: JudgedSentence, source: ClosedBy = "writer") -> TextEvent:
        text = release(sentence.text, sentence.verdict)
        self._released_text += text
        return TextEvent(text=text, start=sentence.start, source=source)

    def _verdict_event(self, sentence: JudgedSentence, attempt: int, *, whole: bool = False) -> VerdictEvent:
        verdict = sentence.verdict
        if not verdict.passed and not self._run.keep_drafts:
            verdict = verdict.without_words(sentence.text)
        return VerdictEvent(
            start=sentence.start,
            end=sentence.end,
            whole=whole,
            attempt=attempt,
            verdict=verdict,
            held_s=sentence.held_s,
        )

    @property
    def _categories(self) -> tuple[str, ...]:
        return self._verdict.categories if self._verdict else ()


def _stretch_decision(sentence: JudgedSentence, at_s: float) -> StretchDecision:
    return StretchDecision(
        start=sentence.start,
        end=sentence.end,
        outcome=sentence.verdict.outcome,
        categories=sentence.verdict.categories,
        held_s=sentence.held_s,
        at_s=at_s,
    )
