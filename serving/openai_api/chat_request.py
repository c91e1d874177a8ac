"""The body of `/v1/chat/completions`: what is honoured, and an error with its name for what cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from taleward.backends.local.chat import LocalChat
from taleward.serving.config import ReleaseMode
from taleward.serving.openai_api.unsupported import check_extra_parameters, unsupported
from taleward.serving.served_models import ServedModel

MAX_CHOICES = 16
_DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "audio": (),
    "function_call": (),
    "functions": (),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "prediction": (),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "top_logprobs": (0,),
    "verbosity": ("medium",),
    "web_search_options": (),
}
"""OpenAI's parameters that are not supported, with the values that ask for nothing."""
_WHY = {
    "logprobs": "log-probabilities would show words that no judge has read",
    "store": "nothing is stored",
    "functions": "use tools",
    "function_call": "use tool_choice",
}
# A guard's further attempts take the seeds after the first one.
_SEEDS_PER_CHOICE = 1000
_HOSTED_ONLY = ("frequency_penalty", "presence_penalty", "reasoning_effort")
MODERATION_NAMES = frozenset({"omni-moderation-latest", "text-moderation-latest", "text-moderation-stable"})
"""OpenAI's names for its judge, which stand for the judge of the served model."""


class _RequestBody(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)


class StreamOptions(_RequestBody):
    """Options of a stream.

    Attributes:
        include_usage: Whether a last chunk without choices counts the tokens.
        include_obfuscation: OpenAI pads chunks so that their length tells nothing; not supported.
    """

    include_usage: bool = False
    include_obfuscation: bool = False


class ChatCompletionRequest(_RequestBody):
    """A chat completion, as OpenAI documents it, and three fields of Taleward's own.

    Attributes:
        model: The served model.
        messages: The conversation.
        stream: Whether to send chunks.
        stream_options: Options of the stream.
        n: The number of choices.
        stop: Up to four stop sequences.
        seed: Makes the answer repeatable, with a model that supports it.
        temperature: See `Sampling`.
        top_p: See `Sampling`.
        max_tokens: Tokens in an answer; the older name.
        max_completion_tokens: Tokens in an answer.
        frequency_penalty: For hosted models.
        presence_penalty: For hosted models.
        reasoning_effort: For hosted models.
        response_format: Text, JSON or a JSON schema; the last two for conversations.
        tools: Functions that the model may ask for; for conversations.
        tool_choice: Which of them it must ask for.
        parallel_tool_calls: Whether it may ask for several.
        moderation: Which judge to use; verdicts are sent in any case.
        release: Taleward's: when text leaves, in place of the model's setting.
        refusal_as: Taleward's: where the words of a refusal are, in place of the model's setting.
        band: Taleward's: an age band that the model serves.
    """

    model: str
    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    seed: int | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    reasoning_effort: str | None = None
    response_format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    moderation: dict[str, Any] | None = None
    release: ReleaseMode | None = None
    refusal_as: Literal["refusal", "content"] | None = None
    band: str | None = None

    @property
    def token_limit(self) -> int | None:
        """The number of tokens after which an answer ends."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def stop_sequences(self) -> list[str]:
        """The stop sequences."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or ())


def check_supported(body: ChatCompletionRequest, model: ServedModel) -> None:
    """Check that everything a request asks for can be honoured.

    Args:
        body: The request.
        model: The served model that is to answer.

    Raises:
        ApiError: For the first parameter that cannot; the error names it.
    """
    check_extra_parameters(body, _DEFAULTS, _WHY)
    if body.stream_options is not None and not body.stream:
        raise unsupported("stream_options", "it is only allowed when stream is true", kind="invalid_value")
    if body.stream_options is not None and body.stream_options.include_obfuscation:
        raise unsupported("stream_options.include_obfuscation", "chunks are not padded")
    if body.seed is not None and body.seed < 0:
        raise unsupported("seed", "it must be 0 or more", kind="invalid_value")
    check_moderation(body.moderation, model)
    _check_format(body.response_format, model)
    if body.tools is None and (body.tool_choice not in (None, "none", "auto")):
        raise unsupported("tool_choice", "it needs tools", kind="invalid_value")
    if body.tools and model.tells_stories:
        raise unsupported("tools", f"{model.name!r} writes stories; ask a model that holds conversations")
    if body.stop_sequences and not all(body.stop_sequences):
        raise unsupported("stop", "a stop sequence must not be empty", kind="invalid_value")
    _check_options(body, model)


