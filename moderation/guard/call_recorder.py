"""What a guard sees of its writer's models: a LangChain callback that notes every call."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult

from taleward.core.frozen_model import FrozenDict
from taleward.core.tale import ModelCall, PromptVersion

_PARAMETERS = ("temperature", "top_p", "repetition_penalty", "max_tokens")


class CallRecorder(BaseCallbackHandler):
    """Collects model calls and the prompt's version, whatever Runnables the writer is made of.

    Attributes:
        calls: The finished calls, in the order in which they ended.
        prompt: The template that was written from, `None` where no run names one.
    """

    run_inline = True

    def __init__(self) -> None:
        self.calls: list[ModelCall] = []
        self.prompt: PromptVersion | None = None
        self._open: dict[UUID, tuple[str, dict[str, Any], float]] = {}

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        """Note the prompt's name and version, which a chain puts into its metadata."""
        metadata = kwargs.get("metadata") or {}
        if "prompt_name" in metadata:
            self.prompt = PromptVersion(name=metadata["prompt_name"], version=metadata["prompt_version"])

    def on_chat_model_start(
        self, serialized: Any, messages: list[list[BaseMessage]], *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Note which model is called, how, and when."""
        self._begin(run_id, **kwargs)

    def on_llm_start(self, serialized: Any, prompts: list[str], *, run_id: UUID, **kwargs: Any) -> None:
        """As `on_chat_model_start`, for completion models."""
        self._begin(run_id, **kwargs)

    def _begin(self, run_id: UUID, **kwargs: Any) -> None:
        metadata = kwargs.get("metadata") or {}
        provider, model = metadata.get("ls_provider"), metadata.get("ls_model_name")
        name = ":".join(part for part in (provider, model) if part) or "unknown"
        self._open[run_id] = (name, kwargs.get("invocation_params") or {}, time.perf_counter())

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Note tokens and time."""
        name, given, begun = self._open.pop(run_id, ("unknown", {}, time.perf_counter()))
        first = response.generations[0][0] if response.generations and response.generations[0] else None
        message = getattr(first, "message", None)
        usage, told = getattr(message, "usage_metadata", None) or {}, getattr(message, "response_metadata", None) or {}
        seed = given.get("seed")
        self.calls.append(
            ModelCall(
                model=told.get("answered_by", name),
                parameters=FrozenDict({k: given[k] for k in _PARAMETERS if isinstance(given.get(k), int | float)}),
                seed=seed if isinstance(seed, int) else None,
                input_tokens=usage.get("input_tokens"),
                output_tokens=usage.get("output_tokens"),
                cost_usd=told.get("cost_usd"),
                duration_s=time.perf_counter() - begun,
            )
        )

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Forget a call that failed: it wrote nothing."""
        self._open.pop(run_id, None)
