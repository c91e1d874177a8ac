"""The grid: what stands where, what is best, and what does not fit."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict
from taleward.evaluation import evaluation_grid
from taleward.evaluation.metrics.base import MetricScore
from taleward.evaluation.result import Evaluation, MetricResult


def evaluation(model: str, template: str, dataset: str, value: float | None, name: str = "run") -> Evaluation:
    score = MetricScore(
        metric="pass_rate",
        value=value,
        low=None if value is None else value - 0.1,
        high=None if value is None else value + 0.1,
        unit="share",
        n=10,
        left_out=0,
        higher_is_better=True,
        signature="s",
    )
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Evaluation(
        name=name,
        params=FrozenDict({"writer.model": model, "writer.template": template}),
        data="0",
        dataset=dataset,
        ids=("1",),
        metrics=FrozenDict({"pass_rate": MetricResult(score=score, values=(value,), statistics=((),))}),
        started_at=now,
        finished_at=now,
    )


def test_a_grid_has_a_table_per_dataset_and_metric() -> None:
    grid = evaluation_grid(
        [
            evaluation("small", "bedtime@1", "foxes", 0.5),
            evaluation("large", "bedtime@1", "foxes", 0.9),
            evaluation("small", "<b>@1", "foxes", 0.7),
            evaluation("small", "bedtime@1", "owls", None),
        ]
    )
    table = grid.table("pass_rate", "foxes")
    assert table.loc["bedtime@1", "large"] == 0.9
    assert table.isna().to_numpy().sum() == 1
    page = grid.html()
    assert "<strong>0.9 [0.8, 1]</strong>" in page
    assert "&lt;b&gt;@1" in page
    assert page.count("<table>") == 2
    assert "owls" in grid._repr_html_()
    with pytest.raises(ConfigurationError, match="several datasets: foxes, owls"):
        grid.table("pass_rate")
    with pytest.raises(ConfigurationError, match="no evaluation in the grid has 'words'"):
        grid.table("words", "foxes")


def test_datasets_can_be_the_columns() -> None:
    cells = [evaluation("m", "t", data, 0.5) for data in ("foxes", "owls")]
    grid = evaluation_grid(cells, rows="name", columns="dataset")
    assert list(grid.table("pass_rate").columns) == ["foxes", "owls"]


def test_evaluations_that_do_not_fit_are_refused() -> None:
    same = [evaluation("m", "t", "foxes", 0.5, name) for name in ("first", "second")]
    with pytest.raises(ConfigurationError, match="'first' and 'second' have the same") as refused:
        evaluation_grid(same)
    assert "of: name" in str(refused.value.hint)
    with pytest.raises(ConfigurationError, match="no parameter 'judge'"):
        evaluation_grid(same, rows="judge")
    with pytest.raises(ConfigurationError, match="at least one"):
        evaluation_grid([])
