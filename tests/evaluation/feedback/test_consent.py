"""Only what people gave for training is used, and a child's words only with a guardian's consent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from taleward.core.frozen_model import FrozenDict
from taleward.evaluation.feedback.consent import feedback_for_training
from taleward.evaluation.feedback.feedback import Feedback


def said(**answers: Any) -> Feedback:
    answers = {"person": "anna", **answers}
    return Feedback(tale_id="tale", at=datetime.now(UTC), rating=5, **answers)


ADULTS = {"requested_by_child": False}
CONSENT = {"requested_by_child": True, "guardian_consent": True}


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({}, "no_consent"),
        ({"for_training": None, **ADULTS}, "no_consent"),
        ({"for_training": False, **ADULTS}, "no_consent"),
        ({"for_training": False, **CONSENT}, "no_consent"),
        ({"for_training": True}, "no_guardian_consent"),
        ({"for_training": True, "requested_by_child": True}, "no_guardian_consent"),
        ({"for_training": True, "requested_by_child": True, "guardian_consent": False}, "no_guardian_consent"),
        ({"for_training": True, **ADULTS}, None),
        ({"for_training": True, **CONSENT}, None),
        ({"for_training": True, "guardian_consent": True}, None),
    ],
)
def test_what_was_not_consented_to_is_not_used(answers: dict[str, Any], reason: str | None) -> None:
    feedback = said(**answers)
    assert feedback_for_training([feedback]) == ([] if reason else [feedback], reason)


def test_one_person_who_says_that_a_child_asked_outweighs_the_others() -> None:
    anna, ben = said(for_training=True, **ADULTS), said(person="ben", requested_by_child=True)
    assert feedback_for_training([anna, ben]) == ([], "no_guardian_consent")
    guardian = said(person="cy", guardian_consent=True)
    assert feedback_for_training([anna, ben, guardian]) == ([anna], None)
    other_guardian = said(person="di", guardian_consent=False)
    assert feedback_for_training([anna, ben, guardian, other_guardian]) == ([], "no_guardian_consent")


@pytest.mark.parametrize("field", ["for_training", "requested_by_child", "guardian_consent"])
def test_an_answer_that_cannot_be_read_allows_nothing(field: str) -> None:
    answers: dict[str, Any] = {"for_training": True, **(CONSENT if field == "guardian_consent" else ADULTS)}
    del answers[field]
    feedback, reason = feedback_for_training([said(**answers, unparsed=FrozenDict({field: "perhaps"}))])
    assert feedback == []
    assert reason == ("no_consent" if field == "for_training" else "no_guardian_consent")
