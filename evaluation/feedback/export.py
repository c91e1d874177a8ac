"""Export feedback: a labeled dataset, preference pairs, or everything."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from taleward.core.errors import InvalidFile, MissingExtra
from taleward.evaluation.feedback.feedback import Feedback
from taleward.evaluation.feedback.mlflow_store import FeedbackStore, RecordedTale

# The middle of each scale, for people who answered only the other question.
_NEUTRAL_VOTE, _NEUTRAL_RATING = 0.5, 3.0


def labeled_rows(store: FeedbackStore) -> list[dict[str, Any]]:
    """Return one row per tale with answers to "is it kid-friendly?", for fitting and measuring judges.

    `load_labeled` reads the rows with the category column `categories`. A tale is harmful if at least half of the
    people say so; its categories are all that any of these named and its policy has. Whether a tale makes sense does
    not count.
    """
    rows = []
    for tale, feedback in store.tales():
        votes = [f.kid_friendly for f in feedback if f.kid_friendly is not None]
        if not votes or not tale.text:
            continue
        # A tie counts as harmful: a false alarm costs less than a harmful text that passes.
        harmful = 2 * sum(votes) <= len(votes)
        named = dict.fromkeys(c for f in feedback if f.kid_friendly is False for c in _categories(f))
        # MLflow's form takes any name, and one that the policy does not have would stop the calibration.
        categories = [name for name in named if not tale.categories or name in tale.categories]
        rows.append(
            {
                "text": tale.text,
                "label": harmful,
                "categories": categories if harmful else [],
                "tale_id": tale.id,
                "band": tale.band,
                "people": len(votes),
                "kid_friendly": sum(votes),
            }
        )
    return rows


def preference_pairs(store: FeedbackStore) -> list[dict[str, Any]]:
    """Return pairs of a chosen and a rejected text for the same prompt, as preference trainers (DPO) read them.

    The column `by` says whose preference it is:

    * `people`: of two tales with the same inputs, people found one more kid-friendly, or else rated it higher;
    * `judge`: people found a released tale kid-friendly, and the judge had failed an earlier draft of it.
    """
    pairs = []
    tales_by_prompt: dict[str, list[tuple[RecordedTale, tuple[float, float]]]] = {}
    for tale, feedback in store.tales():
        score = _preference_score(feedback)
        if score is None or not tale.text:
            continue
        tales_by_prompt.setdefault(_prompt(tale), []).append((tale, score))
        # Only if people agree with the release is the judge's preference worth learning.
        if tale.released and score[0] > _NEUTRAL_VOTE:
            for draft, verdict in tale.drafts:
                if draft and verdict.outcome == "fail":
                    pairs.append(_pair(_prompt(tale), tale.text, draft, "judge", tale.id, tale.id))
    for prompt, scored_tales in tales_by_prompt.items():
        for (first, first_score), (second, second_score) in combinations(scored_tales, 2):
            if first_score != second_score and first.text != second.text:
                better, worse = (first, second) if first_score > second_score else (second, first)
                pairs.append(_pair(prompt, better.text, worse.text, "people", better.id, worse.id))
    return pairs


def feedback_rows(store: FeedbackStore) -> list[dict[str, Any]]:
    """Return one row per person and tale: the current feedback as plain data, with the tale's text.

    Reasons and answers of other names are lists of texts such as `kid_friendly: the wolf is scary`.
    """
    return [_feedback_row(f, tale.text) for tale, feedback in store.tales() for f in feedback]


EXPORTS = {"all": feedback_rows, "labeled": labeled_rows, "pairs": preference_pairs}
"""The kinds of export by name."""


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


def _preference_score(feedback: Iterable[Feedback]) -> tuple[float, float] | None:
    """Return the share of people who find a tale kid-friendly and its mean rating; `None` if nobody gave either."""
    votes = [float(f.kid_friendly) for f in feedback if f.kid_friendly is not None]
    ratings = [f.rating for f in feedback if f.rating is not None]
    if not votes and not ratings:
        return None
    return (
        sum(votes) / len(votes) if votes else _NEUTRAL_VOTE,
        sum(ratings) / len(ratings) if ratings else _NEUTRAL_RATING,
    )


def _prompt(tale: RecordedTale) -> str:
    return tale.inputs if isinstance(tale.inputs, str) else json.dumps(tale.inputs, ensure_ascii=False, sort_keys=True)


def _pair(prompt: str, chosen: str, rejected: str, by: str, chosen_id: str, rejected_id: str) -> dict[str, Any]:
    pair = {"prompt": prompt, "chosen": chosen, "rejected": rejected, "by": by}
    return {**pair, "chosen_id": chosen_id, "rejected_id": rejected_id}


def _feedback_row(feedback: Feedback, text: str) -> dict[str, Any]:
    row = feedback.model_dump(mode="json", exclude={"unparsed"})
    spans = [{**span.model_dump(), "quote": text[span.start : span.end]} for span in feedback.spans or ()]
    # Parquet has no columns of mappings with names that nobody knows beforehand.
    notes = {key: [f"{name}: {note}" for name, note in row[key].items()] for key in ("rationales", "other")}
    return {**row, **notes, "categories": list(feedback.categories or ()), "spans": spans, "text": text}
