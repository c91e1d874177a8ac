"""A fake judge for tests: scripted outcomes or a function, without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias, get_args

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict
from taleward.core.policy import Policy
from taleward.core.verdict import Finding, Outcome, Passage
from taleward.moderation.judges.base import Assessment, Judge

ScriptedOutcome: TypeAlias = Outcome | Assessment | Exception

_BAD_WORD, _BAD_CATEGORY = "bad", "violence"


class FakeJudge(Judge):
    """A judge with scripted outcomes, or with a function in place of a model.

    By default it fails texts that contain `bad`, with a finding on that word, and passes all others. Like any judge,
    it abstains on a blank text without being asked.

    Example:
        ```python
        def test_a_rejected_draft_is_not_released():
            writer = FakeWriter("The wolf bit the fox.", "The wolf greeted the fox.")
            judge = FakeJudge(["fail", "pass"])
            tale = tw.Guard(writer, judge).invoke({})
            assert tale.text == "The wolf greeted the fox."
            assert judge.judged_texts == ["The wolf bit the fox.", "The wolf greeted the fox."]
        ```

    Args:
        outcomes: A function from a passage to an outcome or an `Assessment`; or an outcome, an `Assessment` or an
            exception to raise; or a list of these, one per judged text, of which the last is repeated.
        policy: A policy, or the name or path of one.
        band: An age band of the policy.

    Attributes:
        outcomes: The function or the list of outcomes; `None` for the default.
        judged_texts: The texts that it was asked to judge, in order. A guard's inputs are among them.

    Raises:
        ConfigurationError: If the list of outcomes is empty, or contains an unknown one.
    """

    def __init__(
        self,
        outcomes: Callable[[Passage], Outcome | Assessment] | ScriptedOutcome | Iterable[ScriptedOutcome] | None = None,
        *,
        policy: Policy | str = "kids",
        band: str = "6-8",
    ) -> None:
        super().__init__("fake", policy=policy, band=band)
        # Public, because the key of a verdict cache is made of a judge's public attributes.
        self.outcomes: Callable[[Passage], Outcome | Assessment] | list[ScriptedOutcome] | None
        if outcomes is None or callable(outcomes):
            self.outcomes = outcomes
        else:
            # Strings and assessments are iterable, too.
            self.outcomes = [outcomes] if isinstance(outcomes, str | Assessment | Exception) else list(outcomes)
            _check_outcomes(self.outcomes)
        self.judged_texts: list[str] = []

    def assess(self, passage: Passage) -> Assessment:
        """Return the next scripted outcome, or what the function returns."""
        self.judged_texts.append(passage.text)
        if self.outcomes is None:
            return _assess_by_bad_word(passage)
        if callable(self.outcomes):
            outcome: ScriptedOutcome = self.outcomes(passage)
        else:
            outcome = self.outcomes[min(len(self.judged_texts), len(self.outcomes)) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        # Anything else is returned as it came: a judge that answers nonsense must release nothing.
        return Assessment(outcome=outcome) if isinstance(outcome, str) else outcome


def _check_outcomes(outcomes: list[ScriptedOutcome]) -> None:
    known = get_args(Outcome)
    if not outcomes:
        raise ConfigurationError("a fake judge needs at least one outcome; got an empty list.")
    for outcome in outcomes:
        if not isinstance(outcome, Assessment | Exception) and outcome not in known:
            raise ConfigurationError(
                f"unknown outcome {outcome!r}; accepted: {', '.join(known)}, an Assessment, or an exception to raise."
            )


def _assess_by_bad_word(passage: Passage) -> Assessment:
    start = passage.text.find(_BAD_WORD)
    if start < 0:
        return Assessment(scores=FrozenDict({_BAD_CATEGORY: 0.0}))
    finding = Finding(
        category=_BAD_CATEGORY,
        severity="severe",
        quote=_BAD_WORD,
        start=start,
        end=start + len(_BAD_WORD),
        rationale=_BAD_WORD,
    )
    return Assessment(scores=FrozenDict({_BAD_CATEGORY: 1.0}), findings=(finding,))
