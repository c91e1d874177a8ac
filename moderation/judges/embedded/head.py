"""Classification head of the embedded judge: the sentences of a text to log-odds."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from taleward.backends.base.shipped_models import missing_encoder
from taleward.backends.onnx.minilm import DIMENSIONS, MiniLM
from taleward.backends.onnx.quantized_weights import WeightPrecision
from taleward.core.errors import ConfigurationError, IntegrityError, InvalidFile
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.moderation.judges.embedded.sections import split_into_sections
from taleward.moderation.text.normalize import undisguise

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

LEVELS = ("mild", "moderate", "severe")
_MAX_LOG_ODDS = 30.0
_ROW_OF_SIGNS = re.compile(r"([^\w\s])(?:\s*\1){3,}")
UNKNOWN_PIECE, START_PIECE, END_PIECE = 100, 101, 102
"""The encoder's ids of an unknown word, and of the start and end of what it reads."""


class HeadConfig(FrozenModel):
    """Configuration of a head, stored as `config.json` next to its weights.

    Attributes:
        categories: The categories, in the order of the outputs.
        encoder_sha256: SHA-256 of the published encoder's weights.
        top_sha256: SHA-256 of the fine-tuned weights that replace the encoder's layers.
        weights_sha256: SHA-256 of the head's weights.
        sentence_pieces: Maximum number of word pieces of a sentence; longer ones are split.
        section_pieces: Maximum number of word pieces that are read at once, see `sections.py`.
        context_pieces: Maximum number of word pieces that a section repeats of the one before it.
        offsets: What is added to all log-odds, by the youngest age of a band: chosen in training by the share of good
            stories for that age that fail at the thresholds of the policy `kids`.
        seed: Seed of the training.
        tuned_ages: The youngest ages of the bands that the head was tuned and measured for; empty for all.
    """

    categories: tuple[str, ...] = Field(min_length=1)
    encoder_sha256: str
    top_sha256: str
    weights_sha256: str
    sentence_pieces: int = Field(ge=1)
    section_pieces: int = Field(ge=1)
    context_pieces: int = Field(ge=0)
    offsets: FrozenMapping[int, float] = Field(min_length=1)
    seed: int = 0
    tuned_ages: tuple[int, ...] = ()

    def offset(self, age: int) -> float:
        """Return the offset of a band: that of the oldest age that is not above the band's youngest one.

        Args:
            age: The youngest age of the band, in years.
        """
        return self.offsets[max((a for a in self.offsets if a <= age), default=min(self.offsets))]


