"""Traces as plain data, and how they are stored: many at once, and whoever writes sees it when one is not kept.

MLflow's own exporter tells of a lost trace by a log line alone; here a failure raises. A trace's id comes from what it
is of, so that writing it twice keeps one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from taleward.core.tale import Attempt, Tale

_MOST = 100  # what MLflow links to a run in one request


@dataclass(frozen=True)
class SpanData:
    """One span, times in nanoseconds since 1970.

    Attributes:
        name: What it is called.
        kind: MLflow's span type, as `CHAIN`.
        start: Its beginning.
        end: Its end.
        inputs: Plain data.
        outputs: Plain data.
        attributes: Plain data by name.
        children: The spans below it.
    """

    name: str
    kind: str
    start: int
    end: int
    inputs: Any = None
    outputs: Any = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    children: tuple[SpanData, ...] = ()


@dataclass(frozen=True)
class TraceData:
    """One trace.

    Attributes:
        of: What it is of; two traces of the same are one.
        root: Its outermost span.
        tags: Its tags.
    """

    of: str
    root: SpanData
    tags: Mapping[str, str]

    @property
    def id(self) -> str:
        """The id it has in MLflow."""
        return f"tr-{self._hex}"

    @property
    def _hex(self) -> str:
        return hashlib.sha256(self.of.encode()).hexdigest()[:32]

    def spans(self) -> Iterator[Any]:
        """MLflow's spans, root first."""
        from opentelemetry.trace import SpanContext, TraceFlags

        trace, last = int(self._hex, 16), 0

        def walk(span: SpanData, parent: Any) -> Iterator[Any]:
            nonlocal last
            last += 1
            context = SpanContext(trace, last, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
            tags = {} if parent else {f"mlflow.traceTag.{name}": value for name, value in self.tags.items()}
            yield _mlflow_span(self.id, span, context, parent, tags)
            for child in span.children:
                yield from walk(child, context)

        yield from walk(self.root, None)


def write_traces(tracking_uri: str, experiment_id: str, traces: Sequence[TraceData], run_id: str | None = None) -> None:
    """Store traces, and link them to a run.

    Raises:
        Exception: Whatever MLflow raises where they are not stored; some may be, and writing them again is safe.
    """
    from mlflow.tracing.client import TracingClient

    client = TracingClient(tracking_uri)
    for at in range(0, len(traces), _MOST):
        part = traces[at : at + _MOST]
        client.log_spans(experiment_id, [span for trace in part for span in trace.spans()])
        if run_id is not None:
            client.store.link_traces_to_run([trace.id for trace in part], run_id)


def tale_trace(tale: Tale, inputs: Mapping[str, Any]) -> TraceData:
    """A tale: one span an attempt, under it the writing, what was held, and the verdict."""
    clock = start = tale.lineage.started_at
    attempts = []
    for attempt in tale.attempts:
        after = clock + timedelta(seconds=attempt.writing_s + attempt.verdict.latency_s)
        attempts.append(
            SpanData(
                f"attempt {attempt.number}",
                "CHAIN",
                _ns(clock),
                _ns(after),
                outputs={"outcome": attempt.verdict.outcome},
                children=tuple(_attempt(attempt, clock)),
            )
        )
        clock = after
    refusal = tale.refusal.model_dump(mode="json") if tale.refusal else None
    root = SpanData(
        "tale",
        "CHAIN",
        _ns(start),
        _ns(start + timedelta(seconds=tale.lineage.duration_s)),
        inputs=dict(inputs),
        outputs={"released": tale.released, "text": tale.released_text, "refusal": refusal},
        attributes={"lineage": tale.lineage.model_dump(mode="json")},
        children=tuple(attempts),
    )
    tags = {
        "tale_id": tale.id,
        "released": str(tale.released),
        "band": tale.lineage.band,
        "policy": tale.lineage.policy,
    }
    if tale.verdict is not None:
        tags["outcome"] = tale.verdict.outcome
    return TraceData(tale.id, root, tags)


def _attempt(attempt: Attempt, begun: Any) -> Iterator[SpanData]:
    written = begun
    if attempt.calls:
        written = begun + timedelta(seconds=attempt.writing_s)
        calls = [call.model_dump(mode="json") for call in attempt.calls]
        yield SpanData(
            "write",
            "LLM",
            _ns(begun),
            _ns(written),
            outputs=attempt.draft,
            attributes={"calls": calls, **_usage(attempt)},
        )
    for number, decision in enumerate(attempt.decisions, 1):
        decided = begun + timedelta(seconds=decision.at_s)
        yield SpanData(
            f"hold sentence {number}",
            "GUARDRAIL",
            _ns(decided - timedelta(seconds=decision.held_s)),
            _ns(decided),
            inputs=None if attempt.draft is None else attempt.draft[decision.start : decision.end],
            outputs=decision.model_dump(mode="json"),
        )
    yield SpanData(
        "judge",
        "EVALUATOR",
        _ns(written),
        _ns(written + timedelta(seconds=attempt.verdict.latency_s)),
        inputs=attempt.draft,
        outputs=attempt.verdict.model_dump(mode="json"),
    )


def _usage(attempt: Attempt) -> dict[str, Any]:
    """Tokens, under the name by which MLflow's pages count them."""
    read = [call.input_tokens for call in attempt.calls if call.input_tokens is not None]
    written = [call.output_tokens for call in attempt.calls if call.output_tokens is not None]
    if not read and not written:
        return {}
    total = sum(read) + sum(written)
    return {"mlflow.chat.tokenUsage": {"input_tokens": sum(read), "output_tokens": sum(written), "total_tokens": total}}


def _mlflow_span(trace_id: str, span: SpanData, context: Any, parent: Any, tags: Mapping[str, str]) -> Any:
    from mlflow.entities import Span
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Status, StatusCode

    said = {
        "mlflow.traceRequestId": trace_id,
        "mlflow.spanType": span.kind,
        **({} if span.inputs is None else {"mlflow.spanInputs": span.inputs}),
        **({} if span.outputs is None else {"mlflow.spanOutputs": span.outputs}),
        **span.attributes,
        **tags,
    }
    attributes = {name: json.dumps(value, ensure_ascii=False, default=str) for name, value in said.items()}
    made = ReadableSpan(
        name=span.name,
        context=context,
        parent=parent,
        attributes=attributes,
        status=Status(StatusCode.OK),
        start_time=span.start,
        end_time=max(span.start, span.end),
        resource=Resource.get_empty(),
    )
    return Span(made)


def _ns(moment: Any) -> int:
    return int(moment.timestamp() * 1e9)
