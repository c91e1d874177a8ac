"""The result of an evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import AwareDatetime

from taleward.core.errors import UnknownName
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.evaluation.metrics.base import MetricScore
from taleward.evaluation.sample import Sample

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd


class MetricResult(FrozenModel):
    """One metric on the samples of an evaluation.

    Attributes:
        score: The corpus score.
        values: The value of each sample; `None` where a sample has no value.
        statistics: The sufficient statistics of each sample, from which `score` is computed; empty where a sample has
            no value.
    """

    score: MetricScore
    values: tuple[float | None, ...]
    statistics: tuple[tuple[float, ...], ...]


class Evaluation(FrozenModel):
    """The result of an evaluation; a notebook shows it as a table of scores.

    Attributes:
        name: The name of the run.
        params: The parameters of the evaluated system.
        data: SHA-256, in hexadecimal, of the samples without any outputs. Only evaluations with the same digest can be
            compared.
        ids: The ids of the samples, in the order of the dataset.
        metrics: The results by metric name.
        failed: Error messages by sample id, for the samples on which the system raised.
        started_at: When the evaluation started.
        finished_at: When all metrics were computed.
        samples: The samples with their outputs, in the order of `ids`; empty if loaded from MLflow.
        run_id: The id of the MLflow run; `None` until MLflow has stored it.
        undelivered: Why MLflow has not stored it.
    """

    name: str
    params: FrozenMapping[str, str]
    data: str
    ids: tuple[str, ...]
    metrics: FrozenMapping[str, MetricResult]
    failed: FrozenMapping[str, str] = FrozenDict()
    started_at: AwareDatetime
    finished_at: AwareDatetime
    samples: tuple[Sample, ...] = ()
    run_id: str | None = None
    undelivered: str | None = None

    @property
    def scores(self) -> dict[str, MetricScore]:
        """The corpus scores by metric name."""
        return {name: result.score for name, result in self.metrics.items()}

    def _repr_html_(self) -> str:
        from taleward.evaluation.report.html import score_cells, table_html

        head = ("metric", self.name, "95 % interval", "unit", "samples")
        return table_html(head, (score_cells(score) for score in self.scores.values()))

    def statistics(self, metric: str, ids: tuple[str, ...]) -> npt.NDArray[np.float64]:
        """Return the sufficient statistics of a metric on some samples.

        Args:
            metric: The metric's name.
            ids: The ids of the samples.

        Returns:
            One row per sample, shape (samples, k). Samples without a value have NaN; if none has a value, k is 1.

        Raises:
            UnknownName: If the metric was not measured.
        """
        import numpy as np

        if metric not in self.metrics:
            raise UnknownName(f"metric of evaluation {self.name!r}", metric, self.metrics)
        rows = dict(zip(self.ids, self.metrics[metric].statistics, strict=True))
        width = max(1, *(len(row) for row in rows.values()))
        return np.array([rows[sample_id] or [np.nan] * width for sample_id in ids], float)

    def mean_statistics(self, metric: str, ids: tuple[str, ...]) -> npt.NDArray[np.float64]:
        """Return the statistics of the mean of a metric's sample values: value and 1, or NaN, shape (samples, 2)."""
        import numpy as np

        values = dict(zip(self.ids, self.metrics[metric].values, strict=True))
        return np.array([(values[i], 1.0) if values[i] is not None else (np.nan, np.nan) for i in ids], float)

    def table(self) -> pd.DataFrame:
        """Return a data frame with a row per sample: inputs, output, and a column per metric."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of `table` as plain data.

        Samples of a guard also have `released`; samples with a verdict have `outcome` and `categories`.
        """
        rows = []
        for index, sample in enumerate(self.samples):
            row: dict[str, Any] = {"id": sample.id, "inputs": dict(sample.inputs), "output": sample.output}
            for name in ("label", "prediction"):
                if any(getattr(s, name) is not None for s in self.samples):
                    row[name] = getattr(sample, name)
            if self.failed:
                row["error"] = sample.error
            if sample.tale is not None:
                row["released"] = sample.tale.released
            if sample.verdict is not None:
                row |= {"outcome": sample.verdict.outcome, "categories": ", ".join(sample.verdict.categories)}
            rows.append({**row, **{name: result.values[index] for name, result in self.metrics.items()}})
        return rows
