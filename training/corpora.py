"""Reading and cleaning the text that the embedded models are made from.

Data files are JSON lines, plain or gzip: one object a line. Nothing here downloads anything.
"""

import gzip
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from taleward.core.errors import InvalidFile


class CorpusError(InvalidFile):
    """A data file is missing or is not what it should be."""


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSON-lines file, in order.

    Args:
        path: The file; decompressed on the way when its name ends in `.gz`.

    Raises:
        CorpusError: The file is missing, or a line is not a JSON object; raised when the first row is asked for.
    """
    if not path.is_file():
        present = sorted(p.name for p in path.parent.glob("*.jsonl*")) if path.parent.is_dir() else None
        found = "that folder does not exist" if present is None else f"that folder holds {present or 'none'}"
        msg = (
            f"no file {path.name!r} in {str(path.parent)!r} ({found}). Put it there, or name the folder that has it; "
            "the training module's docstring says where its rows come from and what fields they have."
        )
        raise CorpusError(msg)
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _row(line, path, number)
    except (gzip.BadGzipFile, EOFError, UnicodeDecodeError) as error:
        msg = f"{path.name!r} cannot be read as {path.suffix} text ({error}). Fetch the file again."
        raise CorpusError(msg) from error


def _row(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        msg = f"line {number} of {path.name!r} is not JSON ({error}). Each line has to be one JSON object."
        raise CorpusError(msg) from error
    if not isinstance(row, dict):
        msg = f"line {number} of {path.name!r} holds a {type(row).__name__}. Each line has to be one JSON object."
        raise CorpusError(msg)
    return row


def field(row: dict[str, Any], name: str, path: Path) -> Any:
    """A field that a row must have.

    Raises:
        CorpusError: The row lacks it; the message names the fields that are there.
    """
    if name not in row:
        msg = f"a row of {path.name!r} has no field {name!r}; it has {sorted(row)}."
        raise CorpusError(msg)
    return row[name]


# UTF-8 bytes read as cp1252: the lead bytes of “ ” ‘ ’ – — … show as "â€" and one more, which for ” is a control
# character that scrapers drop.
_MOJIBAKE = re.compile("â€([œ\x9d™˜“”¦]?)")
_MOJIBAKE_AS = {"œ": '"', "\x9d": '"', "": '"', "™": "'", "˜": "'", "“": " - ", "”": " - ", "¦": "..."}
_PLAIN = str.maketrans({
    "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "`": "'", "´": "'", "…": "...",
    "–": "-", "—": "-", "‑": "-", "\u00a0": " ", "\u200b": "", "\ufeff": "", "\u00ad": "",
})  # fmt: skip


def plain(text: str) -> str:
    """Text with mojibake mended, typewriter quotes and dashes, and one kind of white space.

    Line ends stay, one at a time; other runs of white space become one blank.
    """
    text = _MOJIBAKE.sub(lambda hit: _MOJIBAKE_AS[hit[1]], text)
    text = unicodedata.normalize("NFC", text).translate(_PLAIN).replace("''", '"').replace("``", '"')
    text = re.sub(r"[^\S\n]+", " ", text)
    return re.sub(r" ?\n\s*", "\n", text).strip()


def unwrap(text: str) -> str:
    """Text with the line ends inside its paragraphs made blanks; an empty line ends a paragraph."""
    return "\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", text))


def fingerprint(text: str) -> str:
    """A hash that two copies of a text share when only case, marks and white space differ."""
    return hashlib.sha256(" ".join(re.findall(r"[a-z0-9]+", text.lower())).encode()).hexdigest()


def held_out(key: str, *, percent: float = 3.0) -> bool:
    """Whether a document is kept from training, decided by its key alone.

    Adding, dropping or shuffling other documents never moves one across the border.

    Args:
        key: Title or first sentence.
        percent: Share kept back, 0 to 100.
    """
    return int(fingerprint(key)[:8], 16) < percent / 100 * 2**32


# Subjects that no story for small children needs; a story with any of them is left out, not edited.
_UNFIT = re.compile(
    r"\b(?:murder\w*|rape\w*|sex\w*|naked|nude|whisk(?:e)?y|beer|wine|vodka|drunk\w*|cigar\w*|tobacco|drugs?"
    r"|suicid\w*|corpses?|gun|guns|pistols?|shotguns?|rifles?|stabb\w*|strangl\w*|behead\w*|slaughter\w*|tortur\w*"
    r"|hanged|gallows|blood\w*|bleed\w*|bled|gor[ey]|devils?|hell|damn\w*|bitch\w*|bastards?|whores?|nigger\w*"
    r"|negro\w*|savages?|slaves?|stupid|idiots?|hate[ds]?|kill|kills|killed|killing|dead|died|dies|die|poison\w*)\b",
    re.IGNORECASE,
)


def fit_for_children(text: str, *, allowed: int = 0) -> bool:
    """Whether a text has at most `allowed` words from a short list of subjects unfit for small children.

    A coarse filter for training text; it is no judge.
    """
    return sum(1 for _ in _UNFIT.finditer(text)) <= allowed
