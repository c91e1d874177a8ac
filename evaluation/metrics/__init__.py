"""The metrics, one small file a family. A new metric is one file and one line in `METRICS`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from taleward.core.errors import ConfigurationError, MissingExtra, UnknownName
from taleward.evaluation.metrics.base import Metric, MetricScore

__all__ = ["METRICS", "Metric", "MetricScore", "metric", "metric_names", "metrics_of"]

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
    "characters": ("length.Length", {"of": "characters"}),
    "words": ("length.Length", {"of": "words"}),
    "reading_grade": ("reading_grade.ReadingGrade", {}),
    "relevance": ("relevance.Relevance", {}),
    "value_coverage": ("coverage.ValueCoverage", {}),
    "judge_pass_rate": ("judge.JudgePassRate", {}),
    "category_rate": ("judge.CategoryRate", {}),
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
"""Metrics by name, with file and class, and the options that the name stands for."""


def metric_names() -> tuple[str, ...]:
    """The names in `METRICS`, in their order."""
    return tuple(METRICS)


def metric(name: str | Metric, **options: Any) -> Metric:
    """The metric of a name.

    Args:
        name: A name in `METRICS`; case, `-` and `_` do not matter, so that `rouge-l` is `rougeL`. Or a metric, which
            is given back as it is.
        options: For the metric's class.

    Raises:
        UnknownName: There is no such metric; the message lists those there are.
        ConfigurationError: An option is none of the metric's, or came with a ready metric.
        MissingExtra: A library that it needs is not installed.
    """
    if isinstance(name, Metric):
        if options:
            raise ConfigurationError(f"a ready {type(name).__name__} takes no options here; got {sorted(options)}.")
        return name
    known = {_plain(n): n for n in METRICS}
    if _plain(name) not in known:
        raise UnknownName("metric", name, METRICS)
    where, fixed = METRICS[known[_plain(name)]]
    file, kind = where.split(".")
    try:
        made = getattr(import_module(f"taleward.evaluation.metrics.{file}"), kind)(**{**fixed, **options})
    except ImportError as error:
        raise MissingExtra(f"the metric {name!r}", "evaluation") from error
    except TypeError as error:
        raise ConfigurationError(f"the metric {name!r} cannot be made with {sorted(options)}: {error}") from error
    if not isinstance(made, Metric):
        raise ConfigurationError(f"{where} is no Metric.")
    return made


def metrics_of(names: Iterable[str | Metric]) -> tuple[Metric, ...]:
    """The metrics of some names, each once.

    Raises:
        ConfigurationError: There are none, or two have one name.
    """
    made = tuple(metric(name) for name in names)
    called = [m.name for m in made]
    if not made or len(set(called)) < len(called):
        raise ConfigurationError(f"metrics are one or more of different names; got {called}.")
    return made


def _plain(name: str) -> str:
    return re.sub(r"[-_]", "", name).lower()
