"""Read and clean the text that the embedded models are trained on.

Data files are JSON Lines, gzipped or not, with one object per line. Nothing is downloaded.
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
    """Raised if a data file is missing or malformed."""


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSON Lines file in order.

    Args:
        path: The file; it is decompressed if its name ends in `.gz`.

    Raises:
        CorpusError: If the file is missing or a line is not a JSON object; raised during iteration.
    """
    if not path.is_file():
        present = sorted(p.name for p in path.parent.glob("*.jsonl*")) if path.parent.is_dir() else None
        listing = "the folder does not exist" if present is None else f"the folder has {present or 'no such files'}"
        msg = (
            f"no file {path.name!r} in {str(path.parent)!r} ({listing}). Put it there, or give the folder that has it; "
            "the docstring of the training module describes the file's source and fields."
        )
        raise CorpusError(msg)
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _parse_row(line, path, number)
    except (gzip.BadGzipFile, EOFError, UnicodeDecodeError) as error:
        msg = f"{path.name!r} cannot be read as {path.suffix} text ({error}). Download the file again."
        raise CorpusError(msg) from error


def _parse_row(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        msg = f"line {number} of {path.name!r} is not valid JSON ({error}). Each line must be one JSON object."
        raise CorpusError(msg) from error
    if not isinstance(row, dict):
        msg = f"line {number} of {path.name!r} is a {type(row).__name__}. Each line must be one JSON object."
        raise CorpusError(msg)
    return row


def field(row: dict[str, Any], name: str, path: Path) -> Any:
    """Return a required field of a row.

    Raises:
        CorpusError: If the row does not have it; the message lists its fields.
    """
    if name not in row:
        msg = f"a row of {path.name!r} has no field {name!r}; it has {sorted(row)}."
        raise CorpusError(msg)
    return row[name]


# UTF-8 decoded as cp1252: “ ” ‘ ’ – — … all become "â€" and one more character, which for ” is a control character
# that scrapers drop.
_MOJIBAKE = re.compile("â€([œ\x9d™˜“”¦]?)")
_MOJIBAKE_REPLACEMENTS = {"œ": '"', "\x9d": '"', "": '"', "™": "'", "˜": "'", "“": " - ", "”": " - ", "¦": "..."}
_ASCII_SIGNS = str.maketrans({
    "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "`": "'", "´": "'", "…": "...",
    "–": "-", "—": "-", "‑": "-", "\u00a0": " ", "\u200b": "", "\ufeff": "", "\u00ad": "",
})  # fmt: skip


def clean_text(text: str) -> str:
    """Repair mojibake and normalize quotes, dashes and white space.

    Runs of white space become one space, or one line break if they contain one.
    """
    text = _MOJIBAKE.sub(lambda match: _MOJIBAKE_REPLACEMENTS[match[1]], text)
    text = unicodedata.normalize("NFC", text).translate(_ASCII_SIGNS).replace("''", '"').replace("``", '"')
    text = re.sub(r"[^\S\n]+", " ", text)
    return re.sub(r" ?\n\s*", "\n", text).strip()


def unwrap(text: str) -> str:
    """Join the lines of each paragraph; an empty line ends a paragraph."""
    return "\n".join(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text))


def fingerprint(text: str) -> str:
    """Return a hash of a text that ignores case, punctuation and white space."""
    return hashlib.sha256(" ".join(re.findall(r"[a-z0-9]+", text.lower())).encode()).hexdigest()


def is_held_out(key: str, *, percent: float = 3.0) -> bool:
    """Return whether a document is held out from training, decided by a hash of its key.

    Adding, removing or shuffling other documents does not change the result.

    Args:
        key: The document's title or first sentence.
        percent: Share of the documents to hold out, 0 to 100.
    """
    return int(fingerprint(key)[:8], 16) < percent / 100 * 2**32


# Subjects that a story for small children does not need. A story with any of them is left out, not edited.
_UNFIT = re.compile(
    r"\b(?:murder\w*|rape\w*|sex\w*|naked|nude|whisk(?:e)?y|beer|wine|vodka|drunk\w*|cigar\w*|tobacco|drugs?"
    r"|suicid\w*|corpses?|gun|guns|pistols?|shotguns?|rifles?|stabb\w*|strangl\w*|behead\w*|slaughter\w*|tortur\w*"
    r"|hanged|gallows|blood\w*|bleed\w*|bled|gor[ey]|devils?|hell|damn\w*|bitch\w*|bastards?|whores?|nigger\w*"
    r"|negro\w*|savages?|slaves?|stupid|idiots?|hate[ds]?|kill|kills|killed|killing|dead|died|dies|die|poison\w*)\b",
    re.IGNORECASE,
)


def is_fit_for_children(text: str, *, allowed: int = 0) -> bool:
    """Return whether a text has at most `allowed` words from a short list of subjects unfit for small children.

    This is a coarse filter for training text and does not replace a judge.
    """
    return sum(1 for _ in _UNFIT.finditer(text)) <= allowed
