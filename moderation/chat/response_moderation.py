"""Moderate one response of a chat model: whole, or sentence by sentence while it streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

from langchain_core.callbacks.manager import BaseRunManager
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import RunnableConfig

from taleward.core.concurrency.sync_async import run_in_thread
from taleward.core.tale import RefusalReason
from taleward.core.verdict import Passage, Verdict
from taleward.moderation.chat.messages import (
    join_chunks,
    looks_structured,
    refusal_chunk,
    released_chunk,
    text_of,
    words_beyond_text,
)
from taleward.moderation.guard.hold_back import JudgedSentence, hold_back
from taleward.moderation.guard.release import (
    RELEASE,
    TIMED_OUT,
    Decision,
    decide,
    judge_once,
    judge_until_answered,
    release,
)
from taleward.moderation.guard.run import GuardRun
from taleward.moderation.guard.steps import JudgePassage, arun_steps
from taleward.moderation.guard.text_size_limits import MAX_DRAFT_CHARS, DraftTooLong
from taleward.moderation.judges.base import Judge
from taleward.moderation.tracing.mute_callbacks import muted_run

T = TypeVar("T")


class GuardedResponse:
    """The moderation of one model call.

    Args:
        judge: The judge.
        timeout_s: Time limit in seconds for model and judge together; `None` for none.
        declared: Words of the tools' definitions, which are not the model's own words.
        model_name: The name by which the model was asked for, if it has one.
        max_chars: Characters in the model's text; a longer one is stopped and refused.
        run: The LangChain run that the call belongs to; `None` for the ambient one.
        blocking: Whether to call the judge's synchronous `invoke` in a thread. Set it for synchronous callers: pooled
            connections of the judge's model would outlive the event loop that serves such a call.
    """

    def __init__(
        self,
        judge: Judge,
        timeout_s: float | None,
        *,
        declared: frozenset[str] = frozenset(),
        model_name: str | None = None,
        max_chars: int = MAX_DRAFT_CHARS,
        run: BaseRunManager | None = None,
        blocking: bool = False,
    ) -> None:
        self._run = GuardRun(
            judge,
            attempts=1,
            timeout_s=timeout_s,
            keep_drafts=False,
            recorders=(),
            max_draft_chars=max_chars,
            option="max_chars",
        )
        self._declared, self._model_name, self._blocking = declared, model_name, blocking
        # Muted once, here: the caller's context is current now, and each step below runs in a task of its own.
        self._config, self._context = muted_run(run)

    async def refusal_for(self, text: str) -> AIMessageChunk | None:
        """Judge a text that the model is to read, and return the refusal; `None` if the text passes."""
        verdict, decision = await self._judge(Passage(text=text), if_failed="input")
        return None if decision.released else refusal_chunk(decision.reason, verdict)

    async def respond(self, call_model: Callable[[RunnableConfig], Awaitable[AIMessage]]) -> AIMessageChunk:
        """Return the model's message, or a refusal, in one piece.

        Args:
            call_model: Calls the model with the config it gets.
        """

        async def call() -> AIMessage:
            return await call_model(self._config)

        try:
            message = await self._in_time(call())
        except TimeoutError:
            if not self._run.timed_out():
                raise  # the model's own time limit, not the guard's
            return refusal_chunk(TIMED_OUT.reason, None)
        return await self._last_chunk(message, text_of(message), [])

    async def stream(
        self, stream_model: Callable[[RunnableConfig], AsyncIterator[AIMessage]]
    ) -> AsyncGenerator[AIMessageChunk, None]:
        """Yield the message sentence by sentence, each after its verdict; the last chunk completes or refuses it.

        Args:
            stream_model: Streams the model with the config it gets.
        """
        parts: list[AIMessage] = []
        released: list[JudgedSentence] = []
        decision = RELEASE
        verdict: Verdict | None = None
        async with aclosing(hold_back(self._prose(stream_model, parts), self._judge_once)) as sentences:
            while decision.released:
                try:
                    sentence = await self._in_time(_next_sentence(sentences))
                except TimeoutError:
                    if not self._run.timed_out():
                        raise  # the model's own time limit, not the guard's
                    decision, verdict = TIMED_OUT, None
                    break
                except DraftTooLong:
                    verdict = self._run.draft_too_long()
                    decision = decide(verdict, timed_out=self._run.timed_out())
                    break
                if sentence is None:
                    break
                verdict = sentence.verdict
                decision = decide(verdict, timed_out=self._run.timed_out())
                if decision.released:
                    released.append(sentence)
                    yield AIMessageChunk(content=release(sentence.text, verdict))
        if not decision.released:
            released_text = "".join(sentence.text for sentence in released)
            yield refusal_chunk(decision.reason, verdict, released_text=released_text)
            return
        yield await self._last_chunk(join_chunks(parts), "".join(map(text_of, parts)), released)

    async def _prose(
        self, stream_model: Callable[[RunnableConfig], AsyncIterator[AIMessage]], parts: list[AIMessage]
    ) -> AsyncGenerator[str, None]:
        """Yield the text as it is written, and collect its parts; yield nothing of blank text or of JSON."""
        blank: list[str] = []
        is_prose: bool | None = None
        chunks: Any = stream_model(self._config)
        written = 0
        try:
            async for chunk in chunks:
                parts.append(chunk)
                text = text_of(chunk)
                written += len(text)
                if written > self._run.max_draft_chars:
                    raise DraftTooLong(text)
                if is_prose is None:
                    if not text.strip():
                        blank.append(text)
                        continue
                    is_prose = not looks_structured(text)
                    text = "".join([*blank, text])
                if is_prose:
                    yield text
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()

    async def _last_chunk(self, message: AIMessage, text: str, released: list[JudgedSentence]) -> AIMessageChunk:
        """Judge the complete message: harm can build up over sentences that are harmless one by one."""
        released_text = "".join(sentence.text for sentence in released)
        if len(text) > self._run.max_draft_chars:
            too_long = self._run.draft_too_long()
            return self._refuse_message(message, too_long, decide(too_long, timed_out=self._run.timed_out()))
        other_words = words_beyond_text(message, text, self._declared)
        if not text.strip() and not message.tool_calls and not message.invalid_tool_calls:
            nothing = self._run.verdict("abstain", "the model's message is empty")
            return self._refuse_message(message, nothing, decide(nothing, timed_out=self._run.timed_out()))
        if not text.strip() and not other_words:  # a tool call without words: there is nothing to judge
            return released_chunk(message, "", None, self._model_name)
        if len(released) == 1 and released_text == text and not other_words:
            verdict, decision = released[0].verdict, RELEASE  # it was on these very words, without any context
        else:
            verdict, decision = await self._judge(Passage(text="\n".join([text, *other_words])))
        if not decision.released:
            return self._refuse_message(message, verdict, decision, released_text)
        unreleased = text[len(released_text) :] if text.strip() else ""
        return released_chunk(message, release(unreleased, verdict), verdict, self._model_name)

    def _refuse_message(
        self, message: AIMessage, verdict: Verdict, decision: Decision, released_text: str = ""
    ) -> AIMessageChunk:
        return refusal_chunk(
            decision.reason, verdict, released_text=released_text, message=message, model_name=self._model_name
        )

    async def _judge(self, passage: Passage, *, if_failed: RefusalReason = "failed") -> tuple[Verdict, Decision]:
        steps = judge_until_answered(self._run, passage, if_failed=if_failed)
        return await arun_steps(steps, lambda step: self._in_time(self._ask_judge(step)))

    async def _judge_once(self, passage: Passage) -> Verdict:
        """Ask the judge without a time limit: the caller waits for the sentence with one."""
        return await arun_steps(judge_once(self._run, passage), self._ask_judge)

    async def _ask_judge(self, step: JudgePassage) -> object:
        judge = self._run.judge
        if self._blocking:
            return await run_in_thread(partial(judge.invoke, step.passage, self._config), judge.left_behind)
        return await judge.ainvoke(step.passage, self._config)

    async def _in_time(self, work: Coroutine[Any, Any, T]) -> T:
        """Await the work within the time limit, in the muted context."""
        return await asyncio.wait_for(asyncio.create_task(work, context=self._context), self._run.remaining_s())


async def _next_sentence(sentences: AsyncGenerator[JudgedSentence, None]) -> JudgedSentence | None:
    return await anext(sentences, None)
