"""Record guarded pictures in MLflow: a trace each, and the pictures as artifacts of a run."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

from taleward.backends.base.mlflow_store import quiet
from taleward.core.errors import MissingExtra
from taleward.core.verdict import Verdict
from taleward.evaluation.tracking.assessments import verdict_assessments
from taleward.evaluation.tracking.label_schemas import ensure_label_schemas
from taleward.evaluation.tracking.tale_recorder import DEFAULT_EXPERIMENT, get_or_create_experiment
from taleward.evaluation.tracking.traces import SpanData, TraceData, write_traces
from taleward.images.guard.guarded_picture import DrawingAttempt, GuardedPicture
from taleward.images.models.request import ImageRequest

_lock = threading.Lock()


class MlflowPictureRecorder:
    """Record what an image guard drew in an MLflow tracking store; pass it to the guard as `recorder`.

    A trace holds the prompt, each attempt with its softened prompt, and every verdict; its tag `tale_id` is the
    result's id, so that feedback of people is recorded as for a tale. The deciding verdict is also an assessment. The
    pictures that were released are artifacts of a run named `pictures`, with a file `result.json` that says how they
    were made.

    Args:
        tracking_uri: The MLflow tracking URI.
        experiment: The name of the MLflow experiment; created if missing.
        keep_refused: Whether refused pictures are stored too, for people who check the judges.

    Raises:
        MissingExtra: If MLflow is not installed.
    """

    def __init__(self, tracking_uri: str, experiment: str = DEFAULT_EXPERIMENT, *, keep_refused: bool = False) -> None:
        if find_spec("mlflow") is None:
            raise MissingExtra("recording pictures", "mlflow")
        self.tracking_uri, self.experiment, self.keep_refused = tracking_uri, experiment, keep_refused
        self._run_id: str | None = None

    def record(self, result: GuardedPicture, request: ImageRequest) -> None:
        """Write the trace and the artifacts of a result; returns when both are stored."""
        import mlflow

        with quiet(), _lock:
            client = mlflow.MlflowClient(tracking_uri=self.tracking_uri)
            experiment_id = get_or_create_experiment(client, self.tracking_uri, self.experiment)
            if self._run_id is None:
                ensure_label_schemas(self.tracking_uri, experiment_id)
                tags = {"taleward": result.lineage.taleward, "taleward.kind": "pictures"}
                self._run_id = str(client.create_run(experiment_id, run_name="pictures", tags=tags).info.run_id)
            run_id = self._run_id
            with tempfile.TemporaryDirectory() as folder:
                self._write_files(result, Path(folder))
                client.log_artifacts(run_id, folder, artifact_path=f"pictures/{result.id}")
            write_traces(self.tracking_uri, experiment_id, [picture_trace(result, request, run_id)])
            client.set_terminated(run_id)

    def _write_files(self, result: GuardedPicture, folder: Path) -> None:
        for number, picture in enumerate(result.released_pictures, 1):
            picture.save(folder / f"{number}{picture.suffix}")
        released = {picture.sha256 for picture in result.released_pictures}
        if self.keep_refused:
            for attempt in result.attempts:
                for number, judged in enumerate(attempt.pictures, 1):
                    if judged.picture is not None and judged.sha256 not in released:
                        judged.picture.save(folder / f"refused-{attempt.number}-{number}{judged.picture.suffix}")
        (folder / "result.json").write_text(json.dumps(_plain(result), indent=1), encoding="utf-8")


def picture_trace(result: GuardedPicture, request: ImageRequest, run_id: str) -> TraceData:
    """Return the trace of a result: a span for the prompt's verdict, and one per attempt."""
    lineage = result.lineage
    start = lineage.started_at
    end = start + timedelta(seconds=lineage.duration_s)
    spans = []
    at = start
    if result.prompt_verdict is not None:
        done = at + timedelta(seconds=result.prompt_verdict.latency_s)
        spans.append(_judge_span("judge prompt", result.prompt_verdict, at, done, {"prompt": request.prompt.prompt}))
        at = done
    for attempt in result.attempts:
        done = at + timedelta(seconds=attempt.duration_s)
        spans.append(_attempt_span(attempt, at, done))
        at = done
    root = SpanData(
        "picture",
        "CHAIN",
        _ns(start),
        _ns(end),
        inputs={"prompt": request.prompt.model_dump(mode="json", exclude_defaults=True), "seed": request.seed},
        outputs={
            "released": result.released,
            "sha256": [picture.sha256 for picture in result.released_pictures],
            "alt_text": [picture.alt_text for picture in result.released_pictures],
            "refusal": result.refusal.model_dump(mode="json") if result.refusal else None,
            "artifacts": f"runs:/{run_id}/pictures/{result.id}",
        },
        # Under `lineage`, feedback and tuning look for that of a tale.
        attributes={"picture_lineage": lineage.model_dump(mode="json")},
        children=tuple(spans),
    )
    tags = {
        "tale_id": result.id,
        "kind": "picture",
        "released": str(result.released),
        "band": lineage.band,
        "policy": lineage.policy,
        "pictures_run": run_id,
    }
    verdict = result.verdict
    return TraceData(result.id, root, tags, () if verdict is None else tuple(verdict_assessments(verdict)))


def _attempt_span(attempt: DrawingAttempt, start: datetime, end: datetime) -> SpanData:
    return SpanData(
        f"attempt {attempt.number} ({attempt.drawer})",
        "CHAIN",
        _ns(start),
        _ns(end),
        inputs={"prompt": attempt.prompt.prompt, "negative": list(attempt.prompt.negative)},
        outputs={"pictures": len(attempt.pictures), "blocked": attempt.blocked, "failure": attempt.failure},
        children=tuple(_picture_spans(attempt, start, end)),
    )


def _picture_spans(attempt: DrawingAttempt, start: datetime, end: datetime) -> Iterator[SpanData]:
    for number, judged in enumerate(attempt.pictures, 1):
        lineage = judged.lineage.model_dump(mode="json")
        seen = {"sha256": judged.sha256, "seed": judged.seed}
        yield SpanData(f"draw {number}", "TOOL", _ns(start), _ns(end), outputs=seen, attributes={"lineage": lineage})
        for verdict in judged.verdicts:
            judge_start = end - timedelta(seconds=verdict.latency_s)
            yield _judge_span(f"judge {number} by {verdict.judge}", verdict, judge_start, end, seen)


def _judge_span(name: str, verdict: Verdict, start: datetime, end: datetime, inputs: Mapping[str, object]) -> SpanData:
    return SpanData(name, "EVALUATOR", _ns(start), _ns(end), dict(inputs), verdict.model_dump(mode="json"))


def _plain(result: GuardedPicture) -> dict[str, object]:
    """A result as JSON without the pictures' bytes."""
    judged = {"__all__": {"pictures": {"__all__": {"picture"}}}}
    return result.model_dump(mode="json", exclude={"released_pictures": {"__all__": {"data"}}, "attempts": judged})


def _ns(moment: datetime) -> int:
    return int(moment.timestamp() * 1e9)
