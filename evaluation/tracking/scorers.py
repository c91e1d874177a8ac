"""Our metrics as MLflow's scorers, and MLflow's scorers as our metrics."""

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

_AT_ONCE = 8
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

    def measured(inputs: Any = None, outputs: Any = None, expectations: Any = None) -> float | None:
        expected = expectations or {}
        references = expected.get("references") or [r for r in [expected.get("expected_response")] if r is not None]
        sample = Sample(id="1", inputs=FrozenDict(inputs), output=outputs, references=tuple(references))
        return metric.sample_value(metric.measure([sample])[0])

    return scorer(measured, name=metric.name)


class ScorerMetric(MeanMetric):
    """A scorer of MLflow as a metric: the mean of its values; yes, true and pass count 1, no, false and fail 0.

    Args:
        scorer: A built-in scorer, a judge, or what `@scorer` made.
        higher_is_better: Which way is better; `None` where neither is.
    """

    def __init__(self, scorer: Callable[..., Any], *, higher_is_better: bool | None = True) -> None:
        self._scorer = scorer
        self.name = str(getattr(scorer, "name", getattr(scorer, "__name__", "scorer")))
        self.higher_is_better = higher_is_better

    @property
    def options(self) -> Mapping[str, object]:
        """The scorer's kind and MLflow's version."""
        import mlflow

        return {"scorer": type(self._scorer).__name__, "mlflow": mlflow.__version__}

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """The value of each sample; NaN where the scorer gives none or raises, which the log tells.

        Raises:
            ConfigurationError: The scorer gave something that is no number, yes or no, or raised on every sample.
        """
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(self._tried, samples))
        raised = [(s.id, told) for s, told in zip(samples, found, strict=True) if isinstance(told, Exception)]
        if raised:
            sample, first = raised[0]
            said = redact(
                f"scorer {self.name!r} raised on {len(raised)} of {len(samples)} samples; on {sample!r}: {first}"
            )
            if len(raised) == len(samples):
                raise ConfigurationError(said) from first
            _log.warning("%s; they are left out", said)
        return [nan if isinstance(told, Exception) else told for told in found]

    def _tried(self, sample: Sample) -> float | Exception:
        try:
            return self._value(sample)
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001  counted; a judge that one call failed still measures the others
            return error

    def _value(self, sample: Sample) -> float:
        expected: dict[str, Any] = {"references": list(sample.references)} if sample.references else {}
        if sample.references:
            expected["expected_response"] = sample.references[0]
        given = {"inputs": dict(sample.inputs), "outputs": sample.output, "expectations": expected}
        run = getattr(self._scorer, "run", None) or self._scorer
        found = run(**given)
        found = getattr(found, "value", found)
        if found is None:
            return nan
        if isinstance(found, str) and found.strip().lower() in _WORDS:
            return _WORDS[found.strip().lower()]
        if isinstance(found, (bool, int, float)):
            return float(found)
        raise ConfigurationError(
            f"scorer {self.name!r} gave {found!r} for sample {sample.id!r}; taken: a number, yes, no."
        )
