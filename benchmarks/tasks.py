"""Summaries, and zero-shot and few-shot labels: `python -m benchmarks.tasks [--data FOLDER]`.

`--data` is a folder with `story_summaries.jsonl.gz` (fields `story`, `summary`) and `instruct_stories.jsonl.gz` (fields
`kind`, `story`); without it, the rows on stories are left out. Defaults were chosen on the first 150 stories of each
kind and on the summaries 200 to 400 in shuffled order; no figure is taken from those.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.table import Row, Size, is_installed, pick, run
from taleward.chains.classification.few_shot import FewShotClassifier
from taleward.chains.classification.zero_shot import ZeroShotClassifier
from taleward.chains.summarization.summarizer import Summarizer
from taleward.chains.task_definitions import LabelTask
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
_USED_FOR_TUNING = 150
_EXAMPLES_PER_KIND = 8
_POSITIVE = ("delicious", "lovely", "warm", "fresh", "friendly", "perfect", "generous", "charming")
_NEGATIVE = ("cold", "awful", "rude", "stale", "dirty", "terrible", "slow", "overpriced")
_SUBJECTS = ("soup", "waiter", "bread", "service", "fish", "table", "cake", "music")


def measure(size: Size, data: Path | None) -> Iterator[Row]:
    """Yield all rows."""
    yield from batches(size)
    yield from few_shot_reviews(size)
    if data is not None:
        yield from summaries(data, pick(size, full=200, quick=30, smoke=2))
        yield from kinds(data, size)


def batches(size: Size) -> Iterator[Row]:
    """256 texts and four labels through a tiny NLI model, against the Hugging Face pipeline called one by one."""
    from transformers import pipeline

    count = pick(size, full=256, quick=256, smoke=2)
    texts, labels = _reviews(count)[0], list(KINDS.labels)
    with tempfile.TemporaryDirectory() as folder:
        _save_nli(Path(folder))
        ours = ZeroShotClassifier(f"hf:{folder}", labels)
        peer = pipeline("zero-shot-classification", model=folder, device="cpu")
        results = ours.batch(texts)  # also the warm-up of both
        peer_results = [peer(text, candidate_labels=labels) for text in texts]
        difference = max(
            abs(result.scores[label] - score)
            for result, peer_result in zip(results, peer_results, strict=True)
            for label, score in zip(peer_result["labels"], peer_result["scores"], strict=True)
        )
        durations_s, peer_durations_s = [], []
        for _ in range(pick(size, full=7, quick=2, smoke=1)):
            durations_s.append(_seconds(lambda: ours.batch(texts)))
            peer_durations_s.append(_seconds(lambda: [peer(text, candidate_labels=labels) for text in texts]))
    speed, peer_speed = count / statistics.median(durations_s), count / statistics.median(peer_durations_s)
    ratio = speed / peer_speed
    metric, name = f"zero-shot by NLI, {count} reviews, 4 labels", "Hugging Face pipeline, one by one"
    yield Row(metric, "texts/s", speed, peer_speed, name, ratio, "at least 5 times", ratio >= 5)
    yield Row("the same: largest difference of a score", "", difference, goal="<= 0.0001", met=difference <= 1e-4)


def few_shot_reviews(size: Size) -> Iterator[Row]:
    """Few-shot reviews with the small storyteller, which is no classifier, and with embeddings."""
    texts, labels = _reviews(pick(size, full=120, quick=20, smoke=2))

    def classify(model: str, **options: Any) -> tuple[float, float]:
        """Return the share of texts with a label, and the accuracy."""
        results = FewShotClassifier(model, task="sentiment", **options).batch(texts)
        correct = sum(result.label == label for result, label in zip(results, labels, strict=True))
        return sum(result.outcome == "label" for result in results) / len(texts), correct / len(texts)

    free_text, _ = classify("embedded:storyteller-mini", by="text")
    constrained, constrained_accuracy = classify("embedded:storyteller-mini", by="constrained")
    logprobs, calibrated = classify("embedded:storyteller-mini")
    _, uncalibrated = classify("embedded:storyteller-mini", calibrate=False)
    _, embeddings_accuracy = classify("embedded:minilm")
    prefix = "few-shot, storyteller:"
    metric, name = f"{prefix} constrained answers that parse", "free text, parsed strictly"
    yield Row(metric, "share", constrained, free_text, name, goal="1", met=constrained == 1)
    yield Row(f"{prefix} labels from log-probabilities", "share", logprobs, goal="1", met=logprobs == 1)
    metric = f"{prefix} accuracy, constrained"
    yield Row(metric, "share", constrained_accuracy, 0.5, "chance", constrained_accuracy / 0.5)
    ratio = calibrated / uncalibrated if uncalibrated else None
    yield Row(f"{prefix} accuracy, calibrated", "share", calibrated, uncalibrated, "not calibrated", ratio)
    metric = "few-shot, embedded:minilm: accuracy"
    yield Row(metric, "share", embeddings_accuracy, 0.5, "chance", embeddings_accuracy / 0.5)


def summaries(data: Path, count: int) -> Iterator[Row]:
    """Extractive summaries of held-out stories, against the stories' first sentences."""
    if not is_installed("rouge_score", "rouge-score"):
        return
    from rouge_score.rouge_scorer import RougeScorer

    rows = _read_rows(data / "story_summaries.jsonl.gz")
    random.Random(0).shuffle(rows)
    rows = rows[:count]
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    results = Summarizer().batch([row["story"] for row in rows], {"max_concurrency": 2})
    peer_words = {"lead-3": 0, "lead of as many words": 0}
    scores: dict[str, list[float]] = {"ours": [], **{name: [] for name in peer_words}}
    for row, result in zip(rows, results, strict=True):
        leads = {
            "lead-3": _first_sentences(row["story"]),
            "lead of as many words": _first_words(row["story"], len(result.text.split())),
        }
        for name, text in {"ours": result.text, **leads}.items():
            scores[name].append(scorer.score(row["summary"], text)["rougeL"].fmeasure)
            if name in peer_words:
                peer_words[name] += len(text.split())
    ours = np.array(scores["ours"])
    words = sum(len(result.text.split()) for result in results) / len(rows)
    for name, total_words in peer_words.items():
        peer = np.array(scores[name])
        ratio, low = ours.mean() / peer.mean(), _interval(ours - peer)[0]
        peer_name = f"{name}, {total_words / len(rows):.0f} words, {_format_interval(peer)}"
        goal, met = ("at least lead-3", ratio >= 1) if name == "lead-3" else ("", True)
        metric = f"extractive, {len(rows)} stories, {words:.0f} words: ROUGE-L, {_format_interval(ours)}"
        yield Row(metric, "F", float(ours.mean()), float(peer.mean()), peer_name, float(ratio), goal, bool(met))
        yield Row(f"the same, lower end of the difference from {name}", "F", low)


