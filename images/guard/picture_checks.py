"""The cheap checks: the model's own flags, files that cannot be shown, pictures in which there is nothing to see."""

from __future__ import annotations

from taleward.core.errors import ConfigurationError
from taleward.core.policy import Policy
from taleward.images.guard.picture_judge import PictureJudge, views
from taleward.images.picture import Picture
from taleward.images.picture_formats import value_ranges
from taleward.moderation.judges.base import Assessment

_BLANK_RANGE = 6
"""A picture whose colors differ by less than this, of 255, is blank."""


class PictureChecks(PictureJudge):
    """Fail what the model blocked, what cannot be decoded, animations, tiny pictures, and blank ones.

    A picture that is all black is what many safety filters leave of one that they withhold.

    Args:
        policy: A policy, or the name or path of one.
        band: An age band of the policy.
        min_side: The shortest side in pixels that counts as a picture.
    """

    def __init__(self, *, policy: Policy | str = "kids", band: str = "6-8", min_side: int = 16) -> None:
        super().__init__("picture-checks", policy=policy, band=band)
        self.min_side = min_side

    def assess(self, picture: Picture) -> Assessment:
        """Check one picture."""
        if picture.flags:
            return _failed(f"the model's own filter flagged it: {', '.join(picture.flags)}")
        if min(picture.width, picture.height) < self.min_side:
            return _failed(f"it has {picture.width}x{picture.height} pixels; the least is {self.min_side} a side")
        try:
            # Only the first picture of an animation would be judged, and all of them shown.
            frames = getattr(picture.to_pil(), "n_frames", 1)
            seen = views(picture)
        except ConfigurationError as error:
            return _failed(str(error))
        if frames > 1:
            return _failed(f"it is an animation of {frames} pictures, of which only the first would be judged")
        extrema = [extremes for view in seen for extremes in value_ranges(view)]
        if max(high - low for low, high in extrema) < _BLANK_RANGE:
            is_black = max(high for _, high in extrema) < _BLANK_RANGE
            return _failed("it is black: the model may have withheld it" if is_black else "it is blank")
        return Assessment()


def _failed(detail: str) -> Assessment:
    return Assessment(outcome="fail", detail=detail)
