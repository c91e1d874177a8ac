"""Which recorded tales people should label next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict
from taleward.core.verdict import Outcome, Verdict
from taleward.evaluation.feedback.agreement import disagreement
from taleward.evaluation.feedback.feedback import Feedback
from taleward.evaluation.feedback.mlflow_store import RecordedTale
from taleward.testing import WordEmbeddings
from taleward.tuning.label_next import LabelCandidate, closeness_to_threshold, to_label_next

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def tale(
    name: str, text: str, score: float | None, *votes: bool, outcome: Outcome | None = None
) -> tuple[RecordedTale, list[Feedback]]:
    scores = {} if score is None else {"violence": score}
    decided: Outcome = outcome or ("fail" if score is not None and score >= 0.5 else "pass")
    verdict = Verdict(outcome=decided, judge="fake", policy="kids@1", band="6-8", scores=FrozenDict(scores))
    recorded = RecordedTale(
        id=name, trace_id=f"tr-{name}", text=text, released=verdict.passed, band="6-8", policy="kids@1", inputs={},
        messages=(), calls=(), lineage=None,
        verdict=verdict, drafts=(), started_at=NOW,
    )  # fmt: skip
    feedback = [Feedback(tale_id=name, person=f"p{n}", kid_friendly=vote, at=NOW) for n, vote in enumerate(votes)]
    return recorded, feedback


def picked(tales: Sequence[tuple[RecordedTale, list[Feedback]]], n: int = 9, **options: object) -> list[str]:
    found = to_label_next(tales, n, embeddings=WordEmbeddings(), **options)  # type: ignore[arg-type]
    return [candidate.tale_id for candidate in found]


def test_what_the_judge_was_unsure_about_comes_first() -> None:
    tales = [
        tale("sure", "Rain fell on the tin roof.", 0.01),
        tale("close", "A wolf met a fox.", 0.48),
        tale("undecided", "Two owls sang a duet.", None, outcome="abstain"),
        tale("failed", "He struck the guard down.", 0.9),
    ]
    assert picked(tales) == ["undecided", "close", "failed", "sure"]


def test_a_disputed_tale_needs_another_opinion_and_a_settled_one_needs_none() -> None:
    tales = [
        tale("agreed", "A wolf met a fox.", 0.48, True),
        tale("disputed", "Rain fell on the tin roof.", 0.1, False),
        tale("split", "Two owls sang a duet.", 0.1, True, False),
        tale("settled", "He struck the guard down.", 0.1, False, False),
    ]
    assert picked(tales) == ["disputed", "split"]
    assert [disagreement(*tales[n]) for n in (0, 1, 3)] == [0.0, 1.0, pytest.approx(2 / 3)]


def test_picks_are_spread_over_subjects() -> None:
    tales = [tale(f"wolf{n}", f"The wolf met the fox in the dark wood, and {n}.", 0.49) for n in range(5)]
    tales.append(tale("bread", "Bread rises slowly inside warm ovens.", 0.4))
    assert picked(tales, 2)[1] == "bread"
    assert sorted(picked(tales)) == sorted(recorded.id for recorded, _ in tales)


def test_excluded_tales_and_those_without_text_are_not_taken() -> None:
    tales = [tale("a", "A wolf.", 0.4), tale("b", "A fox.", 0.4), tale("c", "An owl.", 0.4), tale("d", " ", 0.4)]
    assert picked(tales, exclude={"a", "tr-b"}) == ["c"]
    assert picked([]) == []
    with pytest.raises(ConfigurationError, match="n must be at least 1; got 0"):
        to_label_next(tales, 0)


def test_closeness_is_relative_to_the_threshold_of_the_policy() -> None:
    at_threshold, near, far = (closeness_to_threshold(tale("x", "A wolf.", score)[0]) for score in (0.5, 0.6, 0.99))
    assert [at_threshold, near, far] == pytest.approx([1.0, 2 / 3, 1 / 99])
    assert closeness_to_threshold(tale("x", "A wolf.", None)[0]) == 0.0


def test_a_candidate_names_the_reason() -> None:
    found = to_label_next(
        [tale("a", "A wolf.", 0.4), tale("b", "Two owls sang.", 0.001), tale("c", "Bread rose.", 0.9, True)], 3,
        embeddings=WordEmbeddings(),
    )  # fmt: skip
    assert {candidate.tale_id: candidate.reason for candidate in found} == {
        "a": "uncertain", "b": "new", "c": "disputed"
    }  # fmt: skip
    assert LabelCandidate(tale_id="c", trace_id="tr-c", need=1.0, reason="disputed") in found
