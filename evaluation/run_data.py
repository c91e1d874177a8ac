"""Samples from a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from taleward.core.errors import InvalidFile
from taleward.evaluation.sample import Sample

_OWN = ("id", "output", "references")


def read_samples(path: Path) -> list[Sample]:
    """Samples from JSON lines or CSV.

    A row's `id`, `output` and `references` are the sample's own (in CSV one reference); `inputs` are its inputs, and
    where there is no such column all other columns are.

    Raises:
        InvalidFile: It cannot be read, is of another kind, or has no rows; a wrong row is told with its line.
    """
    samples = []
    for line, row in _rows(path):
        fields: dict[str, Any] = {"id": str(line), **{name: row[name] for name in _OWN if name in row}}
        fields["inputs"] = row["inputs"] if "inputs" in row else {k: v for k, v in row.items() if k not in _OWN}
        if isinstance(fields.get("references"), str):
            fields["references"] = [fields["references"]]
        try:
            samples.append(Sample.model_validate(fields))
        except ValidationError as error:
            said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise InvalidFile(f"the data set {path} is wrong in row {line}: {said}") from error
    if not samples:
        raise InvalidFile(f"the data set {path} has no rows.")
    return samples


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidFile(f"the data set {path} cannot be read: {error}") from error
    match path.suffix:
        case ".jsonl":
            for number, line in enumerate((written for written in text.split("\n") if written.strip()), 1):
                yield number, _object(path, number, line)
        case ".csv":
            yield from enumerate(csv.DictReader(text.splitlines(keepends=True)), 1)
        case other:
            raise InvalidFile(f"the data set {path} ends in {other!r}; taken: .jsonl, .csv.")


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InvalidFile(f"the data set {path} is no JSON in row {number}: {error}") from error
    if not isinstance(row, dict):
        raise InvalidFile(f"the data set {path} holds a {type(row).__name__} in row {number}; taken: a JSON object.")
    return row
