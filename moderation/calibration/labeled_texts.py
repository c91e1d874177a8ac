"""Load labeled texts from CSV, TSV or JSON Lines files, gzipped or not."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taleward.core.record_files import format_line_numbers, parse_records, problems_error, read_content

_LABELS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
_MAX_LISTED_LABELS = 8
_WHAT = "the labeled file"


@dataclass(frozen=True)
class Columns:
    """The columns of a file, or the fields of its JSON objects.

    Attributes:
        text: The column of the text.
        label: The column that says whether the text is harmful: true or false, 1 or 0, yes or no; or labels of your
            own, see `harmful`.
        category: The column of a harmful text's categories, as a list or separated by `,` `;` or `|`; `None` if there
            is no such column.
        harmful: The labels that mean harmful. If there are any, every other label means harmless.
        band: The column of the age band that a text was labeled for; `None` if there is no such column.
    """

    text: str = "text"
    label: str = "label"
    category: str | None = None
    harmful: tuple[str, ...] = ()
    band: str | None = None


@dataclass(frozen=True)
class LabeledText:
    """A text with its label.

    Attributes:
        text: The text.
        harmful: Whether the text must not be released.
        categories: The categories of a harmful text; empty if it is harmless or they are unknown.
        band: The age band that it was labeled for; empty if the labels are all for one band.
    """

    text: str
    harmful: bool
    categories: tuple[str, ...] = ()
    band: str = ""


@dataclass(frozen=True)
class LabeledData:
    """The labeled texts of a file.

    Attributes:
        name: The file name without its folder.
        sha256: SHA-256 of the decompressed content, in hexadecimal.
        rows: The texts, in the order of the file.
    """

    name: str
    sha256: str
    rows: tuple[LabeledText, ...]


def load_labeled(
    path: str | Path, columns: Columns | None = None, *, known: Collection[str] = (), category: str | None = None
) -> LabeledData:
    """Load labeled texts from a file.

    Args:
        path: A file that ends in `.csv`, `.tsv`, `.jsonl` or `.ndjson`, with or without `.gz`.
        columns: The names of the columns.
        known: The accepted categories, such as those of a policy; empty to accept any.
        category: The category of every harmful text that has none of its own.

    Raises:
        InvalidFile: If the file cannot be read, has no rows, or has invalid rows; each problem is listed with its
            lines.
    """
    path, columns = Path(path), columns or Columns()
    content = read_content(path, _WHAT)
    rows: list[LabeledText] = []
    lines_by_problem: dict[str, list[int]] = {}
    labels: set[str] = set()
    column_names: set[str] = set()
    for line, record in parse_records(path, content, _WHAT):
        try:
            rows.append(_parse_row(record, columns, known, category))
            labels.add(str(record[columns.label]))
            column_names.update(record)
        except ValueError as error:
            lines_by_problem.setdefault(str(error), []).append(line)
    problems = [f"{format_line_numbers(numbers)}: {problem}" for problem, numbers in lines_by_problem.items()]
    missing = [label for label in columns.harmful if label not in labels]
    if missing and not problems:
        examples = ", ".join(repr(s) for s in sorted(labels)[:_MAX_LISTED_LABELS])
        problems.append(f"no row has the harmful label {missing[0]!r}; labels in the file: {examples}")
    for what, name in (("category", columns.category), ("band", columns.band)):
        if rows and name is not None and name not in column_names:
            in_file = ", ".join(sorted(column_names))
            problems.append(f"no row has the {what} column {name!r}; columns in the file: {in_file}")
    if not rows and not problems:
        problems.append("the file has no rows")
    if problems:
        raise problems_error(path, _WHAT, problems)
    return LabeledData(path.name, hashlib.sha256(content).hexdigest(), tuple(rows))


def _parse_row(record: Any, columns: Columns, known: Collection[str], category: str | None) -> LabeledText:
    if not isinstance(record, Mapping):
        actual = str(record) if isinstance(record, ValueError) else f"is a {type(record).__name__}"
        msg = f"{actual}; expected a JSON object"
        raise ValueError(msg)
    for column in (columns.text, columns.label):
        if column not in record:
            msg = f"column {column!r} is missing; columns of the row: {', '.join(str(k) for k in record)}"
            raise ValueError(msg)
    text = record[columns.text]
    if not isinstance(text, str) or not text.strip():
        msg = f"{columns.text}: got {text!r}; expected a text that is not blank"
        raise ValueError(msg)
    harmful = _parse_label(record[columns.label], columns)
    categories = _parse_categories(record.get(columns.category)) if columns.category else ()
    unknown = [c for c in categories if known and c not in known]
    if unknown:
        msg = f"{columns.category}: got {unknown[0]!r}; expected one of {', '.join(known)}"
        raise ValueError(msg)
    if category is not None and not categories:
        categories = (category,)
    band = str(record.get(columns.band) or "").strip() if columns.band else ""
    return LabeledText(text, harmful, categories if harmful else (), band)


def _parse_label(value: Any, columns: Columns) -> bool:
    if columns.harmful:
        return str(value) in columns.harmful
    harmful = _LABELS.get(value.strip().lower()) if isinstance(value, str) else None
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        harmful = bool(value)
    if harmful is None:
        msg = (
            f"{columns.label}: got {value!r}; expected true or false, 1 or 0, yes or no; for other labels, name those "
            "that mean harmful (Columns(harmful=...), --harmful-label)"
        )
        raise ValueError(msg)
    return harmful


def _parse_categories(value: Any) -> tuple[str, ...]:
    parts = value if isinstance(value, list) else re.split(r"[,;|]", str(value or ""))
    return tuple(dict.fromkeys(str(p).strip() for p in parts if str(p).strip()))
