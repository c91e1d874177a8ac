"""Hold the conversation of an attack with a system, and judge what it releases."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from langchain_core.language_models import BaseLanguageModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable

from taleward.core.concurrency.sync_async import run_in_thread
from taleward.core.errors import ConfigurationError, ContentFiltered, Refused
from taleward.core.redaction import format_error
from taleward.core.tale import Tale
from taleward.core.verdict import Verdict
from taleward.evaluation.red_teaming.attacks import Attack
from taleward.evaluation.red_teaming.result import AttackResult, Reply
from taleward.moderation.chat.messages import MARK, is_refusal, text_of
from taleward.moderation.judges.base import Judge

RedTeamSystem: TypeAlias = Runnable[Any, Any] | Callable[[Any], Any]
"""What a red team can attack: a Runnable or a function, sync or async."""

_REFUSAL_WORDS = "I would rather not say that."


@dataclass(frozen=True)
class Answer:
    """What a system answered to one request.

    Attributes:
        text: The released text; `None` if there is none.
        refusal: Why nothing was released; `None` if something was.
        shown: What the child sees, which a chat model gets as its own earlier words.
    """

    text: str | None
    refusal: str | None
    shown: str


@dataclass(frozen=True)
class Interview:
    """How attacks are put to a system.

    Attributes:
        system: The system.
        judge: The judge of what it releases.
        takes_messages: Whether the system gets the conversation as a list of messages instead of the last request.
        input_key: The name of the input that the system takes it as; `None` to pass it alone.
        timeout_s: Seconds for each answer, and again for its verdict; `None` for no limit.
    """

    system: RedTeamSystem
    judge: Judge
    takes_messages: bool
    input_key: str | None
    timeout_s: float | None

    async def attack(self, attack: Attack) -> AttackResult:
        """Ask turn by turn, until the script ends, a text leaks, or the system raises."""
        replies: list[Reply] = []
        messages: list[BaseMessage] = []
        error: str | None = None
        start = time.perf_counter()
        for turn, after_refusal in zip(attack.turns, attack.after_refusal, strict=True):
            request = after_refusal if replies and replies[-1].text is None else turn
            messages.append(HumanMessage(request))
            try:
                answer = await self._ask(request, messages)
            except Exception as raised:  # noqa: BLE001  an error of the system is a result, and other attacks go on
                error = self._describe(raised)
                break
            messages.append(AIMessage(answer.shown))
            verdict = None if answer.text is None else await self._judge_text(answer.text)
            replies.append(Reply(request=request, text=answer.text, refusal=answer.refusal, verdict=verdict))
            if replies[-1].leaked:
                break
        seconds = time.perf_counter() - start
        return AttackResult(id=attack.id, attack=attack, replies=tuple(replies), error=error, seconds=seconds)

    async def _ask(self, request: str, messages: Sequence[BaseMessage]) -> Answer:
        content: Any = list(messages) if self.takes_messages else request
        if self.input_key is not None:
            content = {self.input_key: content}
        try:
            async with asyncio.timeout(self.timeout_s):
                return read_answer(await self._call(content))
        except (Refused, ContentFiltered) as refusal:
            return Answer(None, format_error(refusal), _REFUSAL_WORDS)

    def _call(self, content: Any) -> Awaitable[Any]:
        system = self.system
        if not isinstance(system, Runnable):
            return _call_function(system, content)
        if type(system).ainvoke is Runnable.ainvoke:
            # LangChain's own runs `invoke` in a pool of threads, which waits at its end for those that hang.
            return run_in_thread(partial(system.invoke, content))
        return system.ainvoke(content)

    async def _judge_text(self, text: str) -> Verdict:
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self.judge.ainvoke(text)
        except TimeoutError:
            judge = self.judge
            detail = f"no verdict within {self.timeout_s:g} s"
            return Verdict(outcome="error", judge=judge.spec, policy=judge.policy.id, band=judge.band, detail=detail)

    def _describe(self, error: Exception) -> str:
        # Raised by `asyncio.timeout` without a message.
        if isinstance(error, TimeoutError) and not str(error) and self.timeout_s is not None:
            return f"no answer within {self.timeout_s:g} s"
        return format_error(error)


def default_takes_messages(system: RedTeamSystem) -> bool:
    """Whether a system is a chat model, which takes a list of messages."""
    return isinstance(system, BaseLanguageModel)


def read_answer(output: Any) -> Answer:
    """Read what a system released.

    Args:
        output: A tale, a message, a text, the state of an agent with its `messages`, or `None` for a refusal. A blank
            text is a refusal, too.

    Raises:
        ConfigurationError: If it is anything else.
    """
    if isinstance(output, Mapping) and output.get("messages"):
        output = output["messages"][-1]
    match output:
        case None:
            return Answer(None, "no answer", _REFUSAL_WORDS)
        case Tale(released_text=None):
            refusal = output.refusal
            return Answer(
                None, refusal.reason if refusal else "no text", refusal.child_message if refusal else _REFUSAL_WORDS
            )
        case Tale():
            return _answer_text(output.text)
        case AIMessage() if is_refusal(output):
            mark = output.response_metadata[MARK]
            return Answer(None, str(mark.get("reason", "failed")), str(output.text))
        case AIMessage():
            return _answer_text(text_of(output))
        case BaseMessage():
            return _answer_text(str(output.text))
        case str():
            return _answer_text(output)
    raise ConfigurationError(
        f"the system returned an unsupported {type(output).__name__}; expected a text, a message, a Tale, a mapping "
        "with messages, or None for a refusal.",
        hint="Wrap it in a function that returns the released text.",
    )


def _answer_text(text: str) -> Answer:
    return Answer(text, None, text) if text.strip() else Answer(None, "blank answer", _REFUSAL_WORDS)


async def _call_function(function: Callable[[Any], Any], content: Any) -> Any:
    # In a thread, because a function that waits would hold up all other attacks.
    result = await run_in_thread(partial(function, content))
    return await result if inspect.isawaitable(result) else result
