"""Evaluations in a grid: prompts by models, one block per dataset, one page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenMapping, FrozenModel
from taleward.core.html_tables import Html, notebook_box
from taleward.evaluation.metrics.base import MetricScore
from taleward.evaluation.report.html import format_interval, format_number, page_html
from taleward.evaluation.result import Evaluation
from taleward.evaluation.tracking.runs import load_evaluation

if TYPE_CHECKING:
    import pandas as pd

DATASET, NAME = "dataset", "name"
_GOOD, _STRONGEST = (27, 127, 59), 0.35
_NONE = "-"


class GridCell(FrozenModel):
    """The evaluation at one place of the grid.

    Attributes:
        row: The value of the rows' parameter.
        column: The value of the columns' parameter.
        dataset: The dataset's name and version.
        name: The name of the evaluation.
        run_id: The id of its MLflow run; `None` if it is not recorded.
        scores: Its scores by metric.
    """

    row: str
    column: str
    dataset: str
    name: str
    run_id: str | None
    scores: FrozenMapping[str, MetricScore]


class EvaluationGrid(FrozenModel):
    """The scores of evaluations by two parameters and by dataset; a notebook shows its tables.

    The best value of a table is bold, and the shade of a cell follows its value. Neither says that a difference is more
    than chance: `compare` tests that.

    Attributes:
        rows: The parameter that the rows stand for.
        columns: The parameter that the columns stand for.
        cells: The evaluations.
    """

    rows: str
    columns: str
    cells: tuple[GridCell, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that any of the evaluations has, in order."""
        return tuple(dict.fromkeys(metric for cell in self.cells for metric in cell.scores))

    def table(self, metric: str, dataset: str | None = None) -> pd.DataFrame:
        """Return the values of a metric as a data frame, with a row per row and a column per column of the grid.

        Args:
            metric: The metric.
            dataset: The dataset; `None` if there is only one.

        Raises:
            ConfigurationError: If `dataset` is needed, or there are no values.
        """
        import pandas as pd

        datasets = self._values("dataset")
        if dataset is None and len(datasets) > 1:
            raise ConfigurationError(f"the grid has several datasets: {', '.join(datasets)}.", hint="Name one.")
        chosen = [cell for cell in self.cells if dataset in (None, cell.dataset) and metric in cell.scores]
        if not chosen:
            raise ConfigurationError(
                f"no evaluation in the grid has {metric!r}" + (f" on {dataset!r}." if dataset else "."),
                hint=f"It has: {', '.join(self.metrics)}.",
            )
        values = {(cell.row, cell.column): cell.scores[metric].value for cell in chosen}
        rows, columns = self._values("row"), self._values("column")
        data = [[values.get((row, column)) for column in columns] for row in rows]
        index, header = pd.Index(rows, name=self.rows), pd.Index(columns, name=self.columns)
        return pd.DataFrame(data, index=index, columns=header, dtype=float)

    def html(self) -> str:
        """Return a self-contained HTML page with a table per dataset and metric."""
        return page_html(f"{self.rows} by {self.columns}", self.tables_html())

    def _repr_html_(self) -> str:
        return notebook_box(f"{self.rows} by {self.columns}", Html(self.tables_html("strong", "em")))

    def tables_html(self, dataset_tag: str = "h2", metric_tag: str = "h3") -> str:
        """Return the tables as HTML, for a page of your own.

        Args:
            dataset_tag: The tag around the name of a dataset.
            metric_tag: The tag around the name of a metric.
        """
        body = ""
        for dataset in self._values("dataset"):
            body += f"<div><{dataset_tag}>{escape(dataset)}</{dataset_tag}></div>"
            for metric in self.metrics:
                cells = {(c.row, c.column): c for c in self.cells if c.dataset == dataset and metric in c.scores}
                if cells:
                    unit = next(iter(cells.values())).scores[metric].unit
                    title = escape(metric if not unit else f"{metric}, {unit}")
                    body += f"<div><{metric_tag}>{title}</{metric_tag}></div>{self._metric_html(metric, cells)}"
        return body

    def _metric_html(self, metric: str, cells: dict[tuple[str, str], GridCell]) -> str:
        rows = [row for row in self._values("row") if any(row == at for at, _ in cells)]
        columns = [column for column in self._values("column") if any(column == at for _, at in cells)]
        scores = {place: cell.scores[metric] for place, cell in cells.items()}
        better = next(iter(scores.values())).higher_is_better
        values = [score.value for score in scores.values() if score.value is not None]
        best = None if better is None or not values else (max if better else min)(values)
        head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
        body = ""
        for row in rows:
            tds = ""
            for column in columns:
                score = scores.get((row, column))
                text = _NONE if score is None else f"{format_number(score.value)} {format_interval(score)}"
                cell = escape(text)
                if score is not None and score.value is not None and score.value == best:
                    cell = f"<strong>{cell}</strong>"
                tds += f'<td class="number"{_shade(score, values, better)}>{cell}</td>'
            body += f'<tr><th scope="row">{escape(row)}</th>{tds}</tr>'
        corner = f'<th scope="col">{escape(self.rows)} / {escape(self.columns)}</th>'
        return f'<div class="table"><table><thead><tr>{corner}{head}</tr></thead><tbody>{body}</tbody></table></div>'

    def _values(self, field: str) -> list[str]:
        return list(dict.fromkeys(getattr(cell, field) for cell in self.cells))


