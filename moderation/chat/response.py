"""One answer of a chat model on its way out: judged whole, or sentence by sentence while it streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

from langchain_core.callbacks.manager import BaseRunManager
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import RunnableConfig

from taleward.core.concurrency.threads import run_in_thread
from taleward.core.tale import RefusalReason
from taleward.core.verdict import Passage, Verdict
from taleward.moderation.chat.messages import further_words, joined, looks_structured, refused, released, text_of
from taleward.moderation.guard.hold_back import Piece, hold_back
from taleward.moderation.guard.run import GuardRun
from taleward.moderation.judges.base import Judge
from taleward.moderation.tracing.langchain_callbacks import muted_run

T = TypeVar("T")


class GuardedResponse:
    """One call of a guarded model.

    Args:
        judge: Who judges.
        timeout_s: Wall-clock budget for model and judge together; `None` for none.
        declared: Words of the tools at hand, which are not the model's.
        run: The run that it belongs to.
        blocking: Whether the judge is asked in a thread, for a caller that is not asynchronous: the connections of a
            judge's model would outlive the event loop that such a call runs on.
    """

    def __init__(
        self,
        judge: Judge,
        timeout_s: float | None,
        *,
        declared: frozenset[str] = frozenset(),
        run: BaseRunManager | None = None,
        blocking: bool = False,
    ) -> None:
        self._course = GuardRun(judge, attempts=1, timeout_s=timeout_s, keep_drafts=False, recorders=())
        self._declared, self._blocking = declared, blocking
        self._config, self._context = muted_run(run)

    async def asked(self, text: str) -> AIMessageChunk | None:
        """What to say to a text of the other side that does not pass; `None` where it passes."""
        verdict = await self._verdict(Passage(text=text))
        return None if verdict.passed else refused(self._why(verdict, "input"), verdict)

    async def whole(self, ask: Callable[[RunnableConfig], Awaitable[AIMessage]]) -> AIMessageChunk:
        """The answer, or a refusal, in one piece.

        Args:
            ask: Asks the model, with the config it is given.
        """

        async def answer() -> AIMessage:
            return await ask(self._config)

        try:
            message = await self._in_time(answer())
        except TimeoutError:
            if not self._course.over():
                raise  # the model's own time limit, not ours
            return refused("timeout", None)
        return await self._end(message, text_of(message), [])

    async def streamed(
        self, ask: Callable[[RunnableConfig], AsyncIterator[AIMessage]]
    ) -> AsyncGenerator[AIMessageChunk, None]:
        """The answer sentence by sentence, each behind its verdict; the last chunk is its end or a refusal.

        Args:
            ask: Has the model stream, with the config it is given.
        """
        parts: list[AIMessage] = []
        told: list[Piece] = []
        reason: RefusalReason | None = None
        verdict: Verdict | None = None
        async with aclosing(hold_back(self._prose(ask, parts), self._answer)) as pieces:
            while reason is None:
                try:
                    piece = await self._in_time(_following(pieces))
                except TimeoutError:
                    if not self._course.over():
                        raise  # the model's own time limit, not ours
                    reason, verdict = "timeout", None
                    break
                if piece is None:
                    break
                verdict = piece.verdict
                if verdict.passed:
                    told.append(piece)
                    yield AIMessageChunk(content=piece.text)
                else:
                    reason = self._why(verdict, "failed")
        if reason is not None:
            yield refused(reason, verdict, told="".join(piece.text for piece in told))
            return
        yield await self._end(joined(parts), "".join(map(text_of, parts)), told)

    async def _prose(
        self, ask: Callable[[RunnableConfig], AsyncIterator[AIMessage]], parts: list[AIMessage]
    ) -> AsyncGenerator[str, None]:
        """The text as it is written; nothing of a blank one, nor of one that is to be parsed."""
        lead, is_prose = "", False
        source: Any = ask(self._config)
        try:
            async for part in source:
                parts.append(part)
                lead += text_of(part)
                if not is_prose and lead.strip():
                    is_prose = not looks_structured(lead)
                if is_prose:
                    yield lead
                    lead = ""
        finally:
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()

    async def _end(self, message: AIMessage, text: str, told: list[Piece]) -> AIMessageChunk:
        """Judge all that the answer says: harm may build up over sentences that are harmless one by one."""
        said = "".join(piece.text for piece in told)
        further = further_words(message, text, self._declared)
        if not text.strip() and not message.tool_calls and not message.invalid_tool_calls:
            nothing = self._course.verdict("abstain", "the model answered nothing")
            return refused("unjudged", nothing, message=message)
        verdict: Verdict | None = None
        if len(told) == 1 and said == text and not further:
            verdict = told[0].verdict  # on these very words, with nothing before them
        elif text.strip() or further:
            verdict = await self._verdict(Passage(text="\n".join([text, *further])))
        if verdict is not None and not verdict.passed:
            return refused(self._why(verdict, "failed"), verdict, told=said, message=message)
        return released(message, text[len(said) :] if text.strip() else "", verdict)

    async def _verdict(self, passage: Passage) -> Verdict:
        try:
            return await self._in_time(self._answer(passage))
        except TimeoutError:
            return self._course.verdict("error", "no answer before the time was over")

    async def _answer(self, passage: Passage) -> Verdict:
        """The judge's answer; one in trouble lets nothing pass."""
        judge = self._course.judge
        try:
            if self._blocking:
                return self._course.checked(await run_in_thread(partial(judge.invoke, passage, self._config)))
            return self._course.checked(await judge.ainvoke(passage, self._config))
        except Exception as error:  # noqa: BLE001  a verdict of its own
            return self._course.failed(error)

    async def _in_time(self, work: Coroutine[Any, Any, T]) -> T:
        """What the work gives, done where nobody listens."""
        return await asyncio.wait_for(asyncio.create_task(work, context=self._context), self._course.left())

    def _why(self, verdict: Verdict, failed: RefusalReason) -> RefusalReason:
        if verdict.outcome == "fail":
            return failed
        return "timeout" if self._course.over() else "unjudged"


async def _following(pieces: AsyncGenerator[Piece, None]) -> Piece | None:
    return await anext(pieces, None)