class Head:
    """A fine-tuned sentence encoder with a linear layer, which scores each sentence of a text.

    The encoder reads as much of the text at once as it can, so the vector of a sentence, the mean of the states of its
    word pieces, depends on the sentences around it: a growl is worse when nobody turns out to be kind.

    Args:
        folder: Folder with `config.json`, `head.safetensors` and, unless `like` is given, `encoder.safetensors`.
        precision: Precision of the encoder's linear layers. `float32` is slower and ranks no better than `int8`.
        like: A head whose encoder this one shares: it must be the encoder that the configuration names.

    Raises:
        InvalidFile: If the configuration is missing or invalid.
        IntegrityError: If the weights are missing or do not match the configuration.
        MissingExtra: If the extra `onnx` or the encoder's package is not installed.
    """

    def __init__(self, folder: Path, *, precision: WeightPrecision = "int8", like: Head | None = None) -> None:
        try:
            from safetensors.numpy import load
        except ImportError as error:
            raise missing_encoder("the embedded judge") from error
        try:
            config = HeadConfig.model_validate(json.loads((folder / "config.json").read_bytes()))
        except (OSError, ValueError, ValidationError) as error:
            raise InvalidFile(f"{folder / 'config.json'} is not a valid judge configuration: {error}") from error
        self.config = config
        if like is None:
            top = load(_verified(folder / "encoder.safetensors", config.top_sha256))
            self.encoder = MiniLM(top, precision=precision)
        elif like.config.top_sha256 == config.top_sha256:
            self.encoder = like.encoder
        else:
            raise IntegrityError(
                f"the judge in {folder} was tuned from one whose encoder has the SHA-256 {config.top_sha256}; the "
                f"installed one has {like.config.top_sha256}.",
                hint="Tune it again with `taleward tune judge`, or install the version of Taleward it was tuned with.",
            )
        weights = load(_verified(folder / "head.safetensors", config.weights_sha256))
        self._weight, self._bias = weights["weight"], weights["bias"]

    def adjusted(self, weight: Floats, bias: Floats, offsets: Mapping[int, float], ages: Sequence[int]) -> Head:
        """Return a copy with changed log-odds, which shares the encoder.

        A category changes alike in all its severities, so that they keep their order.

        Args:
            weight: What is added to the weights, shape (384, categories).
            bias: What is added to the biases, shape (categories,).
            offsets: What is added to the offsets, by the youngest age of a band.
            ages: The youngest ages of the bands that the copy is for.
        """
        import numpy

        head = copy.copy(self)
        head._weight = (self._weight + numpy.repeat(weight, len(LEVELS), axis=1)).astype(numpy.float32)
        head._bias = (self._bias + numpy.repeat(bias, len(LEVELS))).astype(numpy.float32)
        head.config = self.config.model_copy(
            update={
                "weights_sha256": hashlib.sha256(head._weights()).hexdigest(),
                "offsets": FrozenDict(
                    {**self.config.offsets, **{age: self.config.offset(age) + added for age, added in offsets.items()}}
                ),
                "tuned_ages": tuple(sorted(ages)),
            }
        )
        return head

    def save(self, folder: Path) -> None:
        """Write the configuration and the weights of the linear layer, but not the encoder, to a folder.

        The configuration is written last: a folder without one is not loaded.
        """
        for name, content in (
            ("head.safetensors", self._weights()),
            ("config.json", self.config.model_dump_json(indent=1).encode() + b"\n"),
        ):
            temporary = folder / f".{name}.part"
            temporary.write_bytes(content)
            temporary.replace(folder / name)

    def _weights(self) -> bytes:
        from safetensors.numpy import save

        data: bytes = save({"weight": self._weight, "bias": self._bias})
        return data

    def word_pieces(self, sentence: str) -> list[int]:
        """Return the word pieces of a sentence: disguised words ("1d10t") are written out, rows of a sign shortened."""
        words = _ROW_OF_SIGNS.sub(r"\1\1\1", undisguise(sentence, self.encoder.knows))
        return self.encoder.tokenize([words])[0] or [UNKNOWN_PIECE]

    def vectors(self, sentences: Sequence[Sequence[int]]) -> Floats:
        """Compute the vectors of a text's sentences, each read in the light of the others.

        Args:
            sentences: The word pieces of each sentence, in text order.

        Returns:
            float32, shape (sentences, 384), each row of length 1.
        """
        import numpy

        config = self.config
        lengths = [len(pieces) for pieces in sentences]
        sections = split_into_sections(lengths, config.section_pieces, config.context_pieces)
        sequences = [
            [START_PIECE, *(piece for pieces in sentences[s.first : s.end] for piece in pieces), END_PIECE]
            for s in sections
        ]
        vectors = numpy.zeros((len(sentences), DIMENSIONS), dtype=numpy.float32)
        for section, states in zip(sections, self.encoder.token_states(sequences), strict=True):
            position = 1 + sum(lengths[section.first : section.start])
            for number in range(section.start, section.end):
                mean = states[position : position + lengths[number]].mean(axis=0)
                vectors[number] = mean / numpy.linalg.norm(mean)
                position += lengths[number]
        return vectors

    def log_odds(self, sentences: Sequence[Sequence[int]]) -> Floats:
        """Compute the log-odds that a sentence is harmful in a category, at each severity or above.

        Args:
            sentences: The word pieces of each sentence of a text, in text order.

        Returns:
            float32 in -30..30, shape (sentences, categories, 3). Index i of the last axis is a severity of at least
            `LEVELS[i]`, so values never rise along it.
        """
        import numpy

        raw = self.vectors(sentences) @ self._weight + self._bias
        shape = len(sentences), len(self.config.categories), len(LEVELS)
        # The outputs are independent of each other, so one may say "severe" is likelier than "at least mild".
        ordered: Floats = numpy.minimum.accumulate(
            numpy.clip(raw, -_MAX_LOG_ODDS, _MAX_LOG_ODDS).reshape(shape), axis=2
        ).astype(numpy.float32)
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


def load_head(folder: Path) -> Head:
    """Load a head from a folder; one that was tuned has no encoder of its own and shares the one that ships.

    Raises:
        ConfigurationError: If the folder holds no judge.
        InvalidFile: If the configuration is invalid.
        IntegrityError: If the weights do not match the configuration, or it was tuned from another judge.
    """
    if not (folder / "head.safetensors").is_file() or not (folder / "config.json").is_file():
        raise ConfigurationError(
            f"{folder} is not the folder of an embedded judge: it has no "
            f"{'config.json' if folder.is_dir() and (folder / 'head.safetensors').is_file() else 'head.safetensors'}.",
            hint="`taleward tune judge --out FOLDER` makes one.",
        )
    return Head(folder, like=None if (folder / "encoder.safetensors").is_file() else shipped_head())
