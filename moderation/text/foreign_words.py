"""How much a word looks like a word of another language than English: a linear model over letters and a word list."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from taleward.core.errors import IntegrityError

TABLE_BITS = 19
_TABLE_MASK = (1 << TABLE_BITS) - 1
_MAX_NGRAM = 5
_MAX_LETTERS = 30
"""The letters of a word that are looked at: no word of a language is much longer."""
_PATH = Path(__file__).parent / "data" / "language.bin"

Shape = Literal["known", "lower", "name", "initial"]
"""What else is known of a word: it is in the word list, or it is not and is in lower case, capitalized within a
sentence, or capitalized at the start of one."""
SHAPES: tuple[Shape, ...] = ("known", "lower", "name", "initial")


def ngram_slots(word: str) -> Iterator[int]:
    """Yield the slots in the table of a word's letter sequences (1 to 5 letters, ends marked) and of the word itself.

    Args:
        word: A word in lower case.
    """
    framed = f"<{word[:_MAX_LETTERS]}>".encode("utf-32-le", "surrogatepass")
    crc32 = zlib.crc32
    for start in range(0, len(framed), 4):
        for end in range(start + 4, min(start + 4 * _MAX_NGRAM, len(framed)) + 1, 4):
            yield crc32(framed[start:end]) & _TABLE_MASK
    yield crc32(b"=" + framed) & _TABLE_MASK


@dataclass(frozen=True, slots=True)
class WordLanguageModel:
    """The weights, as log-odds that a word is foreign: positive for foreign words, negative for English ones.

    Attributes:
        known: The log-odds of the listed words.
        table: One signed byte for each slot of `ngram_slots`, times `scale`.
        scale: The log-odds of one unit of `table`.
        shapes: The log-odds that each shape adds.
        bias: The log-odds of a sentence without words.
    """

    known: dict[str, float]
    table: memoryview
    scale: float
    shapes: dict[str, float]
    bias: float

    def unlisted(self, word: str, shape: Shape) -> float:
        """Return the log-odds of a word in lower case that is not in the list."""
        table = self.table
        return sum(table[slot] for slot in ngram_slots(word)) * self.scale + self.shapes[shape]


def pack(known: dict[str, float], table: bytes, scale: float, shapes: dict[str, float], bias: float) -> bytes:
    """Return the content of a model file: compressed, a line of JSON, a line of words, a byte a word, and the table."""
    unit = max(abs(value) for value in known.values()) / 127
    words = " ".join(known).encode()
    header = {"words": len(words), "unit": unit, "scale": scale, "shapes": shapes, "bias": bias}
    scores = bytes(round(value / unit) & 0xFF for value in known.values())
    return zlib.compress(b"\n".join([json.dumps(header).encode(), words, scores + table]), 9)


def unpack(content: bytes) -> WordLanguageModel:
    """Return the model in a file's content.

    Raises:
        IntegrityError: If the content is damaged.
    """
    try:
        first, rest = zlib.decompress(content).split(b"\n", 1)
        header = json.loads(first)
        words = rest[: header["words"]].decode().split(" ")
        values = memoryview(rest[header["words"] + 1 :]).cast("b")
        unit = header["unit"]
        units = [value * unit for value in range(-128, 128)]
        known = {word: units[value + 128] for word, value in zip(words, values, strict=False)}
        table = values[len(words) :]
    except (zlib.error, ValueError, KeyError) as error:
        raise IntegrityError(f"the language model cannot be read: {error}", hint="Reinstall Taleward.") from error
    if len(table) != 1 << TABLE_BITS:
        raise IntegrityError(
            f"the language model's table holds {len(table)} weights instead of {1 << TABLE_BITS}.",
            hint="Reinstall Taleward.",
        )
    return WordLanguageModel(known, table, header["scale"], header["shapes"], header["bias"])


@lru_cache(maxsize=1)
def shipped_model() -> WordLanguageModel:
    """Return the model that ships with Taleward, loaded once per process."""
    return unpack(_PATH.read_bytes())
