"""OpenTelemetry spans of requests, if the program that runs the server has set up the SDK; never with words."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import starlette.types as asgi

from taleward.serving.operations.request_record import RequestRecord


@contextmanager
def request_span(record: RequestRecord, scope: asgi.Scope) -> Iterator[Any]:
    """Run the block within a span, and yield it; `None` without a configured SDK.

    The span continues the trace that the header `traceparent` names. Other headers for traces, which may hold
    anything, are ignored. Exceptions are not recorded, since their messages may repeat a text.
    """
    tracer = _tracer()
    if tracer is None:
        yield None
        return
    from opentelemetry.trace import SpanKind, format_trace_id, use_span

    span = tracer.start_span("request", context=_parent(scope), kind=SpanKind.SERVER)
    record.trace_id = format_trace_id(span.get_span_context().trace_id)
    with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        yield span


def describe_span(span: Any, record: RequestRecord, method: str, route: str) -> None:
    """Set what is known about a request that has ended; nothing without a span.

    Args:
        span: The span of `request_span`.
        record: What is known about the request.
        method: Its HTTP method.
        route: The path of its route, without values.
    """
    if span is None or not span.is_recording():
        return
    from opentelemetry.trace import StatusCode

    span.update_name(f"{method} {route}")
    attributes = {
        "http.request.method": method,
        "http.route": route,
        "http.response.status_code": record.status,
        "gen_ai.usage.input_tokens": record.input_tokens,
        "gen_ai.usage.output_tokens": record.output_tokens,
        "gen_ai.request.model": record.model,
        "taleward.request_id": record.id,
        "taleward.key_id": record.key_id,
        # The ids of the tales' traces in MLflow.
        "taleward.tale_ids": record.tales,
        "taleward.results": record.results,
        "taleward.rejection": record.rejection,
        "taleward.queued_s": record.queued_s,
        "taleward.first_sentence_s": record.first_sentence_s,
        "taleward.client_left": record.client_left,
    }
    span.set_attributes({name: value for name, value in attributes.items() if value is not None})
    for verdict in record.verdicts:
        details = {"outcome": verdict.outcome, "categories": list(verdict.categories), "held_s": verdict.held_s}
        span.add_event("verdict", {name: value for name, value in details.items() if value is not None})
    if record.status >= 500:
        span.set_status(StatusCode.ERROR)


def _tracer() -> Any:
    """Return a tracer if a provider of the SDK is in place."""
    # Whoever sets the SDK up has imported it; without it, OpenTelemetry is not even loaded.
    sdk = sys.modules.get("opentelemetry.sdk.trace")
    if sdk is None:
        return None
    from opentelemetry.trace import get_tracer_provider

    provider = get_tracer_provider()
    return provider.get_tracer("taleward.serving") if isinstance(provider, sdk.TracerProvider) else None


def _parent(scope: asgi.Scope) -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    headers = {name.lower(): value for name, value in scope["headers"]}
    carrier = {"traceparent": headers.get(b"traceparent", b"").decode("latin-1")}
    return TraceContextTextMapPropagator().extract(carrier)
