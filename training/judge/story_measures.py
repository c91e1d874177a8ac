"""Measures of whole stories: good ones that are turned down, pairs of which one does not suit, passages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sklearn.metrics import roc_auc_score

from taleward.evaluation.datasets import load_dataset
from taleward.evaluation.example_passages import example_passages
from training.corpus.reader import BANDS, load_pairs, load_passages, load_stories
from training.judge.judge_scores import (
    Row,
    calibration_error,
    embedded_judge,
    failed,
    lexicon_judge,
    scores,
    share,
)
from training.judge.labeled_windows import split_of
from training.judge.probes_reader import load_probe_pairs, load_probe_stories
from training.text_cleaning import read_jsonl

_HELD_OUT = "the corpus, held out"


class _Pair(NamedTuple):
    set: str
    band: str
    category: str
    keyword: bool
    text: str
    twin: str


def good_stories(data: Path) -> list[Row]:
    """Measure the share of good stories that are turned down in the band that they are written for."""
    sets: dict[str, list[tuple[str, str]]] = {}
    for probe in load_probe_stories():
        sets.setdefault(f"{probe.set}, by an author who saw no other", []).append((probe.band, probe.text))
    sets[_HELD_OUT] = [(story.band, story.whole) for story in load_stories(held_out=True)]
    for set_, texts in (
        ("the shipped references", [r for sample in load_dataset("stories") for r in sample.references]),
        ("picture books, first 150 words", list(picture_books(data))),
    ):
        sets[set_] = [(band, text) for band in BANDS for text in texts]
    rows = []
    for name, stories in sets.items():
        row: Row = {"set": name}
        for band in BANDS:
            texts = [text for story_band, text in stories if story_band == band]
            row[f"{band}: texts"] = len(texts)
            row[f"{band}: failed"] = share(failed(texts, band))
            row[f"{band}: lexicon"] = share([not lexicon_judge(band).invoke(text).passed for text in texts])
        rows.append(row)
    return rows


def picture_books(data: Path) -> Iterator[str]:
    """Yield the first 150 words of the picture books of the test split."""
    for row in read_jsonl(data / "stories/storybooks_ccby.jsonl.gz"):
        text = " ".join(map(str, row["pages"]))
        if split_of(text[:200]) == "test":
            yield " ".join(text.split()[:150])


def _pairs() -> dict[str, list[_Pair]]:
    sets: dict[str, list[_Pair]] = {}
    for probe in load_probe_pairs():
        sets.setdefault(probe.set, []).append(
            _Pair(probe.set, probe.band, probe.category, probe.keyword, probe.text, probe.twin)
        )
    sets[_HELD_OUT] = [
        _Pair(_HELD_OUT, p.band, p.category, p.keyword, p.text, p.twin) for p in load_pairs(held_out=True)
    ]
    return sets


def _outcomes(pairs: Sequence[_Pair]) -> tuple[list[bool], list[bool], list[bool]]:
    """Return for each pair whether the text passes, whether the twin fails, and whether the twin scores higher."""
    passes = [not failed([p.text], p.band)[0] for p in pairs]
    fails = [failed([p.twin], p.band)[0] for p in pairs]
    ranked = [scores([p.twin], p.band)[0] > scores([p.text], p.band)[0] for p in pairs]
    return passes, fails, ranked


def _figures(pairs: Sequence[_Pair]) -> Row:
    passes, fails, ranked = _outcomes(pairs)
    both = [a and b for a, b in zip(passes, fails, strict=True)]
    return {
        "pairs": len(pairs),
        "both right": share(both),
        "both right, no keyword": share([b for b, p in zip(both, pairs, strict=True) if not p.keyword]),
        "ranked right": share(ranked),
        "text passes": share(passes),
        "twin fails": share(fails),
    }


def pairs() -> list[Row]:
    """Measure pairs by set and band: both right, ranked right, and the calibration of the scores."""
    rows = []
    for name, of_set in _pairs().items():
        for band in (*BANDS, "all"):
            chosen = [p for p in of_set if band in (p.band, "all")]
            truth = [False] * len(chosen) + [True] * len(chosen)
            values = [scores([p.text], p.band)[0] for p in chosen] + [scores([p.twin], p.band)[0] for p in chosen]
            rows.append({"set": name, "band": band} | _figures(chosen) | {"ECE": calibration_error(truth, values)})
    return rows


def pairs_by_category() -> list[Row]:
    """Measure the pairs of all sets by category."""
    every = [pair for of_set in _pairs().values() for pair in of_set]
    names = sorted({p.category for p in every})
    return [{"category": name} | _figures([p for p in every if p.category == name]) for name in names]


def stories_in_every_band() -> list[Row]:
    """Measure how many stories written for a band are turned down in each band: the bands mean different things."""
    rows = []
    for written_for in BANDS:
        texts = [s.whole for s in load_stories(held_out=True) if s.band == written_for]
        texts += [s.text for s in load_probe_stories() if s.band == written_for]
        rows.append(
            {"written for": written_for, "stories": len(texts)}
            | {f"failed {band}": share(failed(texts, band)) for band in BANDS}
        )
    return rows


def corpus_passages() -> list[Row]:
    """Measure the held-out passages of the written corpus."""
    passages = load_passages(held_out=True)
    return [
        _passage_row(band, [p.text for p in passages], [p.labels[band] == "fail" for p in passages]) for band in BANDS
    ]


def shipped_passages() -> list[Row]:
    """Measure the example passages that ship with Taleward."""
    rows = []
    for band in BANDS:
        labeled = [p.labeled_text(embedded_judge(band).policy, band) for p in example_passages()]
        rows.append(_passage_row(band, [t.text for t in labeled], [t.harmful for t in labeled]))
    return rows


def _passage_row(band: str, texts: Sequence[str], harmful: Sequence[bool]) -> Row:
    fails = failed(texts, band)
    listed = [not lexicon_judge(band).invoke(text).passed for text in texts]
    row: Row = {"band": band, "harmful": sum(harmful), "harmless": len(harmful) - sum(harmful)}
    row["AUC"] = float(roc_auc_score(harmful, scores(texts, band)))
    for prefix, outcome in (("", fails), ("lexicon: ", listed)):
        row[f"{prefix}found"] = share([f for f, h in zip(outcome, harmful, strict=True) if h])
        row[f"{prefix}false alarms"] = share([f for f, h in zip(outcome, harmful, strict=True) if not h])
    return row
