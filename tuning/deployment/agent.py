"""A guard as MLflow's `ResponsesAgent`: judged text or a refusal leaves, and nothing else. Needs the extra `mlflow`."""

from __future__ import annotations

import copy
import logging
import uuid
import warnings
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from taleward.chains.story import StoryChain
from taleward.core.errors import ConfigurationError, InvalidInputs, MissingExtra, UnknownName
from taleward.core.events import DoneEvent, RetractionEvent, TextEvent
from taleward.core.redaction import format_error
from taleward.moderation.guard.guard import Guard
from taleward.moderation.guard.input_checks import WriterInput
from taleward.tuning.deployment.build import build_guards
from taleward.tuning.deployment.config import GuardConfig
from taleward.tuning.deployment.responses import (
    RETRACTION,
    error_data,
    error_outputs,
    error_response,
    read_custom_inputs,
    tale_item,
    tale_outputs,
    tale_response,
    writer_input,
)

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow about its own types
        from mlflow.exceptions import MlflowException
        from mlflow.pyfunc import ResponsesAgent
        from mlflow.types.responses import ResponsesAgentRequest, ResponsesAgentResponse, ResponsesAgentStreamEvent
except ImportError as error:
    raise MissingExtra("the deployment of a guard", "mlflow") from error

CONFIG_ARTIFACT = "guard"
"""The name of the artifact with the description; the others are `GuardConfig.files`."""

_log = logging.getLogger(__name__)
_is_being_logged: ContextVar[bool] = ContextVar("is_being_logged", default=False)


@contextmanager
def no_tales() -> Iterator[None]:
    """Have agents write no tale meanwhile: MLflow tries each one that it logs, which takes time and may cost money."""
    token = _is_being_logged.set(True)
    try:
        yield
    finally:
        _is_being_logged.reset(token)


