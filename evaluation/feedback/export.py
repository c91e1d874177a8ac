"""Export feedback: a labeled dataset, or everything."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from taleward.core.errors import InvalidFile, MissingExtra
from taleward.evaluation.feedback.feedback import Feedback
from taleward.evaluation.feedback.mlflow_store import FeedbackStore, RecordedTale


def labeled_rows(store: FeedbackStore) -> list[dict[str, Any]]:
    """Return one row per tale with answers to "is it kid-friendly?", for fitting and measuring judges.

    `load_labeled` reads the rows with the category column `categories`.
    """
    rows = (labeled_row(tale, feedback) for tale, feedback in store.tales())
    return [row for row in rows if row is not None]


def labeled_row(tale: RecordedTale, feedback: Iterable[Feedback]) -> dict[str, Any] | None:
    """Return the label of a tale as a row; `None` if nobody answered, or its text was not kept.

    A tale is harmful if at least half of the people say so; its categories are all that any of these named and its
    policy has. Whether a tale makes sense does not count.
    """
    answers = [(f, f.kid_friendly) for f in feedback if f.kid_friendly is not None]
    votes = [friendly for _, friendly in answers]
    if not votes or not tale.text:
        return None
    # A tie counts as harmful: a false alarm costs less than a harmful text that passes.
    harmful = 2 * sum(votes) <= len(votes)
    named = dict.fromkeys(c for f, friendly in answers if not friendly for c in _categories(f))
    # MLflow's form takes any name, and one that the policy does not have would stop the calibration.
    categories = [name for name in named if not tale.categories or name in tale.categories]
    return {
        "text": tale.text,
        "label": harmful,
        "categories": categories if harmful else [],
        "tale_id": tale.id,
        "band": tale.band,
        "people": len(votes),
        "kid_friendly": sum(votes),
    }


def feedback_rows(store: FeedbackStore) -> list[dict[str, Any]]:
    """Return one row per person and tale: the current feedback as plain data, with the tale's text.

    Reasons and answers of other names are lists of texts such as `kid_friendly: the wolf is scary`.
    """
    return [_feedback_row(f, tale.text) for tale, feedback in store.tales() for f in feedback]


EXPORTS = {"all": feedback_rows, "labeled": labeled_rows}
"""The kinds of export by name; rows for training writers are in `taleward.tuning.feedback_rows`."""


def write_rows(rows: Iterable[Mapping[str, Any]], path: Path) -> int:
    """Write rows to a `.jsonl` or `.parquet` file.

    Args:
        rows: The rows.
        path: The file; an existing one is replaced.

    Returns:
        The number of rows.

    Raises:
        InvalidFile: If the file has another suffix.
        MissingExtra: If Parquet is asked for and the extra `stores` is not installed.
    """
    plain_rows = [dict(row) for row in rows]
    match path.suffix:
        case ".jsonl":
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in plain_rows)
            path.write_text("".join(lines), encoding="utf-8")
        case ".parquet":
            try:
                import pyarrow
                from pyarrow import parquet
            except ImportError as error:
                raise MissingExtra("writing Parquet", "stores") from error
            parquet.write_table(pyarrow.Table.from_pylist(plain_rows), path)
        case suffix:
            raise InvalidFile(f"cannot write {path}: the suffix must be .jsonl or .parquet; got {suffix!r}.")
    return len(plain_rows)


def _categories(feedback: Feedback) -> Iterator[str]:
    yield from feedback.categories or ()
    yield from (span.category for span in feedback.spans or () if span.category)


def _feedback_row(feedback: Feedback, text: str) -> dict[str, Any]:
    row = feedback.model_dump(mode="json", exclude={"unparsed"})
    spans = [{**span.model_dump(), "quote": text[span.start : span.end]} for span in feedback.spans or ()]
    # Parquet has no columns of mappings with names that nobody knows beforehand.
    notes = {key: [f"{name}: {note}" for name, note in row[key].items()] for key in ("rationales", "other")}
    return {**row, **notes, "categories": list(feedback.categories or ()), "spans": spans, "text": text}
