"""How different the variations of one prompt are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taleward.images.metrics.base import PictureMetric, PictureSample
from taleward.images.metrics.features import (
    FeatureFunction,
    PixelFeatures,
    as_features,
    compute_features,
    feature_signature,
)


def mean_pairwise_difference(features: Any) -> float:
    """Return the mean difference of two pictures: the root of the mean squared difference of their features.

    With features of a perceptual network it is the diversity score of Zhu et al. ("Toward multimodal image-to-image
    translation", 2017); with pixels from 0 to 1 it is at most 1.

    Args:
        features: Features of the variations, shape (n, dimensions).

    Returns:
        0 if all are equal; more is more diverse; NaN for a single picture.

    Raises:
        ConfigurationError: If the features are no table of finite numbers.
    """
    import numpy as np

    rows = as_features(features, "features")
    first, second = np.triu_indices(len(rows), 1)
    if not len(first):
        return float("nan")
    return float(np.sqrt(((rows[first] - rows[second]) ** 2).mean(axis=1)).mean())


def vendi_score(features: Any) -> float:
    """Return how many wholly different pictures a set is worth (Friedman & Dieng, "The Vendi score", 2023).

    It is the exponential of the entropy of the eigenvalues of K / n, K being the cosines of the features. Features
    without negative values all point the same way: take their mean off first.

    Args:
        features: Features of the pictures, shape (n, dimensions), n >= 1, no row of zeros.

    Returns:
        From 1 for equal pictures to n for orthogonal ones; more is more diverse.

    Raises:
        ConfigurationError: If the features are no table of finite numbers.
    """
    import numpy as np

    rows = as_features(features, "features")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = rows / np.where(lengths > 0, lengths, 1.0)
    shares = np.linalg.eigvalsh(cosines @ cosines.T / len(rows))
    shares = shares[shares > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))


class VariationDiversity(PictureMetric):
    """The mean difference of two variations of a prompt, see `mean_pairwise_difference`.

    A prompt with one picture is left out. More is not always better: noise is diverse.

    Args:
        features: The feature function; `PixelFeatures` by default, with which 0 is equal and 1 is black against white.
    """

    name = "variation_diversity"
    higher_is_better = None

    def __init__(self, *, features: FeatureFunction | None = None) -> None:
        self.features: FeatureFunction = features or PixelFeatures()

    @property
    def options(self) -> Mapping[str, object]:
        """The features."""
        return {"features": feature_signature(self.features)}

    def number(self, sample: PictureSample) -> float:
        """Return the mean difference of the variations of a prompt."""
        return mean_pairwise_difference(compute_features(self.features, sample.pictures))
