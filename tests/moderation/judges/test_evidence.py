"""Places for judges that give none."""

from __future__ import annotations

import pytest

from taleward.core.errors import ConfigurationError
from taleward.core.verdict import Passage
from taleward.moderation.judges.base import Assessment
from taleward.moderation.judges.evidence import How, evidence
from tests.helpers.fakes import FakeJudge

TEXT = "A fox ran home. It was bad there. The owl sang. It was bad again! The end."


def wordless(passage: Passage) -> Assessment:
    """Gives a score and no place."""
    return Assessment(scores={"frightening": min(1.0, 0.6 * passage.text.count("bad"))})


def test_sentences_that_fail_by_themselves() -> None:
    found = evidence(FakeJudge(wordless), TEXT)
    assert [f.quote for f in found] == ["It was bad there.", "It was bad again!"]
    assert all(TEXT[f.start : f.end] == f.quote for f in found)
    assert {f.category for f in found} == {"frightening"}


def test_a_sentence_without_which_the_text_passes() -> None:
    text = TEXT.replace("bad again", "good again")
    assert [f.quote for f in evidence(FakeJudge(wordless), text, "occlusion")] == ["It was bad there."]


def test_the_sentence_that_weighs_most_where_none_is_enough() -> None:
    def sums(passage: Passage) -> Assessment:
        return Assessment(scores={"violence": min(1.0, 0.5 + 0.1 * passage.text.count("bad"))})

    [found] = evidence(FakeJudge(sums), "A bad fox. A bad bad owl. The end.", "occlusion")
    assert found.quote == "A bad bad owl."
    assert "falls by 0.20" in found.rationale


def test_harm_of_the_sum_alone_has_no_sentence() -> None:
    def together(passage: Passage) -> Assessment:
        return Assessment(scores={"violence": 0.9 if passage.text.count("grim") >= 2 else 0.0})

    text = "A grim fox. A grim owl. The end."
    assert evidence(FakeJudge(together), text) == ()
    assert [f.quote for f in evidence(FakeJudge(together), text, "occlusion")] == ["A grim fox.", "A grim owl."]


@pytest.mark.parametrize("how", ["sentences", "occlusion"])
def test_nothing_where_nothing_failed(how: How) -> None:
    assert evidence(FakeJudge(wordless), "A fox ran home.", how) == ()
    assert evidence(FakeJudge(lambda _: Assessment(outcome="abstain")), TEXT, how) == ()


def test_an_unknown_way() -> None:
    with pytest.raises(ConfigurationError, match="got 'magic'"):
        evidence(FakeJudge(), TEXT, "magic")  # type: ignore[arg-type]
