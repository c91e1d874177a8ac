"""Whether pictures have the shape and size that was asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping

from taleward.core.errors import ConfigurationError
from taleward.images.metrics.base import PictureMetric, PictureSample, mean

DEFAULT_TOLERANCE = 0.03
"""Sides are rounded to multiples of up to 64 pixels; at 1024 pixels, that is up to 3 %."""


class AspectMatch(PictureMetric):
    """The share of pictures with the aspect ratio that their prompt names, 0 to 1.

    Args:
        tolerance: How far width / height may be off, as a share.
    """

    name = "aspect_match"
    unit = "share"
    higher_is_better = True

    def __init__(self, *, tolerance: float = DEFAULT_TOLERANCE) -> None:
        if not tolerance >= 0:
            raise ConfigurationError(f"tolerance must be 0 or more; got {tolerance}.")
        self.tolerance = tolerance

    @property
    def options(self) -> Mapping[str, object]:
        """The tolerance."""
        return {"tolerance": self.tolerance}

    def number(self, sample: PictureSample) -> float:
        """Return the share of a prompt's pictures with the right aspect ratio."""
        width, height = sample.size or sample.prompt.ratio
        limit = math.log1p(self.tolerance) + 1e-12
        return mean([float(abs(math.log(p.width * height / (p.height * width))) <= limit) for p in sample.pictures])


class SizeMatch(PictureMetric):
    """The share of pictures with exactly the width and height that were asked for, 0 to 1.

    A prompt for which no size was asked is left out.
    """

    name = "size_match"
    unit = "share"
    higher_is_better = True

    def number(self, sample: PictureSample) -> float:
        """Return the share of a prompt's pictures with the right size."""
        if sample.size is None:
            return float("nan")
        return mean([float((picture.width, picture.height) == sample.size) for picture in sample.pictures])
