"""Texts that people have labelled, from CSV, TSV or JSON lines, gzipped or not."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taleward.core.records import format_line_numbers, parse_records, problems_error, read_content

_WORDS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
_TOLD = 8
_WHAT = "the labelled file"


@dataclass(frozen=True)
class Columns:
    """What the columns are called.

    Attributes:
        text: The text.
        label: Whether it is harmful: true or false, 1 or 0, yes or no; or words, see `harmful`.
        category: The categories of a harmful text, as a list or parted by `,` `;` or `|`; `None` where there is none.
        harmful: The labels that mean harmful; every other one then means harmless.
    """

    text: str = "text"
    label: str = "label"
    category: str | None = None
    harmful: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabeledText:
    """One text.

    Attributes:
        text: The text.
        harmful: Whether it may not be released.
        categories: What it is harmful for; empty where it is harmless, or nobody said.
    """

    text: str
    harmful: bool
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabeledData:
    """The texts of a file.

    Attributes:
        name: The file's name, without its folder.
        sha256: SHA-256 of what it holds, unzipped, in hexadecimal.
        rows: The texts, in order.
    """

    name: str
    sha256: str
    rows: tuple[LabeledText, ...]


def load_labeled(
    path: str | Path, columns: Columns | None = None, *, known: Collection[str] = (), category: str | None = None
) -> LabeledData:
    """Read labelled texts.

    Args:
        path: Ends in `.csv`, `.tsv`, `.jsonl` or `.ndjson`, with or without `.gz`.
        columns: What the columns are called.
        known: The categories that are taken, those of a policy; any where it is empty.
        category: What every harmful text is harmful for, where no column says it.

    Raises:
        InvalidFile: The file cannot be read, has no rows, or rows that are wrong; each with its line, what came and
            what is taken.
    """
    path, columns = Path(path), columns or Columns()
    content = read_content(path, _WHAT)
    rows: list[LabeledText] = []
    wrong: dict[str, list[int]] = {}
    seen: set[str] = set()
    names: set[str] = set()
    for line, record in parse_records(path, content, _WHAT):
        try:
            rows.append(_row(record, columns, known, category))
            seen.add(str(record[columns.label]))
            names.update(record)
        except ValueError as error:
            wrong.setdefault(str(error), []).append(line)
    problems = [f"{format_line_numbers(numbers)}: {said}" for said, numbers in wrong.items()]
    missing = [word for word in columns.harmful if word not in seen]
    if missing and not problems:
        few = ", ".join(repr(s) for s in sorted(seen)[:_TOLD])
        problems.append(f"no row has the harmful label {missing[0]!r}; labels here: {few}")
    if rows and columns.category is not None and columns.category not in names:
        problems.append(
            f"no row has the category column {columns.category!r}; columns here: {', '.join(sorted(names))}"
        )
    if not rows and not problems:
        problems.append("it has no rows")
    if problems:
        raise problems_error(path, _WHAT, problems)
    return LabeledData(path.name, hashlib.sha256(content).hexdigest(), tuple(rows))


def _row(record: Any, columns: Columns, known: Collection[str], category: str | None) -> LabeledText:
    if not isinstance(record, Mapping):
        came = f"is no JSON: {record}" if isinstance(record, ValueError) else f"holds a {type(record).__name__}"
        msg = f"{came}; taken: a JSON object"
        raise ValueError(msg)
    for column in (columns.text, columns.label):
        if column not in record:
            msg = f"there is no column {column!r}; columns here: {', '.join(str(k) for k in record)}"
            raise ValueError(msg)
    text = record[columns.text]
    if not isinstance(text, str) or not text.strip():
        msg = f"{columns.text}: got {text!r}; taken: a text that is not blank"
        raise ValueError(msg)
    harmful = _harmful(record[columns.label], columns)
    named = _categories(record.get(columns.category)) if columns.category else ()
    unknown = [c for c in named if known and c not in known]
    if unknown:
        msg = f"{columns.category}: got {unknown[0]!r}; taken: {', '.join(known)}"
        raise ValueError(msg)
    if category is not None and not named:
        named = (category,)
    return LabeledText(text, harmful, named if harmful else ())


def _harmful(value: Any, columns: Columns) -> bool:
    if columns.harmful:
        return str(value) in columns.harmful
    found = _WORDS.get(value.strip().lower()) if isinstance(value, str) else None
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        found = bool(value)
    if found is None:
        msg = (
            f"{columns.label}: got {value!r}; taken: true or false, 1 or 0, yes or no, or name the labels "
            "that mean harmful (--harmful-label)"
        )
        raise ValueError(msg)
    return found


def _categories(value: Any) -> tuple[str, ...]:
    parts = value if isinstance(value, list) else re.split(r"[,;|]", str(value or ""))
    return tuple(dict.fromkeys(str(p).strip() for p in parts if str(p).strip()))
