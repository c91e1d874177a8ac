"""How many generated pictures are copies of training pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from taleward.core.errors import ConfigurationError
from taleward.images.metrics.base import PictureMetric, PictureSample
from taleward.images.metrics.distances import pairwise_distances
from taleward.images.metrics.features import (
    FeatureFunction,
    PixelFeatures,
    compute_features,
    feature_signature,
    paired_features,
)
from taleward.images.metrics.set_metric import reference_features
from taleward.images.picture import Picture

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

DEFAULT_QUANTILE = 0.01


def copies(training: Any, fake: Any, *, quantile: float = DEFAULT_QUANTILE) -> npt.NDArray[np.bool_]:
    """Tell which generated pictures are copies: nearer to a training picture than these usually are to each other.

    The limit is a quantile of the distances from each training picture to the nearest other one; comparing distances is
    the idea of Meehan et al. ("A non-parametric test to detect data-copying in generative models", 2020). About that
    share of new pictures of the same kind counts as copies, too: that is the floor to compare with. FID, KID and the
    neighbor scores do not see copies.

    Args:
        training: Features of the training pictures, shape (n, dimensions), n >= 2.
        fake: Features of generated pictures, shape (m, dimensions), m >= 1.
        quantile: Which distance of training pictures to each other is the limit, 0 to 1.

    Returns:
        Shape (m,).

    Raises:
        ConfigurationError: If the shapes do not fit, there are too few rows, or a number is out of range.
    """
    if not 0 <= quantile <= 1:
        raise ConfigurationError(f"quantile must be from 0 to 1; got {quantile}.")
    known, drawn = paired_features(training, fake, 1)
    limit = copy_limit(known, quantile)
    nearest = pairwise_distances(known, drawn).min(axis=0)
    found: npt.NDArray[np.bool_] = nearest <= limit
    return found


def copy_rate(training: Any, fake: Any, *, quantile: float = DEFAULT_QUANTILE) -> float:
    """Return the share of generated pictures that are copies, 0 to 1; lower is better. See `copies`."""
    return float(copies(training, fake, quantile=quantile).mean())


def copy_limit(training: Floats, quantile: float) -> float:
    """Return the distance up to which a picture is a copy, see `copies`.

    Raises:
        ConfigurationError: If there are fewer than two training pictures.
    """
    import numpy as np

    if len(training) < 2:
        raise ConfigurationError(f"at least 2 training pictures are needed; got {len(training)}.")
    own = pairwise_distances(training, training)
    np.fill_diagonal(own, np.inf)
    return float(np.quantile(own.min(axis=1), quantile))


class CopyRate(PictureMetric):
    """The share of pictures that are copies of training pictures, see `copies`.

    Args:
        reference: The pictures that the model was trained on, or their features.
        features: The feature function; `PixelFeatures` by default.
        quantile: See `copies`.
    """

    name = "copy_rate"
    unit = "share"
    higher_is_better = False

    def __init__(
        self,
        *,
        reference: Sequence[Picture] | Any,
        features: FeatureFunction | None = None,
        quantile: float = DEFAULT_QUANTILE,
    ) -> None:
        if not 0 <= quantile <= 1:
            raise ConfigurationError(f"quantile must be from 0 to 1; got {quantile}.")
        self.features: FeatureFunction = features or PixelFeatures()
        self.quantile = quantile
        self.training = reference_features(reference, self.features)
        self.limit = copy_limit(self.training, quantile)

    @property
    def options(self) -> Mapping[str, object]:
        """The features, the quantile and the number of training pictures."""
        return {
            "features": feature_signature(self.features),
            "quantile": self.quantile,
            "reference": len(self.training),
            "limit": f"{self.limit:.6g}",
        }

    def number(self, sample: PictureSample) -> float:
        """Return the share of copies among the pictures of a prompt."""
        drawn = compute_features(self.features, sample.pictures)
        _, drawn = paired_features(self.training, drawn, 1)
        return float((pairwise_distances(self.training, drawn).min(axis=0) <= self.limit).mean())
