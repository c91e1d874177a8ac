"""The outermost layer: gives each request its id, and writes its log line, its metrics and its span."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

import starlette.types as asgi

from taleward.serving.operations.error_responses import Rejection, with_headers
from taleward.serving.operations.json_logs import ACCESS_LOGGER, describe_exception
from taleward.serving.operations.metrics import ServerMetrics
from taleward.serving.operations.request_record import OTHER, RequestRecord, record_of
from taleward.serving.operations.request_spans import describe_span, request_span
from taleward.serving.operations.scopes import route_label

_log = logging.getLogger(__name__)
_access_log = logging.getLogger(ACCESS_LOGGER)
_FAILED = Rejection(
    status=500,
    message="The server failed. The people who run it find the cause in its log, under this answer's x-request-id.",
    code="internal_error",
)
_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"})
_QUIET_ROUTES = frozenset({"/health", "/ready", "/metrics"})


class ObservationMiddleware:
    """Observes each request from its first byte to its last, and answers for an application that fails.

    Args:
        app: The application.
        metrics: Where requests are counted.
        models: The names of the served models; any other is called `other`.
        categories: The categories of the policies in use; any other is called `other`.
    """

    def __init__(
        self, app: asgi.ASGIApp, metrics: ServerMetrics, models: Collection[str], categories: Collection[str]
    ) -> None:
        self.app, self._metrics = app, metrics
        self._models, self._categories = models, categories

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        record = record_of(scope)

        async def observed_send(message: asgi.Message) -> None:
            if message["type"] == "http.response.start":
                message = with_headers(message, {"x-request-id": record.id})
                record.status = message["status"]
                record.streams = _is_event_stream(message)
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                record.ended = True

        with request_span(record, scope) as span:
            try:
                await self.app(scope, receive, observed_send)
            except asyncio.CancelledError:
                # The server cancels what its shutdown does not wait for; the client's leaving ends further inside.
                raise
            except Exception as error:  # noqa: BLE001  the server would log the message, which may repeat a text
                fields = {"request_id": record.id, "exception": describe_exception(error)}
                _log.error("a request failed", extra={"fields": fields})
                record.rejection = _FAILED.code
                if not record.status:
                    await _FAILED.send(observed_send)
                elif record.streams and not record.ended:
                    await _FAILED.send_in_stream(observed_send)
            finally:
                method = scope["method"] if scope["method"] in _METHODS else OTHER
                route = _route(scope)
                record.keep_known(self._models, self._categories)
                self._metrics.observe(record, method, route)
                describe_span(span, record, method, route)
                _log_request(record, method, route)


def _is_event_stream(message: asgi.Message) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/event-stream") for name, value in message["headers"]
    )


def _route(scope: asgi.Scope) -> str:
    """Return the path of the route with the names of its values, never the path itself, which may hold anything."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) and path else route_label(scope["path"])


def _log_request(record: RequestRecord, method: str, route: str) -> None:
    level = logging.DEBUG if route in _QUIET_ROUTES and record.status < 400 else logging.INFO
    if not _access_log.isEnabledFor(level):
        return
    categories = sorted({category for verdict in record.verdicts for category in verdict.categories})
    fields = {
        "request_id": record.id,
        "trace_id": record.trace_id,
        "key_id": record.key_id,
        "method": method,
        "route": route,
        "status": record.status,
        "duration_s": round(record.elapsed_s, 4),
        "queued_s": round(record.queued_s, 4),
        "first_sentence_s": None if record.first_sentence_s is None else round(record.first_sentence_s, 4),
        "model": record.model,
        "tale_ids": record.tales,
        "results": record.results,
        "pictures": record.pictures,
        "verdicts": len(record.verdicts),
        "categories": categories,
        "input_tokens": record.input_tokens,
        "output_tokens": record.output_tokens,
        "cost_usd": round(record.cost_usd, 6),
        "rejection": record.rejection,
        "client_left": record.client_left,
    }
    _access_log.log(level, "request", extra={"fields": fields})
