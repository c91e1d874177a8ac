"""Which feedback may be used to train models: what people gave for training, and a child's words only with consent.

The amended COPPA rule (16 CFR 312.5) wants a consent of its own for uses of a child's data that the service does not
need, and training a model is one. Nobody who said nothing has consented.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from taleward.evaluation.feedback.feedback import Feedback, FeedbackField

NoConsent: TypeAlias = Literal["no_consent", "no_guardian_consent"]
"""Why a tale may not be used for training.

* `no_consent`: nobody gave their feedback on it for training.
* `no_guardian_consent`: its request is a child's, or nobody said that it is not, and no guardian consents.
"""


def feedback_for_training(feedback: Sequence[Feedback]) -> tuple[list[Feedback], NoConsent | None]:
    """Return the feedback on one tale that may be used for training.

    The request belongs to the tale, so one person who says that a child wrote it, or that its guardian does not
    consent, outweighs all others. An answer that cannot be read counts as the one that allows nothing.

    Args:
        feedback: All current feedback on the tale.

    Returns:
        The feedback that people gave for training, and why it and the tale may not be used; `None` if they may.
    """
    given = [f for f in feedback if f.for_training]
    if not given:
        return [], "no_consent"
    consented = _answers(feedback, "guardian_consent", unreadable=False) == {True}
    requested_by_grown_up = _answers(feedback, "requested_by_child", unreadable=True) == {False}
    return (given, None) if consented or requested_by_grown_up else ([], "no_guardian_consent")


def _answers(feedback: Sequence[Feedback], field: FeedbackField, *, unreadable: bool) -> set[bool]:
    answers = {unreadable if field in f.unparsed else getattr(f, field) for f in feedback}
    return answers - {None}
