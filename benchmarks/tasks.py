"""The tutorial's tasks: summaries, labels without examples, labels with a few, and many labels at once.

`--data FOLDER` names a folder with `story_summaries.jsonl.gz` (`story`, `summary`) and `instruct_stories.jsonl.gz`
(`kind`, `story`); without it the rows on stories are left out. The first 150 stories of a kind, and the summaries 200
to 400 in the drawn order, are what defaults were chosen on; no figure is taken from them. `--quick` takes fewer.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.table import Row, run
from taleward.chains.classification.few_shot import FewShotClassifier
from taleward.chains.classification.zero_shot import ZeroShotClassifier
from taleward.chains.summarization.summarizer import Summarizer
from taleward.chains.task import LabelTask
from taleward.core.frozen_model import FrozenDict
from taleward.moderation.text.sentences import sentences
from taleward.stores.caches.embeddings import CachedEmbeddings

KINDS = LabelTask(
    name="story-kind",
    version="1",
    description="What kind of text a story is.",
    question="What kind of text is it?",
    noun="text",
    answer="kind",
    labels=FrozenDict(
        {
            "child": "a story for small children, with a happy end",
            "campfire": "a spooky story told around a campfire at night",
            "scene": "a scene of a film, a sitcom or a podcast: speakers and what they say, with sound effects",
            "food": "an article about a dish, its history and ingredients",
        }
    ),
)
_TUNED = 150
_SHOTS = 8
_PRAISE = ("delicious", "lovely", "warm", "fresh", "friendly", "perfect", "generous", "charming")
_BLAME = ("cold", "awful", "rude", "stale", "dirty", "terrible", "slow", "overpriced")
_THINGS = ("soup", "waiter", "bread", "service", "fish", "table", "cake", "music")


def measure(data: Path | None, quick: bool) -> Iterator[Row]:
    """All rows."""
    yield from at_once(quick)
    yield from storyteller(quick)
    if data is not None:
        yield from summaries(data, 30 if quick else 200)
        yield from kinds(data, 15 if quick else 150, 2 if quick else 5)


def at_once(quick: bool) -> Iterator[Row]:
    """256 texts and four labels through a tiny NLI model, against the Hugging Face pipeline called one by one."""
    from transformers import pipeline

    texts, labels = _reviews(256)[0], list(KINDS.labels)
    with tempfile.TemporaryDirectory() as folder:
        _save_nli(Path(folder))
        ours = ZeroShotClassifier(f"hf:{folder}", labels)
        pipe = pipeline("zero-shot-classification", model=folder, device="cpu")
        found = ours.batch(texts)  # warm, both
        theirs = [pipe(text, candidate_labels=labels) for text in texts]
        gap = max(
            abs(one.scores[label] - score)
            for one, two in zip(found, theirs, strict=True)
            for label, score in zip(two["labels"], two["scores"], strict=True)
        )
        batched, single = [], []
        for _ in range(2 if quick else 7):
            batched.append(_seconds(lambda: ours.batch(texts)))
            single.append(_seconds(lambda: [pipe(text, candidate_labels=labels) for text in texts]))
    us, them = len(texts) / statistics.median(batched), len(texts) / statistics.median(single)
    peer = "Hugging Face pipeline, one by one"
    ratio = us / them
    yield Row(
        "zero-shot by NLI, 256 reviews, 4 labels", "texts/s", us, them, peer, ratio, "at least 5 times", ratio >= 5
    )
    yield Row("the same: largest difference of a score", "", gap, goal="<= 0.0001", met=gap <= 1e-4)


def storyteller(quick: bool) -> Iterator[Row]:
    """Few-shot reviews with the embedded storyteller, which is no classifier, and with embeddings."""
    texts, truth = _reviews(20 if quick else 120)
    peer = "free text, read strictly"

    def asked(model: str, **options: Any) -> tuple[float, float]:
        found = FewShotClassifier(model, task="sentiment", **options).batch(texts)
        right = sum(one.label == label for one, label in zip(found, truth, strict=True))
        return sum(one.outcome == "label" for one in found) / len(texts), right / len(texts)

    free, _ = asked("embedded:storyteller", by="text")
    held, written = asked("embedded:storyteller", by="constrained")
    read, fair = asked("embedded:storyteller")
    _, biased = asked("embedded:storyteller", calibrate=False)
    _, alike = asked("embedded:minilm")
    yield Row(
        "few-shot, storyteller: constrained answers that parse", "share", held, free, peer, goal="1", met=held == 1
    )
    yield Row("few-shot, storyteller: log-probabilities, answers", "share", read, goal="1", met=read == 1)
    yield Row("few-shot, storyteller: accuracy, constrained", "share", written, 0.5, "chance", written / 0.5)
    yield Row("few-shot, storyteller: accuracy, calibrated", "share", fair, biased, "not calibrated", fair / biased)
    yield Row("few-shot, embedded:minilm: accuracy", "share", alike, 0.5, "chance", alike / 0.5)


def summaries(data: Path, count: int) -> Iterator[Row]:
    """Extractive summaries of held-out stories against their first sentences."""
    from rouge_score.rouge_scorer import RougeScorer

    rows = _read(data / "story_summaries.jsonl.gz")
    random.Random(0).shuffle(rows)
    rows = rows[:count]
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    found = Summarizer().batch([row["story"] for row in rows], {"max_concurrency": 2})
    length = {"lead-3": 0, "lead of as many words": 0}
    scores: dict[str, list[float]] = {"ours": [], **{name: [] for name in length}}
    for row, ours in zip(rows, found, strict=True):
        leads = {"lead-3": _lead(row["story"]), "lead of as many words": _lead(row["story"], len(ours.text.split()))}
        for name, text in {"ours": ours.text, **leads}.items():
            scores[name].append(scorer.score(row["summary"], text)["rougeL"].fmeasure)
            if name in length:
                length[name] += len(text.split())
    us = np.array(scores["ours"])
    words = sum(len(one.text.split()) for one in found) / count
    for name, total in length.items():
        them = np.array(scores[name])
        ratio, least = us.mean() / them.mean(), _interval(us - them)[0]
        peer = f"{name}, {total / count:.0f} words, {_told(them)}"
        goal = ("at least lead-3", ratio >= 1) if name == "lead-3" else ("", True)
        metric = f"extractive, {count} stories, {words:.0f} words: ROUGE-L, {_told(us)}"
        yield Row(metric, "F", float(us.mean()), float(them.mean()), peer, float(ratio), goal[0], bool(goal[1]))
        yield Row(f"the same, lower end of the difference from {name}", "F", least)


def kinds(data: Path, count: int, draws: int) -> Iterator[Row]:
    """Kinds of stories without examples and with eight of each, on stories that nothing was chosen on."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    by: dict[str, list[str]] = {kind: [] for kind in KINDS.labels}
    for row in _read(data / "instruct_stories.jsonl.gz"):
        if row["kind"] in by:
            by[row["kind"]].append(row["story"])
    for mine in by.values():
        random.Random(0).shuffle(mine)
    texts = [text for mine in by.values() for text in mine[_TUNED : _TUNED + count]]
    truth = np.array([kind for kind in by for _ in range(count)])

    def right(labels: Sequence[Any]) -> Any:
        return np.array(labels) == truth

    words = CachedEmbeddings("embedded:minilm", Path(tempfile.mkdtemp(), "vectors.db"))  # draws share texts
    none = right([one.label for one in ZeroShotClassifier(words, task=KINDS).batch(texts)])
    few, lexical = [], []
    for seed in range(draws):
        chance = random.Random(seed)
        shots = [(text, kind) for kind, mine in by.items() for text in chance.sample(mine[:_TUNED], _SHOTS)]
        few.append(
            right([one.label for one in FewShotClassifier(words, task=KINDS, examples=shots).batch(texts)]).mean()
        )
        vectors = TfidfVectorizer(sublinear_tf=True).fit([text for text, _ in shots])
        fitted = LogisticRegression(C=10, max_iter=1000).fit(
            vectors.transform([text for text, _ in shots]), [kind for _, kind in shots]
        )
        lexical.append(right(fitted.predict(vectors.transform(texts))).mean())
    zero, shot, peer = none.mean(), statistics.mean(few), statistics.mean(lexical)
    named = f"zero-shot by embeddings, {len(texts)} stories of 4 kinds: accuracy, {_told(none)}"
    major = 1 / len(by)
    yield Row(named, "share", zero, major, "majority", zero / major, "at least the majority", zero >= major)
    against = f"TF-IDF and logistic regression, {_SHOTS} examples a class"
    yield Row("the same", "share", zero, peer, against, zero / peer)
    yield Row(f"few-shot by embeddings, {_SHOTS} examples a class: accuracy", "share", shot, peer, against, shot / peer)


