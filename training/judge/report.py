"""How good the embedded judge is: `python -m training.judge.report --data DIR [--json FILE]`.

Reads the data that `training.judge.train` names, and for the rows marked * also `stories/instruct_stories.jsonl.gz`
(erikhyrkas/snakes, MIT), which is not trained on. Everything is measured on the test split: documents and frames that
took no part in training or calibration.
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
from training.corpora import read_jsonl
from training.judge import labeled_windows, templates, training_set

BAND = "6-8"
_ABOUT_PEOPLE = (
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


def _cut(text: str, words: int = 150) -> str:
    return " ".join(text.split()[:words])


def _sample(texts: list[str], count: int, seed: int) -> list[str]:
    return random.Random(f"report {seed}").sample(texts, min(count, len(texts)))


class _Remembering(EmbeddedJudge):
    """Judges of several bands read the same texts: each is encoded once."""

    _seen: ClassVar[dict[str, Any]] = {}

    def _log_odds(self, texts: list[str]) -> Any:
        new = [t for t in dict.fromkeys(texts) if t not in self._seen]
        if new:
            self._seen.update(zip(new, super()._log_odds(new), strict=True))
        return np.stack([self._seen[t] for t in texts]) if texts else super()._log_odds(texts)


def categories(judge: EmbeddedJudge, seed: int) -> list[Row]:
    """Per category: harmful held-out frames that the band does not tolerate, against all harmless ones."""
    held = [s for s in templates.sentences(seed, 4) if labeled_windows.split_of(s.frame) == "test"]
    verdicts = [judge.invoke(s.text) for s in held]
    rows = []
    for category in labeled_windows.CATEGORIES:
        tolerated = SEVERITIES.index(judge.policy.tolerance(category, judge.band))
        threshold = judge.policy.threshold(category, judge.band)
        used = [
            (int(s.category == category), v.scores.get(category, 0.0))
            for s, v in zip(held, verdicts, strict=True)
            if s.category is None or (s.category == category and SEVERITIES.index(s.severity) > tolerated)
        ]
        truth, scores = [u[0] for u in used], [u[1] for u in used]
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
                    for s, v in zip(held, verdicts, strict=True)
                    if s.category == category and SEVERITIES.index(s.severity) > tolerated
                )
                / sum(truth),
            }
        )
    return rows


def false_alarms(data: Path, seed: int) -> list[Row]:
    """Shares of harmless texts that fail, per band."""
    held = [s for s in templates.sentences(seed, 4) if labeled_windows.split_of(s.frame) == "test"]
    calm = [s for s in held if s.category is None]
    identity = [s for s in calm if templates.IDENTITY.search(s.frame)]
    sets = {
        "harmless look-alikes, held-out frames": [s.text for s in calm],
        "identity terms in harmless frames, held-out": [s.text for s in identity],
        "TinyStories, held out, whole": _sample(_tiny(data), 150, seed),
        "CC-BY picture books, held out, first 150 words": _sample(_storybooks(data), 60, seed),
        "instruct stories for children*, first 150 words": _cuts(data, "child", seed),
        "campfire stories*, first 150 words": _cuts(data, "campfire", seed),
    }
    rows = []
    for name, texts in sets.items():
        if not texts:
            continue
        row: Row = {"set": name, "texts": len(texts)}
        for band in ("3-5", "6-8", "9-12"):
            judge = _Remembering(band=band)
            row[f"failed {band}"] = sum(not judge.invoke(t).passed for t in texts) / max(1, len(texts))
        words = LexiconJudge(band=BAND)
        row[f"lexicon alone {BAND}"] = sum(not words.invoke(t).passed for t in texts) / max(1, len(texts))
        rows.append(row)
    return rows


def identity_terms() -> list[Row]:
    """Harmless sentences that no training saw, each about every one of the groups that the frames name."""
    judge = _Remembering(band=BAND)
    groups = sorted({group for f in templates.frames() if "{folk}" in f.text for group in f.slots["folk"]})
    failed = {
        group: sum(not judge.invoke(text.format(folk=group)[:1].upper() + text.format(folk=group)[1:]).passed
                   for text in _ABOUT_PEOPLE) / len(_ABOUT_PEOPLE)
        for group in groups
    }  # fmt: skip
    shares = sorted((share, group) for group, share in failed.items())
    (lowest, best), (highest, worst) = shares[0], shares[-1]
    mean = sum(failed.values()) / len(groups)
    row: Row = {"groups": len(groups), "sentences": len(_ABOUT_PEOPLE), f"failed {BAND}": mean}
    return [{**row, "least": lowest, "of": best, "most": highest, "of which": worst, "spread": highest - lowest}]


def passages() -> list[Row]:
    """The shipped passages, which were written to try judges on and never trained on."""
    rows = []
    for band in ("3-5", "6-8", "9-12"):
        judge, words = _Remembering(band=band), LexiconJudge(band=band)
        labelled = [p.labeled_text(judge.policy, band) for p in example_passages()]
        truth = [t.harmful for t in labelled]
        verdicts = [judge.invoke(t.text) for t in labelled]
        row: Row = {"band": band, "harmful": sum(truth), "harmless": len(truth) - sum(truth)}
        row["AUC"] = roc_auc_score(truth, [_worst(v) for v in verdicts])
        for name, found in (("", verdicts), ("lexicon: ", [words.invoke(t.text) for t in labelled])):
            fails = [not v.passed for v in found]
            row[f"{name}found"] = sum(a and b for a, b in zip(fails, truth, strict=True)) / sum(truth)
            row[f"{name}false alarms"] = sum(a > b for a, b in zip(fails, truth, strict=True)) / (
                len(truth) - sum(truth)
            )
        rows.append(row)
    return rows


def probes() -> list[Row]:
    """Texts in the manner of public sets, written by authors who saw no frame, and never trained on."""
    judge, words = _Remembering(band=BAND), LexiconJudge(band=BAND)
    rows = []
    for path in sorted(_PROBES.glob("*.jsonl")):
        texts = list(read_jsonl(path))
        for name in sorted({t["set"] for t in texts}):
            found = [
                (t["harmful"], judge.invoke(t["text"]), words.invoke(t["text"])) for t in texts if t["set"] == name
            ]
            harmful = [f for f in found if f[0]]
            harmless = [f for f in found if not f[0]]
            rows.append(
                {
                    "set": name,
                    "harmful": len(harmful),
                    "harmless": len(harmless),
                    "AUC": roc_auc_score([f[0] for f in found], [_worst(f[1]) for f in found]),
                    "found": sum(not f[1].passed for f in harmful) / len(harmful),
                    "false alarms": sum(not f[1].passed for f in harmless) / len(harmless),
                    "lexicon: found": sum(not f[2].passed for f in harmful) / len(harmful),
                    "lexicon: false alarms": sum(not f[2].passed for f in harmless) / len(harmless),
                }
            )
    return rows


def transfer(judge: EmbeddedJudge, data: Path, seed: int) -> list[Row]:
    """Ranking of held-out texts that people or sources have labelled, by the worst score of all categories."""
    campfire, child = (_cuts(data, kind, seed) for kind in ("campfire", "child"))
    sets = [("campfire* against child*, 150 words", campfire, child)]
    comments = [e for e in training_set.comments(data, seed, 1000) if e.split == "test"]
    hate = labeled_windows.CATEGORIES.index("hate")
    for source in ("davidson", "surge", "wikipedia"):
        sides: tuple[list[str], list[str]] = ([], [])
        for e in comments:
            if e.source == source and e.labels[hate][0] is not None:
                sides[0 if e.labels[hate][0] == 1.0 else 1].append(e.text)
        sets.append((f"{source}, test split", sides[0][:120], sides[1][:120]))
    rows = []
    for name, harmful, harmless in sets:
        verdicts = [judge.invoke(t) for t in [*harmful, *harmless]]
        truth = [1] * len(harmful) + [0] * len(harmless)
        rows.append(
            {
                "set": name,
                "harmful": len(harmful),
                "harmless": len(harmless),
                "AUC": roc_auc_score(truth, [_worst(v) for v in verdicts]),
                "F1": f1_score(truth, [v.outcome == "fail" for v in verdicts]),
                "ECE": _calibration_error(truth, [_worst(v) for v in verdicts]),
            }
        )
    return rows


def _calibration_error(truth: Sequence[int], scores: Sequence[float], bins: int = 10) -> float:
    """Expected calibration error (Guo et al. 2017, arXiv 1706.04599) over bins of equal width, 0..1."""
    at = np.clip((np.array(scores) * bins).astype(int), 0, bins - 1)
    gaps = [
        (at == b).sum() * abs(np.array(truth)[at == b].mean() - np.array(scores)[at == b].mean())
        for b in range(bins)
        if (at == b).any()
    ]
    return float(sum(gaps) / len(truth))


def precisions(data: Path, seed: int) -> list[Row]:
    """int8, as it ships, against float32: ranking, agreement, and passages of 150 words in a second of one core."""
    held = [s for s in templates.sentences(seed, 2) if labeled_windows.split_of(s.frame) == "test"]
    labelled = [p.labeled_text(load_policy("kids"), BAND) for p in example_passages()]
    texts = [t for t in (_cut(t) for t in _sample(_tiny(data), 90, seed)) if len(t.split()) == 150]
    folder = Path(backends.__path__[0]) / "models" / "judge"
    rows, outcomes = [], []
    for precision in ("int8", "float32"):
        judge = EmbeddedJudge(band=BAND)
        judge._head = Head(folder, precision=precision)
        on_frames = [judge.invoke(s.text) for s in held]
        on_passages = [judge.invoke(t.text) for t in labelled]
        outcomes.append([v.outcome for v in (*on_frames, *on_passages)])
        judge.invoke(texts[0])
        begun = time.process_time()
        for text in texts:
            judge.invoke(text)
        rows.append(
            {
                "precision": precision,
                "AUC, held-out frames": roc_auc_score([s.category is not None for s in held], _worsts(on_frames)),
                "AUC, 120 passages": roc_auc_score([t.harmful for t in labelled], _worsts(on_passages)),
                "same outcome": float(np.mean([a == b for a, b in zip(outcomes[0], outcomes[-1], strict=True)])),
                "passages a CPU second": len(texts) / (time.process_time() - begun),
            }
        )
    return rows


def _worsts(verdicts: Sequence[Verdict]) -> list[float]:
    return [_worst(v) for v in verdicts]


def size() -> list[Row]:
    """What ships: files, bytes, numbers."""
    folder = Path(backends.__path__[0]) / "models" / "judge"
    files = sorted(folder.glob("*.safetensors"))
    numbers = sum(v.size for f in files for v in load_file(f).values())
    return [{"files": len(files), "MB": sum(f.stat().st_size for f in files) / 1e6, "parameters": numbers}]


def _worst(verdict: Verdict) -> float:
    return max(verdict.scores.values(), default=0.0)


def _cuts(data: Path, kind: str, seed: int) -> list[str]:
    return [_cut(t) for t in _sample(_instruct(data, kind), 80, seed)]


def _tiny(data: Path) -> list[str]:
    rows = read_jsonl(data / "stories/tinystories.jsonl.gz")
    return [r["text"] for r in rows if labeled_windows.split_of(r["text"][:200]) == "test"]


def _storybooks(data: Path) -> list[str]:
    texts = [" ".join(map(str, r["pages"])) for r in read_jsonl(data / "stories/storybooks_ccby.jsonl.gz")]
    return [_cut(t) for t in texts if labeled_windows.split_of(t[:200]) == "test"]


def _instruct(data: Path, kind: str) -> list[str]:
    rows = read_jsonl(data / "stories/instruct_stories.jsonl.gz")
    return [r["story"] for r in rows if r["kind"] == kind]


def markdown(rows: Sequence[Row]) -> str:
    """Rows as a table."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = (f"{row[n]:.3f}" if isinstance(row[n], float) else str(row[n]) for n in names)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of the model card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args(arguments)
    judge = _Remembering(band=BAND)
    parts: dict[str, Callable[[], list[Row]]] = {
        f"Per category, held-out template frames, band {BAND}": lambda: categories(judge, options.seed),
        "The 120 shipped passages, not trained on": passages,
        f"Groups of people in harmless sentences, not trained on, band {BAND}": identity_terms,
        "Share that fails": lambda: false_alarms(options.data, options.seed),
        f"In the manner of public sets, not trained on, band {BAND}": probes,
        f"Transfer, band {BAND}": lambda: transfer(judge, options.data, options.seed),
        f"int8, as it ships, against float32, band {BAND}": lambda: precisions(options.data, options.seed),
        "Size": size,
    }
    tables = {}
    for title, measure in parts.items():
        tables[title] = measure()
        print(f"\n### {title}\n\n{markdown(tables[title])}", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(tables, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
