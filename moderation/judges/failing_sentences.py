"""Locate the sentences that make a text fail, for judges whose findings have no spans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from taleward.core.errors import ConfigurationError
from taleward.core.policy import SEVERITIES, Severity
from taleward.core.verdict import Finding, Passage, Verdict
from taleward.moderation.judges.base import Judge
from taleward.moderation.text.windows import Window, sentence_windows

EvidenceMethod = Literal["sentences", "occlusion"]


def evidence(judge: Judge, text: str, method: EvidenceMethod = "sentences") -> tuple[Finding, ...]:
    """Find the sentences that a text fails for.

    `sentences` judges each sentence with the text before it as context. Use `occlusion` (Zeiler and Fergus 2014,
    arXiv 1311.2901) for harm that only several sentences together cause: it judges the text without each sentence in
    turn and reports the sentences without which the text passes. If there are none, it reports the one whose removal
    lowers the judge's highest score the most. Either way the judge is called once per sentence and once for the text.

    Args:
        judge: The judge.
        text: A text that the judge fails.
        method: How to find the sentences.

    Returns:
        Findings with exact spans, in text order. Empty if the judge does not fail the text, or if no sentence stands
        out.

    Raises:
        ConfigurationError: If `method` is unknown.
    """
    if method not in ("sentences", "occlusion"):
        raise ConfigurationError(f"method must be 'sentences' or 'occlusion'; got {method!r}.")
    verdict = judge.invoke(text)
    if verdict.outcome != "fail":
        return ()
    sentences = [window for window in sentence_windows(text) if window.of(text).strip()]
    if method == "sentences":
        return _failing_alone(judge, text, sentences)
    return _by_occlusion(judge, text, sentences, verdict)


def _failing_alone(judge: Judge, text: str, sentences: Sequence[Window]) -> tuple[Finding, ...]:
    verdicts = judge.batch([Passage(text=s.of(text), context=text[: s.start]) for s in sentences])
    failed = [(s, verdict) for s, verdict in zip(sentences, verdicts, strict=True) if verdict.outcome == "fail"]
    return tuple(_finding(text, s, verdict, "fails by itself") for s, verdict in failed)


def _by_occlusion(judge: Judge, text: str, sentences: Sequence[Window], text_verdict: Verdict) -> tuple[Finding, ...]:
    if len(sentences) < 2:
        return tuple(_finding(text, s, text_verdict, "the only sentence") for s in sentences)
    verdicts = judge.batch([text[: s.start] + text[s.end :] for s in sentences])
    decisive = [s for s, verdict in zip(sentences, verdicts, strict=True) if verdict.passed]
    if decisive:
        return tuple(_finding(text, s, text_verdict, "the text passes without it") for s in decisive)
    # Verdicts without a score for the remaining text (abstain, error) are no evidence that the score fell.
    drops = [_top_score(text_verdict) - _top_score(v) if v.outcome == "fail" else 0.0 for v in verdicts]
    largest = max(drops)
    if largest <= 0:
        return ()
    sentence = sentences[drops.index(largest)]
    return (_finding(text, sentence, text_verdict, f"without it the score falls by {largest:.2f}"),)


def _top_score(verdict: Verdict) -> float:
    return max(verdict.scores.values(), default=0.0)


def _finding(text: str, window: Window, verdict: Verdict, rationale: str) -> Finding:
    quote = window.of(text)
    start = window.start + len(quote) - len(quote.lstrip())
    return Finding(
        category=_category(verdict),
        severity=_severity(verdict),
        quote=quote.strip(),
        start=start,
        end=start + len(quote.strip()),
        rationale=rationale,
    )


def _category(verdict: Verdict) -> str:
    """Return the category of the most severe finding, or else of the highest score."""
    if verdict.findings:
        return max(verdict.findings, key=lambda f: SEVERITIES.index(f.severity)).category
    return max(verdict.scores, key=lambda name: verdict.scores[name]) if verdict.scores else "unnamed"


def _severity(verdict: Verdict) -> Severity:
    return max((f.severity for f in verdict.findings), key=SEVERITIES.index, default="moderate")
