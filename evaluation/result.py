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


_MAX_LISTED_IDS = 5


class Flakiness(FrozenModel):
    """How much a metric differs between repeats of the same sample.

    Attributes:
        changed: The share of samples whose value is not the same in all repeats, from 0 to 1. A repeat without a value,
            for example because nothing was released, differs from one with a value. `None` if no sample was repeated.
        std: The standard deviation between repeats of a sample, in the metric's unit: the root of the mean variance.
            `None` if no sample has two values.
        n: The number of samples with at least two repeats and a value in one of them.
    """

    changed: float | None
    std: float | None
    n: int


class MetricResult(FrozenModel):
    """One metric on the samples of an evaluation.

    Attributes:
        score: The corpus score.
        values: The value of each sample; `None` where a sample has no value. With repeats, that of their mean.
        statistics: The sufficient statistics of each sample, from which `score` is computed; empty where a sample has
            no value. With repeats, their mean.
        repeated: With repeats, the value of each of `Evaluation.samples`; otherwise empty.
        flakiness: How much the repeats differ; `None` without repeats.
    """

    score: MetricScore
    values: tuple[float | None, ...]
    statistics: tuple[tuple[float, ...], ...]
    repeated: tuple[float | None, ...] = ()
    flakiness: Flakiness | None = None

    @property
    def run_values(self) -> tuple[float | None, ...]:
        """The value of each of `Evaluation.samples`."""
        return self.repeated or self.values


class Evaluation(FrozenModel):
    """The result of an evaluation; a notebook shows it as a table of scores.

    Attributes:
        name: The name of the run.
        params: The parameters of the evaluated system.
        data: SHA-256, in hexadecimal, of the samples without any outputs. Only evaluations with the same digest can be
            compared.
        dataset: The name and the version of the dataset, as in `Dataset.label`.
        ids: The ids of the samples, in the order of the dataset.
        metrics: The results by metric name.
        failed: Error messages by the id of one of `samples`, for those on which the system raised.
        repeat: How often each sample was run.
        missing: The ids of the samples that were not run, or not often enough; empty unless the evaluation is partial.
        stopped: Why the evaluation is partial: what it used up.
        side_by_side: Equal in evaluations that were measured side by side; `None` if this one was measured alone.
        started_at: When the evaluation started.
        finished_at: When all metrics were computed.
        samples: The samples with their outputs, in the order of `ids`; empty if loaded from MLflow. Repeats follow the
            first run of all samples, with the ids `ID#2`, `ID#3` and so on.
        run_id: The id of the MLflow run; `None` until MLflow has stored it.
        undelivered: Why MLflow has not stored it.
    """

    name: str
    params: FrozenMapping[str, str]
    data: str
    dataset: str = ""
    ids: tuple[str, ...]
    metrics: FrozenMapping[str, MetricResult]
    failed: FrozenMapping[str, str] = FrozenDict()
    repeat: int = 1
    missing: tuple[str, ...] = ()
    stopped: str | None = None
    side_by_side: str | None = None
    started_at: AwareDatetime
    finished_at: AwareDatetime
    samples: tuple[Sample, ...] = ()
    run_id: str | None = None
    undelivered: str | None = None

    @property
    def scores(self) -> dict[str, MetricScore]:
        """The corpus scores by metric name."""
        return {name: result.score for name, result in self.metrics.items()}

    @property
    def partial_note(self) -> str:
        """What is missing, and why; empty if the evaluation is complete."""
        if not self.missing:
            return ""
        listed = ", ".join(self.missing[:_MAX_LISTED_IDS])
        more = f" and {len(self.missing) - _MAX_LISTED_IDS} more" if len(self.missing) > _MAX_LISTED_IDS else ""
        total = len({*self.ids, *self.missing})
        return f"partial: {self.stopped}; {len(self.missing)} of {total} samples are missing: {listed}{more}"

    def html(self) -> str:
        """Return the report as a self-contained HTML page, with plots if the extra `calibration` is installed."""
        from taleward.evaluation.report.html import evaluation_page

        return evaluation_page(self)

    def _repr_html_(self) -> str:
        from taleward.core.html_tables import notebook_box, notebook_table
        from taleward.evaluation.report.html import format_number, score_cells

        cells = (score_cells(score) for score in self.scores.values())
        rows = [(metric, format_number(value), *others) for metric, value, *others in cells]
        failed = f"{len(self.failed)} samples failed, for example {next(iter(self.failed))}" if self.failed else ""
        scores = notebook_table(("metric", "value", "95 % interval", "unit", "samples"), rows)
        return notebook_box(self.name, self.partial_note, failed, scores)

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

        If any sample has a tale, there is `released`; if any has a verdict, `outcome` and `categories`.
        """
        rows = []
        # All rows have the same columns: those that any sample has a value for.
        fields = ("label", "prediction", "tale", "verdict")
        used = {name for name in fields if any(getattr(sample, name) is not None for sample in self.samples)}
        for index, sample in enumerate(self.samples):
            row: dict[str, Any] = {"id": sample.id, "inputs": dict(sample.inputs), "output": sample.output}
            row |= {name: getattr(sample, name) for name in ("label", "prediction") if name in used}
            if self.failed:
                row["error"] = sample.error
            if "tale" in used:
                row["released"] = sample.tale.released if sample.tale else None
            if "verdict" in used:
                verdict = sample.verdict
                row["outcome"] = verdict.outcome if verdict else None
                row["categories"] = ", ".join(verdict.categories) if verdict else None
            rows.append({**row, **{name: result.run_values[index] for name, result in self.metrics.items()}})
        return rows
