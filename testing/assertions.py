"""Assertions on tales whose failures say what was judged: outcome, judge, categories and quotes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, get_args

from langchain_core.runnables import Runnable

from taleward.core.errors import ConfigurationError, UnknownName
from taleward.core.tale import RefusalReason, Tale
from taleward.core.verdict import Verdict
from taleward.moderation.guard.guard import Guard
from taleward.moderation.guard.input_checks import WriterInput
from taleward.moderation.judges.base import Judge

_MAX_SCORES = 3
_MAX_TEXT_CHARACTERS = 300


def assert_tale_passes(
    tale_or_guard: Tale | Runnable[Any, Tale],
    inputs: WriterInput | None = None,
    *,
    judge: Judge | None = None,
    max_attempts: int | None = None,
) -> Tale:
    """Assert that a tale was released.

    The failure shows the verdict on each draft: outcome, judge, categories and quoted words, which may be words that
    no child should read. A guard that does not keep drafts shows its quotes too if it is given here; a tale that it
    returned has lost them.

    Example:
        ```python
        def test_a_story_for_small_children_is_calm():
            tale = assert_tale_passes(guard, {"hero": "fox"}, judge=tw.judge("lexicon", band="3-5"), max_attempts=2)
            assert "fox" in tale.text
        ```

    Args:
        tale_or_guard: A tale, or a guard (or a chain that ends with one) to run.
        inputs: What the guard writes from; by default `{}`. Not for a tale.
        judge: A second judge that has to pass the released text, too.
        max_attempts: The most attempts that the tale may have needed, 1 or more; `None` for any number.

    Returns:
        The tale, without its drafts unless the guard keeps them.

    Raises:
        AssertionError: If the tale was refused, needed more attempts, or does not pass the second judge.
        ConfigurationError: If the first argument is neither a tale nor returns one, or another is out of range.
    """
    __tracebackhide__ = True  # pytest then shows the line of the test
    if max_attempts is not None and max_attempts < 1:
        raise ConfigurationError(f"max_attempts must be 1 or more, or None; got {max_attempts}.")
    tale, detailed = _tales(tale_or_guard, inputs)
    if tale.refusal is not None:
        raise AssertionError(
            _failure(f"the tale was refused ({tale.refusal.reason}): {tale.refusal.message}", detailed)
        )
    if max_attempts is not None and len(tale.attempts) > max_attempts:
        problem = f"the tale needed {len(tale.attempts)} attempts; max_attempts is {max_attempts}"
        raise AssertionError(_failure(problem, detailed))
    if judge is not None and not (verdict := judge.invoke(tale.text)).passed:
        lines = ["the tale was released, but the second judge does not pass it", *_verdict_lines("  text", verdict)]
        raise AssertionError("\n".join([*lines, _excerpt(tale.text)]))
    return tale


def assert_tale_refused(
    tale_or_guard: Tale | Runnable[Any, Tale],
    inputs: WriterInput | None = None,
    *,
    reason: RefusalReason | None = None,
    category: str | None = None,
) -> Tale:
    """Assert that a tale was refused; the failure shows what was released, and the verdict on each draft.

    Args:
        tale_or_guard: A tale, or a guard (or a chain that ends with one) to run.
        inputs: What the guard writes from; by default `{}`. Not for a tale.
        reason: The reason that the refusal has to have.
        category: A category that the refusal has to name.

    Returns:
        The tale, without its drafts unless the guard keeps them.

    Raises:
        AssertionError: If the tale was released, or refused for another reason.
        ConfigurationError: If the first argument is neither a tale nor returns one, or the reason is unknown.
    """
    __tracebackhide__ = True
    if reason is not None and reason not in get_args(RefusalReason):
        raise UnknownName("reason of a refusal", reason, get_args(RefusalReason))
    tale, detailed = _tales(tale_or_guard, inputs)
    if tale.refusal is None:
        raise AssertionError(f"{_failure('the tale was released', detailed)}\n{_excerpt(tale.text)}")
    if reason is not None and tale.refusal.reason != reason:
        problem = f"the tale was refused for the reason {tale.refusal.reason!r}, not {reason!r}: {tale.refusal.message}"
        raise AssertionError(_failure(problem, detailed))
    if category is not None and category not in tale.refusal.categories:
        named = ", ".join(tale.refusal.categories) or "none"
        problem = f"the refusal does not name the category {category!r}, but {named}: {tale.refusal.message}"
        raise AssertionError(_failure(problem, detailed))
    return tale


def _tales(tale_or_guard: Tale | Runnable[Any, Tale], inputs: WriterInput | None) -> tuple[Tale, Tale]:
    """Return the tale to give back, and the same one with all that is known of its drafts."""
    if isinstance(tale_or_guard, Tale):
        if inputs is not None:
            raise ConfigurationError(
                "inputs are for a guard; a tale is already written.", hint="Leave the inputs out, or pass the guard."
            )
        return tale_or_guard, tale_or_guard
    if not isinstance(tale_or_guard, Runnable):
        raise ConfigurationError(
            f"expected a tale, or a guard that returns one; got {type(tale_or_guard).__name__}.",
            hint="Pass what `guard.invoke(inputs)` returned, or the guard and its inputs.",
        )
    runnable, keeps_drafts = tale_or_guard, True
    if isinstance(tale_or_guard, Guard):
        # A copy: the quotes of failed drafts are dropped with the drafts, and the test's guard stays as it is.
        keeps_drafts, guard = tale_or_guard.keep_drafts, copy.copy(tale_or_guard)
        guard.keep_drafts = True
        runnable = guard
    tale = runnable.invoke({} if inputs is None else inputs)
    if not isinstance(tale, Tale):
        raise ConfigurationError(
            f"expected a tale; {type(tale_or_guard).__name__} returned {type(tale).__name__}.",
            hint="Pass a guard, or a chain whose last step is one.",
        )
    return (tale if keeps_drafts else tale.without_drafts()), tale


def _failure(problem: str, tale: Tale) -> str:
    lines = [problem]
    for attempt in tale.attempts:
        lines += _verdict_lines(f"  draft {attempt.number}", attempt.verdict)
        if attempt.draft is not None and not attempt.verdict.passed:
            lines.append(f"  {_excerpt(attempt.draft)}")
    if any(attempt.draft is None and not attempt.verdict.passed for attempt in tale.attempts):
        lines.append("  quotes are withheld; to see them, pass the guard itself, or create it with keep_drafts=True")
    return "\n".join(lines)


def _verdict_lines(label: str, verdict: Verdict) -> Iterator[str]:
    detail = f" ({verdict.detail})" if verdict.detail else ""
    yield f"{label}: {verdict.outcome} by {verdict.judge} under {verdict.policy} for ages {verdict.band}{detail}"
    for finding in verdict.findings:
        quote = "" if finding.quote is None else f": {finding.quote!r} at {finding.start}-{finding.end}"
        rationale = f" ({finding.rationale})" if finding.rationale not in ("", finding.quote) else ""
        yield f"    {finding.category}, {finding.severity}{quote}{rationale}"
    highest = sorted(verdict.scores.items(), key=lambda score: -score[1])[:_MAX_SCORES]
    if highest:
        yield f"    highest scores: {', '.join(f'{category} {score:.2f}' for category, score in highest)}"


def _excerpt(text: str) -> str:
    more = "..." if len(text) > _MAX_TEXT_CHARACTERS else ""
    return f"  text: {text[:_MAX_TEXT_CHARACTERS]!r}{more}"
