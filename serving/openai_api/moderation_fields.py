"""Verdicts in OpenAI's shape: flags and scores under OpenAI's names, and Taleward's own beside them."""

from __future__ import annotations

from typing import Any

from taleward.core.policy import exceeds
from taleward.core.verdict import Verdict
from taleward.moderation.judges import Judge

OPENAI_CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
_TAXONOMY = "openai-moderation"
_DIGITS = 6


def moderation_result(verdict: Verdict, judge: Judge) -> dict[str, Any]:
    """Return a verdict as a result of OpenAI's moderation endpoint.

    A category of OpenAI's without a slash gets the score of the policy's category to which the policy's `codes` map it.
    One with a slash, such as `sexual/minors`, is narrower than any category of ours: it stays at 0. A hazard that
    OpenAI has no name for, such as `frightening`, is in `flagged` and under `taleward`.

    Args:
        verdict: The verdict.
        judge: Who gave it.
    """
    codes = judge.policy.codes.get(_TAXONOMY, {})
    ours = {name: codes[name].category if name in codes and "/" not in name else None for name in OPENAI_CATEGORIES}
    scores = category_scores(verdict, judge)
    flags = {category: is_violated(verdict, judge, category) for category in scores}
    return {
        "flagged": not verdict.passed,
        "categories": {name: flags.get(category or "", False) for name, category in ours.items()},
        "category_scores": {name: scores.get(category or "", 0.0) for name, category in ours.items()},
        "category_applied_input_types": {name: ["text"] for name in OPENAI_CATEGORIES},
        "taleward": {
            "outcome": verdict.outcome,
            "judge": verdict.judge,
            "policy": verdict.policy,
            "band": verdict.band,
            "categories": flags,
            "category_scores": scores,
        },
    }


def category_scores(verdict: Verdict, judge: Judge) -> dict[str, float]:
    """Return a score for each category of the policy; 1 for one that was found and not scored, 0 for all others."""
    found = set(verdict.categories)
    scores = {c: verdict.scores.get(c, 1.0 if c in found else 0.0) for c in judge.policy.categories}
    return {category: round(score, _DIGITS) for category, score in scores.items()}


def is_violated(verdict: Verdict, judge: Judge, category: str) -> bool:
    """Return whether a category counts against a text that did not pass."""
    if verdict.outcome != "fail":
        return False
    tolerance = judge.policy.tolerance(category, verdict.band)
    if any(f.category == category and exceeds(f.severity, tolerance) for f in verdict.findings):
        return True
    return verdict.scores.get(category, 0.0) >= judge.rules.threshold(category, verdict.band)


def moderation_field(
    input_verdict: Verdict | None, output_verdicts: list[Verdict | None], judge: Judge
) -> dict[str, Any]:
    """Return the field `moderation` of an answer.

    Args:
        input_verdict: The verdict on the request; `None` if it was not judged.
        output_verdicts: The verdict on each choice; `None` if it was not judged, as for a tool call without words.
        judge: Who gave them.
    """
    return {"input": _results([input_verdict], judge), "output": _results(output_verdicts, judge)}


def _results(verdicts: list[Verdict | None], judge: Judge) -> dict[str, Any]:
    results = [_result(verdict, judge) for verdict in verdicts if verdict is not None]
    return {"type": "moderation_results", "model": judge.spec, "results": results}


def response_moderation_field(
    input_verdict: Verdict | None, output_verdict: Verdict | None, judge: Judge
) -> dict[str, Any]:
    """Return the field `moderation` of a response, which has one result a side where chats have a list.

    Args:
        input_verdict: As for `moderation_field`.
        output_verdict: The verdict on the answer.
        judge: Who gave them.
    """
    return {"input": _result(input_verdict, judge), "output": _result(output_verdict, judge)}


def _result(verdict: Verdict | None, judge: Judge) -> dict[str, Any]:
    if verdict is None:
        return {"type": "error", "code": "not_judged", "message": "There were no words to judge, or none were judged."}
    return {"type": "moderation_result", "model": verdict.judge, **moderation_result(verdict, judge)}
