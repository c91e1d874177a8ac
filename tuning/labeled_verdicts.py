"""People's verdicts on texts as labels to tune a judge on: from a file, from recorded feedback, and in folds."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from taleward.core.errors import ConfigurationError
from taleward.core.policy import Policy
from taleward.core.record_files import parse_records, read_content
from taleward.core.redaction import redact
from taleward.evaluation.feedback.consent import NoConsent, feedback_for_training
from taleward.evaluation.feedback.export import labeled_row
from taleward.evaluation.feedback.mlflow_store import FeedbackStore
from taleward.moderation.calibration.labeled_texts import Columns, LabeledData, LabeledText, load_labeled
from taleward.tuning.feedback_rows import SKIP_REASONS

MIN_PER_LABEL = 10
"""The fewest harmful and the fewest harmless texts of a band that it is tuned on."""
_CATEGORIES, _BAND = "categories", "band"


def load_verdicts(source: LabeledData | str | Path, policy: Policy, columns: Columns | None = None) -> LabeledData:
    """Load labeled texts; the columns `categories` and `band`, which exports of feedback have, are read if present.

    Args:
        source: Labeled texts, which are returned unchanged, or a file of them.
        policy: The policy whose categories may be named.
        columns: The names of the columns, if they are others.

    Raises:
        InvalidFile: If the file cannot be read or has invalid rows.
    """
    if isinstance(source, LabeledData):
        return source
    path = Path(source)
    columns = columns or Columns()
    _, first = next(parse_records(path, read_content(path, "the labeled file"), "the labeled file"), (0, {}))
    names = first if isinstance(first, dict) else {}
    columns = replace(
        columns,
        category=columns.category or (_CATEGORIES if _CATEGORIES in names else None),
        band=columns.band or (_BAND if _BAND in names else None),
    )
    return load_labeled(path, columns, known=tuple(policy.categories))


class FeedbackVerdicts(NamedTuple):
    """People's verdicts on recorded tales.

    Attributes:
        data: The tales as labeled texts, each with its band.
        skipped: The number of tales that have answers and may not be used for training, by reason.
    """

    data: LabeledData
    skipped: Mapping[NoConsent, int]


def verdicts_from_feedback(store: FeedbackStore, tales: Collection[str] | None = None) -> FeedbackVerdicts:
    """Return the recorded tales that people have answered "is it kid-friendly?" about, if they may be trained on.

    Args:
        store: The feedback.
        tales: The ids of the tales; `None` for all.

    Raises:
        ConfigurationError: If there are none.
    """
    rows: list[dict[str, Any]] = []
    skipped: Counter[NoConsent] = Counter()
    for tale, feedback in store.tales():
        if labeled_row(tale, feedback) is None or (tales is not None and tale.id not in tales):
            continue
        given, reason = feedback_for_training(feedback)
        row = labeled_row(tale, given)
        if row is not None:
            rows.append(row)
        else:
            skipped[reason or "no_consent"] += 1
    if not rows:
        without = "".join(f"; {count} may not be used, {SKIP_REASONS[reason]}" for reason, count in skipped.items())
        raise ConfigurationError(
            f"nobody has said about a tale in {redact(store.tracking_uri)}, for training, whether it is kid-friendly"
            f"{without}.",
            hint="Ask people with `taleward review push`, or answer yourself with `taleward feedback --for-training`.",
        )
    content = json.dumps(rows, ensure_ascii=False, sort_keys=True).encode()
    texts = tuple(LabeledText(r["text"], r["label"], tuple(r["categories"]), r["band"]) for r in rows)
    return FeedbackVerdicts(LabeledData("feedback", hashlib.sha256(content).hexdigest(), texts), dict(skipped))


def verdict_rows(data: LabeledData) -> list[dict[str, Any]]:
    """Return labeled texts as rows of a file, which `load_verdicts` reads."""
    return [
        {"text": row.text, "label": row.harmful, "categories": list(row.categories), "band": row.band}
        for row in data.rows
    ]


def texts_by_band(data: LabeledData, policy: Policy, band: str) -> list[LabeledText]:
    """Return the texts, each with its band.

    Args:
        data: The labeled texts.
        policy: The policy whose bands they name.
        band: The band of texts that name none.

    Raises:
        UnknownName: If the policy has no such band.
    """
    texts = [replace(text, band=text.band or band) for text in data.rows]
    for name in sorted({text.band for text in texts} | {band}):
        policy.band(name)
    return texts


def bands_with_enough(texts: Sequence[LabeledText]) -> tuple[list[str], list[str]]:
    """Return the bands with enough texts of both labels, and a note for each other one.

    Raises:
        ConfigurationError: If there is no band with enough.
    """
    counts = Counter((text.band, text.harmful) for text in texts)
    enough, notes = [], []
    for band in sorted({text.band for text in texts}, key=lambda name: (len(name), name)):
        harmful, harmless = counts[band, True], counts[band, False]
        if min(harmful, harmless) >= MIN_PER_LABEL:
            enough.append(band)
        else:
            notes.append(
                f"{band} is left out: {harmful} harmful and {harmless} harmless texts, {MIN_PER_LABEL} of each needed"
            )
    if not enough:
        raise ConfigurationError(
            f"there are too few labels to tune a judge: {'; '.join(notes) or 'no texts at all'}.",
            hint="Let people label more texts: `taleward review push` picks those that teach most.",
        )
    return enough, notes


def split_into_folds(texts: Sequence[LabeledText], count: int, seed: int) -> Iterator[tuple[list[int], list[int]]]:
    """Yield, for each fold, the indexes of the texts outside of it and in it.

    Labels and bands are spread evenly; texts that are equal are in the same fold, so that none is measured by a judge
    that was tuned on it.

    Args:
        texts: The texts.
        count: The number of folds.
        seed: Seed of the order.
    """
    import numpy as np

    groups: dict[str, list[int]] = {}
    for index, text in enumerate(texts):
        groups.setdefault(text.text.strip(), []).append(index)
    members = list(groups.values())
    shuffled = [members[n] for n in np.random.default_rng(seed).permutation(len(members))]
    shuffled.sort(key=lambda group: (texts[group[0]].band, texts[group[0]].harmful))
    for fold in range(count):
        inside = sorted(index for group in shuffled[fold::count] for index in group)
        rest = set(range(len(texts))) - set(inside)
        yield sorted(rest), inside
