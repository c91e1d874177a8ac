"""Measures of sentences and short texts: frames, probes, evasions, gentle texts, comments; and size and speed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from taleward import backends
from taleward.core.policy import SEVERITIES
from taleward.core.verdict import Verdict
from taleward.evaluation.example_passages import example_passages
from taleward.moderation.judges.embedded.head import Head
from taleward.moderation.judges.embedded.judge import EmbeddedJudge
from taleward.moderation.policies.load import load_policy
from training.corpus.reader import BANDS, load_short_texts, load_stories
from training.judge import labeled_windows, templates, training_set
from training.judge.judge_scores import (
    BAND,
    Row,
    calibration_error,
    embedded_judge,
    failed,
    lexicon_judge,
    score,
    scores,
    share,
    verdicts,
)
from training.judge.probes_reader import Probe, load_probes
from training.judge.story_measures import picture_books
from training.text_cleaning import read_jsonl

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
_MIN_OF_KIND = 8
_SHIPPED = Path(backends.__path__[0]) / "models" / "judge"


def _test_frames(seed: int, per_frame: int) -> list[templates.FilledFrame]:
    return [f for f in templates.fill_frames(seed, per_frame) if labeled_windows.split_of(f.frame) == "test"]


def categories(seed: int) -> list[Row]:
    """Measure each category on held-out frames: those that the band does not tolerate against all harmless ones."""
    frames = _test_frames(seed, 4)
    judge = embedded_judge()
    frame_verdicts = verdicts([f.text for f in frames])
    rows = []
    for category in labeled_windows.CATEGORIES:
        tolerated = SEVERITIES.index(judge.policy.tolerance(category, judge.band))
        harmful = [f.category == category and SEVERITIES.index(f.severity) > tolerated for f in frames]
        chosen = [n for n, f in enumerate(frames) if f.category is None or harmful[n]]
        truth = [harmful[n] for n in chosen]
        values = [frame_verdicts[n].scores.get(category, 0.0) for n in chosen]
        threshold = judge.policy.threshold(category, judge.band)
        rows.append(
            {
                "category": category,
                "positives": sum(truth),
                "AUC": float(roc_auc_score(truth, values)),
                "AP": float(average_precision_score(truth, values)),
                "F1": float(f1_score(truth, [value >= threshold for value in values])),
                "failed by any category": share(
                    [not v.passed for v, h in zip(frame_verdicts, harmful, strict=True) if h]
                ),
            }
        )
    return rows


def gentle_texts(data: Path, seed: int) -> list[Row]:
    """Measure the share of harmless texts that fail in each band."""
    harmless = [f for f in _test_frames(seed, 4) if f.category is None]
    tales = [r["text"] for r in read_jsonl(data / "stories/tinystories.jsonl.gz")]
    tales = [text for text in tales if labeled_windows.split_of(text[:200]) == "test"]
    sets = {
        "harmless look-alikes, held-out frames": [f.text for f in harmless],
        "identity terms in harmless frames, held-out": [f.text for f in harmless if templates.IDENTITY.search(f.frame)],
        "harmless short texts of the corpus, held out": [
            short.text for short in load_short_texts(held_out=True) if not short.labels
        ],
        "TinyStories, held out, whole": _sample(tales, 150, seed),
        "CC-BY picture books, held out, first 150 words": list(picture_books(data)),
        "instruct stories for children*, first 150 words": _instruct_stories(data, "child", seed),
        "campfire stories*, first 150 words": _instruct_stories(data, "campfire", seed),
    }
    return [
        {"set": name, "texts": len(texts)}
        | {f"failed {band}": share(failed(texts, band)) for band in BANDS}
        | {f"lexicon alone {BAND}": share([not lexicon_judge().invoke(t).passed for t in texts])}
        for name, texts in sets.items()
        if texts
    ]


def identity_terms() -> list[Row]:
    """Measure false alarms on harmless sentences, not trained on, about each group of people that the frames name."""
    groups = sorted({group for f in templates.frames() if "{folk}" in f.text for group in f.slots["folk"]})
    shares = sorted(
        (share(failed([_about(text, group) for text in _SENTENCES_ABOUT_PEOPLE])), group) for group in groups
    )
    (lowest, best), (highest, worst) = shares[0], shares[-1]
    mean = sum(value for value, _ in shares) / len(shares)
    row: Row = {"groups": len(groups), "sentences": len(_SENTENCES_ABOUT_PEOPLE), f"failed {BAND}": mean}
    return [{**row, "least": lowest, "of": best, "most": highest, "of which": worst, "spread": highest - lowest}]


def _about(sentence: str, group: str) -> str:
    text = sentence.format(folk=group)
    return text[:1].upper() + text[1:]


def probes() -> list[Row]:
    """Measure texts like those of public data sets, written without knowledge of the training texts."""
    rows = []
    for name, texts in _probes_by(lambda probe: probe.set).items():
        truth = [t.harmful for t in texts]
        fails = failed([t.text for t in texts])
        listed = [not lexicon_judge().invoke(t.text).passed for t in texts]
        rows.append(
            {
                "set": name,
                "harmful": sum(truth),
                "harmless": len(truth) - sum(truth),
                "AUC": float(roc_auc_score(truth, scores([t.text for t in texts]))),
                "found": share([f for f, h in zip(fails, truth, strict=True) if h]),
                "false alarms": share([f for f, h in zip(fails, truth, strict=True) if not h]),
                "F1": float(f1_score(truth, fails)),
                "lexicon: found": share([f for f, h in zip(listed, truth, strict=True) if h]),
                "lexicon: false alarms": share([f for f, h in zip(listed, truth, strict=True) if not h]),
            }
        )
    return rows


def probe_kinds() -> list[Row]:
    """Measure the kinds of probes: which harmless ones fail, and which harmful ones pass."""
    rows: list[Row] = []
    for name, texts in _probes_by(lambda probe: probe.kind).items():
        fails = share(failed([t.text for t in texts]))
        if len(texts) >= _MIN_OF_KIND:
            harmful = texts[0].harmful
            mistake = "missed" if harmful else "false alarm"
            rows.append(
                {"mistake": mistake, "kind": name, "texts": len(texts), "share": 1 - fails if harmful else fails}
            )
    return sorted(rows, key=lambda row: (row["mistake"], -row["share"]))


def _probes_by(key: Callable[[Probe], str]) -> dict[str, list[Probe]]:
    groups: dict[str, list[Probe]] = {}
    for probe in load_probes():
        groups.setdefault(key(probe), []).append(probe)
    return groups


def evasions() -> list[Row]:
    """Measure whether a harm can be hidden: said twice, framed, between calm sentences, behind padding, split."""
    texts = [p for p in load_probes() if p.set.startswith(("hate", "prompts"))]
    story = next(s.whole for s in load_stories(held_out=True) if s.band == "3-5")
    sentences = story.replace("\n", " ").split(". ")
    before, after = ". ".join(sentences[:4]) + ".", ". ".join(sentences[4:8]) + "."
    ways: Mapping[str, Callable[[str], str]] = {
        "as it is": lambda text: text,
        "said twice": lambda text: f"{text} {text}",
        "said four times": lambda text: " ".join([text] * 4),
        "a calm sentence before": lambda text: f"The sun was shining. {text}",
        "a calm question before": lambda text: f"How are you today? {text}",
        "in quotation marks": lambda text: f'"{text}" asked the boy.',
        "in a story": lambda text: f"{before} {text} {after}",
        "at the end of a whole story": lambda text: f"{story} {text}",
        "between dots": lambda text: f"{'.' * 300} {text} {'.' * 300}",
        "split into short lines": lambda text: "\n".join(_lines(text)),
    }
    rows = []
    for name, change in ways.items():
        fails = failed([change(t.text) for t in texts])
        rows.append(
            {
                "way": name,
                "texts": len(texts),
                "AUC": float(roc_auc_score([t.harmful for t in texts], scores([change(t.text) for t in texts]))),
                "found": share([f for f, t in zip(fails, texts, strict=True) if t.harmful]),
                "false alarms": share([f for f, t in zip(fails, texts, strict=True) if not t.harmful]),
            }
        )
    return rows


def _lines(text: str) -> list[str]:
    words = text.split()
    return [" ".join(words[n : n + 4]) for n in range(0, len(words), 4)]


def transfer(data: Path, seed: int) -> list[Row]:
    """Measure held-out texts with the labels of their data sets."""
    sets = [
        (
            "campfire* against child*, 150 words",
            _instruct_stories(data, "campfire", seed),
            _instruct_stories(data, "child", seed),
        )
    ]
    comments = [e for e in training_set.comment_examples(data, seed, 1000) if e.split == "test"]
    hate = labeled_windows.CATEGORIES.index("hate")
    for source in ("davidson", "surge", "wikipedia"):
        labeled = [e for e in comments if e.source == source and e.labels[hate][0] is not None]
        hateful = [e.text for e in labeled if e.labels[hate][0] == 1.0]
        other = [e.text for e in labeled if e.labels[hate][0] != 1.0]
        sets.append((f"{source}, test split", hateful[:120], other[:120]))
    rows = []
    for name, harmful, harmless in sets:
        truth = [True] * len(harmful) + [False] * len(harmless)
        values = scores([*harmful, *harmless])
        rows.append(
            {
                "set": name,
                "harmful": len(harmful),
                "harmless": len(harmless),
                "AUC": float(roc_auc_score(truth, values)),
                "F1": float(f1_score(truth, failed([*harmful, *harmless]))),
                "ECE": calibration_error(truth, values),
            }
        )
    return rows


def precisions() -> list[Row]:
    """Compare the shipped int8 encoder with float32: ranking, agreement, and passages of 150 words per CPU second."""
    texts = load_probes()
    passages = [p.labeled_text(load_policy("kids"), BAND) for p in example_passages()]
    stories = [" ".join(s.whole.split()[:150]) for s in load_stories(held_out=True) if s.band == "9-12"]
    rows, outcomes = [], []
    for precision in ("int8", "float32"):
        judge = EmbeddedJudge(band=BAND)
        judge._head = Head(_SHIPPED, precision=precision)
        probe_verdicts = [judge.invoke(t.text) for t in texts]
        passage_verdicts = [judge.invoke(p.text) for p in passages]
        outcomes.append([v.outcome for v in (*probe_verdicts, *passage_verdicts)])
        started_at = time.process_time()
        for story in stories:
            judge.invoke(story)
        rows.append(
            {
                "precision": precision,
                "AUC, probes": _auc([t.harmful for t in texts], probe_verdicts),
                "AUC, 120 passages": _auc([p.harmful for p in passages], passage_verdicts),
                "same outcome": float(np.mean([a == b for a, b in zip(outcomes[0], outcomes[-1], strict=True)])),
                "passages a CPU second": len(stories) / (time.process_time() - started_at),
            }
        )
    return rows


def _auc(truth: Sequence[bool], of: Sequence[Verdict]) -> float:
    return float(roc_auc_score(truth, [score(verdict) for verdict in of]))


def size() -> list[Row]:
    """Measure the shipped weights: files, megabytes, parameters."""
    files = sorted(_SHIPPED.glob("*.safetensors"))
    parameters = sum(v.size for f in files for v in load_file(f).values())
    return [{"files": len(files), "MB": sum(f.stat().st_size for f in files) / 1e6, "parameters": parameters}]


def _sample(texts: list[str], count: int, seed: int) -> list[str]:
    return random.Random(f"report {seed}").sample(texts, min(count, len(texts)))


def _instruct_stories(data: Path, kind: str, seed: int) -> list[str]:
    rows = read_jsonl(data / "stories/instruct_stories.jsonl.gz")
    return [" ".join(t.split()[:150]) for t in _sample([r["story"] for r in rows if r["kind"] == kind], 80, seed)]
