"""Record the model calls of a run through a LangChain callback handler."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult

from taleward.core.frozen_model import FrozenDict
from taleward.core.tale import ChatTurn, ModelCall, PromptVersion

_PARAMETERS = ("temperature", "top_p", "repetition_penalty", "max_tokens")
_ROLES: Mapping[str, Literal["system", "user", "assistant"]] = {"system": "system", "human": "user", "ai": "assistant"}


class CallRecorder(BaseCallbackHandler):
    """Collect model calls and the prompt version, whatever Runnables the writer is made of.

    Attributes:
        calls: The finished calls, in the order in which they ended.
        prompt: The prompt template in use; `None` if no run names one.
    """

    # Otherwise LangChain calls a sync handler of an async run from a thread pool, where calls may end out of order.
    run_inline = True

    def __init__(self) -> None:
        self.calls: list[ModelCall] = []
        self.prompt: PromptVersion | None = None
        self._running: dict[UUID, tuple[str, dict[str, Any], float]] = {}
        self._sent: list[tuple[ChatTurn, ...]] = []

    @property
    def messages(self) -> tuple[ChatTurn, ...]:
        """What all calls so far were sent; empty if they were sent different messages, or others than plain text."""
        return self._sent[0] if len(set(self._sent)) == 1 else ()

    def add(self, other: CallRecorder) -> None:
        """Add what another recorder has recorded."""
        self.calls += other.calls
        self._sent += other._sent
        self.prompt = other.prompt or self.prompt

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        """Record the prompt's name and version from the chain's metadata."""
        metadata = kwargs.get("metadata") or {}
        if "prompt_name" in metadata:
            self.prompt = PromptVersion(name=metadata["prompt_name"], version=metadata["prompt_version"])

    def on_chat_model_start(
        self, serialized: Any, messages: list[list[BaseMessage]], *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Record the messages, the model, its parameters and the start time."""
        self._sent += [chat_turns(conversation) for conversation in messages]
        self._start(run_id, **kwargs)

    def on_llm_start(self, serialized: Any, prompts: list[str], *, run_id: UUID, **kwargs: Any) -> None:
        """Record the model, its parameters and the start time of a completion model."""
        self._sent.append(())
        self._start(run_id, **kwargs)

    def _start(self, run_id: UUID, **kwargs: Any) -> None:
        metadata = kwargs.get("metadata") or {}
        provider, model = metadata.get("ls_provider"), metadata.get("ls_model_name")
        spec = ":".join(part for part in (provider, model) if part) or "unknown"
        self._running[run_id] = (spec, kwargs.get("invocation_params") or {}, time.perf_counter())

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Add the finished call with its tokens, cost and duration."""
        spec, parameters, started_s = self._running.pop(run_id, ("unknown", {}, time.perf_counter()))
        generation = response.generations[0][0] if response.generations and response.generations[0] else None
        message = getattr(generation, "message", None)
        usage = getattr(message, "usage_metadata", None) or {}
        metadata = getattr(message, "response_metadata", None) or {}
        seed = parameters.get("seed")
        self.calls.append(
            ModelCall(
                model=metadata.get("answered_by", spec),
                parameters=FrozenDict(
                    {name: parameters[name] for name in _PARAMETERS if isinstance(parameters.get(name), int | float)}
                ),
                seed=seed if isinstance(seed, int) else None,
                input_tokens=usage.get("input_tokens"),
                output_tokens=usage.get("output_tokens"),
                cost_usd=metadata.get("cost_usd"),
                duration_s=time.perf_counter() - started_s,
            )
        )

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Discard a call that failed."""
        self._running.pop(run_id, None)


def chat_turns(messages: Sequence[BaseMessage]) -> tuple[ChatTurn, ...]:
    """Return messages as plain data; empty if one of them is not plain text, such as a tool's result or a picture."""
    turns = []
    for message in messages:
        parts = message.content if isinstance(message.content, list) else []
        is_text = all(isinstance(part, str) or part.get("type") == "text" for part in parts)
        if message.type not in _ROLES or not is_text or not message.text or getattr(message, "tool_calls", None):
            return ()
        turns.append(ChatTurn(role=_ROLES[message.type], content=str(message.text)))
    return tuple(turns)
