"""What a chat model can do: `capabilities(model)`, the only place that looks at a model's class or attributes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableBinding

from taleward.backends.local.chat import LocalChat

_OPENAI_CLIENTS = frozenset({"ChatOpenAI", "AzureChatOpenAI"})
"""Clients of OpenAI's API; by name, because importing them takes a second, and they may not be installed."""


class ChatModelWrapper(ABC):
    """A chat model that calls another one, and can do what that one can.

    Attributes:
        passes_call_options: Whether the options of a call, such as `grammar` or `logprobs`, reach the wrapped model,
            and what they ask for comes back.
    """

    passes_call_options: ClassVar[bool] = False

    @property
    @abstractmethod
    def wrapped_model(self) -> BaseChatModel:
        """The model that is called."""


class Capabilities:
    """What a chat model can do.

    Each property is found out when it is read: `follows_instructions`, `takes_requests`, `story_prompts`, `tools` and
    `context_length` of a local model load the model; the others do not.
    """

    def __init__(self, model: BaseChatModel) -> None:
        self._outer, (self._model, self._gets_options) = model, _unwrap(model)

    @property
    def follows_instructions(self) -> bool:
        """Whether the model does what a message says; a completion model only continues a text."""
        return not getattr(self._model, "completion_only", False)

    @property
    def takes_requests(self) -> bool:
        """Whether the model answers a user's message, instead of continuing it; true if it follows instructions."""
        return self.follows_instructions or bool(getattr(self._model, "takes_requests", False))

    @property
    def story_prompts(self) -> bool:
        """Whether the model was tuned on prompts that name an age band and ask for a story, as a `StoryChain` does."""
        return bool(getattr(self._model, "story_prompts", False))

    @property
    def context_length(self) -> int | None:
        """Maximum number of tokens of a prompt, of a local model with its answer; `None` if it is not known."""
        known: Any = getattr(self._model, "context_length", None) or self._profile.get("max_input_tokens")
        return None if known is None else int(known)

    @property
    def decisions(self) -> bool:
        """Whether the probabilities of given answers can be read from the model's logits, since it runs here.

        A wrapper would be bypassed, so a model in a cache or a guard makes no decisions.
        """
        return isinstance(self._outer, LocalChat)

    @property
    def grammar(self) -> bool:
        """Whether a call takes `grammar=`: choices, a regular expression or a schema that the answer always matches."""
        return self._gets_options and isinstance(self._model, LocalChat)

    @property
    def json_schema(self) -> bool:
        """Whether a call takes `response_format=` with a JSON schema, in OpenAI's format."""
        return self._speaks_openai and bool(self._profile.get("structured_output", True))

    @property
    def logprobs(self) -> bool:
        """Whether a call takes `logprobs=True` and `top_logprobs=N`, in OpenAI's format."""
        return self._speaks_openai

    @property
    def tools(self) -> bool:
        """Whether the model calls tools: it follows instructions, and has a `bind_tools`."""
        overrides = type(self._model).bind_tools is not BaseChatModel.bind_tools
        return overrides and bool(self._profile.get("tool_calling", True)) and self.follows_instructions

    @property
    def images(self) -> bool:
        """Whether messages may contain images, as far as LangChain's profile of the model says."""
        return bool(self._profile.get("image_inputs", False))

    @property
    def streaming(self) -> bool:
        """Whether the model yields its answer piece by piece; others yield it whole."""
        methods = ("_stream", "_astream")
        return any(getattr(type(self._model), name) is not getattr(BaseChatModel, name) for name in methods)

    @property
    def _speaks_openai(self) -> bool:
        names = {base.__name__ for base in type(self._model).__mro__}
        return self._gets_options and (isinstance(self._model, LocalChat) or bool(names & _OPENAI_CLIENTS))

    @property
    def _profile(self) -> dict[str, Any]:
        return dict(self._model.profile or {})

    def as_dict(self) -> dict[str, bool | int | None]:
        """Every capability by name; of a local model, this loads the model."""
        return {
            name: getattr(self, name)
            for name, value in vars(Capabilities).items()
            if isinstance(value, property) and not name.startswith("_")
        }

    def __repr__(self) -> str:
        """The capabilities of the model, as in a call of a class."""
        return f"Capabilities({', '.join(f'{name}={value}' for name, value in self.as_dict().items())})"


def capabilities(model: BaseChatModel | Runnable[Any, Any]) -> Capabilities:
    """Return what a chat model can do, also through bound options, a cache or a guard around it.

    Args:
        model: A LangChain chat model, also with bound options. A class of your own for a model that only continues text
            has an attribute `completion_only` that is true, and `takes_requests` if it answers messages all the same.

    Raises:
        TypeError: If it is not a chat model.
    """
    while isinstance(model, RunnableBinding):
        model = model.bound
    if not isinstance(model, BaseChatModel):
        msg = f"capabilities() takes a chat model; got a {type(model).__name__}"
        raise TypeError(msg)
    return Capabilities(model)


def _unwrap(model: BaseChatModel) -> tuple[BaseChatModel, bool]:
    """The innermost model, and whether the options of a call reach it."""
    gets_options = True
    while isinstance(model, ChatModelWrapper):
        gets_options = gets_options and model.passes_call_options
        model = model.wrapped_model
    return model, gets_options
