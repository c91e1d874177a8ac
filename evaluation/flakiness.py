"""Measure samples that were run several times: the mean of the repeats, and how much they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from taleward.evaluation.metrics.base import Metric
from taleward.evaluation.result import Flakiness
from taleward.evaluation.sample import Sample

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

_SAME = 1e-9


def repeat_id(sample_id: str, repeat: int) -> str:
    """Return the id of a sample's run: its own for the first one, `ID#2` for the second."""
    return sample_id if repeat == 1 else f"{sample_id}#{repeat}"


def measure_repeats(
    metric: Metric, ids: Sequence[str], runs: Sequence[Mapping[str, Sample]]
) -> tuple[Floats, list[list[float | None]], Flakiness]:
    """Measure each repeat as a corpus of its own.

    Args:
        metric: The metric.
        ids: The ids of the samples, each of which is in at least one repeat.
        runs: The samples of each repeat by the id in `ids`.

    Returns:
        The mean of each sample's statistics over its repeats, shape (ids, k), with NaN where no repeat has a value; the
        values of each repeat's samples, in the order of `ids` and without those that it lacks; and their flakiness.
    """
    import numpy as np

    rows_by_id: dict[str, list[Floats]] = {sample_id: [] for sample_id in ids}
    values_by_id: dict[str, list[float | None]] = {sample_id: [] for sample_id in ids}
    values_by_run = []
    for run in runs:
        present = [sample_id for sample_id in ids if sample_id in run]
        rows = metric.measure([run[sample_id] for sample_id in present]) if present else np.empty((0, 1))
        values = [metric.sample_value(row) for row in rows]
        values_by_run.append(values)
        for sample_id, row, value in zip(present, rows, values, strict=True):
            values_by_id[sample_id].append(value)
            if np.isfinite(row).all():
                rows_by_id[sample_id].append(row)
    width = max((len(rows[0]) for rows in rows_by_id.values() if rows), default=1)
    means = [np.mean(rows, axis=0) if rows else np.full(width, np.nan) for rows in rows_by_id.values()]
    return np.array(means), values_by_run, _flakiness(list(values_by_id.values()))


def _flakiness(values_by_sample: Sequence[Sequence[float | None]]) -> Flakiness:
    """Compute how much the values of the same sample differ; `None` stands for a repeat without a value."""
    import numpy as np

    changes, variances = [], []
    for values in values_by_sample:
        numbers = [value for value in values if value is not None]
        if len(values) < 2 or not numbers:
            continue
        changes.append(len(numbers) < len(values) or max(numbers) - min(numbers) > _SAME)
        if len(numbers) > 1:
            variances.append(float(np.var(numbers, ddof=1)))
    return Flakiness(
        changed=float(np.mean(changes)) if changes else None,
        std=float(np.sqrt(np.mean(variances))) if variances else None,
        n=len(changes),
    )