def _shade(score: MetricScore | None, values: Sequence[float], higher_is_better: bool | None) -> str:
    """Return the style of a cell: the better its value among those of the table, the stronger."""
    if score is None or score.value is None or higher_is_better is None or max(values) == min(values):
        return ""
    share = (score.value - min(values)) / (max(values) - min(values))
    strength = _STRONGEST * (share if higher_is_better else 1 - share)
    return f' style="background:rgba({",".join(map(str, _GOOD))},{strength:.2f})"'


def evaluation_grid(
    runs: Iterable[Evaluation | str],
    *,
    rows: str = "writer.template",
    columns: str = "writer.model",
    tracking_uri: str | None = None,
) -> EvaluationGrid:
    """Arrange evaluations by two of their parameters, such as prompts by models, with a block per dataset.

    Args:
        runs: Evaluations, or the ids of their MLflow runs. They may be of several datasets, and have different metrics.
        rows: The parameter for the rows: a name in `Evaluation.params`, or `name` for the evaluation's own.
        columns: The parameter for the columns, likewise; or `dataset`, so that there is one block only.
        tracking_uri: The MLflow tracking URI of runs given by id; by default the store in `.taleward` in the working
            directory.

    Raises:
        ConfigurationError: If there is no evaluation, one lacks a parameter, or two are at the same place.
        UnknownName: If there is no such run.
    """
    evaluations = [load_evaluation(run, tracking_uri) if isinstance(run, str) else run for run in runs]
    if not evaluations:
        raise ConfigurationError("a grid needs at least one evaluation.")
    cells: dict[tuple[str, str, str], GridCell] = {}
    for evaluation in evaluations:
        row, column = (_parameter(evaluation, name) for name in (rows, columns))
        dataset = "all datasets" if DATASET in (rows, columns) else evaluation.dataset
        place = (row, column, dataset)
        if place in cells:
            raise ConfigurationError(
                f"{cells[place].name!r} and {evaluation.name!r} have the same {rows} ({row}), {columns} ({column}) and "
                "dataset.",
                hint=f"Choose parameters that tell them apart, of: {', '.join(_differing(evaluations))}.",
            )
        cells[place] = GridCell(
            row=row,
            column=column,
            dataset=dataset,
            name=evaluation.name,
            run_id=evaluation.run_id,
            scores=evaluation.scores,
        )
    return EvaluationGrid(rows=rows, columns=columns, cells=tuple(cells.values()))


def _parameter(evaluation: Evaluation, name: str) -> str:
    own: dict[str, Any] = {NAME: evaluation.name, DATASET: evaluation.dataset}
    if name in own:
        return str(own[name])
    if name not in evaluation.params:
        raise ConfigurationError(
            f"the evaluation {evaluation.name!r} has no parameter {name!r}.",
            hint=f"It has: {', '.join([*own, *evaluation.params])}.",
        )
    return evaluation.params[name]


def _differing(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return the parameters that are not the same in all evaluations, and the name."""
    names = dict.fromkeys(name for evaluation in evaluations for name in evaluation.params)
    return [NAME, *(name for name in names if len({e.params.get(name) for e in evaluations}) > 1)]
