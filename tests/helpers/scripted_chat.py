"""A chat model with scripted answers, and callbacks that record everything they receive."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.messages.tool import tool_call
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

SECRET = "ЖЩ bad ЫЭЮ. "
"""A sentence that `FakeJudge` fails; no other text in the tests has any of its letters."""


def leaked(value: object) -> str:
    """Return the parts of the secret that are in the `repr` of a value."""
    text = repr(value)
    # Without the spaces, `bad` could be part of a run's random id.
    return "".join(letter for letter in text if letter in "ЖЩЫЭЮ") + (" bad " if " bad " in text else "")


class ScriptedChat(BaseChatModel):
    """A chat model that returns one scripted answer per call; the last one is repeated.

    Attributes:
        answers: The answers; each is a list of chunks, or of their texts.
        requests: The messages and options of each call, in order.
    """

    answers: list[Any]
    _requests: list[dict[str, Any]] = PrivateAttr(default_factory=list)

    @property
    def requests(self) -> list[dict[str, Any]]:
        return self._requests

    def _chunks(self, messages: list[BaseMessage], **kwargs: Any) -> Iterator[AIMessageChunk]:
        self._requests.append({"messages": messages, **kwargs})
        for chunk in self.answers[min(len(self._requests), len(self.answers)) - 1]:
            yield AIMessageChunk(content=chunk) if isinstance(chunk, str) else chunk.model_copy()

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        first, *rest = list(self._chunks(messages, stop=stop, **kwargs))
        return ChatResult(generations=[ChatGeneration(message=message_chunk_to_message(first + rest))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages, stop=stop, **kwargs):
            yield ChatGenerationChunk(message=chunk)

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | Any], **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    @property
    def _llm_type(self) -> str:
        return "scripted"


def cut(text: str, size: int) -> list[str]:
    """Cut a text into pieces of `size` characters."""
    return [text[start : start + size] for start in range(0, len(text), size)]


def cut_anyhow(text: str, seed: int) -> list[str]:
    """Cut a text into pieces of random sizes, some of them empty."""
    rng = random.Random(seed)
    cuts = sorted(rng.choices(range(len(text) + 1), k=rng.randint(0, len(text))))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def says(text: str, *, size: int = 3) -> ScriptedChat:
    """Return a model that answers with a text in chunks of `size` characters."""
    return ScriptedChat(answers=[list(cut(text, size))])


def call_id(name: str) -> str:
    """Return the id of the call of a tool in `calls`; it looks like those of servers."""
    return f"call_{zlib.crc32(name.encode()):010d}"


def calls(name: str, args: dict[str, Any], *, text: str = "") -> list[AIMessageChunk | str]:
    """Return an answer that calls a tool."""
    return [AIMessageChunk(content=text, tool_calls=[tool_call(name=name, args=args, id=call_id(name))])]


class Witness(BaseCallbackHandler):
    """Record everything that callbacks receive; it handles new tokens, as an app that shows them does."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.events.append((token, kwargs.get("chunk")))

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.events.append(response)

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.events.append((error, kwargs))

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self.events.append(inputs)

    def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        self.events.append(outputs)

    def on_chain_error(self, error: BaseException, **kwargs: Any) -> None:
        self.events.append((error, kwargs))

    def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
        self.events.append((input_str, kwargs))


class EndWitness(BaseCallbackHandler):
    """Record only the ends of model runs."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.events.append(response)
