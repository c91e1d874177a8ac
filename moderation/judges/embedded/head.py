"""Classification head of the embedded judge: text windows to log-odds, and windows to one decision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from taleward.backends.base.shipped_models import missing_encoder
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
_MAX_LOG_ODDS = 30.0


class TextAggregation(FrozenModel):
    """How the log-odds of windows and categories are combined for a whole text; fitted by `training.judge.train`.

    * Categories within a window: a soft maximum, so that several faint signs count for more than one.
    * Windows within a text: the maximum, so that calm windows around a harmful one do not dilute it.
    * Dread, which builds up over a text where no single window is frightening enough: the highest mean log-odds of
      `frightening` over any run of consecutive windows, relative to gentle stories, is added to every window.

    Attributes:
        temperature: Sharpness of the soft maximum over categories; higher is closer to the maximum.
        offset: Added to the combined log-odds, so that the share of gentle stories chosen in training fails.
        dread: Weight of the mean dread.
        dread_windows: Number of windows of a gentle story that every mean includes, so that a lone sentence adds
            little.
        dread_usual: For each severity, the mean log-odds of `frightening` in windows of gentle stories.
    """

    temperature: float = Field(gt=0)
    offset: float
    dread: float = Field(ge=0)
    dread_windows: float = Field(gt=0)
    dread_usual: tuple[float, float, float]

    def dread_buildup(self, log_odds: Floats, level: int) -> float:
        """Return what dread adds to the log-odds of `frightening`, 0 or more.

        Args:
            log_odds: Log-odds of `frightening` with at least this severity, shape (windows,), in text order; one
                window or more.
            level: The severity, as an index of `LEVELS`.
        """
        import numpy

        # Prefix sums make the mean of every run a subtraction. The counts start above 0 by the windows of a gentle
        # story, whose excess dread is 0: they enlarge the denominator only and so pull short runs towards 0.
        sums = numpy.concatenate([[0.0], numpy.cumsum(log_odds - self.dread_usual[level])])
        n = len(log_odds)
        counts = numpy.arange(1, n + 1) + self.dread_windows
        highest_mean = max(((sums[start + 1 :] - sums[start]) / counts[: n - start]).max() for start in range(n))
        return self.dread * max(0.0, float(highest_mean))

    def combined_log_odds(self, excess: Floats) -> float:
        """Combine all windows and categories to the log-odds that the text fails; it fails at 0 or more.

        Args:
            excess: Log-odds minus those of the threshold, shape (windows, categories); one or more of both.
        """
        import numpy

        soft_maximum = numpy.logaddexp.reduce(self.temperature * excess, axis=1) / self.temperature
        # n equal categories raise the soft maximum by log(n) / temperature, which the fitted offset takes back. Under a
        # policy with fewer categories than in training the judge is therefore milder than its thresholds say.
        return float(soft_maximum.max()) + self.offset


class HeadConfig(FrozenModel):
    """Configuration of a head, stored as `config.json` next to its weights.

    Attributes:
        categories: The categories, in the order of the outputs.
        encoder_sha256: SHA-256 of the published encoder's weights.
        top_sha256: SHA-256 of the fine-tuned weights that replace the encoder's top layers.
        weights_sha256: SHA-256 of the head's weights.
        window_sentences: Maximum number of sentences per window.
        window_words: Maximum number of words per window.
        window_overlap: Number of sentences that neighboring windows share.
        whole: How windows and categories are combined for a whole text.
        seed: Seed of the training.
    """

    categories: tuple[str, ...] = Field(min_length=1)
    encoder_sha256: str
    top_sha256: str
    weights_sha256: str
    window_sentences: int = Field(ge=1)
    window_words: int = Field(ge=1)
    window_overlap: int = Field(ge=0)
    whole: TextAggregation
    seed: int = 0


class Head:
    """A sentence encoder with fine-tuned top layers, and a two-layer perceptron with calibrated outputs on top of it.

    Args:
        folder: Folder with `config.json`, `encoder.safetensors` and `head.safetensors`.
        precision: Precision of the encoder's linear layers. `float32` is slower and ranks no better than `int8`.

    Raises:
        InvalidFile: If the configuration is missing or invalid.
        IntegrityError: If the weights are missing or do not match the configuration.
        MissingExtra: If the extra `onnx` or the encoder's package is not installed.
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
            raise InvalidFile(f"{folder / 'config.json'} is not a valid judge configuration: {error}") from error
        self._weights: dict[str, Floats] = load(_verified(folder / "head.safetensors", self.config.weights_sha256))
        top = load(_verified(folder / "encoder.safetensors", self.config.top_sha256))
        self.encoder = MiniLM(top, precision=precision)

    def encode(self, texts: Sequence[str]) -> Floats:
        """Encode texts after undoing disguised spellings; float32, shape (texts, 384)."""
        return self.encoder.encode([undisguise(text, self.encoder.knows) for text in texts])

    def fits(self, text: str) -> bool:
        """Tell whether `encode` reads all of a text, or would truncate it."""
        # A shortcut without tokenizing. An ASCII character makes one piece at most; other characters may be folded
        # into several letters ("㏂" into "a.m."), so their count says nothing.
        is_short = text.isascii() and len(text) < MAX_PIECES - 1
        return is_short or self.encoder.fits(undisguise(text, self.encoder.knows))

    def log_odds(self, vectors: Floats) -> Floats:
        """Compute the calibrated log-odds of each category and severity.

        Args:
            vectors: float32, shape (texts, 384), from `encode`.

        Returns:
            float32 in -30..30, shape (texts, categories, 3). Index i of the last axis is a severity of at least
            `LEVELS[i]`, so values never rise along it.
        """
        import numpy

        w = self._weights
        hidden = numpy.maximum(vectors @ w["w1"] + w["b1"], 0.0)
        raw = numpy.clip((hidden @ w["w2"] + w["b2"]) * w["scale"], -_MAX_LOG_ODDS, _MAX_LOG_ODDS)
        shape = len(vectors), len(self.config.categories), len(LEVELS)
        # The perceptron's outputs are independent, so it may say "severe" is likelier than "at least mild".
        ordered: Floats = numpy.minimum.accumulate(raw.reshape(shape), axis=2).astype(numpy.float32)
        return ordered


def _verified(path: Path, expected: str) -> bytes:
    # The bytes are hashed and then parsed from memory: a file read twice could change in between.
    try:
        data = path.read_bytes()
    except OSError as error:
        raise IntegrityError(f"the judge's weights cannot be read: {error}") from error
    actual = hashlib.sha256(data).hexdigest()
    if actual != expected:
        raise IntegrityError(
            f"{path.name} has the SHA-256 {actual}; expected {expected}.",
            hint="Reinstall Taleward, or train the judge again.",
        )
    return data


@lru_cache(maxsize=1)
def shipped_head() -> Head:
    """Return the head that ships with Taleward, loaded once per process."""
    from taleward import backends

    return Head(Path(backends.__path__[0]) / "models" / "judge")
