"""What people said, as data for other work: a labelled set, preference pairs, all of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from taleward.core.errors import InvalidFile, MissingExtra
from taleward.evaluation.feedback.feedback import Feedback
from taleward.evaluation.feedback.store import FeedbackStore, RecordedTale


def labeled_rows(store: FeedbackStore) -> list[dict[str, Any]]:
    """A row for each tale that people judged, as `load_labeled` reads it with the category column `categories`.

    A tale is harmful where as many people or more say so than not. Its categories are those that any of them named.
    """
    rows = []
    for tale, said in store.tales():
        votes = [f.kid_friendly for f in said if f.kid_friendly is not None]
        if not votes or not tale.text:
            continue
        harmful = 2 * sum(votes) <= len(votes)
        named = dict.fromkeys(c for f in said if f.kid_friendly is False for c in _categories(f))
        rows.append(
            {
                "text": tale.text,
                "label": harmful,
                "categories": list(named) if harmful else [],
                "tale_id": tale.id,
                "band": tale.band,
                "people": len(votes),
                "kid_friendly": sum(votes),
            }
        )
    return rows


def preference_pairs(store: FeedbackStore) -> list[dict[str, Any]]:
    """Pairs of texts for the same prompt, one better than the other, as trainers read them.

    `by` says who preferred it: `people`, of two tales from the same inputs, by kid-friendly and then by mean rating; or
    `judge`, of a tale that people found kid-friendly and a draft of it that the judge had turned down.
    """
    pairs = []
    groups: dict[str, list[tuple[RecordedTale, tuple[float, float]]]] = {}
    for tale, said in store.tales():
        score = _score(said)
        if score is None or not tale.text:
            continue
        groups.setdefault(_prompt(tale), []).append((tale, score))
        if tale.released and score[0] > 0.5:
            for draft, verdict in tale.drafts:
                if draft and verdict.outcome == "fail":
                    pairs.append(_pair(_prompt(tale), tale.text, draft, "judge", tale.id, tale.id))
    for prompt, group in groups.items():
        for (one, above), (other, below) in combinations(group, 2):
            if above != below and one.text != other.text:
                better, worse = (one, other) if above > below else (other, one)
                pairs.append(_pair(prompt, better.text, worse.text, "people", better.id, worse.id))
    return pairs


def feedback_rows(store: FeedbackStore) -> list[dict[str, Any]]:
    """What each person says of each tale, plain, with the tale's text."""
    return [_plain(f, tale.text) for tale, said in store.tales() for f in said]


EXPORTS = {"all": feedback_rows, "labelled": labeled_rows, "pairs": preference_pairs}
"""What can be exported, by name."""


def write_rows(rows: Iterable[Mapping[str, Any]], path: Path) -> int:
    """Write rows to a `.jsonl` or a `.parquet` file; how many.

    Raises:
        InvalidFile: The file ends in something else.
        MissingExtra: Parquet needs the extra `stores`.
    """
    held = [dict(row) for row in rows]
    match path.suffix:
        case ".jsonl":
            path.write_text("".join(_line(row) for row in held), encoding="utf-8")
        case ".parquet":
            try:
                import pyarrow
                from pyarrow import parquet
            except ImportError as error:
                raise MissingExtra("writing Parquet", "stores") from error
            parquet.write_table(pyarrow.Table.from_pylist(held), path)
        case other:
            raise InvalidFile(f"{path} ends in {other!r}; taken: .jsonl, .parquet.")
    return len(held)


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _categories(feedback: Feedback) -> Iterator[str]:
    yield from feedback.categories or ()
    yield from (span.category for span in feedback.spans or () if span.category)


def _score(said: Iterable[Feedback]) -> tuple[float, float] | None:
    """The share of people who find it kid-friendly, and the mean rating; `None` where nobody said either."""
    votes = [float(f.kid_friendly) for f in said if f.kid_friendly is not None]
    ratings = [f.rating for f in said if f.rating is not None]
    if not votes and not ratings:
        return None
    return (sum(votes) / len(votes) if votes else 0.5, sum(ratings) / len(ratings) if ratings else 3.0)


def _prompt(tale: RecordedTale) -> str:
    return tale.inputs if isinstance(tale.inputs, str) else json.dumps(tale.inputs, ensure_ascii=False, sort_keys=True)


def _pair(prompt: str, chosen: str, rejected: str, by: str, chosen_id: str, rejected_id: str) -> dict[str, Any]:
    pair = {"prompt": prompt, "chosen": chosen, "rejected": rejected, "by": by}
    return {**pair, "chosen_id": chosen_id, "rejected_id": rejected_id}


def _plain(feedback: Feedback, text: str) -> dict[str, Any]:
    row = feedback.model_dump(mode="json", exclude={"unread"})
    spans = [{**s.model_dump(), "quote": text[s.start : s.end]} for s in feedback.spans or ()]
    return {**row, "categories": list(feedback.categories or ()), "spans": spans, "text": text}