def _read(file: Path) -> list[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _lead(story: str, words: int | None = None) -> str:
    """The first three sentences; or the first words, whatever sentence they end in."""
    if words is not None:
        return " ".join(story.split()[:words])
    return " ".join([sentence.strip() for sentence in sentences(story) if sentence.strip()][:3])


def _interval(values: Any) -> tuple[float, float]:
    """95 % by resampling."""
    chance = np.random.default_rng(0)
    means = chance.choice(np.asarray(values, dtype=float), (2000, len(values))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _told(values: Any) -> str:
    low, high = _interval(values)
    return f"95 % {low:.3f} to {high:.3f}"


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _reviews(count: int) -> tuple[list[str], list[str]]:
    """Short reviews of known sentiment."""
    chance = random.Random(0)
    texts, truth = [], []
    for number in range(count):
        words = _BLAME if number % 2 else _PRAISE
        one, two = chance.sample(_THINGS, 2)
        texts.append(f"The {one} was {chance.choice(words)}, and the {two} was {chance.choice(words)}.")
        truth.append("negative" if number % 2 else "positive")
    return texts, truth


def _save_nli(folder: Path) -> None:
    """A tiny BERT for NLI with random weights, and the tokenizer of the embedded encoder."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    from taleward.backends.onnx.minilm import model_folder

    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    labels = ("contradiction", "neutral", "entailment")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.2,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--data", type=Path, help="a folder with story_summaries and instruct_stories, .jsonl.gz")
    chosen = options.parse_known_args()[0].data
    run("tasks", lambda quick: measure(chosen, quick), options)
