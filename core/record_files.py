"""Read records from CSV, TSV or JSON Lines files, gzipped or not, with the line on which each begins."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from taleward.core.errors import InvalidFile

TEXT_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
_MAX_LISTED_PROBLEMS = 8


def suffix_without_gz(path: Path) -> str:
    """Return the suffix that names a file's format, for example `.csv` for `a.csv.gz`."""
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix


def read_content(path: Path, what: str) -> bytes:
    """Read a file's bytes, decompressed if its name ends in `.gz`.

    Args:
        path: The file.
        what: What to call it in errors, for example `"the data set"`.

    Raises:
        InvalidFile: If it cannot be read.
    """
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError) as error:
        raise InvalidFile(f"{what} {path} cannot be read: {error}") from error


def parse_records(path: Path, content: bytes, what: str) -> Iterator[tuple[int, Any]]:
    """Parse the content of a file into records.

    Args:
        path: The file's name, whose suffix gives the format.
        content: Its bytes, decompressed.
        what: What to call it in errors, for example `"the data set"`.

    Yields:
        The line on which a record begins, counted from 1, and the record; for a line that is not valid JSON, the
        `ValueError` in place of the record.

    Raises:
        InvalidFile: If the suffix is not one of `TEXT_SUFFIXES`, or the content is not UTF-8 or not valid CSV.
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
            for record in reader:
                yield last_line + 1, record
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


def _parse_json(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        return error
