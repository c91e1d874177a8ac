"""What judges say of the outputs: their verdicts as shares."""

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
    """A share of the outputs by their verdicts: the samples' own, or those of a judge that is asked here.

    Args:
        judge: A judge, or what `taleward.judge` takes; `None` reads the verdicts that the samples have.
        options: For `taleward.judge`: policy, band and the like.
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
        """Which judge by which rules."""
        if self.judge is None:
            return {"verdicts": "given"}
        fitted = self.judge.calibration
        return {
            "judge": self.judge.spec,
            "policy": f"{self.judge.policy.id}/{self.judge.band}",
            "calibration": fitted.sha256[:12] if fitted else "none",
        }

    def verdicts(self, samples: Sequence[Sample]) -> list[Verdict]:
        """A verdict a sample."""
        if self.judge is not None:
            return self.judge.batch([s.text for s in samples])
        return [s.verdict for s in samples if s.verdict is not None]


class JudgePassRate(VerdictMetric):
    """Share of the outputs that pass; `abstain`, `unparsable` and `error` do not, nor does a blank text.

    Of a guard's own verdicts it is the share of tales whose last draft passed. To see how safe released texts are, give
    a judge that the guard did not use. See `VerdictMetric` for the arguments.
    """

    name = "judge_pass_rate"
    higher_is_better = True

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """1 where it passed."""
        return [float(v.passed) for v in self.verdicts(samples)]


class CategoryRate(VerdictMetric):
    """Share of the outputs with a finding of a category, of whatever severity.

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
        """1 where the category was found."""
        found = [v.categories for v in self.verdicts(samples)]
        return [float(bool(c) if self.category is None else self.category in c) for c in found]


def add_verdicts(samples: Sequence[Sample], judge: Judge | BaseChatModel | str, **options: Any) -> tuple[Sample, ...]:
    """The samples with a judge's verdicts on their outputs, so that several metrics can read one asking.

    A sample without output, because the system raised or nothing was released, keeps what it has.

    Args:
        samples: The samples.
        judge: A judge, or what `taleward.judge` takes.
        options: For `taleward.judge`.
    """
    asked = judge if isinstance(judge, Judge) else make_judge(judge, **options)
    texts = [s.output for s in samples if s.output is not None]
    verdicts = iter(asked.batch(list(texts)))
    return tuple(s if s.output is None else s.model_copy(update={"verdict": next(verdicts)}) for s in samples)
