"""Read records from CSV, TSV or JSON Lines files, gzipped or not, with the line on which each begins."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from taleward.core.errors import InvalidFile

TEXT_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
_MAX_LISTED_PROBLEMS = 8
MAX_FILE_BYTES = 2_000_000_000
"""Bytes of a file that are read, decompressed."""
MAX_RECORD_CHARS = 10_000_000
"""Characters in a record: a line of JSON, or the values of a row."""


def suffix_without_gz(path: Path) -> str:
    """Return the suffix that names a file's format, for example `.csv` for `a.csv.gz`."""
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix


def read_content(path: Path, what: str) -> bytes:
    """Read a file's bytes, decompressed if its name ends in `.gz`.

    Args:
        path: The file.
        what: What to call it in errors, for example `"the data set"`.

    Raises:
        InvalidFile: If it cannot be read, or is larger than 2 GB.
    """
    try:
        # A file of some megabytes can decompress to more than the memory holds.
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content: bytes = file.read(MAX_FILE_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidFile(f"{what} {path} cannot be read: {error}") from error
    if len(content) > MAX_FILE_BYTES:
        raise InvalidFile(
            f"{what} {path} has more than {MAX_FILE_BYTES:,} bytes, decompressed.", hint="Split it into several files."
        )
    return content


def parse_records(path: Path, content: bytes, what: str) -> Iterator[tuple[int, Any]]:
    """Parse the content of a file into records.

    Args:
        path: The file's name, whose suffix gives the format.
        content: Its bytes, decompressed.
        what: What to call it in errors, for example `"the data set"`.

    Yields:
        The line on which a record begins, counted from 1, and the record; for a line that is not valid JSON, a row that
        is longer than the header, or a record of more than 10 million characters, a `ValueError` that says so in
        place of the record.

    Raises:
        InvalidFile: If the suffix is not one of `TEXT_SUFFIXES`, the content is not UTF-8 or not valid CSV, or two
            columns have the same name.
    """
    suffix = suffix_without_gz(path)
    if suffix not in TEXT_SUFFIXES:
        raise InvalidFile(
            f"{what} {path} ends in {suffix!r}; expected {', '.join(TEXT_SUFFIXES)}, with or without .gz."
        )
    try:
        # Excel starts its UTF-8 files with a byte order mark.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidFile(f"{what} {path} is not valid UTF-8: {error}") from error
    if suffix in (".csv", ".tsv"):
        # The default of 131,072 characters is too short for some stories; a larger limit overflows on Windows.
        csv.field_size_limit(2**31 - 1)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if suffix == ".tsv" else ",")
        last_line = 1
        try:
            names = list(reader.fieldnames or ())
            if repeated := next((name for name in names if names.count(name) > 1), None):
                raise InvalidFile(f"{what} {path} has two columns named {repeated!r}.", hint="Rename one of them.")
            for record in reader:
                yield last_line + 1, _checked_row(record, len(names))
                last_line = reader.line_num
        except csv.Error as error:
            raise InvalidFile(f"{what} {path} is not valid CSV in line {reader.line_num}: {error}") from error
    else:
        # `splitlines` would also split at U+2028 and the like, which JSON allows inside strings.
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield number, _parse_json(line)


def problems_error(path: Path, what: str, problems: list[str]) -> InvalidFile:
    """Create the error for a file with problems; it lists the first eight."""
    more = f"\n  - and {len(problems) - _MAX_LISTED_PROBLEMS} more" if len(problems) > _MAX_LISTED_PROBLEMS else ""
    listed = "".join(f"\n  - {p}" for p in problems[:_MAX_LISTED_PROBLEMS])
    return InvalidFile(f"{what} {path} has problems:{listed}{more}")


def format_line_numbers(numbers: list[int]) -> str:
    """Format the lines that share a problem, for example `line 3 and 12 more`."""
    more = f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
    return f"line {numbers[0]}{more}"


def _checked_row(row: dict[str | None, Any], columns: int) -> Any:
    if extra := row.get(None):
        return ValueError(f"has {columns + len(extra)} values for {columns} columns")
    chars = sum(len(value) for value in row.values() if value is not None)
    return _too_long(chars) if chars > MAX_RECORD_CHARS else row


def _too_long(chars: int) -> ValueError:
    return ValueError(f"has {chars:,} characters; at most {MAX_RECORD_CHARS:,} are read")


def _parse_json(line: str) -> Any:
    if len(line) > MAX_RECORD_CHARS:
        return _too_long(len(line))
    try:
        return json.loads(
            line, object_pairs_hook=_unique_keys, parse_constant=_reject_constant, parse_float=_finite_float
        )
    except RecursionError:
        return ValueError("is not valid JSON: its values are nested too deeply")
    except ValueError as error:
        return ValueError(f"is not valid JSON: {error}")


# Python keeps the last of two equal keys, and reads NaN and 1e999, which JSON does not have.
def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        msg = f"the key {repeated!r} occurs twice"
        raise ValueError(msg)
    return record


def _reject_constant(name: str) -> Any:
    msg = f"{name} is not a JSON number; leave the value out or write null"
    raise ValueError(msg)


def _finite_float(number: str) -> float:
    value = float(number)
    return value if math.isfinite(value) else _reject_constant(number)
