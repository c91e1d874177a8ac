"""The HTML that notebooks show for tales and verdicts."""

from __future__ import annotations

import re
from html import unescape

from taleward.core.verdict import Finding, Passage, Verdict
from taleward.moderation.guard.guard import Guard
from taleward.moderation.judges.base import Assessment
from taleward.testing import FakeJudge, FakeWriter

TEXT = "<script>alert(1)</script> He stabbed & robbed him."


def verdict(*findings: Finding, outcome: str = "fail") -> Verdict:
    return Verdict(outcome=outcome, judge="<b>j</b>", policy="kids@1", band="6-8", findings=findings)


def finding(category: str, severity: str, words: str) -> Finding:
    start = TEXT.index(words)
    return Finding(category=category, severity=severity, quote=words, start=start, end=start + len(words))


def visible_text(html: str) -> str:
    return unescape(re.sub(r"<[^>]+>", "", html))


def test_a_story_brings_no_markup_along_and_loses_no_character() -> None:
    overlapping = [finding("violence", "moderate", "He stabbed & robbed"), finding("crime", "severe", "robbed him")]
    html = verdict(*overlapping).highlight(TEXT)._repr_html_()
    assert "<script" not in html
    assert "<b>j" not in html
    assert TEXT in visible_text(html)
    marks = re.findall(r'<mark style="background:(#\w+);color:#000" title="([^"]*)">([^<]*)</mark>', html)
    assert [(tooltip, words) for _, tooltip, words in marks] == [
        ("violence (moderate)", "He stabbed &amp; "),
        ("violence (moderate); crime (severe)", "robbed"),
        ("crime (severe)", " him"),
    ]
    assert marks[1][0] == marks[2][0] != marks[0][0]


def test_findings_without_a_quote_are_listed() -> None:
    html = verdict(Finding(category="frightening", severity="mild", rationale="dread <i>throughout</i>"))._repr_html_()
    assert "frightening, mild" in html
    assert "<i>" not in html


def test_a_refused_tale_shows_the_childs_message_and_the_reason() -> None:
    def always_fails(passage: Passage) -> Assessment:
        return Assessment(scores={"violence": 1.0})

    tale = Guard(FakeWriter("He stabbed him."), FakeJudge(always_fails), attempts=1).invoke({})
    html = tale._repr_html_()
    assert tale.refusal is not None
    assert tale.refusal.child_message in visible_text(html)
    released = Guard(FakeWriter("A calm <day>."), FakeJudge()).invoke({})._repr_html_()
    assert "A calm <day>." in visible_text(released)
