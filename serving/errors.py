"""Errors on the wire: every one in OpenAI's shape, and none with a reader's words, a draft or a key in it."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taleward.core.errors import (
    BackendError,
    ConfigurationError,
    ContentFiltered,
    ContextTooLong,
    DeadlineExceeded,
    InvalidInputs,
    RateLimited,
    TalewardError,
    UnknownName,
)
from taleward.serving.json_response import SafeJSONResponse

_log = logging.getLogger(__name__)
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_MAX_PROBLEMS = 5


class ApiError(Exception):
    """An error for the client.

    Args:
        status: The HTTP status.
        message: What happened, and what to do about it. It must not quote a draft or a key.
        code: What a program can tell the error by.
        param: The parameter that is wrong.
        headers: Headers of the response, such as `retry-after`.
        details: Further fields of the error.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers, self.details = dict(headers or {}), dict(details or {})

    def body(self) -> dict[str, Any]:
        """Return the error in OpenAI's shape."""
        return error_body(self.status, self.message, code=self.code, param=self.param, **self.details)


def error_body(
    status: int, message: str, *, code: str | None = None, param: str | None = None, **details: Any
) -> dict[str, Any]:
    """Return an error in OpenAI's shape.

    Args:
        status: The HTTP status, which decides the `type`.
        message: What happened.
        code: What a program can tell the error by.
        param: The parameter that is wrong.
        details: Further fields of the error.
    """
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code, **details}}


def error_response(error: ApiError) -> SafeJSONResponse:
    """Return the response for an error."""
    return SafeJSONResponse(error.body(), error.status, headers=error.headers)


def api_error(error: Exception) -> ApiError:
    """Return what the client learns about an exception.

    The messages of models and servers may quote a prompt, so clients and logs get the class alone.

    Args:
        error: What was raised while a request was answered.
    """
    match error:
        case ApiError():
            return error
        case UnknownName(kind="served model"):
            return ApiError(404, _with_hint(error), code="model_not_found", param="model")
        case UnknownName(kind="age band" | "template"):
            param = "band" if error.kind == "age band" else "template"
            return ApiError(400, _with_hint(error), code="invalid_value", param=param)
        case InvalidInputs():
            details = {"problems": list(error.problems)}
            return ApiError(400, _with_hint(error), code="invalid_value", param="values", details=details)
        case ContextTooLong():
            return ApiError(400, "The request is longer than the model can read.", code="context_length_exceeded")
        case ContentFiltered():
            return ApiError(400, "The model's vendor withheld the answer.", code="content_filter")
        case RateLimited():
            after = {} if error.retry_after_s is None else {"retry-after": str(max(1, round(error.retry_after_s)))}
            return ApiError(429, "The model behind this server is busy.", code="model_rate_limited", headers=after)
        case DeadlineExceeded() | TimeoutError():
            return ApiError(504, "The model did not answer in time.", code="model_timeout")
        case BackendError():
            _log_failure(error)
            return ApiError(502, "The model behind this server failed.", code="model_error")
        case ConfigurationError():
            return ApiError(400, _with_hint(error), code="invalid_value")
    _log_failure(error)
    return ApiError(500, "The server had an error. The log has its class and place.", code="internal_error")


def _with_hint(error: TalewardError) -> str:
    return f"{error} {error.hint}" if error.hint else str(error)


def _log_failure(error: Exception) -> None:
    """Log class and place of an exception; its message may hold somebody's words."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else "unknown place"
    _log.error("%s at %s", type(error).__name__, place)


def install_error_handlers(app: FastAPI) -> None:
    """Answer every error of an app in OpenAI's shape, also unknown paths, wrong methods and invalid bodies."""

    async def on_api_error(_: Request, error: Exception) -> SafeJSONResponse:
        return error_response(api_error(error))

    async def on_http_error(request: Request, error: Exception) -> SafeJSONResponse:
        if not isinstance(error, HTTPException):
            return error_response(api_error(error))
        message, code = str(error.detail), None
        if error.status_code == 404:
            message, code = f"There is no {request.method} {request.url.path} here.", "unknown_url"
        elif error.status_code == 405:
            message, code = f"{request.url.path} does not accept {request.method}.", "method_not_allowed"
        return error_response(ApiError(error.status_code, message, code=code, headers=error.headers))

    async def on_invalid_body(_: Request, error: Exception) -> SafeJSONResponse:
        problems = error.errors() if isinstance(error, RequestValidationError) else []
        return error_response(validation_error(problems))

    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, on_invalid_body)
    for kind in (ApiError, TalewardError, TimeoutError):
        app.add_exception_handler(kind, on_api_error)
    app.add_middleware(_UnexpectedErrors)


def validation_error(problems: Iterable[Mapping[str, Any]]) -> ApiError:
    """Return the error for a body that Pydantic turned down, without the values in it.

    Args:
        problems: Pydantic's errors.
    """
    listed = list(problems)[:_MAX_PROBLEMS]
    if listed and listed[0]["type"] == "json_invalid":
        return ApiError(400, "The body is not valid JSON.", code="invalid_json")
    # Of a value that may be of several types, Pydantic reports one problem for each; the last one knows most.
    described = {_place(problem): str(problem["msg"]).removeprefix("Value error, ") for problem in listed}
    message = "; ".join(f"{place}: {text}" for place, text in described.items()) or "The request is invalid"
    code = "unknown_parameter" if listed and listed[0]["type"] == "extra_forbidden" else "invalid_value"
    return ApiError(400, f"{message}.", code=code, param=next(iter(described), None))


def _place(problem: Mapping[str, Any]) -> str:
    """Return the parameter of a problem: further steps may name a type, and no field."""
    steps = [step for step in problem["loc"] if step != "body"]
    return str(steps[0]) if steps else "body"


class _UnexpectedErrors:
    """ASGI middleware that answers unexpected exceptions; Starlette would have the server log them with their words."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except Exception as error:  # noqa: BLE001  logged without its message, which may quote a reader
            response = error_response(api_error(error))
            # Of a response that has begun nothing can be taken back: the server closes the connection.
            if not started:
                await response(scope, receive, send)
