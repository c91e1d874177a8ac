"""What grown-ups see: the rules, and a tale with its verdicts and the words that they mark."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from taleward.core.policy import Policy
from taleward.core.tale import Tale
from taleward.core.verdict import Finding, Verdict
from taleward.serving.page.sessions import ToldTale
from taleward.serving.served_models import ServedModel

_SHOWN_SCORES = 3


def rules_data(model: ServedModel, band: str) -> dict[str, Any]:
    """Return the policy, the age bands to choose from, and who judges.

    Args:
        model: The served model.
        band: The band of the next tales.
    """
    judge = model.judge(band)
    policy = judge.policy
    return {
        "policy": policy.id,
        "description": policy.description,
        "judge": judge.spec,
        "model": model.name,
        "band": band,
        "bands": [
            {"name": name, "ages": list(policy.band(name).ages), "writing": policy.band(name).writing}
            for name in policy.bands
            if name in model.judges
        ],
        "categories": [
            {
                "name": name,
                "title": category.title,
                "definition": category.definition,
                "tolerance": policy.tolerance(name, band),
            }
            for name, category in policy.categories.items()
        ],
    }


def tale_view(told: ToldTale, policy: Policy, *, recorded: bool) -> dict[str, Any]:
    """Return a tale of a session with its verdicts; of drafts that did not pass, no words.

    Args:
        told: The tale.
        policy: The policy, for the titles of categories.
        recorded: Whether it is recorded in MLflow, where feedback is kept.
    """
    tale = told.tale
    verdict, refusal, lineage = tale.verdict, tale.refusal, tale.lineage
    findings = verdict.findings if verdict is not None and tale.released else ()
    return {
        "id": tale.id,
        "title": told.title,
        "asked": [{"name": name.replace("_", " "), "text": text} for name, text in told.asked.items()],
        "at": lineage.started_at.isoformat(),
        "seconds": round(lineage.duration_s, 1),
        "band": lineage.band,
        "policy": lineage.policy,
        "closed_by": lineage.closed_by,
        "text": None if tale.released_text is None else marked_parts(tale.released_text, findings, policy),
        "refusal": None
        if refusal is None
        else {
            "reason": refusal.reason,
            "message": refusal.message,
            "categories": [category_title(policy, name) for name in refusal.categories],
        },
        "verdict": None if verdict is None else _verdict_data(verdict, policy),
        "attempts": _attempts(tale, policy),
        "recorded": recorded,
        "feedback": told.feedback,
    }


def marked_parts(text: str, findings: Sequence[Finding], policy: Policy) -> list[dict[str, Any]]:
    """Cut a text where findings begin and end.

    Returns:
        The parts in order, each with its text and, if findings mark it, their categories as `mark`.
    """
    spans = [(f, f.start, f.end) for f in findings if f.start is not None and f.end is not None]
    cuts = sorted({0, len(text), *(min(offset, len(text)) for _, start, end in spans for offset in (start, end))})
    parts = []
    for start, end in pairwise(cuts):
        labels = [_label(f, policy) for f, begins, ends in spans if begins <= start and end <= ends]
        parts.append({"text": text[start:end], "mark": ", ".join(dict.fromkeys(labels))})
    return parts


def category_title(policy: Policy, name: str) -> str:
    """Return the title of a category; a guard model's own code has none."""
    return policy.categories[name].title if name in policy.categories else name


def _label(finding: Finding, policy: Policy) -> str:
    return f"{category_title(policy, finding.category)} ({finding.severity})"


def _verdict_data(verdict: Verdict, policy: Policy) -> dict[str, Any]:
    highest = sorted(verdict.scores.items(), key=lambda item: -item[1])[:_SHOWN_SCORES]
    return {
        "outcome": verdict.outcome,
        "judge": verdict.judge,
        "detail": verdict.detail,
        "scores": [{"title": category_title(policy, name), "score": round(score, 2)} for name, score in highest],
        "findings": [
            {"title": _label(f, policy), "quote": f.quote or "", "rationale": f.rationale} for f in verdict.findings
        ],
    }


def _attempts(tale: Tale, policy: Policy) -> list[dict[str, Any]]:
    return [
        {
            "number": attempt.number,
            "outcome": attempt.verdict.outcome,
            "sentences": len(attempt.decisions),
            "categories": [category_title(policy, name) for name in attempt.verdict.categories],
        }
        for attempt in tale.attempts
    ]
