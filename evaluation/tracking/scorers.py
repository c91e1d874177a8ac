"""Convert between Taleward's metrics and MLflow's scorers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import nan
from typing import Any

from taleward.core.errors import ConfigurationError, MissingExtra
from taleward.core.frozen_model import FrozenDict
from taleward.core.redaction import redact
from taleward.evaluation.metrics.base import MeanMetric, Metric
from taleward.evaluation.sample import Sample

_log = logging.getLogger(__name__)

_CONCURRENCY = 8
_WORD_VALUES = {"yes": 1.0, "no": 0.0, "true": 1.0, "false": 0.0, "pass": 1.0, "fail": 0.0}


def as_scorer(metric: Metric) -> Any:
    """Convert a metric to a scorer for `mlflow.genai.evaluate`.

    The scorer returns the metric's value for each row. It reads the row's inputs and outputs, and takes references from
    the expectation `expected_response` (one text) or `references` (several).

    Args:
        metric: A metric that has a value for a single sample.

    Raises:
        MissingExtra: If MLflow is not installed.
    """
    try:
        from mlflow.genai.scorers import scorer
    except ImportError as error:
        raise MissingExtra("MLflow's scorers", "mlflow") from error

    # MLflow passes arguments by name, and only those that the function declares.
    def score_row(inputs: Any = None, outputs: Any = None, expectations: Any = None) -> float | None:
        expected = expectations or {}
        references = expected.get("references") or [r for r in [expected.get("expected_response")] if r is not None]
        sample = Sample(id="1", inputs=FrozenDict(inputs), output=outputs, references=tuple(references))
        return metric.sample_value(metric.measure([sample])[0])

    return scorer(score_row, name=metric.name)


class ScorerMetric(MeanMetric):
    """The mean value of an MLflow scorer as a metric; yes, true and pass count as 1, no, false and fail as 0.

    Args:
        scorer: A built-in scorer, a judge, or a function decorated with `@scorer`.
        higher_is_better: Whether higher values are better; `None` if neither direction is.
    """

    def __init__(self, scorer: Callable[..., Any], *, higher_is_better: bool | None = True) -> None:
        self._scorer = scorer
        self.name = str(getattr(scorer, "name", getattr(scorer, "__name__", "scorer")))
        self.higher_is_better = higher_is_better

    @property
    def options(self) -> Mapping[str, object]:
        """The scorer's class and the version of MLflow."""
        import mlflow

        return {"scorer": type(self._scorer).__name__, "mlflow": mlflow.__version__}

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Score samples concurrently.

        Returns:
            One value per sample; NaN if the scorer returns `None` or raises, which is logged.

        Raises:
            ConfigurationError: If the scorer returns anything but a number, yes or no, or raises on every sample.
        """
        with ThreadPoolExecutor(_CONCURRENCY) as pool:
            values = list(pool.map(self._value_or_error, samples))
        errors = [(s.id, value) for s, value in zip(samples, values, strict=True) if isinstance(value, Exception)]
        if errors:
            sample_id, first_error = errors[0]
            message = redact(
                f"scorer {self.name!r} raised on {len(errors)} of {len(samples)} samples; "
                f"on {sample_id!r}: {first_error}"
            )
            if len(errors) == len(samples):
                raise ConfigurationError(message) from first_error
            _log.warning("%s; these samples are left out", message)
        return [nan if isinstance(value, Exception) else value for value in values]

    def _value_or_error(self, sample: Sample) -> float | Exception:
        try:
            return self._value(sample)
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001  one failed call must not lose the other samples; errors are counted
            return error

    def _value(self, sample: Sample) -> float:
        expectations: dict[str, Any] = {}
        if sample.references:
            expectations = {"references": list(sample.references), "expected_response": sample.references[0]}
        row = {"inputs": dict(sample.inputs), "outputs": sample.output, "expectations": expectations}
        # `run` passes only the arguments that the scorer declares; a plain function gets all three.
        call_scorer = getattr(self._scorer, "run", None) or self._scorer
        result = call_scorer(**row)
        value = getattr(result, "value", result)
        if value is None:
            return nan
        if isinstance(value, str) and value.strip().lower() in _WORD_VALUES:
            return _WORD_VALUES[value.strip().lower()]
        if isinstance(value, (bool, int, float)):
            return float(value)
        raise ConfigurationError(
            f"scorer {self.name!r} gave {value!r} for sample {sample.id!r}; "
            f"accepted: a number, or one of {', '.join(_WORD_VALUES)}."
        )
