"""`evaluate`: measure an output in each row; the corpus values follow from sums of the rows' statistics."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field, field_validator

from taleward.batch.sources.base import BatchRow
from taleward.batch.tasks.base import BatchTask, RowResult, RowSeeds, TaskRunner, for_each
from taleward.core.errors import ConfigurationError, UnknownName
from taleward.evaluation.metrics import Metric, metric_names, resolve_metrics
from taleward.evaluation.sample import Sample, as_samples

# Their value does not follow from sums of the rows' statistics.
_NOT_ADDITIVE = frozenset({"latency_p95", "self_bleu"})
_DEFAULT_METRICS = ("words", "repetition")


class EvaluateTask(BatchTask):
    """Measure the output in each row.

    Columns are fields of a `Sample`, such as `output`, `references` (or `reference`), `label` and `inputs`; all other
    columns are not read. The corpus values are in `BatchResult.scores`.

    Attributes:
        metrics: Names of metrics.
    """

    name: ClassVar[str] = "evaluate"
    extra_columns: ClassVar[Mapping[str, str]] = {"statistics": "text"}

    metrics: tuple[str, ...] = Field(default=_DEFAULT_METRICS, min_length=1)

    @field_validator("metrics")
    @classmethod
    def _check_metrics(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in metric_names():
                raise UnknownName("metric", name, metric_names())
            if name in _NOT_ADDITIVE:
                raise ConfigurationError(
                    f"the metric {name!r} needs all rows at once, which a batch does not have.",
                    hint="Leave it out, or run tw.evaluate on a sample of the rows.",
                )
        return names

    def fingerprint(self) -> dict[str, str]:
        """Return the signatures of the metrics."""
        return {"task": self.name, **{m.name: m.signature for m in resolve_metrics(self.metrics)}}

    def load(self) -> TaskRunner:
        """Load the metrics."""
        return _EvaluateRunner(resolve_metrics(self.metrics))


def corpus_scores(metrics: Sequence[str], totals: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the corpus value of each metric from the sum of its statistics; undefined ones are left out."""
    import numpy as np

    scores = {}
    for metric in resolve_metrics(metrics):
        if (total := totals.get(metric.name)) is not None:
            value = float(metric.value(np.array(total, dtype=np.float64)))
            if np.isfinite(value):
                scores[metric.name] = value
    return scores


class _EvaluateRunner:
    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = tuple(metrics)

    def run(self, rows: Sequence[BatchRow], seeds: RowSeeds) -> list[RowResult]:
        samples: list[Sample | None] = []

        def read(row: BatchRow) -> RowResult:
            samples.append(None)
            samples[-1] = _sample(row)
            return RowResult("done")

        results = for_each(rows, read)
        readable = [sample for sample in samples if sample is not None]
        try:
            measured: Any = iter(self._measure(readable) if readable else ())
        except ConfigurationError:  # a row lacks what a metric needs: each by itself says which

            def measure_one(row: BatchRow) -> RowResult:
                [result] = self._measure([_sample(row)])
                return result

            return for_each(rows, measure_one)
        return [next(measured) if result.error is None else result for result in results]

    def _measure(self, samples: Sequence[Sample]) -> list[RowResult]:
        import numpy as np

        rows_by_metric = {metric: metric.measure(samples) for metric in self._metrics}
        results = []
        for number in range(len(samples)):
            totals = {
                metric.name: rows[number].tolist()
                for metric, rows in rows_by_metric.items()
                if np.isfinite(rows[number]).all()
            }
            values = {metric.name: metric.sample_value(rows[number]) for metric, rows in rows_by_metric.items()}
            results.append(RowResult("done", result=json.dumps(values), statistics=json.dumps(totals)))
        return results


def _sample(row: BatchRow) -> Sample:
    names = {"reference": "references", "outputs": "output"}
    values = {names.get(name, name): value for name, value in row.values.items() if value is not None}
    [sample] = as_samples([{"id": row.id, **{k: v for k, v in values.items() if k in Sample.model_fields}}])
    return sample
