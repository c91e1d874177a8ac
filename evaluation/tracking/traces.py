"""Traces as plain data, written to MLflow in bulk with errors raised.

MLflow's own exporter only logs a warning when it loses a trace; `write_traces` raises. The id of a trace is derived
from its key, so writing a trace twice stores it once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from taleward.core.tale import Attempt, Tale
from taleward.evaluation.tracking.assessment_writes import write_assessments
from taleward.evaluation.tracking.assessments import AssessmentData, verdict_assessments

_BATCH_SIZE = 100  # MLflow's limit for linking traces to a run in one request


@dataclass(frozen=True)
class SpanData:
    """One span of a trace.

    Attributes:
        name: The span's name.
        kind: MLflow's span type, such as `CHAIN`.
        start_ns: When it started, in nanoseconds since the epoch.
        end_ns: When it ended, in nanoseconds since the epoch.
        inputs: Plain data; `None` for no inputs.
        outputs: Plain data; `None` for no outputs.
        attributes: Plain data by name.
        children: The nested spans.
    """

    name: str
    kind: str
    start_ns: int
    end_ns: int
    inputs: Any = None
    outputs: Any = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    children: tuple[SpanData, ...] = ()


@dataclass(frozen=True)
class TraceData:
    """One trace.

    Attributes:
        key: What the trace is about, such as a tale's id; traces with equal keys are one trace.
        root: The outermost span.
        tags: Tags by name.
        assessments: Verdicts and scores, at most one per name.
    """

    key: str
    root: SpanData
    tags: Mapping[str, str]
    assessments: tuple[AssessmentData, ...] = ()

    @property
    def id(self) -> str:
        """The trace's id in MLflow."""
        return f"tr-{self._hex_id}"

    @property
    def _hex_id(self) -> str:
        return hashlib.sha256(self.key.encode()).hexdigest()[:32]

    def spans(self) -> Iterator[Any]:
        """Yield MLflow's span objects, the root first."""
        from opentelemetry.trace import SpanContext, TraceFlags

        trace_id, span_id = int(self._hex_id, 16), 0

        def walk(span: SpanData, parent: Any) -> Iterator[Any]:
            nonlocal span_id
            span_id += 1
            context = SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
            # Spans are all that is uploaded; MLflow takes the trace's tags from attributes of the root span.
            tags = {} if parent else {f"mlflow.traceTag.{name}": value for name, value in self.tags.items()}
            yield _mlflow_span(self.id, span, context, parent, tags)
            for child in span.children:
                yield from walk(child, context)

        yield from walk(self.root, None)


def write_traces(tracking_uri: str, experiment_id: str, traces: Sequence[TraceData], run_id: str | None = None) -> None:
    """Store traces with their assessments in MLflow, and link them to a run.

    Args:
        tracking_uri: The MLflow tracking URI.
        experiment_id: The id of the MLflow experiment.
        traces: The traces to store.
        run_id: The run to link them to, if any.

    Raises:
        Exception: Whatever MLflow raises if it cannot store a trace. Some traces may be stored then; writing all of
            them again is safe.
    """
    from mlflow.tracing.client import TracingClient

    client = TracingClient(tracking_uri)
    for start in range(0, len(traces), _BATCH_SIZE):
        batch = traces[start : start + _BATCH_SIZE]
        client.log_spans(experiment_id, [span for trace in batch for span in trace.spans()])
        write_assessments(client, [_trace_info(trace, experiment_id, run_id) for trace in batch if trace.assessments])
        if run_id is not None:
            client.store.link_traces_to_run([trace.id for trace in batch], run_id)


def tale_trace(tale: Tale, inputs: Mapping[str, Any]) -> TraceData:
    """Return the trace of a tale: a span per attempt, and in it the writing, held-back sentences and the verdict."""
    # A tale has durations only. Attempts follow each other, so each starts when the one before it ended.
    attempt_start = started_at = tale.lineage.started_at
    attempt_spans = []
    for attempt in tale.attempts:
        attempt_end = attempt_start + timedelta(seconds=attempt.writing_s + attempt.verdict.latency_s)
        attempt_spans.append(
            SpanData(
                f"attempt {attempt.number}",
                "CHAIN",
                _nanoseconds(attempt_start),
                _nanoseconds(attempt_end),
                outputs={"outcome": attempt.verdict.outcome},
                children=tuple(_attempt_children(attempt, attempt_start)),
            )
        )
        attempt_start = attempt_end
    refusal = tale.refusal.model_dump(mode="json") if tale.refusal else None
    root = SpanData(
        "tale",
        "CHAIN",
        _nanoseconds(started_at),
        _nanoseconds(started_at + timedelta(seconds=tale.lineage.duration_s)),
        inputs=dict(inputs),
        outputs={"released": tale.released, "text": tale.released_text, "refusal": refusal},
        attributes={"lineage": tale.lineage.model_dump(mode="json")},
        children=tuple(attempt_spans),
    )
    tags = {
        "tale_id": tale.id,
        "released": str(tale.released),
        "band": tale.lineage.band,
        "policy": tale.lineage.policy,
    }
    if tale.verdict is not None:
        tags["outcome"] = tale.verdict.outcome
    assessments = () if tale.verdict is None else tuple(verdict_assessments(tale.verdict))
    return TraceData(tale.id, root, tags, assessments)


