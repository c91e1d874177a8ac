"""The shipped datasets hold what their README says."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import taleward
from taleward.core.policy import SEVERITIES
from taleward.evaluation.datasets import load_dataset
from taleward.evaluation.example_passages import example_passages, example_path
from taleward.evaluation.metrics import METRICS
from taleward.moderation.policies.load import load_policy

BANDS = ("3-5", "6-8", "9-12")


def test_the_documentation_names_every_metric() -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "evaluate.md"
    assert set(METRICS) <= set(re.findall(r"`(\w+)`", page.read_text()))


def test_stories_has_sixty_requests_with_two_references_each() -> None:
    stories = load_dataset("stories")
    template = taleward.load_template("adventure")
    assert len(stories) == 60
    for sample in stories:
        template.render(sample.inputs)
        assert len(sample.references) == 2
        assert all(80 <= len(text.split()) <= 160 for text in sample.references), sample.id


def test_passages_has_every_category_at_every_severity() -> None:
    passages = example_passages()
    assert len({p.id for p in passages}) == len(passages) == 120
    categories = load_policy("kids").categories
    counts = Counter((f.category, f.severity) for p in passages for f in p.findings)
    assert set(counts) == {(c, s) for c in categories for s in SEVERITIES if s != "none"}
    assert all(p.text[f.start : f.end] == f.quote for p in passages for f in p.findings)
    readme = example_path("passages").with_name("README.md").read_text()
    for category in categories:
        cells = " | ".join(str(counts[category, severity]) for severity in ("mild", "moderate", "severe"))
        assert f"| {category} | {cells} |" in readme


def test_labels_follow_from_the_policy_and_relax_with_age() -> None:
    policy = load_policy("kids")
    lines = example_path("passages").read_text(encoding="utf-8").splitlines()
    for passage, line in zip(example_passages(), lines, strict=True):
        labels = ["pass" if passage.passes(policy, band) else "fail" for band in BANDS]
        assert json.loads(line)["labels"] == dict(zip(BANDS, labels, strict=True))
        assert labels == sorted(labels)  # what fails for older children fails for younger ones
    by_band = [Counter(s.label for s in load_dataset("passages", band=band))["fail"] for band in BANDS]
    assert by_band == [77, 71, 59]


def test_no_two_texts_share_eight_words_in_a_row() -> None:
    texts = [p.text for p in example_passages()] + [r for s in load_dataset("stories") for r in s.references]
    seen: dict[tuple[str, ...], int] = {}
    for number, text in enumerate(texts):
        words = re.findall(r"\w+", text.lower())
        for ngram in zip(*(words[start:] for start in range(8)), strict=False):
            assert seen.setdefault(ngram, number) == number, ngram