def kinds(data: Path, size: Size) -> Iterator[Row]:
    """Kinds of stories, zero-shot and with eight examples of each, on stories that were not used for tuning."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    count = pick(size, full=150, quick=15, smoke=1)
    tuning, examples_per_kind = pick(
        size,
        full=(_USED_FOR_TUNING, _EXAMPLES_PER_KIND),
        quick=(_USED_FOR_TUNING, _EXAMPLES_PER_KIND),
        smoke=(1, 1),
    )
    stories: dict[str, list[str]] = {kind: [] for kind in KINDS.labels}
    for row in _read_rows(data / "instruct_stories.jsonl.gz"):
        if row["kind"] in stories:
            stories[row["kind"]].append(row["story"])
    for texts_of_kind in stories.values():
        random.Random(0).shuffle(texts_of_kind)
    texts = [text for texts_of_kind in stories.values() for text in texts_of_kind[tuning : tuning + count]]
    truth = np.array([kind for kind in stories for _ in range(count)])

    def correct(labels: Sequence[Any]) -> Any:
        return np.array(labels) == truth

    with tempfile.TemporaryDirectory() as folder:
        embeddings = CachedEmbeddings("embedded:minilm", Path(folder, "vectors.db"))
        zero_shot = ZeroShotClassifier(embeddings, task=KINDS)
        zero_shot_correct = correct([result.label for result in zero_shot.batch(texts)])
        few_shot_accuracies, tfidf_accuracies = [], []
        for seed in range(pick(size, full=5, quick=2, smoke=1)):
            rng = random.Random(seed)
            examples = [
                (text, kind)
                for kind, texts_of_kind in stories.items()
                for text in rng.sample(texts_of_kind[:tuning], examples_per_kind)
            ]
            few_shot = FewShotClassifier(embeddings, task=KINDS, examples=examples)
            few_shot_accuracies.append(correct([result.label for result in few_shot.batch(texts)]).mean())
            vectorizer = TfidfVectorizer(sublinear_tf=True).fit([text for text, _ in examples])
            regression = LogisticRegression(C=10, max_iter=1000).fit(
                vectorizer.transform([text for text, _ in examples]), [kind for _, kind in examples]
            )
            tfidf_accuracies.append(correct(regression.predict(vectorizer.transform(texts))).mean())
    zero, few, tfidf = zero_shot_correct.mean(), statistics.mean(few_shot_accuracies), statistics.mean(tfidf_accuracies)
    interval = _format_interval(zero_shot_correct)
    metric = f"zero-shot by embeddings, {len(texts)} stories of 4 kinds: accuracy, {interval}"
    majority = 1 / len(stories)
    goal, met = "at least the majority", zero >= majority
    yield Row(metric, "share", zero, majority, "majority", zero / majority, goal, met)
    name = f"TF-IDF and logistic regression, {examples_per_kind} examples per class"
    yield Row("the same", "share", zero, tfidf, name, zero / tfidf if tfidf else None)
    metric = f"few-shot by embeddings, {examples_per_kind} examples per class: accuracy"
    yield Row(metric, "share", few, tfidf, name, few / tfidf if tfidf else None)


def _read_rows(file: Path) -> list[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _first_sentences(story: str, count: int = 3) -> str:
    return " ".join([sentence.strip() for sentence in sentences(story) if sentence.strip()][:count])


def _first_words(story: str, count: int) -> str:
    return " ".join(story.split()[:count])


def _interval(values: Any) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean."""
    rng = np.random.default_rng(0)
    means = rng.choice(np.asarray(values, dtype=float), (2000, len(values))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _format_interval(values: Any) -> str:
    low, high = _interval(values)
    return f"95 % {low:.3f} to {high:.3f}"


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _reviews(count: int) -> tuple[list[str], list[str]]:
    """Return short reviews and their sentiment."""
    rng = random.Random(0)
    texts, labels = [], []
    for number in range(count):
        adjectives = _NEGATIVE if number % 2 else _POSITIVE
        first, second = rng.sample(_SUBJECTS, 2)
        texts.append(f"The {first} was {rng.choice(adjectives)}, and the {second} was {rng.choice(adjectives)}.")
        labels.append("negative" if number % 2 else "positive")
    return texts, labels


def _save_nli(folder: Path) -> None:
    """Save a tiny BERT for NLI with random weights, and the tokenizer of the embedded encoder."""
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--data", type=Path, help="a folder with story_summaries and instruct_stories, .jsonl.gz")
    options, _ = parser.parse_known_args(arguments)
    return run("tasks", lambda size: measure(size, options.data), arguments, parser)


if __name__ == "__main__":
    sys.exit(main())
