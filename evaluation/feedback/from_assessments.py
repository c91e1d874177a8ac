"""Read people's feedback from the assessments of an MLflow trace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import AwareDatetime

from taleward.core.frozen_model import FrozenDict, FrozenModel
from taleward.evaluation.feedback.feedback import FIELDS, Feedback, parse_assessment_value


class FeedbackChange(FrozenModel):
    """One answer in the history of a tale's feedback.

    Attributes:
        tale_id: The tale's id.
        person: Who gave the answer.
        field: The field of `Feedback` that it answers, or another name that the person chose in MLflow's UI.
        value: The value as stored; `None` for a withdrawal.
        at: When it was given.
        current: Whether it is still in force, not overridden by a later change.
        assessment_id: The id of the MLflow assessment.
        rationale: The reason, if the person gave one in MLflow's UI.
    """

    tale_id: str
    person: str
    field: str
    value: Any
    at: AwareDatetime
    current: bool
    assessment_id: str
    rationale: str = ""


def feedback_changes(tale_id: str, assessments: Iterable[Any]) -> list[FeedbackChange]:
    """Return all answers of people about a tale, oldest first.

    Args:
        tale_id: The tale's id.
        assessments: The assessments of its trace; those by programs are left out.
    """
    changes = [
        FeedbackChange(
            tale_id=tale_id,
            person=assessment.source.source_id or "default",
            field=assessment.name,
            value=value.value,
            at=datetime.fromtimestamp(assessment.last_update_time_ms / 1000, UTC),
            current=assessment.valid is not False,
            assessment_id=assessment.assessment_id,
            rationale=assessment.rationale or "",
        )
        for assessment in assessments
        # MLflow's form saves an answer as an expectation if the person chooses that type.
        if (value := assessment.feedback or assessment.expectation) and assessment.source.source_type == "HUMAN"
    ]
    return sorted(changes, key=lambda change: change.at)


def current_feedback(tale_id: str, assessments: Iterable[Any]) -> list[Feedback]:
    """Return the newest current answers of each person, sorted by person.

    Args:
        tale_id: The tale's id.
        assessments: The assessments of its trace.
    """
    by_person: dict[str, dict[str, FeedbackChange]] = {}
    for change in feedback_changes(tale_id, assessments):
        if change.current:
            by_person.setdefault(change.person, {})[change.field] = change
    return [
        _parse_feedback(tale_id, person, [c for c in changes.values() if c.value is not None])
        for person, changes in sorted(by_person.items())
        if any(c.value is not None for c in changes.values())
    ]


def _parse_feedback(tale_id: str, person: str, changes: Sequence[FeedbackChange]) -> Feedback:
    parsed: dict[str, Any] = {}
    unparsed: dict[str, str] = {}
    other: dict[str, str] = {}
    for change in changes:
        if change.field not in FIELDS:
            other[change.field] = str(change.value)
            continue
        try:
            parsed[change.field] = parse_assessment_value(change.field, change.value)
        except (ValueError, TypeError, KeyError):
            unparsed[change.field] = str(change.value)
    return Feedback(
        tale_id=tale_id,
        person=person,
        at=max(change.at for change in changes),
        unparsed=FrozenDict(unparsed),
        rationales=FrozenDict({change.field: change.rationale for change in changes if change.rationale}),
        other=FrozenDict(other),
        **parsed,
    )
