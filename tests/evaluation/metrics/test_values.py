"""Metrics against reference implementations, and on missing or empty texts."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import sacrebleu
from rouge_score import rouge_scorer
from sklearn import metrics as sklearn_metrics

from taleward.core.errors import TalewardError
from taleward.evaluation.metrics import METRICS, metric
from taleward.evaluation.sample import Sample

WORDS = (
    "the",
    "fox",
    "found",
    "lost",
    "running",
    "boats",
    "boat",
    "a",
    "night.",
    "moon!",
    "sang,",
    "it's",
    "12",
    "Hen",
)


def pairs(count: int, seed: int = 0) -> list[Sample]:
    rng = random.Random(seed)

    def text() -> str:
        return " ".join(rng.choice([*WORDS, "\n"]) for _ in range(rng.randint(3, 60))).strip() or "fox"

    return [Sample(id=str(n), output=text(), references=(text(),)) for n in range(count)]


def value(name: str, samples: list[Sample], **options: Any) -> float | None:
    return metric(name, **options).score(samples, resamples=10).value


def test_bleu_and_chrf_equal_sacrebleu() -> None:
    samples = pairs(60)
    outputs, references = [s.output for s in samples], [[s.references[0] for s in samples]]
    assert value("bleu", samples) == pytest.approx(sacrebleu.corpus_bleu(outputs, references).score, abs=1e-9)
    assert value("chrf", samples) == pytest.approx(sacrebleu.corpus_chrf(outputs, references).score, abs=1e-9)


@pytest.mark.parametrize("kind", ["rouge1", "rouge2", "rougeL", "rougeLsum"])
def test_rouge_equals_rouge_score(kind: str) -> None:
    samples = pairs(60, seed=1)
    rouge = metric(kind)
    rows = rouge.measure(samples)
    scorer = rouge_scorer.RougeScorer([kind], use_stemmer=dict(rouge.options).get("stemmer", False) is True)
    expected = [scorer.score(s.references[0], s.output)[kind].fmeasure for s in samples]
    assert [rouge.sample_value(row) for row in rows] == pytest.approx(expected, abs=1e-9)
    assert value(kind, samples) == pytest.approx(float(np.mean(expected)), abs=1e-9)


def test_classification_and_kappa_equal_scikit_learn() -> None:
    rng = random.Random(2)
    labels = [rng.choice("abc") for _ in range(200)]
    predictions = [label if rng.random() < 0.6 else rng.choice("abc") for label in labels]
    samples = [
        Sample(id=str(n), output="x", label=label, prediction=prediction)
        for n, (label, prediction) in enumerate(zip(labels, predictions, strict=True))
    ]
    macro = {"average": "macro", "zero_division": 0}
    for name, expected in {
        "accuracy": sklearn_metrics.accuracy_score(labels, predictions),
        "precision": sklearn_metrics.precision_score(labels, predictions, **macro),
        "recall": sklearn_metrics.recall_score(labels, predictions, **macro),
        "f1": sklearn_metrics.f1_score(labels, predictions, **macro),
        "kappa": sklearn_metrics.cohen_kappa_score(labels, predictions),
    }.items():
        options = {} if name == "accuracy" else {"labels": ["a", "b", "c"]}
        assert value(name, samples, **options) == pytest.approx(expected, abs=1e-9), name


def test_alpha_equals_krippendorffs_example() -> None:
    # The data of Krippendorff, "Computing Krippendorff's alpha-reliability" (2011): four raters, twelve units.
    raters = ("123321412***", "1233224125*3", "*3332342251*", "12332441251*")
    samples = [
        Sample(id=str(unit), ratings={str(n): rater[unit] for n, rater in enumerate(raters) if rater[unit] != "*"})
        for unit in range(12)
    ]
    for level, alpha in (("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)):
        assert value("alpha", samples, labels=list("12345"), level=level) == pytest.approx(alpha, abs=5e-4)


def test_diversity_equals_its_definition() -> None:
    texts = ["the cat sat on the mat", "the cat ran off", "a dog ran off the mat", ""]
    samples = [Sample(id=str(n), output=text) for n, text in enumerate(texts)]
    expected = [sacrebleu.sentence_bleu(t, texts[:n] + texts[n + 1 :]).score for n, t in enumerate(texts)]
    assert value("self_bleu", samples) == pytest.approx(float(np.mean(expected)), abs=1e-9)
    bigrams = [bigram for text in texts for bigram in zip(text.split(), text.split()[1:], strict=False)]
    assert value("distinct_2", samples) == pytest.approx(len(set(bigrams)) / len(bigrams))
    assert value("repetition", [Sample(id="1", output="a b c d a b c d")]) == pytest.approx(1 / 5)


def test_perplexity_in_a_batch_equals_one_text_at_a_time() -> None:
    from taleward.backends.chat_models import chat_model

    texts = ["The fox ran to the sea.", "Once upon a time there was a girl named Lily. She was happy.", "A hen."]
    samples = [Sample(id=str(n), output=text) for n, text in enumerate(texts)]
    perplexity = metric("perplexity", model="embedded:storyteller-mini")
    loaded: Any = chat_model("embedded:storyteller-mini")._loaded  # type: ignore[attr-defined]
    nats, count = 0.0, 0
    for text in texts:
        tokens = loaded.prompt([{"role": "assistant", "content": text}])
        for index in range(1, len(tokens)):
            logits, _ = loaded.step(tokens[:index])
            nats -= float(logits[tokens[index]] - np.logaddexp.reduce(logits.astype(np.float64)))
            count += 1
    assert perplexity.score(samples, resamples=10).value == pytest.approx(np.exp(nats / count), rel=1e-4)


def test_a_missing_reference_is_an_error_that_names_the_sample() -> None:
    samples = [Sample(id="with", output="a fox", references=("a fox",)), Sample(id="without", output="a hen")]
    for name in ("bleu", "chrf", "rougeL"):
        with pytest.raises(TalewardError, match="without"):
            metric(name).score(samples)


def test_samples_that_are_left_out_have_no_value() -> None:
    samples = [Sample(id="1", output="a fox", references=("a fox",)), Sample(id="2", references=("a",), error="raised")]
    for name in METRICS:
        instance = metric(name)
        if instance.needs in (("output", "reference"), ("output",)):
            rows = instance.measure(samples)
            assert instance.sample_value(rows[1]) is None, name
        failed = Sample(
            id="3", inputs={"a": "b"}, references=("a",), label="pass", ratings={"a": "pass"}, error="raised"
        )
        assert instance.score([failed]).value is None, name


def test_every_metric_has_its_own_signature() -> None:
    assert len({metric(name).signature for name in METRICS}) == len(METRICS)
