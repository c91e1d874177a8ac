"""Which of the things that a prompt asks for are in the picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.evaluation.metrics.base import Need
from taleward.evaluation.sample import Sample
from taleward.images.metrics.base import PictureMetric, PictureSample, as_picture_samples, mean
from taleward.images.metrics.features import feature_signature
from taleward.images.picture import Picture
from taleward.images.prompt_spec import PromptSpec

Detector = Callable[[Picture, Sequence[str]], Sequence[float]]
"""A function from a picture and things, such as `["fox", "tree"]`, to a score for each: a classifier or CLIP."""

DEFAULT_THRESHOLD = 0.5


class ThingsFound(FrozenModel):
    """Which of the requested things are in a picture.

    Attributes:
        found: Those that are, in words.
        missing: Those that are not.
    """

    found: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def share(self) -> float:
        """The share of the requested things that are in the picture, 0 to 1; NaN if nothing was requested."""
        total = len(self.found) + len(self.missing)
        return len(self.found) / total if total else float("nan")


def requested_things(prompt: PromptSpec | str) -> tuple[str, ...]:
    """Return the things that a prompt asks for, as nouns in the singular, without what it forbids.

    They are read as the collage reads them: nouns of its lexicon, and words that it has no drawing for.
    """
    from taleward.images.collage.plan import plan_scene

    scene = plan_scene(PromptSpec.of(prompt) if isinstance(prompt, str) else prompt, 0)
    return tuple(dict.fromkeys([*(thing.noun for thing in scene.things), *scene.unknown]))


def find_things(
    picture: Picture,
    things: Sequence[str] | None = None,
    *,
    detector: Detector | None = None,
    threshold: float = DEFAULT_THRESHOLD,
) -> ThingsFound:
    """Tell which of the requested things are in a picture.

    Without a detector, a collage's lineage says it: its parameters `drawn` and `not_drawn` are the truth, except that a
    thing counts as found if it is drawn in another pose or place than asked.

    Args:
        picture: The picture.
        things: The things to look for; those of the picture's prompt by default, see `requested_things`.
        detector: Says how surely each thing is in the picture.
        threshold: From which score on a thing is found.

    Raises:
        ConfigurationError: If there is neither a detector nor a collage's lineage, or the detector does not give one
            score for each thing.
    """
    if detector is None:
        return _from_lineage(picture, things)
    wanted = requested_things(picture.prompt) if things is None else tuple(things)
    scores = [float(score) for score in detector(picture, wanted)] if wanted else []
    if len(scores) != len(wanted) or any(score != score for score in scores):
        raise ConfigurationError(
            f"{feature_signature(detector)} must return one number per thing; got {scores} for {', '.join(wanted)}."
        )
    pairs = list(zip(wanted, scores, strict=True))
    return ThingsFound(
        found=tuple(thing for thing, score in pairs if score >= threshold),
        missing=tuple(thing for thing, score in pairs if score < threshold),
    )


class PromptCoverage(PictureMetric):
    """The share of the requested things that are in the picture, 0 to 1; see `find_things`.

    A prompt that asks for nothing that can be named is left out.

    Args:
        detector: Says how surely each thing is in a picture; a collage needs none.
        threshold: From which score of the detector on a thing is found.
    """

    name = "prompt_coverage"
    unit = "share"
    higher_is_better = True

    def __init__(self, *, detector: Detector | None = None, threshold: float = DEFAULT_THRESHOLD) -> None:
        self.detector, self.threshold = detector, threshold

    @property
    def options(self) -> Mapping[str, object]:
        """The detector and its threshold, or that a collage says itself what is in it."""
        if self.detector is None:
            return {"truth": "lineage"}
        return {"detector": feature_signature(self.detector), "threshold": self.threshold}

    def check(self, samples: Sequence[Sample], needs: Sequence[Need]) -> list[bool]:
        """Refuse pictures of a model that does not say what is in them, at the first one and not when all are drawn."""
        if self.detector is None:
            for sample in as_picture_samples(samples, self.name):
                for picture in sample.pictures[:1]:
                    find_things(picture)
        return super().check(samples, needs)

    def number(self, sample: PictureSample) -> float:
        """Return the mean share over the pictures of a prompt."""
        found = [
            find_things(picture, detector=self.detector, threshold=self.threshold)
            if self.detector is None
            else find_things(picture, requested_things(sample.prompt), detector=self.detector, threshold=self.threshold)
            for picture in sample.pictures
        ]
        return mean([things.share for things in found])


def _from_lineage(picture: Picture, things: Sequence[str] | None) -> ThingsFound:
    parameters = picture.lineage.parameters
    if "drawn" not in parameters or "not_drawn" not in parameters:
        raise ConfigurationError(
            f"a picture of {picture.lineage.model} does not say what is in it.",
            hint="Pass detector=..., a function from a picture and things to a score for each thing.",
        )
    drawn, missing = (
        tuple(part for part in str(parameters[name]).split("; ") if part) for name in ("drawn", "not_drawn")
    )
    if things is None:
        return ThingsFound(found=drawn, missing=missing)
    words = " ".join(drawn).casefold().split()
    is_drawn = {thing: all(word in words for word in thing.casefold().split()) for thing in things}
    return ThingsFound(
        found=tuple(thing for thing, found in is_drawn.items() if found),
        missing=tuple(thing for thing, found in is_drawn.items() if not found),
    )
