"""Where in a text a judge sees the harm, for judges that do not say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from taleward.core.errors import ConfigurationError
from taleward.core.policy import SEVERITIES, Severity
from taleward.core.verdict import Finding, Passage, Verdict
from taleward.moderation.judges.base import Judge
from taleward.moderation.text.windows import Window, sentence_windows

How = Literal["sentences", "occlusion"]


def evidence(judge: Judge, text: str, how: How = "sentences") -> tuple[Finding, ...]:
    """The sentences that a failed text fails for.

    `sentences` judges each sentence behind what comes before it: as many calls as there are sentences. Harm that only
    their sum makes is found by `occlusion` (Zeiler and Fergus 2014, arXiv 1311.2901): each sentence is left out in
    turn, and those count without which the text passes, or, where no single one is enough, the one whose absence lowers
    the judge's highest score the most.

    Args:
        judge: The judge.
        text: A text that it fails.
        how: See above.

    Returns:
        Findings with exact places in the order of the text; empty where the judge passes the text, has no plain answer,
        or no sentence tells.

    Raises:
        ConfigurationError: There is no such way.
    """
    if how not in ("sentences", "occlusion"):
        raise ConfigurationError(f"evidence is found by 'sentences' or 'occlusion'; got {how!r}.")
    whole = judge.invoke(text)
    if whole.outcome != "fail":
        return ()
    places = [place for place in sentence_windows(text) if place.of(text).strip()]
    if how == "sentences":
        return _alone(judge, text, places)
    return _left_out(judge, text, places, whole)


def _alone(judge: Judge, text: str, places: Sequence[Window]) -> tuple[Finding, ...]:
    asked = judge.batch([Passage(text=place.of(text), context=text[: place.start]) for place in places])
    failed = [(place, verdict) for place, verdict in zip(places, asked, strict=True) if verdict.outcome == "fail"]
    return tuple(_finding(text, place, verdict, "fails by itself") for place, verdict in failed)


def _left_out(judge: Judge, text: str, places: Sequence[Window], whole: Verdict) -> tuple[Finding, ...]:
    if len(places) < 2:
        return tuple(_finding(text, place, whole, "is all there is") for place in places)
    asked = judge.batch([text[: place.start] + text[place.end :] for place in places])
    told = [place for place, verdict in zip(places, asked, strict=True) if verdict.passed]
    if told:
        return tuple(_finding(text, place, whole, "the text passes without it") for place in told)
    drops = [_highest(whole) - _highest(verdict) if verdict.outcome == "fail" else 0.0 for verdict in asked]
    most = max(drops)
    if most <= 0:
        return ()
    return (_finding(text, places[drops.index(most)], whole, f"without it the score falls by {most:.2f}"),)


def _highest(verdict: Verdict) -> float:
    return max(verdict.scores.values(), default=0.0)


def _finding(text: str, place: Window, verdict: Verdict, why: str) -> Finding:
    quote = place.of(text)
    start = place.start + len(quote) - len(quote.lstrip())
    return Finding(
        category=_category(verdict),
        severity=_severity(verdict),
        quote=quote.strip(),
        start=start,
        end=start + len(quote.strip()),
        rationale=why,
    )


def _category(verdict: Verdict) -> str:
    """The category of the strongest finding, else of the highest score."""
    if verdict.findings:
        return max(verdict.findings, key=lambda f: SEVERITIES.index(f.severity)).category
    return max(verdict.scores, key=lambda name: verdict.scores[name]) if verdict.scores else "unnamed"


def _severity(verdict: Verdict) -> Severity:
    return max((f.severity for f in verdict.findings), key=SEVERITIES.index, default="moderate")
