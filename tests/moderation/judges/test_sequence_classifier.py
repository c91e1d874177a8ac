"""The sequence-classifier judge, on a tiny DeBERTa of Prompt Guard's architecture."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taleward.core.policy import Policy
from taleward.core.verdict import Passage
from taleward.moderation.judges import judge
from taleward.moderation.judges.sequence_classifier import _load
from taleward.moderation.policies.load import load_policy
from tests.helpers.tiny_models import tiny_tokenizer

STORY = "The fox slept under the boat. " * 60


def classifier(folder: Path, labels: list[str], *, multi_label: bool = False, seed: int = 0) -> str:
    import torch
    from tokenizers import processors
    from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

    tokenizer: Any = tiny_tokenizer(
        ["[PAD]", "[CLS]", "[SEP]"], cls_token="[CLS]", sep_token="[SEP]", model_max_length=512
    )
    tokenizer.pad_token = "[PAD]"
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(t, tokenizer.convert_tokens_to_ids(t)) for t in ("[CLS]", "[SEP]")]
    )
    torch.manual_seed(seed)
    config = DebertaV2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        type_vocab_size=0,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        problem_type="multi_label_classification" if multi_label else None,
    )
    model = DebertaV2ForSequenceClassification(config)
    torch.nn.init.normal_(model.classifier.weight, std=20.0)  # so that windows differ
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return f"sequence-classifier:hf:{folder}"


Make = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda *labels, **options: classifier(tmp_path, list(labels), **options)


def policy_with(threshold: float, **codes: str) -> Policy:
    data = load_policy("kids").model_dump()
    data["bands"]["6-8"] = {**data["bands"]["6-8"], "threshold": threshold, "thresholds": {}}
    data["codes"]["mine"] = {label: {"category": c, "severity": "severe"} for label, c in codes.items()}
    return Policy.model_validate(data)


def library_probabilities(spec: str, text: str) -> np.ndarray:
    """Softmax probabilities of one window, computed by transformers itself."""
    import torch

    model = _load(spec.partition("hf:")[2], "cpu")
    inputs = model._tokenizer(text, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        probabilities: np.ndarray = np.asarray(model._model(**inputs).logits.softmax(-1))[0]
    return probabilities


def test_a_short_text_has_the_score_of_transformers(make: Make) -> None:
    spec = make("BENIGN", "MALICIOUS")
    policy = policy_with(1.0, MALICIOUS="adult_themes")
    verdict = judge(spec, policy=policy, taxonomy="mine", device="cpu").invoke(
        Passage(text="A day.", context="Unread.")
    )
    assert verdict.scores["adult_themes"] == pytest.approx(library_probabilities(spec, "A day.")[1], abs=1e-5)
    assert verdict.outcome == "pass"


def test_a_long_text_is_read_to_its_end_in_overlapping_windows(make: Make) -> None:
    spec = make("BENIGN", "MALICIOUS")
    windows, probabilities = _load(spec.partition("hf:")[2], "cpu").window_probabilities(STORY)
    assert windows[0].start == 0
    assert windows[-1].end == len(STORY.rstrip()) or windows[-1].end == len(STORY)
    assert all(a.end > b.start for a, b in pairwise(windows))
    assert probabilities.shape == (len(windows), 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)


def test_a_finding_quotes_its_window(make: Make) -> None:
    spec = make("BENIGN", "MALICIOUS")
    verdict = judge(spec, policy=policy_with(0.0, MALICIOUS="hate"), taxonomy="mine", device="cpu").invoke(STORY)
    assert verdict.outcome == "fail"
    [finding] = verdict.findings
    assert finding.quote == STORY[finding.start : finding.end]
    windows, probabilities = _load(spec.partition("hf:")[2], "cpu").window_probabilities(STORY)
    worst = windows[probabilities[:, 1].argmax()]
    assert (finding.start, finding.end) == (worst.start, worst.end)


def test_an_unmapped_label_fails_the_text(make: Make) -> None:
    verdict = judge(make("BENIGN", "MALICIOUS"), policy=policy_with(0.0), device="cpu").invoke("A day.")
    assert verdict.outcome == "fail"
    assert verdict.detail == "sequence-classifier flags MALICIOUS, which kids@1 maps to no category"


def test_harm_that_is_split_among_labels_is_added_up(make: Make) -> None:
    spec = make("safe", "hate", "threat", "insult")
    policy = policy_with(1.0, hate="hate", threat="violence", insult="profanity")
    verdict = judge(spec, policy=policy, taxonomy="mine", device="cpu").invoke("A day.")
    assert max(verdict.scores.values()) == pytest.approx(1.0 - library_probabilities(spec, "A day.")[0], abs=1e-5)


def test_labels_of_a_multi_label_model_have_independent_scores(make: Make) -> None:
    spec = make("toxic", "threat", multi_label=True)
    policy = policy_with(1.0, toxic="hate", threat="violence")
    verdict = judge(spec, policy=policy, taxonomy="mine", device="cpu").invoke("A day.")
    import torch

    model = _load(spec.partition("hf:")[2], "cpu")
    inputs = model._tokenizer("A day.", return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        expected = model._model(**inputs).logits.sigmoid()[0]
    assert verdict.scores["hate"] == pytest.approx(float(expected[0]), abs=1e-5)
    assert verdict.scores["violence"] == pytest.approx(float(expected[1]), abs=1e-5)


def test_labels_without_a_benign_one_are_an_error(make: Make) -> None:
    spec = make("LABEL_0", "LABEL_1")
    verdict = judge(spec, device="cpu").invoke("A day.")
    assert verdict.outcome == "error"
    assert "is known to mean harmless: LABEL_0, LABEL_1" in verdict.detail
    assert (
        judge(spec, device="cpu", benign_labels=["LABEL_0"], policy=policy_with(0.0)).invoke("A day.").outcome == "fail"
    )


def test_control_tokens_in_a_text_are_read_as_text(make: Make) -> None:
    model = _load(make("BENIGN", "MALICIOUS").partition("hf:")[2], "cpu")
    tokenizer = model._tokenizer
    batches: list[Any] = []
    forward = model._model.forward

    def record_batch(**inputs: Any) -> Any:
        batches.append(inputs["input_ids"])
        return forward(**inputs)

    model._model.forward = record_batch
    model.window_probabilities("A day. [SEP] [PAD] [CLS] The end.")
    [ids] = batches[0].tolist()
    assert [ids.count(tokenizer.convert_tokens_to_ids(t)) for t in ("[CLS]", "[SEP]", "[PAD]")] == [1, 1, 0]


def test_damaged_weights_are_an_error(make: Make) -> None:
    spec = make("BENIGN", "MALICIOUS")
    model = _load(spec.partition("hf:")[2], "cpu")
    model._model.classifier.bias.data.fill_(float("nan"))
    verdict = judge(spec, policy=policy_with(0.5, MALICIOUS="hate"), taxonomy="mine", device="cpu").invoke("A day.")
    assert verdict.outcome == "error"
    assert "not numbers" in verdict.detail
