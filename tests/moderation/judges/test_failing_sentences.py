"""Evidence sentences for judges whose findings have no spans."""

from __future__ import annotations

import pytest

from taleward.core.errors import ConfigurationError
from taleward.core.verdict import Passage
from taleward.moderation.judges.base import Assessment
from taleward.moderation.judges.failing_sentences import EvidenceMethod, evidence
from taleward.testing import FakeJudge

TEXT = "A fox ran home. It was bad there. The owl sang. It was bad again! The end."


def score_only(passage: Passage) -> Assessment:
    """Return a score and no findings."""
    return Assessment(scores={"frightening": min(1.0, 0.6 * passage.text.count("bad"))})


def test_sentences_that_fail_by_themselves() -> None:
    findings = evidence(FakeJudge(score_only), TEXT)
    assert [f.quote for f in findings] == ["It was bad there.", "It was bad again!"]
    assert all(TEXT[f.start : f.end] == f.quote for f in findings)
    assert {f.category for f in findings} == {"frightening"}


def test_a_sentence_without_which_the_text_passes() -> None:
    text = TEXT.replace("bad again", "good again")
    assert [f.quote for f in evidence(FakeJudge(score_only), text, "occlusion")] == ["It was bad there."]


def test_the_sentence_that_lowers_the_score_most() -> None:
    def score_by_count(passage: Passage) -> Assessment:
        return Assessment(scores={"violence": min(1.0, 0.5 + 0.1 * passage.text.count("bad"))})

    [finding] = evidence(FakeJudge(score_by_count), "A bad fox. A bad bad owl. The end.", "occlusion")
    assert finding.quote == "A bad bad owl."
    assert "falls by 0.20" in finding.rationale


def test_harm_of_several_sentences_together_needs_occlusion() -> None:
    def fails_with_two(passage: Passage) -> Assessment:
        return Assessment(scores={"violence": 0.9 if passage.text.count("grim") >= 2 else 0.0})

    text = "A grim fox. A grim owl. The end."
    assert evidence(FakeJudge(fails_with_two), text) == ()
    assert [f.quote for f in evidence(FakeJudge(fails_with_two), text, "occlusion")] == ["A grim fox.", "A grim owl."]


@pytest.mark.parametrize("method", ["sentences", "occlusion"])
def test_no_evidence_for_a_text_that_does_not_fail(method: EvidenceMethod) -> None:
    assert evidence(FakeJudge(score_only), "A fox ran home.", method) == ()
    assert evidence(FakeJudge(lambda _: Assessment(outcome="abstain")), TEXT, method) == ()


def test_an_unknown_method() -> None:
    with pytest.raises(ConfigurationError, match="got 'magic'"):
        evidence(FakeJudge(), TEXT, "magic")  # type: ignore[arg-type]
