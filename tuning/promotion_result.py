"""The result of a promotion: both sides with intervals, what each rule says, and the decision."""

from __future__ import annotations

from html import escape

from taleward.core.frozen_model import FrozenModel
from taleward.core.html_tables import notebook_box, notebook_table
from taleward.evaluation.comparison import ComparisonResult
from taleward.evaluation.gates import GateResult
from taleward.evaluation.report.html import format_interval, format_number, page_html, table_html
from taleward.tuning.promotion_rules import PromotionRules

_RULE_COLUMNS = ("rule", "met", "what was measured")


class Promotion(FrozenModel):
    """The decision about a candidate; a notebook shows its tables.

    Attributes:
        name: The name in the registry.
        version: The candidate's version.
        against: The spec of what it was compared with: the champion, or another model as long as there was none.
        former_version: The version that was champion before; `None` if there was none.
        promoted: Whether the candidate is champion now.
        results: What each rule says.
        samples_needed: About how many samples would have supported a promotion, if the differences stay as they are;
            `None` if the candidate was promoted, or if more samples would not help.
        comparison: All metrics of both, with intervals and tests.
        dataset: The name and version of the dataset.
        rules: The rules.
        evaluation_runs: The MLflow runs of the evaluations of the candidate and of the other one.
        run_id: The MLflow run of this decision.
    """

    name: str
    version: int
    against: str
    former_version: int | None
    promoted: bool
    results: tuple[GateResult, ...]
    samples_needed: int | None
    comparison: ComparisonResult
    dataset: str
    rules: PromotionRules
    evaluation_runs: tuple[str, str]
    run_id: str = ""

    @property
    def reasons(self) -> tuple[str, ...]:
        """The rules that speak against the candidate; if none does, what it is better at."""
        deciding = [r for r in self.results if (r.metric == "better" if self.promoted else not r.passed)]
        return tuple(f"{result.metric}: {result.message}" for result in deciding)

    @property
    def conclusion(self) -> str:
        """The decision in one sentence."""
        spec = f"models:/{self.name}/{self.version}"
        if self.promoted:
            return f"{spec} is the champion now; it was compared with {self.against}"
        more = f"; about {self.samples_needed:,} samples would be needed" if self.samples_needed else ""
        return f"{spec} was not promoted: {len(self.reasons)} of {len(self.results)} rules are not met{more}"

    @property
    def params(self) -> dict[str, str]:
        """The parameters of the MLflow run."""
        return {
            "model": self.name,
            "version": str(self.version),
            "against": self.against,
            "promoted": str(self.promoted).lower(),
            "dataset": self.dataset,
            "samples": str(self.comparison.n),
            "candidate_run": self.evaluation_runs[0],
            "against_run": self.evaluation_runs[1],
        }

    def html(self) -> str:
        """Return the decision as a self-contained HTML page."""
        rules = table_html(_RULE_COLUMNS, self._rule_rows())
        scores = table_html(("metric", *self.comparison.names, "better beyond noise"), self._score_rows())
        css_class = "good" if self.promoted else "bad"
        return page_html(
            f"{self.name}/{self.version} against {self.against}",
            f'<p class="{css_class}">{escape(self.conclusion)}.</p>'
            f"<p>{self.comparison.n} samples of {escape(self.dataset)}.</p>{rules}{scores}"
            f"<p>Method: {escape(self.comparison.method)}.</p>",
        )

    def _repr_html_(self) -> str:
        return notebook_box(
            f"{self.name}/{self.version} against {self.against}",
            f"{self.conclusion}.",
            notebook_table(_RULE_COLUMNS, self._rule_rows()),
            notebook_table(("metric", *self.comparison.names, "better beyond noise"), self._score_rows()),
        )

    def _rule_rows(self) -> list[tuple[str, ...]]:
        return [(result.metric, "yes" if result.passed else "no", result.message) for result in self.results]

    def _score_rows(self) -> list[tuple[str, ...]]:
        return [
            (metric, *(f"{format_number(s.value)} {format_interval(s)}" for s in c.scores.values()), c.conclusion)
            for metric, c in self.comparison.metrics.items()
        ]
