"""Metrics of pictures by name, one module per family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

from taleward.core.errors import ConfigurationError, UnknownName
from taleward.evaluation.metrics import metric
from taleward.evaluation.metrics.base import Metric
from taleward.images.metrics.features import FeatureFunction
from taleward.images.metrics.prompt_coverage import Detector
from taleward.images.picture import Picture

PICTURE_METRICS: Mapping[str, tuple[str, Mapping[str, Any], tuple[str, ...]]] = {
    "prompt_coverage": ("prompt_coverage.PromptCoverage", {}, ("detector",)),
    "palette_match": ("colors.PaletteMatch", {}, ()),
    "aspect_match": ("conformity.AspectMatch", {}, ()),
    "size_match": ("conformity.SizeMatch", {}, ()),
    "variation_diversity": ("diversity.VariationDiversity", {}, ("features",)),
    "copy_rate": ("copying.CopyRate", {}, ("reference", "features")),
    "fid": ("frechet.FrechetDistance", {}, ("reference", "features")),
    "kid": ("kernel.KernelDistance", {}, ("reference", "features")),
    "feature_precision": ("neighbors.NeighborMetric", {"measure": "precision"}, ("reference", "features")),
    "feature_recall": ("neighbors.NeighborMetric", {"measure": "recall"}, ("reference", "features")),
    "feature_density": ("neighbors.NeighborMetric", {"measure": "density"}, ("reference", "features")),
    "feature_coverage": ("neighbors.NeighborMetric", {"measure": "coverage"}, ("reference", "features")),
    "release_rate": ("release.ReleaseRate", {}, ()),
}
"""Module and class of each metric, the options that its name stands for, and what it takes of an evaluation's."""

TEXT_METRICS = ("latency", "latency_p95", "cost", "judge_pass_rate", "category_rate")
"""Metrics of `taleward.evaluation` that are defined for pictures, too: time and cost are those of all variations."""


def picture_metric(name: str | Metric, **options: Any) -> Metric:
    """Create a metric of pictures by name.

    Args:
        name: A name in `PICTURE_METRICS` or `TEXT_METRICS`. A `Metric` is returned unchanged.
        options: Options of the metric's class.

    Raises:
        UnknownName: If there is no such metric; the message lists the known ones.
        ConfigurationError: If an option is invalid or missing, or options are given for a ready metric.
    """
    if isinstance(name, Metric) or name in TEXT_METRICS:
        return metric(name, **options)
    if name not in PICTURE_METRICS:
        raise UnknownName("picture metric", name, (*PICTURE_METRICS, *TEXT_METRICS))
    path, defaults, needs = PICTURE_METRICS[name]
    if "reference" in needs and options.get("reference") is None:
        raise ConfigurationError(
            f"{name} compares with real pictures; got none.", hint="Pass reference=..., pictures or their features."
        )
    module, class_name = path.split(".")
    metric_class = getattr(import_module(f"taleward.images.metrics.{module}"), class_name)
    try:
        created = metric_class(**{**defaults, **options})
    except TypeError as error:
        raise ConfigurationError(f"invalid options {sorted(options)} for the metric {name!r}: {error}") from error
    if not isinstance(created, Metric):
        raise ConfigurationError(f"{path} in PICTURE_METRICS is not a subclass of Metric.")
    return created


def resolve_picture_metrics(
    metrics: Iterable[str | Metric],
    *,
    reference: Sequence[Picture] | Any = None,
    features: FeatureFunction | None = None,
    detector: Detector | None = None,
) -> tuple[Metric, ...]:
    """Create metrics by name, each with those of the options that it takes; metrics that are ready are kept.

    Raises:
        UnknownName: If there is no such metric.
        ConfigurationError: If there are no metrics, two have the same name, or one lacks the reference pictures.
    """
    given = {"reference": reference, "features": features, "detector": detector}
    resolved = []
    for name in metrics:
        takes = PICTURE_METRICS[name][2] if isinstance(name, str) and name in PICTURE_METRICS else ()
        resolved.append(picture_metric(name, **{option: given[option] for option in takes}))
    names = [m.name for m in resolved]
    if not resolved or len(set(names)) < len(names):
        raise ConfigurationError(f"expected one or more metrics with different names; got {names}.")
    return tuple(resolved)
