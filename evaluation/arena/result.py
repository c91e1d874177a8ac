"""The result of an arena: ratings with intervals, pairs with tests, and every comparison."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from pydantic import Field

from taleward.core.errors import MissingExtra
from taleward.core.frozen_model import FrozenModel
from taleward.core.html_tables import Html, notebook_box, notebook_table
from taleward.evaluation.arena.preference import Preference
from taleward.evaluation.report.html import format_number, image_html, page_html, table_html
from taleward.evaluation.resampling import PairedTest
from taleward.evaluation.tracking.runs import record_page
from taleward.evaluation.tracking.tale_recorder import DEFAULT_EXPERIMENT

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_RATING_COLUMNS = ("contestant", "preferred", "interval", "rating", "wins", "ties", "losses", "comparisons")
_PAIR_COLUMNS = ("first", "second", "wins", "ties", "losses", "p", "conclusion")
_SHOWN_COMPARISONS = 60


class ArenaComparison(FrozenModel):
    """Two outputs for one sample.

    Attributes:
        sample: The sample's id.
        first: A contestant.
        second: Another one.
        score: 1 if the first is preferred, 0 if the second is, 0.5 for a tie or if the answer changed with the order.
        order_decided: Whether the answer changed with the order.
        preferences: The answers, the first of them with `first` shown first, the second the other way round; empty if
            one of the two had no output.
    """

    sample: str
    first: str
    second: str
    score: float = Field(ge=0.0, le=1.0)
    order_decided: bool = False
    preferences: tuple[Preference, ...] = ()


class ArenaRating(FrozenModel):
    """How strong a contestant is.

    Attributes:
        name: The contestant.
        strength: The Bradley-Terry strength in logits; the mean of all contestants is 0.
        preferred: How likely it is preferred to an average opponent, from 0 to 1.
        low: The lower end of the interval of `preferred`.
        high: The upper end.
        wins: Comparisons that it won.
        ties: Comparisons without a preference.
        losses: Comparisons that it lost.
    """

    name: str
    strength: float
    preferred: float
    low: float
    high: float
    wins: int
    ties: int
    losses: int

    @property
    def rating(self) -> float:
        """The strength on the scale of chess ratings: 1,000 on average, and 400 more for odds of ten to one."""
        return 1000 + 400 * self.strength / 2.302585092994046


class ArenaPair(FrozenModel):
    """Two contestants compared on the samples of both.

    Attributes:
        first: The one that was preferred more often.
        second: The other one.
        wins: Comparisons that the first won.
        ties: Comparisons without a preference.
        losses: Comparisons that the first lost.
        test: The paired sign-flip test of the two, corrected for the number of pairs (Bonferroni).
    """

    first: str
    second: str
    wins: int
    ties: int
    losses: int
    test: PairedTest

    @property
    def conclusion(self) -> str:
        """Whether the two differ significantly, or why that is not known."""
        if self.test.p is None or self.test.smallest_p > self.test.level:
            return "too few samples"
        return "significant" if self.test.significant else "no significant difference"


class ArenaResult(FrozenModel):
    """The result of `arena`; a notebook shows its tables and plot.

    Attributes:
        judge: Who was asked.
        ratings: The contestants, the strongest first.
        pairs: Every pair.
        comparisons: Every comparison.
        unusable: The number of comparisons left out because an answer could not be used.
        order_decided: The share of comparisons whose answer changed with the order of the texts; `None` if only one
            order was asked. Above a third, the judge looks at the order more than at the texts.
        cost_usd: What the answers cost in US dollars, as far as known; `None` if nothing is.
        level: The significance level of the tests; the intervals hold with 1 - level.
        warnings: What to keep in mind.
    """

    judge: str
    ratings: tuple[ArenaRating, ...]
    pairs: tuple[ArenaPair, ...]
    comparisons: tuple[ArenaComparison, ...]
    unusable: int
    order_decided: float | None
    cost_usd: float | None
    level: float
    warnings: tuple[str, ...] = ()

    @property
    def winner(self) -> str | None:
        """The contestant that is significantly preferred to every other one; `None` if there is none."""
        best = self.ratings[0].name
        beaten = {p.second for p in self.pairs if p.first == best and p.conclusion == "significant"}
        return best if len(beaten) == len(self.ratings) - 1 else None

    def table(self) -> pd.DataFrame:
        """Return a data frame with a row per comparison."""
        import pandas as pd

        fields = ("sample", "first", "second", "score", "order_decided")
        rows = [
            {name: getattr(c, name) for name in fields} | {"reasons": " | ".join(p.reason for p in c.preferences)}
            for c in self.comparisons
        ]
        return pd.DataFrame(rows)

    def plot(self) -> Figure:
        """Plot how likely each contestant is preferred, with its interval.

        Raises:
            MissingExtra: If the extra `calibration` is not installed.
        """
        from taleward.evaluation.report.plots import interval_plot

        rows = [(r.name, r.preferred, r.low, r.high) for r in self.ratings]
        return interval_plot(rows, title=f"preferred by {self.judge}", reference=0.5, limits=(0.0, 1.0))

    def html(self) -> str:
        """Return a self-contained HTML page with the tables, the plot and the first comparisons."""
        notes = f"<p>{escape(self.summary)}</p>" + "".join(
            f'<p class="bad">Warning: {escape(warning)}.</p>' for warning in self.warnings
        )
        shown = [
            (c.sample, c.first, c.second, c.score, " | ".join(p.reason for p in c.preferences))
            for c in self.comparisons[:_SHOWN_COMPARISONS]
        ]
        comparisons = table_html(("sample", "first", "second", "score of the first", "reasons"), shown)
        return page_html(
            "Arena: " + " / ".join(r.name for r in self.ratings),
            f"{notes}{table_html(_RATING_COLUMNS, self.rating_rows())}{self._plot_html()}<h2>Pairs</h2>"
            f"{table_html(_PAIR_COLUMNS, self.pair_rows())}<h2>Comparisons</h2>{comparisons}",
        )

    def record(self, *, tracking_uri: str | None = None, experiment: str = DEFAULT_EXPERIMENT) -> str:
        """Save the page and the plot as an MLflow run.

        Args:
            tracking_uri: The MLflow tracking URI; by default the store in `.taleward` in the working directory.
            experiment: The name of the MLflow experiment.

        Returns:
            The id of the run.
        """
        names = " / ".join(r.name for r in self.ratings)
        params = {"judge": self.judge, "winner": self.winner or "none"}
        params |= {r.name: f"{r.preferred:.3f} [{r.low:.3f}, {r.high:.3f}]" for r in self.ratings}
        return record_page(
            f"arena: {names}", self.html(), self.plot(), params, tracking_uri=tracking_uri, experiment=experiment
        )

    @property
    def summary(self) -> str:
        """How many comparisons there were, by whom, and how often the order decided."""
        parts = [f"{len(self.comparisons)} comparisons by {self.judge}"]
        if self.order_decided is not None:
            parts.append(f"the order of the texts decided {self.order_decided:.0%} of them, which count as ties")
        if self.unusable:
            parts.append(f"{self.unusable} more had no usable answer")
        if self.cost_usd is not None:
            parts.append(f"{self.cost_usd:.4g} USD")
        return "; ".join(parts) + "."

    def rating_rows(self) -> list[tuple[Any, ...]]:
        """Return the rows of the table of ratings."""
        return [
            (
                r.name,
                r.preferred,
                f"[{format_number(r.low)}, {format_number(r.high)}]",
                round(r.rating),
                r.wins,
                r.ties,
                r.losses,
                r.wins + r.ties + r.losses,
            )
            for r in self.ratings
        ]

    def pair_rows(self) -> list[tuple[Any, ...]]:
        """Return the rows of the table of pairs."""
        return [(p.first, p.second, p.wins, p.ties, p.losses, p.test.p, p.conclusion) for p in self.pairs]

    def _repr_html_(self) -> str:
        ratings = [[format_number(c) if isinstance(c, float) else str(c) for c in row] for row in self.rating_rows()]
        pairs = [[format_number(c) if isinstance(c, float) else str(c) for c in row] for row in self.pair_rows()]
        return notebook_box(
            "Arena",
            self.summary,
            *(f"Warning: {warning}." for warning in self.warnings),
            notebook_table(_RATING_COLUMNS, ratings),
            Html(self._plot_html()),
            notebook_table(_PAIR_COLUMNS, pairs),
        )

    def _plot_html(self) -> str:
        """Return the plot, or nothing without matplotlib."""
        try:
            return image_html(self.plot())
        except MissingExtra:
            return ""
