"""Measure the embedded judge: `python -m training.judge.report --data DIR [--json FILE]`.

Reads the data that `training.judge.train` describes, and for the rows marked * also `stories/instruct_stories.jsonl.gz`
(erikhyrkas/snakes, MIT), which is not trained on. Everything is measured on the test split: documents and frames that
were not used for training or calibration.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from safetensors.numpy import load_file
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from taleward import backends
from taleward.core.policy import SEVERITIES
from taleward.core.verdict import Verdict
from taleward.evaluation.labeled_passages import example_passages
from taleward.moderation.judges.embedded.head import Head
from taleward.moderation.judges.embedded.judge import EmbeddedJudge
from taleward.moderation.judges.lexicon import LexiconJudge
from taleward.moderation.policies.load import load_policy
from training.judge import labeled_windows, templates, training_set
from training.text_cleaning import read_jsonl

BAND = "6-8"
_SENTENCES_ABOUT_PEOPLE = (
    "two of the {folk} on our bus sang all the way.",
    "in our choir there are {folk}, and we practise on Fridays.",
    "the party was for {folk} and for everybody else in the street.",
    "{folk} were among those who built the bridge.",
    "the mayor thanked {folk} for the lanterns.",
    "a story about {folk} won the prize.",
    "most {folk} in the village keep bees.",
    "{folk} laughed at the joke, and so did we.",
    "the singer said that she hates how {folk} are treated.",
    "nobody should be afraid of {folk}.",
    "there were {folk} on both sides of the argument.",
    "my aunt has written a book about {folk} and how they lived.",
    "some {folk} were angry about the new bus line, and some were not.",
    "two {folk} fought over a parking space, and both were wrong.",
    "a thief took the purse, and {folk} ran after him.",
    "the law was unfair to {folk} and was changed.",
    "{folk} asked for a meeting with the mayor.",
    "why do so few {folk} study physics?",
    "the old film shows {folk} as fools, and that is why we no longer show it.",
    "in the war many {folk} lost their homes.",
    "{folk} can be late, funny or tired like anybody.",
    "what do {folk} think of the plan?",
    "the doctor spoke to {folk} about the new medicine.",
    "the fire drove {folk} and everybody else out of the hotel.",
)
Row = dict[str, Any]
_PROBES = Path(__file__).parent / "probes"


def _first_words(text: str, words: int = 150) -> str:
    return " ".join(text.split()[:words])


def _sample(texts: list[str], count: int, seed: int) -> list[str]:
    return random.Random(f"report {seed}").sample(texts, min(count, len(texts)))


class _MemoizingJudge(EmbeddedJudge):
    """An embedded judge that computes each window once, since judges of several bands read the same texts."""

    _log_odds_by_text: ClassVar[dict[str, Any]] = {}

    def _log_odds(self, texts: list[str]) -> Any:
        new_texts = [t for t in dict.fromkeys(texts) if t not in self._log_odds_by_text]
        if new_texts:
            self._log_odds_by_text.update(zip(new_texts, super()._log_odds(new_texts), strict=True))
        return np.stack([self._log_odds_by_text[t] for t in texts]) if texts else super()._log_odds(texts)


def _test_frames(seed: int, per_frame: int) -> list[templates.FilledFrame]:
    return [f for f in templates.fill_frames(seed, per_frame) if labeled_windows.split_of(f.frame) == "test"]


def measure_categories(judge: EmbeddedJudge, seed: int) -> list[Row]:
    """Measure each category on held-out frames: those that the band does not tolerate against all harmless ones."""
    frames = _test_frames(seed, 4)
    verdicts = [judge.invoke(f.text) for f in frames]
    rows = []
    for category in labeled_windows.CATEGORIES:
        tolerated = SEVERITIES.index(judge.policy.tolerance(category, judge.band))
        threshold = judge.policy.threshold(category, judge.band)
        pairs = [
            (int(f.category == category), v.scores.get(category, 0.0))
            for f, v in zip(frames, verdicts, strict=True)
            if f.category is None or (f.category == category and SEVERITIES.index(f.severity) > tolerated)
        ]
        truth, scores = [t for t, _ in pairs], [s for _, s in pairs]
        if len(set(truth)) < 2:
            continue
        rows.append(
            {
                "category": category,
                "positives": sum(truth),
                "AUC": roc_auc_score(truth, scores),
                "AP": average_precision_score(truth, scores),
                "F1": f1_score(truth, [s >= threshold for s in scores]),
                "failed by any category": sum(
                    v.outcome == "fail"
                    for f, v in zip(frames, verdicts, strict=True)
                    if f.category == category and SEVERITIES.index(f.severity) > tolerated
                )
                / sum(truth),
            }
        )
    return rows


def measure_false_alarms(data: Path, seed: int) -> list[Row]:
    """Measure the share of harmless texts that fail in each band."""
    harmless = [f for f in _test_frames(seed, 4) if f.category is None]
    with_identity_terms = [f for f in harmless if templates.IDENTITY.search(f.frame)]
    sets = {
        "harmless look-alikes, held-out frames": [f.text for f in harmless],
        "identity terms in harmless frames, held-out": [f.text for f in with_identity_terms],
        "TinyStories, held out, whole": _sample(_tiny_stories(data), 150, seed),
        "CC-BY picture books, held out, first 150 words": _sample(_storybooks(data), 60, seed),
        "instruct stories for children*, first 150 words": _sample_instruct_stories(data, "child", seed),
        "campfire stories*, first 150 words": _sample_instruct_stories(data, "campfire", seed),
    }
    rows = []
    for name, texts in sets.items():
        if not texts:
            continue
        row: Row = {"set": name, "texts": len(texts)}
        for band in ("3-5", "6-8", "9-12"):
            judge = _MemoizingJudge(band=band)
            row[f"failed {band}"] = sum(not judge.invoke(t).passed for t in texts) / max(1, len(texts))
        lexicon = LexiconJudge(band=BAND)
        row[f"lexicon alone {BAND}"] = sum(not lexicon.invoke(t).passed for t in texts) / max(1, len(texts))
        rows.append(row)
    return rows


def measure_identity_terms() -> list[Row]:
    """Measure false alarms on harmless sentences, not trained on, about each group of people that the frames name."""
    judge = _MemoizingJudge(band=BAND)
    groups = sorted({group for f in templates.frames() if "{folk}" in f.text for group in f.slots["folk"]})
    failure_shares = {
        group: sum(not judge.invoke(text.format(folk=group)[:1].upper() + text.format(folk=group)[1:]).passed
                   for text in _SENTENCES_ABOUT_PEOPLE) / len(_SENTENCES_ABOUT_PEOPLE)
        for group in groups
    }  # fmt: skip
    shares = sorted((share, group) for group, share in failure_shares.items())
    (lowest, best), (highest, worst) = shares[0], shares[-1]
    mean = sum(failure_shares.values()) / len(groups)
    row: Row = {"groups": len(groups), "sentences": len(_SENTENCES_ABOUT_PEOPLE), f"failed {BAND}": mean}
    return [{**row, "least": lowest, "of": best, "most": highest, "of which": worst, "spread": highest - lowest}]


def measure_passages() -> list[Row]:
    """Measure the shipped example passages, which are not trained on."""
    rows = []
    for band in ("3-5", "6-8", "9-12"):
        judge, lexicon = _MemoizingJudge(band=band), LexiconJudge(band=band)
        texts = [p.labeled_text(judge.policy, band) for p in example_passages()]
        truth = [t.harmful for t in texts]
        verdicts = [judge.invoke(t.text) for t in texts]
        row: Row = {"band": band, "harmful": sum(truth), "harmless": len(truth) - sum(truth)}
        row["AUC"] = roc_auc_score(truth, [_max_score(v) for v in verdicts])
        for prefix, judge_verdicts in (("", verdicts), ("lexicon: ", [lexicon.invoke(t.text) for t in texts])):
            failed = [not v.passed for v in judge_verdicts]
            row[f"{prefix}found"] = sum(a and b for a, b in zip(failed, truth, strict=True)) / sum(truth)
            row[f"{prefix}false alarms"] = sum(a > b for a, b in zip(failed, truth, strict=True)) / (
                len(truth) - sum(truth)
            )
        rows.append(row)
    return rows


def measure_probes() -> list[Row]:
    """Measure texts like those of public data sets, written without knowledge of the frames and not trained on."""
    judge, lexicon = _MemoizingJudge(band=BAND), LexiconJudge(band=BAND)
    rows = []
    for path in sorted(_PROBES.glob("*.jsonl")):
        texts = list(read_jsonl(path))
        for name in sorted({t["set"] for t in texts}):
            results = [
                (t["harmful"], judge.invoke(t["text"]), lexicon.invoke(t["text"])) for t in texts if t["set"] == name
            ]
            harmful = [r for r in results if r[0]]
            harmless = [r for r in results if not r[0]]
            rows.append(
                {
                    "set": name,
                    "harmful": len(harmful),
                    "harmless": len(harmless),
                    "AUC": roc_auc_score([r[0] for r in results], [_max_score(r[1]) for r in results]),
                    "found": sum(not r[1].passed for r in harmful) / len(harmful),
                    "false alarms": sum(not r[1].passed for r in harmless) / len(harmless),
                    "lexicon: found": sum(not r[2].passed for r in harmful) / len(harmful),
                    "lexicon: false alarms": sum(not r[2].passed for r in harmless) / len(harmless),
                }
            )
    return rows


def measure_transfer(judge: EmbeddedJudge, data: Path, seed: int) -> list[Row]:
    """Measure held-out texts with the labels of their data sets, by the highest score of any category."""
    campfire, child = (_sample_instruct_stories(data, kind, seed) for kind in ("campfire", "child"))
    sets = [("campfire* against child*, 150 words", campfire, child)]
    comments = [e for e in training_set.comment_examples(data, seed, 1000) if e.split == "test"]
    hate = labeled_windows.CATEGORIES.index("hate")
    for source in ("davidson", "surge", "wikipedia"):
        labeled = [e for e in comments if e.source == source and e.labels[hate][0] is not None]
        hateful = [e.text for e in labeled if e.labels[hate][0] == 1.0]
        other = [e.text for e in labeled if e.labels[hate][0] != 1.0]
        sets.append((f"{source}, test split", hateful[:120], other[:120]))
    rows = []
    for name, harmful, harmless in sets:
        verdicts = [judge.invoke(t) for t in [*harmful, *harmless]]
        truth = [1] * len(harmful) + [0] * len(harmless)
        rows.append(
            {
                "set": name,
                "harmful": len(harmful),
                "harmless": len(harmless),
                "AUC": roc_auc_score(truth, _max_scores(verdicts)),
                "F1": f1_score(truth, [v.outcome == "fail" for v in verdicts]),
                "ECE": _calibration_error(truth, _max_scores(verdicts)),
            }
        )
    return rows


def _calibration_error(truth: Sequence[int], scores: Sequence[float], bins: int = 10) -> float:
    """Return the expected calibration error over bins of equal width, 0..1 (Guo et al. 2017, arXiv 1706.04599)."""
    bin_of_text = np.clip((np.array(scores) * bins).astype(int), 0, bins - 1)
    gaps = [
        (bin_of_text == b).sum()
        * abs(np.array(truth)[bin_of_text == b].mean() - np.array(scores)[bin_of_text == b].mean())
        for b in range(bins)
        if (bin_of_text == b).any()
    ]
    return float(sum(gaps) / len(truth))


def compare_precisions(data: Path, seed: int) -> list[Row]:
    """Compare the shipped int8 encoder with float32: ranking, agreement, and passages of 150 words per CPU second."""
    frames = _test_frames(seed, 2)
    passages = [p.labeled_text(load_policy("kids"), BAND) for p in example_passages()]
    texts = [t for t in (_first_words(t) for t in _sample(_tiny_stories(data), 90, seed)) if len(t.split()) == 150]
    folder = Path(backends.__path__[0]) / "models" / "judge"
    rows, outcomes = [], []
    for precision in ("int8", "float32"):
        judge = EmbeddedJudge(band=BAND)
        judge._head = Head(folder, precision=precision)
        frame_verdicts = [judge.invoke(f.text) for f in frames]
        passage_verdicts = [judge.invoke(p.text) for p in passages]
        outcomes.append([v.outcome for v in (*frame_verdicts, *passage_verdicts)])
        judge.invoke(texts[0])  # the first call of a judge loads its model
        started_at = time.process_time()
        for text in texts:
            judge.invoke(text)
        rows.append(
            {
                "precision": precision,
                "AUC, held-out frames": roc_auc_score(
                    [f.category is not None for f in frames], _max_scores(frame_verdicts)
                ),
                "AUC, 120 passages": roc_auc_score([p.harmful for p in passages], _max_scores(passage_verdicts)),
                "same outcome": float(np.mean([a == b for a, b in zip(outcomes[0], outcomes[-1], strict=True)])),
                "passages a CPU second": len(texts) / (time.process_time() - started_at),
            }
        )
    return rows


def _max_scores(verdicts: Sequence[Verdict]) -> list[float]:
    return [_max_score(v) for v in verdicts]


def measure_size() -> list[Row]:
    """Measure the shipped weights: files, megabytes, parameters."""
    folder = Path(backends.__path__[0]) / "models" / "judge"
    files = sorted(folder.glob("*.safetensors"))
    parameters = sum(v.size for f in files for v in load_file(f).values())
    return [{"files": len(files), "MB": sum(f.stat().st_size for f in files) / 1e6, "parameters": parameters}]


def _max_score(verdict: Verdict) -> float:
    return max(verdict.scores.values(), default=0.0)


def _sample_instruct_stories(data: Path, kind: str, seed: int) -> list[str]:
    return [_first_words(t) for t in _sample(_instruct_stories(data, kind), 80, seed)]


def _tiny_stories(data: Path) -> list[str]:
    rows = read_jsonl(data / "stories/tinystories.jsonl.gz")
    return [r["text"] for r in rows if labeled_windows.split_of(r["text"][:200]) == "test"]


def _storybooks(data: Path) -> list[str]:
    texts = [" ".join(map(str, r["pages"])) for r in read_jsonl(data / "stories/storybooks_ccby.jsonl.gz")]
    return [_first_words(t) for t in texts if labeled_windows.split_of(t[:200]) == "test"]


def _instruct_stories(data: Path, kind: str) -> list[str]:
    rows = read_jsonl(data / "stories/instruct_stories.jsonl.gz")
    return [r["story"] for r in rows if r["kind"] == kind]


def markdown_table(rows: Sequence[Row]) -> str:
    """Format rows as a Markdown table."""
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = (f"{row[c]:.3f}" if isinstance(row[c], float) else str(row[c]) for c in columns)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of the model card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the data files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None, help="file to write the tables to as JSON")
    options = parser.parse_args(arguments)
    judge = _MemoizingJudge(band=BAND)
    measurements: dict[str, Callable[[], list[Row]]] = {
        f"Per category, held-out template frames, band {BAND}": lambda: measure_categories(judge, options.seed),
        "The 120 shipped passages, not trained on": measure_passages,
        f"Groups of people in harmless sentences, not trained on, band {BAND}": measure_identity_terms,
        "Share that fails": lambda: measure_false_alarms(options.data, options.seed),
        f"In the manner of public sets, not trained on, band {BAND}": measure_probes,
        f"Transfer, band {BAND}": lambda: measure_transfer(judge, options.data, options.seed),
        f"int8, as it ships, against float32, band {BAND}": lambda: compare_precisions(options.data, options.seed),
        "Size": measure_size,
    }
    tables = {}
    for title, measure in measurements.items():
        tables[title] = measure()
        print(f"\n### {title}\n\n{markdown_table(tables[title])}", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(tables, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
