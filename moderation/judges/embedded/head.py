"""The trained head of the embedded judge: windows of a text to probabilities."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from taleward.backends.base.embedded import missing_encoder
from taleward.backends.onnx.minilm import MAX_PIECES, MiniLM
from taleward.backends.onnx.weights import WeightPrecision
from taleward.core.errors import IntegrityError, InvalidFile
from taleward.core.frozen_model import FrozenModel
from taleward.moderation.text.normalize import undisguise

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

LEVELS = ("mild", "moderate", "severe")


class Whole(FrozenModel):
    """How the windows and categories of a text speak together; fitted by `training.judge.train`.

    A window says what its categories say together: a soft maximum, so that several faint signs are more than one of
    them. A text says what its worst window says. Dread builds up over a text: the mean of it over the stretch of
    windows that holds most of it, beyond what gentle stories hold, is added to each window's. Calm windows before or
    behind what is harmful take nothing away from it.

    Attributes:
        temperature: Of the soft maximum over categories; the higher, the nearer to the maximum.
        offset: Added at last; such that the asked share of gentle stories fails.
        dread: The share of the mean dread that is added.
        dread_windows: Windows of a gentle story that each mean begins with, so that a lone sentence adds little.
        dread_usual: Log-odds of each severity of `frightening` in a window of a gentle story.
    """

    temperature: float = Field(gt=0)
    offset: float
    dread: float = Field(ge=0)
    dread_windows: float = Field(gt=0)
    dread_usual: tuple[float, float, float]

    def built_up(self, dread: Floats, level: int) -> float:
        """What is added to the log-odds of `frightening`, 0 or more.

        Args:
            dread: Log-odds of that severity of `frightening`, shape (windows,), in the order of the text, 1 or more.
            level: Which severity, as an index of `LEVELS`.
        """
        import numpy

        sums = numpy.concatenate([[0.0], numpy.cumsum(dread - self.dread_usual[level])])
        counts = numpy.arange(1, len(dread) + 1) + self.dread_windows
        most = max(((sums[n + 1 :] - sums[n]) / counts[: len(dread) - n]).max() for n in range(len(dread)))
        return self.dread * max(0.0, float(most))

    def together(self, beyond: Floats) -> float:
        """Log-odds of all categories together beyond their thresholds.

        Args:
            beyond: Log-odds minus those of the threshold, shape (windows, categories), both 1 or more.
        """
        import numpy

        soft = numpy.logaddexp.reduce(self.temperature * beyond, axis=1) / self.temperature
        return float(soft.max()) + self.offset


class HeadConfig(FrozenModel):
    """What belongs to a head's weights.

    Attributes:
        categories: The categories that it scores, in the order of its outputs.
        encoder_sha256: SHA-256 of the published encoder's weights.
        top_sha256: SHA-256 of the weights of the encoder's top layers that take the place of the published ones.
        weights_sha256: SHA-256 of its own weights.
        window_sentences: Sentences in a window, at most.
        window_words: Words in a window, at most.
        window_overlap: Sentences that neighbours share.
        whole: How windows and categories speak together.
        seed: The seed of its training.
    """

    categories: tuple[str, ...] = Field(min_length=1)
    encoder_sha256: str
    top_sha256: str
    weights_sha256: str
    window_sentences: int = Field(ge=1)
    window_words: int = Field(ge=1)
    window_overlap: int = Field(ge=0)
    whole: Whole
    seed: int = 0


class Head:
    """A sentence encoder with top layers of its own, and a two-layer perceptron on it with calibrated outputs.

    Args:
        folder: Holds `config.json`, `encoder.safetensors` and `head.safetensors`.
        precision: Of the encoder's linear layers; `float32` is slower and ranks no better.

    Raises:
        InvalidFile: The configuration is missing or is not one.
        IntegrityError: The weights are missing or are not those of the configuration.
        MissingExtra: The extra `onnx` or the encoder's package is not installed.
    """

    def __init__(self, folder: Path, *, precision: WeightPrecision = "int8") -> None:
        try:
            from safetensors.numpy import load
        except ImportError as error:
            raise missing_encoder("the embedded judge") from error
        try:
            text = (folder / "config.json").read_text(encoding="utf-8")
            self.config = HeadConfig.model_validate(json.loads(text))
        except (OSError, ValueError, ValidationError) as error:
            raise InvalidFile(f"{folder / 'config.json'} is no configuration of a judge: {error}") from error
        self._weights: dict[str, Floats] = load(_checked(folder / "head.safetensors", self.config.weights_sha256))
        top = load(_checked(folder / "encoder.safetensors", self.config.top_sha256))
        self.encoder = MiniLM(top, precision=precision)

    def encode(self, texts: Sequence[str]) -> Floats:
        """The encoder's vectors, float32, shape (texts, 384), of texts with their disguised words written out."""
        return self.encoder.encode([undisguise(text, self.encoder.knows) for text in texts])

    def fits(self, text: str) -> bool:
        """Whether `encode` reads a text to its end."""
        # Folded, some signs beyond ASCII are several letters; of all others each makes one piece at most.
        short = text.isascii() and len(text) < MAX_PIECES - 1
        return short or self.encoder.fits(undisguise(text, self.encoder.knows))

    def log_odds(self, vectors: Floats) -> Floats:
        """Calibrated log-odds of a severity of at least `LEVELS[i]`.

        Args:
            vectors: float32, shape (texts, 384), from `encode`.

        Returns:
            float32 in -30..30, shape (texts, categories, 3); never rising along the last axis.
        """
        import numpy

        w = self._weights
        hidden = numpy.maximum(vectors @ w["w1"] + w["b1"], 0.0)
        z = numpy.clip((hidden @ w["w2"] + w["b2"]) * w["scale"], -30.0, 30.0)
        shape = len(vectors), len(self.config.categories), len(LEVELS)
        falling: Floats = numpy.minimum.accumulate(z.reshape(shape), axis=2).astype(numpy.float32)
        return falling


def _checked(path: Path, expected: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise IntegrityError(f"the judge's weights cannot be read: {error}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise IntegrityError(
            f"{path.name} has the SHA-256 {found}; expected {expected}.",
            hint="Install taleward again, or train the judge again.",
        )
    return data


@lru_cache(maxsize=1)
def shipped_head() -> Head:
    """The head that comes with Taleward; loaded once a process."""
    from taleward import backends

    return Head(Path(backends.__path__[0]) / "models" / "judge")
