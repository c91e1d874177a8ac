"""What an evaluation found, as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import AwareDatetime

from taleward.core.errors import UnknownName
from taleward.core.frozen_model import FrozenDict, FrozenModel
from taleward.evaluation.metrics.base import MetricScore
from taleward.evaluation.sample import Sample

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd


class MetricResult(FrozenModel):
    """One metric over the samples of an evaluation.

    Attributes:
        score: Over all of them.
        values: A value for each sample; `None` where the metric has none for it.
        statistics: A row for each sample, of which `score` is the value; empty where it has none.
    """

    score: MetricScore
    values: tuple[float | None, ...]
    statistics: tuple[tuple[float, ...], ...]


class Evaluation(FrozenModel):
    """What an evaluation found.

    Attributes:
        name: Its name.
        params: What was evaluated.
        data: SHA-256 of what was asked, in hexadecimal: the samples without any answers. Evaluations of the same can be
            compared.
        ids: The samples, in the data set's order.
        metrics: What was measured, by name.
        failed: Those for which the system raised, with what it said.
        started_at: When it began.
        finished_at: When all was measured.
        samples: The samples, in the order of `ids`; not there when it was read back from MLflow.
        run_id: Its MLflow run; `None` while MLflow has not got it.
        undelivered: Why MLflow has not got it.
    """

    name: str
    params: FrozenDict[str, str]
    data: str
    ids: tuple[str, ...]
    metrics: FrozenDict[str, MetricResult]
    failed: FrozenDict[str, str] = FrozenDict()
    started_at: AwareDatetime
    finished_at: AwareDatetime
    samples: tuple[Sample, ...] = ()
    run_id: str | None = None
    undelivered: str | None = None

    @property
    def scores(self) -> dict[str, MetricScore]:
        """The scores by metric."""
        return {name: measured.score for name, measured in self.metrics.items()}

    def _repr_html_(self) -> str:
        from taleward.evaluation.report.html import score_cells, table_html

        head = ("metric", self.name, "95 % interval", "unit", "samples")
        return table_html(head, (score_cells(score) for score in self.scores.values()))

    def statistics(self, metric: str, ids: tuple[str, ...]) -> npt.NDArray[np.float64]:
        """A metric's rows of those samples; NaN where a sample has none, of width 1 where no sample has any.

        Raises:
            UnknownName: It was not measured here.
        """
        import numpy as np

        if metric not in self.metrics:
            raise UnknownName(f"metric of evaluation {self.name!r}", metric, self.metrics)
        rows = dict(zip(self.ids, self.metrics[metric].statistics, strict=True))
        width = max(1, *(len(row) for row in rows.values()))
        return np.array([rows[i] or [np.nan] * width for i in ids], float)

    def means(self, metric: str, ids: tuple[str, ...]) -> npt.NDArray[np.float64]:
        """A metric's value of each of those samples, with 1 beside it; NaN where a sample has none."""
        import numpy as np

        values = dict(zip(self.ids, self.metrics[metric].values, strict=True))
        return np.array([(values[i], 1.0) if values[i] is not None else (np.nan, np.nan) for i in ids], float)

    def table(self) -> pd.DataFrame:
        """A row for each sample: inputs, output, and a column for each metric."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def rows(self) -> list[dict[str, Any]]:
        """The same as plain data; of a guard's sample also how its tale ended."""
        rows = []
        for n, sample in enumerate(self.samples):
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
            rows.append({**row, **{name: m.values[n] for name, m in self.metrics.items()}})
        return rows
