"""Records from CSV, TSV or JSON lines, gzipped or not, each with the line that it begins in."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from taleward.core.errors import InvalidFile

TEXT_KINDS = (".csv", ".tsv", ".jsonl", ".ndjson")
_TOLD = 8


def file_kind(path: Path) -> str:
    """How a file's name ends, without `.gz`."""
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix


def read_content(path: Path, what: str) -> bytes:
    """A file's bytes, unzipped.

    Raises:
        InvalidFile: It cannot be read; the message calls it `what`.
    """
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError) as error:
        raise InvalidFile(f"{what} {path} cannot be read: {error}") from error


def read_records(path: Path, content: bytes, what: str) -> Iterator[tuple[int, Any]]:
    """Each record with its line; where a line is no JSON, the error instead.

    Args:
        path: The file's name, which says what it holds.
        content: Its bytes, unzipped.
        what: What to call it in errors.

    Raises:
        InvalidFile: The name ends in something else, or it is no UTF-8 or no CSV.
    """
    kind = file_kind(path)
    if kind not in TEXT_KINDS:
        raise InvalidFile(f"{what} {path} ends in {kind!r}; taken: {', '.join(TEXT_KINDS)}, and .gz.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidFile(f"{what} {path} is no UTF-8: {error}") from error
    if kind in (".csv", ".tsv"):
        csv.field_size_limit(2**31 - 1)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if kind == ".tsv" else ",")
        before = 1
        try:
            for record in reader:
                yield before + 1, record
                before = reader.line_num
        except csv.Error as error:
            raise InvalidFile(f"{what} {path} is no CSV in line {reader.line_num}: {error}") from error
    else:
        for line, written in enumerate(text.split("\n"), 1):
            if written.strip():
                yield line, _json(written)


def with_problems(path: Path, what: str, problems: list[str]) -> InvalidFile:
    """The error for a file with problems; the first ones are told."""
    more = f"\n  - and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
    told = "".join(f"\n  - {p}" for p in problems[:_TOLD])
    return InvalidFile(f"{what} {path} has problems:{told}{more}")


def record_lines(numbers: list[int]) -> str:
    """The lines of one problem, for people."""
    more = f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
    return f"line {numbers[0]}{more}"


def _json(written: str) -> Any:
    try:
        return json.loads(written)
    except ValueError as error:
        return error