def _attempt_children(attempt: Attempt, started_at: datetime) -> Iterator[SpanData]:
    writing_end = started_at
    if attempt.calls or attempt.messages:
        writing_end = started_at + timedelta(seconds=attempt.writing_s)
        calls = [call.model_dump(mode="json") for call in attempt.calls]
        yield SpanData(
            "write",
            "LLM",
            _nanoseconds(started_at),
            _nanoseconds(writing_end),
            inputs={"messages": [turn.model_dump() for turn in attempt.messages]} if attempt.messages else None,
            outputs=attempt.draft,
            attributes={"calls": calls, **_token_usage(attempt)},
        )
    for number, decision in enumerate(attempt.decisions, 1):
        decided_at = started_at + timedelta(seconds=decision.at_s)
        yield SpanData(
            f"hold sentence {number}",
            "GUARDRAIL",
            _nanoseconds(decided_at - timedelta(seconds=decision.held_s)),
            _nanoseconds(decided_at),
            inputs=None if attempt.draft is None else attempt.draft[decision.start : decision.end],
            outputs=decision.model_dump(mode="json"),
        )
    yield SpanData(
        "judge",
        "EVALUATOR",
        _nanoseconds(writing_end),
        _nanoseconds(writing_end + timedelta(seconds=attempt.verdict.latency_s)),
        inputs=attempt.draft,
        outputs=attempt.verdict.model_dump(mode="json"),
    )


def _token_usage(attempt: Attempt) -> dict[str, Any]:
    """Return the token counts under the attribute that MLflow's UI sums up; empty if no call reported any."""
    input_tokens = [call.input_tokens for call in attempt.calls if call.input_tokens is not None]
    output_tokens = [call.output_tokens for call in attempt.calls if call.output_tokens is not None]
    if not input_tokens and not output_tokens:
        return {}
    usage = {"input_tokens": sum(input_tokens), "output_tokens": sum(output_tokens)}
    return {"mlflow.chat.tokenUsage": {**usage, "total_tokens": sum(usage.values())}}


def _trace_info(trace: TraceData, experiment_id: str, run_id: str | None) -> Any:
    """Return what MLflow stores about a trace besides its spans."""
    from mlflow.entities import TraceInfo, TraceLocation, TraceState

    start_ms, end_ms = trace.root.start_ns // 1_000_000, trace.root.end_ns // 1_000_000
    return TraceInfo(
        trace_id=trace.id,
        trace_location=TraceLocation.from_experiment_id(experiment_id),
        request_time=start_ms,
        state=TraceState.OK,
        execution_duration=max(0, end_ms - start_ms),
        tags=dict(trace.tags),
        assessments=[assessment.for_mlflow(trace.id, run_id, end_ms) for assessment in trace.assessments],
    )


def _mlflow_span(trace_id: str, span: SpanData, context: Any, parent: Any, tags: Mapping[str, str]) -> Any:
    from mlflow.entities import Span
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Status, StatusCode

    attributes = {
        "mlflow.traceRequestId": trace_id,
        "mlflow.spanType": span.kind,
        **({} if span.inputs is None else {"mlflow.spanInputs": span.inputs}),
        **({} if span.outputs is None else {"mlflow.spanOutputs": span.outputs}),
        **span.attributes,
        **tags,
    }
    otel_span = ReadableSpan(
        name=span.name,
        context=context,
        parent=parent,
        # OpenTelemetry takes scalars and lists of scalars only, so MLflow keeps every attribute as JSON.
        attributes={name: json.dumps(value, ensure_ascii=False, default=str) for name, value in attributes.items()},
        status=Status(StatusCode.OK),
        start_time=span.start_ns,
        end_time=max(span.start_ns, span.end_ns),
        resource=Resource.get_empty(),
    )
    return Span(otel_span)


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1e9)
