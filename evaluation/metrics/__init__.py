"""The built-in metrics by name, one module per family."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from taleward.core.errors import ConfigurationError, MissingExtra, UnknownName
from taleward.evaluation.metrics.base import Metric, MetricScore

__all__ = ["METRICS", "Metric", "MetricScore", "metric", "metric_names", "resolve_metrics"]

METRICS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bleu": ("bleu.Bleu", {}),
    "chrf": ("chrf.ChrF", {}),
    "rouge1": ("rouge.Rouge", {"kind": "rouge1"}),
    "rouge2": ("rouge.Rouge", {"kind": "rouge2"}),
    "rougeL": ("rouge.Rouge", {"kind": "rougeL"}),
    "rougeLsum": ("rouge.Rouge", {"kind": "rougeLsum"}),
    "perplexity": ("likelihood.Perplexity", {}),
    "bits_per_character": ("likelihood.BitsPerCharacter", {}),
    "next_token_accuracy": ("likelihood.NextTokenAccuracy", {}),
    "distinct_1": ("diversity.Distinct", {"n": 1}),
    "distinct_2": ("diversity.Distinct", {"n": 2}),
    "distinct_3": ("diversity.Distinct", {"n": 3}),
    "self_bleu": ("diversity.SelfBleu", {}),
    "repetition": ("diversity.Repetition", {}),
    "characters": ("length.Length", {"unit": "characters"}),
    "words": ("length.Length", {"unit": "words"}),
    "reading_grade": ("reading_grade.ReadingGrade", {}),
    "relevance": ("relevance.Relevance", {}),
    "value_coverage": ("coverage.ValueCoverage", {}),
    "judge_pass_rate": ("verdict_rates.JudgePassRate", {}),
    "category_rate": ("verdict_rates.CategoryRate", {}),
    "refusal_rate": ("guard.RefusalRate", {}),
    "revision_rate": ("guard.RevisionRate", {}),
    "latency": ("usage.Latency", {}),
    "latency_p95": ("usage.LatencyQuantile", {"at": 0.95}),
    "tokens": ("usage.OutputTokens", {}),
    "cost": ("usage.Cost", {}),
    "accuracy": ("classification.Accuracy", {}),
    "precision": ("classification.MacroPrecision", {}),
    "recall": ("classification.MacroRecall", {}),
    "f1": ("classification.MacroF1", {}),
    "kappa": ("agreement.Kappa", {}),
    "alpha": ("agreement.Alpha", {}),
}
"""Module and class of each metric, and the options that its name stands for."""


def metric_names() -> tuple[str, ...]:
    """Return the names of the built-in metrics."""
    return tuple(METRICS)


def metric(name: str | Metric, **options: Any) -> Metric:
    """Create a built-in metric by name.

    Args:
        name: A name in `METRICS`, regardless of case, `-` and `_`: `rouge-l` is `rougeL`. A `Metric` is returned
            unchanged.
        options: Options of the metric's class.

    Raises:
        UnknownName: If there is no such metric; the message lists the known ones.
        ConfigurationError: If an option is invalid, or options are given for a ready metric.
        MissingExtra: If a library that the metric needs is not installed.
    """
    if isinstance(name, Metric):
        if options:
            raise ConfigurationError(
                f"got a ready {type(name).__name__} with the options {sorted(options)}.",
                hint="Pass them to its constructor, or give the metric by name.",
            )
        return name
    known_names = {_normalize(known): known for known in METRICS}
    if _normalize(name) not in known_names:
        raise UnknownName("metric", name, METRICS)
    path, default_options = METRICS[known_names[_normalize(name)]]
    module, class_name = path.split(".")
    try:
        metric_class = getattr(import_module(f"taleward.evaluation.metrics.{module}"), class_name)
        instance = metric_class(**{**default_options, **options})
    except ImportError as error:
        if (error.name or "").startswith("taleward"):
            raise  # a module of ours, which no extra installs
        raise MissingExtra(f"the metric {name!r}", "evaluation") from error
    except TypeError as error:  # an option that the constructor does not have
        raise ConfigurationError(f"invalid options {sorted(options)} for the metric {name!r}: {error}") from error
    if not isinstance(instance, Metric):
        raise ConfigurationError(f"{path} in METRICS is not a subclass of Metric.")
    return instance


def resolve_metrics(metrics: Iterable[str | Metric]) -> tuple[Metric, ...]:
    """Create metrics by name; metrics that are ready are kept.

    Raises:
        ConfigurationError: If there are no metrics, or two have the same name.
    """
    resolved = tuple(metric(name) for name in metrics)
    names = [m.name for m in resolved]
    if not resolved or len(set(names)) < len(names):
        raise ConfigurationError(f"expected one or more metrics with different names; got {names}.")
    return resolved


def _normalize(name: str) -> str:
    return re.sub(r"[-_]", "", name).lower()