def _check_options(body: ChatCompletionRequest, model: ServedModel) -> None:
    is_local = isinstance(model.inner_chat, LocalChat)
    for name in _HOSTED_ONLY:
        if getattr(body, name) and (is_local or model.tells_stories):
            raise unsupported(name, f"{model.name!r} does not support it")
    if body.parallel_tool_calls is False and body.tools and is_local:
        raise unsupported("parallel_tool_calls", f"{model.name!r} decides by itself how many tools it asks for")
    if model.inner_chat is None:
        for name in ("temperature", "top_p", "max_tokens", "max_completion_tokens", "stop"):
            if getattr(body, name) is not None:
                raise unsupported(name, f"{model.name!r} is not a chat model and takes no options")
        if body.seed is not None and not hasattr(model.own_writer, "seed"):
            raise unsupported("seed", f"{model.name!r} takes no seed")


def _check_format(response_format: Mapping[str, Any] | None, model: ServedModel) -> None:
    if response_format is None or response_format.get("type") == "text":
        return
    kind = response_format.get("type")
    if kind not in ("json_object", "json_schema"):
        raise unsupported("response_format", "its type must be text, json_object or json_schema", kind="invalid_value")
    if model.tells_stories:
        raise unsupported("response_format", f"{model.name!r} writes stories; ask a model that holds conversations")
    can = model.capabilities
    if can is None or not (can.json_schema or can.grammar):
        raise unsupported("response_format", f"{model.name!r} does not follow a schema")
    if kind == "json_object" and isinstance(model.inner_chat, LocalChat):
        raise unsupported("response_format", "this model follows a schema: send json_schema")


def check_moderation(moderation: Mapping[str, Any] | None, model: ServedModel) -> None:
    """Check OpenAI's parameter `moderation`: blocking cannot be turned off.

    Raises:
        ApiError: If it asks for another judge, or for an answer that did not pass.
    """
    if moderation is None:
        return
    name = moderation.get("model")
    if name not in {*MODERATION_NAMES, model.name, model.judge().spec}:
        raise unsupported("moderation.model", f"the judge of {model.name!r} is {model.judge().spec!r}")
    policy = moderation.get("policy") or {}
    for side in ("input", "output"):
        mode = (policy.get(side) or {}).get("mode", "block") if isinstance(policy, Mapping) else None
        judged = side == "output" or model.config.judge_inputs
        if mode != ("block" if judged else "score"):
            reason = "nothing is released that did not pass: use block" if judged else "requests are not judged"
            raise unsupported(f"moderation.policy.{side}.mode", reason)


def bound_chat(model: ServedModel, body: ChatCompletionRequest) -> Any:
    """Return the guarded chat model of a request, with its tools.

    Raises:
        ApiError: If the model calls no tools, or the tools are invalid.
        UnknownName: If the model does not serve the band.
    """
    chat = model.chat(body.band)
    if not body.tools or body.tool_choice == "none":
        return chat
    if not chat_calls_tools(model):
        raise unsupported("tools", f"{model.name!r} does not call tools")
    options: dict[str, Any] = {}
    if body.tool_choice is not None:
        options["tool_choice"] = body.tool_choice
    if body.parallel_tool_calls is not None and not isinstance(model.inner_chat, LocalChat):
        options["parallel_tool_calls"] = body.parallel_tool_calls
    try:
        return chat.bind_tools(body.tools, **options)
    except (ValueError, TypeError, KeyError) as error:
        raise unsupported("tools", f"they are not valid ({type(error).__name__})", kind="invalid_value") from error


def chat_calls_tools(model: ServedModel) -> bool:
    """Return whether the chat model calls tools."""
    can = model.capabilities
    return can is not None and can.tools


def call_options(body: ChatCompletionRequest) -> dict[str, Any]:
    """Return the options for a call of any model."""
    options: dict[str, Any] = {
        "temperature": body.temperature,
        "top_p": body.top_p,
        "max_tokens": body.token_limit,
        "stop": body.stop_sequences or None,
    }
    return {name: value for name, value in options.items() if value is not None}


def conversation_options(body: ChatCompletionRequest, index: int) -> dict[str, Any]:
    """Return the options for a call of a chat model that holds conversations.

    Args:
        body: The request.
        index: The number of the choice, from 0.
    """
    options: dict[str, Any] = {**call_options(body), "seed": seed_of(body, index)}
    options |= {name: getattr(body, name) for name in _HOSTED_ONLY}
    if body.response_format is not None and body.response_format.get("type") != "text":
        options["response_format"] = body.response_format
    return {name: value for name, value in options.items() if value is not None}


def seed_of(body: ChatCompletionRequest, index: int) -> int | None:
    """Return the seed of a choice; those of a guard's further attempts follow it."""
    return None if body.seed is None else body.seed + _SEEDS_PER_CHOICE * index
