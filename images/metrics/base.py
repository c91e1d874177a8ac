"""What picture metrics read: the pictures drawn from a prompt."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from pydantic import Field

from taleward.core.errors import ConfigurationError
from taleward.evaluation.metrics.base import MeanMetric
from taleward.evaluation.sample import Sample
from taleward.images.picture import Picture
from taleward.images.prompt_spec import PromptSpec


class PictureSample(Sample):
    """One prompt of an evaluation, with the pictures drawn from it.

    `output` is what the first picture shows, `verdict` is the guard's, and `latency_s` and `cost_usd` are the time and
    cost of all pictures together.

    Attributes:
        prompt: The prompt.
        pictures: The pictures that were released, in order; empty if none was.
        size: The width and height that were asked for; `None` if only the prompt's aspect ratio was.
        released: Whether a guard released something; `None` without a guard.
    """

    prompt: PromptSpec
    pictures: tuple[Picture, ...] = Field(default=(), repr=False)
    size: tuple[int, int] | None = None
    released: bool | None = None


class PictureMetric(MeanMetric):
    """The mean of one number per prompt; a prompt without pictures is left out.

    A subclass implements `number`. Intervals resample prompts, since the variations of a prompt are alike.
    """

    needs = ()

    @abstractmethod
    def number(self, sample: PictureSample) -> float:
        """Return the number of a prompt that has pictures; NaN leaves it out."""

    def numbers(self, samples: Sequence[Sample]) -> Sequence[float]:
        """Return the number of each prompt."""
        return [self.number(s) if s.pictures else float("nan") for s in as_picture_samples(samples, self.name)]


def as_picture_samples(samples: Sequence[Sample], metric: str) -> list[PictureSample]:
    """Return the samples of an evaluation of pictures.

    Raises:
        ConfigurationError: If a sample holds no prompt for a picture.
    """
    pictured = [sample for sample in samples if isinstance(sample, PictureSample)]
    if len(pictured) < len(samples):
        raise ConfigurationError(
            f"{metric} measures pictures; got a {type(samples[0]).__name__}.", hint="Run it with evaluate_pictures."
        )
    return pictured


def mean(values: Sequence[float]) -> float:
    """Return the mean without NaN; NaN if nothing is left."""
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else float("nan")
