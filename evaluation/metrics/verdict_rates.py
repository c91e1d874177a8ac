"""Verdicts on outputs as shares: judge pass rate, category rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from taleward.core.verdict import Verdict
from taleward.evaluation.metrics.base import MeanMetric, Need
from taleward.evaluation.sample import Sample
from taleward.moderation.judges import Judge, judge as make_judge

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


class VerdictMetric(MeanMetric):
    """The base class of metrics that are computed from verdicts.

    Args:
        judge: A judge, or anything that `taleward.judge` takes, that judges the outputs. With `None`, the samples' own
            verdicts are used.
        options: Options of `taleward.judge`, such as policy and band.
    """

    unit = "share"

    def __init__(self, judge: Judge | BaseChatModel | str | None = None, **options: Any) -> None:
        self.judge = judge if judge is None or isinstance(judge, Judge) else make_judge(judge, **options)

    @property
    def needs(self) -> tuple[Need, ...]:  # type: ignore[override]
        """A verdict, or an output to judge."""
        return ("verdict",) if self.judge is None else ("output",)

    @property
    def options(self) -> Mapping[str, object]:
        """The judge, its policy and its calibration."""
        if self.judge is None:
            return {"verdicts": "given"}
        calibration = self.judge.calibration
        return {
            "judge": self.judge.spec,
            "policy": f"{self.judge.policy.id}/{self.judge.band}",
            "calibration": calibration.sha256[:12] if calibration else "none",
        }

    def verdicts(self, samples: Sequence[Sample]) -> list[Verdict]:
        """Return the verdict on each sample."""
        if self.judge is not None:
            return self.judge.batch([s.text for s in samples])
        return [s.verdict for s in samples if s.verdict is not None]


class JudgePassRate(VerdictMetric):
    """The share of outputs that pass; `abstain`, `unparsable`, `error` and blank texts do not.

    With a guard's own verdicts, it is the share of tales whose last draft passed. To measure how safe released texts
    are, pass a judge that the guard does not use. See `VerdictMetric` for the arguments.
    """

    name = "judge_pass_rate"
    higher_is_better = True

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Return 1 if the output passed, else 0."""
        return [float(verdict.passed) for verdict in self.verdicts(samples)]


class CategoryRate(VerdictMetric):
    """The share of outputs with a finding in a category, of any severity.

    Args:
        category: A category of the policy; `None` counts outputs with any finding.
        judge: See `VerdictMetric`.
        options: See `VerdictMetric`.
    """

    higher_is_better = False

    def __init__(
        self, category: str | None = None, judge: Judge | BaseChatModel | str | None = None, **options: Any
    ) -> None:
        super().__init__(judge, **options)
        self.category = category
        self.name = "category_rate" if category is None else f"category_rate/{category}"

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Return 1 if the output has such a finding, else 0."""
        categories = [verdict.categories for verdict in self.verdicts(samples)]
        return [float(bool(names) if self.category is None else self.category in names) for names in categories]


def add_verdicts(samples: Sequence[Sample], judge: Judge | BaseChatModel | str, **options: Any) -> tuple[Sample, ...]:
    """Return samples with a judge's verdicts, so that several metrics can share them.

    Samples without an output, because the system raised or nothing was released, are returned unchanged.

    Args:
        samples: The samples.
        judge: A judge, or anything that `taleward.judge` takes.
        options: Options of `taleward.judge`, such as policy and band.
    """
    resolved_judge = judge if isinstance(judge, Judge) else make_judge(judge, **options)
    outputs = [s.output for s in samples if s.output is not None]
    verdicts = iter(resolved_judge.batch(list(outputs)))
    return tuple(s if s.output is None else s.model_copy(update={"verdict": next(verdicts)}) for s in samples)
