"""A fake chat model that streams as it is told, and a callback that notes all it hears."""

from __future__ import annotations

import random
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
"""A sentence that the fake judge fails; no other text of the tests has one of its letters."""


def leaked(seen: object) -> str:
    """What of the secret is in something, by its letters; a run's id may hold `bad` by chance, never with spaces."""
    text = repr(seen)
    return "".join(letter for letter in text if letter in "ЖЩЫЭЮ") + (" bad " if " bad " in text else "")


class ScriptedChat(BaseChatModel):
    """Gives one answer after the other, the last one again and again; each answer as chunks.

    Attributes:
        answers: Chunks, or their text.
        asked: What it was called with, once a call.
    """

    answers: list[Any]
    _asked: list[dict[str, Any]] = PrivateAttr(default_factory=list)

    @property
    def asked(self) -> list[dict[str, Any]]:
        return self._asked

    def _chunks(self, messages: list[BaseMessage], **kwargs: Any) -> Iterator[AIMessageChunk]:
        self._asked.append({"messages": messages, **kwargs})
        for part in self.answers[min(len(self._asked), len(self.answers)) - 1]:
            yield AIMessageChunk(content=part) if isinstance(part, str) else part.model_copy()

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
    """A text in pieces of `size` characters."""
    return [text[at : at + size] for at in range(0, len(text), size)]


def cut_anyhow(text: str, seed: int) -> list[str]:
    """A text in pieces of any size, empty ones too."""
    chance = random.Random(seed)
    borders = sorted(chance.choices(range(len(text) + 1), k=chance.randint(0, len(text))))
    return [text[a:b] for a, b in zip([0, *borders], [*borders, len(text)], strict=True)]


def says(text: str, *, size: int = 3) -> ScriptedChat:
    """A model that gives this text in pieces."""
    return ScriptedChat(answers=[list(cut(text, size))])


def calls(name: str, args: dict[str, Any], *, text: str = "") -> list[AIMessageChunk | str]:
    """An answer that calls a tool."""
    return [AIMessageChunk(content=text, tool_calls=[tool_call(name=name, args=args, id=f"call-{name}")])]


class Witness(BaseCallbackHandler):
    """Notes everything that callbacks tell of answers; listens to tokens, as an app that shows them does."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.heard.append((token, kwargs.get("chunk")))

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.heard.append(response)

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.heard.append((error, kwargs))

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self.heard.append(inputs)

    def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        self.heard.append(outputs)

    def on_chain_error(self, error: BaseException, **kwargs: Any) -> None:
        self.heard.append((error, kwargs))

    def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
        self.heard.append((input_str, kwargs))


class EndWitness(BaseCallbackHandler):
    """Hears of the ends of model runs only."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.heard.append(response)