class _UntracedAgent(ResponsesAgent):  # type: ignore[misc]
    """A `ResponsesAgent` whose requests MLflow does not trace."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # By default MLflow writes each request, with a child's words, as a trace into the store of the server.
        super(ResponsesAgent, cls).__init_subclass__(**kwargs)


class GuardAgent(_UntracedAgent):
    """A guard as an agent that MLflow serves.

    The last user message is the request in free words, as for `StoryChain`; earlier messages are not read. Or
    `custom_inputs` holds `values` of the template. It may also hold the `band`, and the `seed` for a `StoryChain`.

    An answer contains the released text, or, as content of type `refusal`, the message for the child. `custom_outputs`
    says more to the app: `released`, `tale_id`, the `outcome` of the last verdict, and `reason` and `categories` of a
    refusal. A guard that fails answers with the status `failed` and without a text. Requests are not traced; to record
    tales, give the guard a recorder.

    Args:
        guard: The guard.

    Raises:
        ConfigurationError: If it is not a `Guard`.
        MissingExtra: If MLflow is not installed.
    """

    def __init__(self, guard: Guard) -> None:
        if not isinstance(guard, Guard):
            raise ConfigurationError(
                f"a GuardAgent needs a Guard; got {type(guard).__name__}.",
                hint="Text that was not judged cannot be deployed: put taleward.Guard(writer, judge) around it.",
            )
        self._guards, self._band = {guard.judge.band: guard}, guard.judge.band

    def predict(self, request: ResponsesAgentRequest | dict[str, Any]) -> ResponsesAgentResponse:
        """Write and judge one tale.

        Raises:
            MlflowException: If the request cannot be used; a server answers it with the status 400.
        """
        if _is_being_logged.get():
            return ResponsesAgentResponse(output=[])
        guard, inputs = self._read(request)
        try:
            return ResponsesAgentResponse(**tale_response(guard.invoke(inputs)))
        except Exception as error:  # noqa: BLE001  MLflow would send the exception's message, which may quote a draft
            return ResponsesAgentResponse(**error_response(_internal(error, guard)))

    def predict_stream(
        self, request: ResponsesAgentRequest | dict[str, Any]
    ) -> Generator[ResponsesAgentStreamEvent, None, None]:
        """Write one tale, and yield each sentence after its own verdict.

        The events are `response.output_text.delta` for a sentence, `taleward.retraction` for words (`start` and `end`,
        in code points from the beginning) that must be withdrawn, and at the end `response.output_item.done`, which
        contains what `predict` would have answered and the `custom_outputs`; or `error`, after which all that was shown
        is to be withdrawn.

        Raises:
            MlflowException: If the request cannot be used.
        """
        guard, inputs = self._read(request)
        item_id = f"msg_{uuid.uuid4().hex}"
        try:
            with closing(guard.stream(inputs)) as events:  # type: ignore[type-var]
                for event in events:
                    match event:
                        case TextEvent():
                            yield ResponsesAgentStreamEvent(**self.create_text_delta(event.text, item_id))
                        case RetractionEvent():
                            yield ResponsesAgentStreamEvent(**event.model_dump(mode="json") | {"type": RETRACTION})
                        case DoneEvent(tale=tale):
                            yield ResponsesAgentStreamEvent(
                                type="response.output_item.done",
                                item={**tale_item(tale), "id": item_id},
                                custom_outputs=tale_outputs(tale),
                            )
        except Exception as error:  # noqa: BLE001  as in `predict`
            error = _internal(error, guard)
            yield ResponsesAgentStreamEvent(type="error", **error_data(error), custom_outputs=error_outputs(error))

    def _read(self, request: ResponsesAgentRequest | dict[str, Any]) -> tuple[Guard, WriterInput]:
        """Return the guard for a request, and its input.

        Raises:
            MlflowException: If the request cannot be used.
        """
        if isinstance(request, dict):
            request = ResponsesAgentRequest(**request)
        try:
            custom = read_custom_inputs(request.custom_inputs)
            inputs = writer_input(request.input, custom)
            guard = self._guard_for(custom.band)
            if isinstance(guard.writer, StoryChain) and not isinstance(inputs, str):
                guard.writer.template.checked_values(inputs)
            return guard if custom.seed is None else _with_seed(guard, custom.seed), inputs
        except (InvalidInputs, UnknownName) as error:
            raise _bad_request(error) from error

    def _guard_for(self, band: str | None) -> Guard:
        band = self._band if band is None else band
        if band not in self._guards:
            raise UnknownName("band of this guard", band, self._guards)
        return self._guards[band]


class ConfiguredGuardAgent(GuardAgent):
    """The agent of a guard that was described as data; it is made when MLflow loads the model."""

    def __init__(self) -> None:
        self._guards: dict[str, Guard] = {}
        self._band = ""

    def load_context(self, context: Any) -> None:
        """Make the guards of all age bands, so that what is missing stops the server now, and not the first child.

        MLflow calls this before any request.
        """
        config = GuardConfig.model_validate_json(Path(context.artifacts[CONFIG_ARTIFACT]).read_bytes())
        files = {name: Path(path) for name, path in context.artifacts.items()}
        self._guards, self._band = build_guards(config, files), config.band


def _with_seed(guard: Guard, seed: int) -> Guard:
    """Return a copy of a guard whose writer has another seed: other requests run at the same time."""
    if not isinstance(guard.writer, StoryChain):
        name = type(guard.writer).__name__
        raise InvalidInputs(None, [f"custom_inputs.seed: the writer, {name}, takes none"], hint="Leave the seed out.")
    writer = copy.copy(guard.writer)
    writer.seed = seed
    return guard.with_writer(writer)


def _internal(error: Exception, guard: Guard) -> Exception:
    """Log an exception of a guard and return it.

    Raises:
        MlflowException: If the exception says that the model takes no requests in free words.
    """
    # Another writer's `InvalidInputs` may quote a draft.
    if isinstance(error, InvalidInputs) and isinstance(guard.writer, StoryChain):
        raise _bad_request(error) from error
    _log.error("no tale could be written: %s", format_error(error))
    return error


def _bad_request(error: InvalidInputs | UnknownName) -> MlflowException:
    return MlflowException.invalid_parameter_value(f"{error} {error.hint or ''}".rstrip())
