"""A fake judge for tests: scripted outcomes, a function or a list of words, without a model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias, get_args

from taleward.core.errors import ConfigurationError, UnknownName
from taleward.core.frozen_model import FrozenDict
from taleward.core.policy import Policy
from taleward.core.verdict import Finding, Outcome, Passage
from taleward.moderation.judges.base import Assessment, Judge

ScriptedOutcome: TypeAlias = Outcome | Assessment | Exception

_DEFAULT_WORDS = {"bad": "violence"}


class FakeJudge(Judge):
    """A judge with scripted outcomes, or with a function or a list of words in place of a model.

    By default it fails texts that contain `bad`, with a finding wherever that stands, and passes all others. Like any
    judge, it abstains on a blank text without being asked.

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
        failing_words: Instead of outcomes: what fails a text that contains it, each with its category, for example
            `{"wolf": "frightening"}`. Upper and lower case differ.
        delay_s: Seconds that each text takes.
        policy: A policy, or the name or path of one.
        band: An age band of the policy.

    Attributes:
        outcomes: The function or the list of outcomes; `None` if words decide.
        failing_words: The words that fail a text, with their categories.
        judged_texts: The texts that it was asked to judge, in order. A guard's inputs are among them.

    Raises:
        ConfigurationError: If the list of outcomes is empty or contains an unknown one, if both outcomes and words are
            given, if a word is empty or its category not one of the policy, or if `delay_s` is negative.
    """

    def __init__(
        self,
        outcomes: Callable[[Passage], Outcome | Assessment] | ScriptedOutcome | Iterable[ScriptedOutcome] | None = None,
        *,
        failing_words: Mapping[str, str] | None = None,
        delay_s: float = 0.0,
        policy: Policy | str = "kids",
        band: str = "6-8",
    ) -> None:
        super().__init__("fake", policy=policy, band=band)
        if outcomes is not None and failing_words is not None:
            raise ConfigurationError("a fake judge takes outcomes or failing_words; got both.")
        if delay_s < 0:
            raise ConfigurationError(f"delay_s must be 0 or more; got {delay_s}.")
        self.failing_words = dict(_DEFAULT_WORDS if failing_words is None else failing_words)
        if failing_words is not None:
            _check_words(failing_words, self.policy)
        self._delay_s = delay_s
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
        """Return the next scripted outcome, or what the function returns or the words decide."""
        self.judged_texts.append(passage.text)
        number = len(self.judged_texts)
        time.sleep(self._delay_s)
        if self.outcomes is None:
            return _assess_by_words(passage.text, self.failing_words)
        if callable(self.outcomes):
            outcome: ScriptedOutcome = self.outcomes(passage)
        else:
            outcome = self.outcomes[min(number, len(self.outcomes)) - 1]
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


def _check_words(words: Mapping[str, str], policy: Policy) -> None:
    if "" in words:
        raise ConfigurationError("a failing word must not be empty: every text contains it.")
    for category in words.values():
        if category not in policy.categories:
            raise UnknownName(f"category of policy {policy.name!r}", category, policy.categories)


def _assess_by_words(text: str, words: Mapping[str, str]) -> Assessment:
    findings = tuple(finding for word, category in words.items() for finding in _findings(text, word, category))
    failed = {finding.category for finding in findings}
    scores = FrozenDict({category: float(category in failed) for category in words.values()})
    return Assessment(scores=scores, findings=findings)


def _findings(text: str, word: str, category: str) -> Iterator[Finding]:
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        yield Finding(category=category, severity="severe", quote=word, start=start, end=end, rationale=word)
        start = text.find(word, end)
