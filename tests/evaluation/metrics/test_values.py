"""The metrics against the libraries whose numbers they are to give, and on texts that are missing or empty."""

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
    chance = random.Random(seed)

    def text() -> str:
        return " ".join(chance.choice([*WORDS, "\n"]) for _ in range(chance.randint(3, 60))).strip() or "fox"

    return [Sample(id=str(n), output=text(), references=(text(),)) for n in range(count)]


def value(name: str, samples: list[Sample], **options: Any) -> float | None:
    return metric(name, **options).score(samples, resamples=10).value


def test_bleu_and_chrf_are_sacrebleus() -> None:
    samples = pairs(60)
    outputs, references = [s.output for s in samples], [[s.references[0] for s in samples]]
    assert value("bleu", samples) == pytest.approx(sacrebleu.corpus_bleu(outputs, references).score, abs=1e-9)
    assert value("chrf", samples) == pytest.approx(sacrebleu.corpus_chrf(outputs, references).score, abs=1e-9)


@pytest.mark.parametrize("kind", ["rouge1", "rouge2", "rougeL", "rougeLsum"])
def test_rouge_is_that_of_rouge_score(kind: str) -> None:
    samples = pairs(60, seed=1)
    found = metric(kind)
    rows = found.measure(samples)
    scorer = rouge_scorer.RougeScorer([kind], use_stemmer=dict(found.options).get("stemmer", False) is True)
    theirs = [scorer.score(s.references[0], s.output)[kind].fmeasure for s in samples]
    ours = [found.sample_value(row) for row in rows]
    assert ours == pytest.approx(theirs, abs=1e-9)
    assert value(kind, samples) == pytest.approx(float(np.mean(theirs)), abs=1e-9)


def test_classification_and_agreement_are_sklearns() -> None:
    chance = random.Random(2)
    labels = [chance.choice("abc") for _ in range(200)]
    guesses = [label if chance.random() < 0.6 else chance.choice("abc") for label in labels]
    pair = [
        Sample(id=str(n), output="x", label=a, prediction=b)
        for n, (a, b) in enumerate(zip(labels, guesses, strict=True))
    ]
    macro = {"average": "macro", "zero_division": 0}
    for name, theirs in {
        "accuracy": sklearn_metrics.accuracy_score(labels, guesses),
        "precision": sklearn_metrics.precision_score(labels, guesses, **macro),
        "recall": sklearn_metrics.recall_score(labels, guesses, **macro),
        "f1": sklearn_metrics.f1_score(labels, guesses, **macro),
        "kappa": sklearn_metrics.cohen_kappa_score(labels, guesses),
    }.items():
        options = {} if name == "accuracy" else {"labels": ["a", "b", "c"]}
        assert value(name, pair, **options) == pytest.approx(theirs, abs=1e-9), name


def test_alpha_is_krippendorffs() -> None:
    # The data of Krippendorff, "Computing Krippendorff's alpha-reliability" (2011): four people, twelve units.
    people = ("123321412***", "1233224125*3", "*3332342251*", "12332441251*")
    samples = [
        Sample(id=str(unit), ratings={str(n): said[unit] for n, said in enumerate(people) if said[unit] != "*"})
        for unit in range(12)
    ]
    for level, alpha in (("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)):
        assert value("alpha", samples, labels=list("12345"), level=level) == pytest.approx(alpha, abs=5e-4)


def test_variety_is_that_of_its_definition() -> None:
    texts = ["the cat sat on the mat", "the cat ran off", "a dog ran off the mat", ""]
    samples = [Sample(id=str(n), output=text) for n, text in enumerate(texts)]
    theirs = [sacrebleu.sentence_bleu(t, texts[:n] + texts[n + 1 :]).score for n, t in enumerate(texts)]
    assert value("self_bleu", samples) == pytest.approx(float(np.mean(theirs)), abs=1e-9)
    pairs = [pair for text in texts for pair in zip(text.split(), text.split()[1:], strict=False)]
    assert value("distinct_2", samples) == pytest.approx(len(set(pairs)) / len(pairs))
    assert value("repetition", [Sample(id="1", output="a b c d a b c d")]) == pytest.approx(1 / 5)


def test_perplexity_is_that_of_one_text_at_a_time() -> None:
    from taleward.backends.chat_models import chat_model

    texts = ["The fox ran to the sea.", "Once upon a time there was a girl named Lily. She was happy.", "A hen."]
    samples = [Sample(id=str(n), output=text) for n, text in enumerate(texts)]
    together = metric("perplexity", model="embedded:storyteller")
    loaded: Any = chat_model("embedded:storyteller")._loaded  # type: ignore[attr-defined]
    nats, count = 0.0, 0
    for text in texts:
        tokens = loaded.prompt([{"role": "assistant", "content": text}])
        for at in range(1, len(tokens)):
            logits, _ = loaded.step(tokens[:at])
            nats -= float(logits[tokens[at]] - np.logaddexp.reduce(logits.astype(np.float64)))
            count += 1
    assert together.score(samples, resamples=10).value == pytest.approx(np.exp(nats / count), rel=1e-4)


def test_a_missing_reference_is_an_error_and_names_the_sample() -> None:
    samples = [Sample(id="with", output="a fox", references=("a fox",)), Sample(id="without", output="a hen")]
    for name in ("bleu", "chrf", "rougeL"):
        with pytest.raises(TalewardError, match="without"):
            metric(name).score(samples)


def test_a_sample_that_is_left_out_has_no_value_of_its_own() -> None:
    samples = [Sample(id="1", output="a fox", references=("a fox",)), Sample(id="2", references=("a",), error="raised")]
    for name in METRICS:
        found = metric(name)
        if found.needs in (("output", "reference"), ("output",)):
            rows = found.measure(samples)
            assert found.sample_value(rows[1]) is None, name
        raised = Sample(
            id="3", inputs={"a": "b"}, references=("a",), label="pass", ratings={"a": "pass"}, error="raised"
        )
        assert found.score([raised]).value is None, name


def test_every_name_makes_a_metric_with_a_signature_of_its_own() -> None:
    made = {name: metric(name) for name in METRICS}
    assert len({found.signature for found in made.values()}) == len(made)
