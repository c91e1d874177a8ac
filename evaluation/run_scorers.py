"""Our metrics as MLflow's scorers, and MLflow's scorers as our metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from taleward.core.errors import ConfigurationError, MissingExtra
from taleward.evaluation.sample import Sample
from taleward.evaluation.scoring import Metric

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_WORDS = {"yes": 1.0, "no": 0.0, "true": 1.0, "false": 0.0, "pass": 1.0, "fail": 0.0}


def as_scorer(metric: Metric) -> Any:
    """A metric as a scorer for `mlflow.genai.evaluate`.

    It gives a value for each row: inputs and outputs as they are, and as references the expectation
    `expected_response` (one text) or `references` (several).

    Raises:
        MissingExtra: MLflow is not installed.
    """
    try:
        from mlflow.genai.scorers import scorer
    except ImportError as error:
        raise MissingExtra("MLflow's scorers", "mlflow") from error

    def measured(inputs: Any = None, outputs: Any = None, expectations: Any = None) -> float:
        expected = expectations or {}
        references = expected.get("references") or [r for r in [expected.get("expected_response")] if r is not None]
        sample = Sample(id="1", inputs=inputs, output=outputs, references=tuple(references))
        return metric.value(metric.measure([sample]).sum(0))

    return scorer(measured, name=metric.name)


class ScorerMetric:
    """A scorer of MLflow as a metric: the mean of its values; yes, true and pass count 1, no, false and fail 0.

    A sample for which it gives no value counts as none.

    Args:
        scorer: A built-in scorer, a judge, or what `@scorer` made.
        unit: Of its values.
        higher_is_better: Which way is better; `None` where neither is.
    """

    def __init__(
        self, scorer: Callable[..., Any], *, unit: str = "share", higher_is_better: bool | None = True
    ) -> None:
        self._scorer = scorer
        self.name = str(getattr(scorer, "name", getattr(scorer, "__name__", "scorer")))
        self.unit, self.higher_is_better = unit, higher_is_better

    @property
    def signature(self) -> str:
        """The scorer's kind and MLflow's version."""
        import mlflow

        return f"mlflow-scorer:{self.name}|kind={type(self._scorer).__name__}|mlflow={mlflow.__version__}"

    def measure(self, samples: Sequence[Sample]) -> npt.NDArray[np.float64]:
        """Value and 1 for each sample, or 0 and 0 where there is no value.

        Raises:
            ConfigurationError: The scorer gave something that is no number, yes or no.
        """
        import numpy as np

        values = [self._value(sample) for sample in samples]
        return np.array([(0.0, 0.0) if value is None else (value, 1.0) for value in values], float)

    def value(self, statistics: npt.NDArray[np.float64]) -> float:
        """The mean; 0 where no sample has a value."""
        return float(statistics[0] / statistics[1]) if statistics[1] else 0.0

    def _value(self, sample: Sample) -> float | None:
        expected: dict[str, Any] = {"references": list(sample.references)} if sample.references else {}
        if sample.references:
            expected["expected_response"] = sample.references[0]
        given = {"inputs": sample.inputs, "outputs": sample.output, "expectations": expected}
        run = getattr(self._scorer, "run", None) or self._scorer
        found = run(**given)
        found = getattr(found, "value", found)
        if found is None:
            return None
        if isinstance(found, str) and found.strip().lower() in _WORDS:
            return _WORDS[found.strip().lower()]
        if isinstance(found, (bool, int, float)):
            return float(found)
        raise ConfigurationError(
            f"scorer {self.name!r} gave {found!r} for sample {sample.id!r}; taken: a number, yes, no."
        )
