"""What notebooks show for policies, templates, guards, evaluations and judge benchmarks: complete, and escaped."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda

import taleward as tw
from taleward.chains.template import BandVariant, Template, Variable
from taleward.core.html_tables import Html, notebook_box, notebook_table
from taleward.core.policy import Policy
from taleward.evaluation.comparison import ComparisonResult, MetricComparison
from taleward.evaluation.judge_bench.bench import benchmark_judges
from taleward.evaluation.metrics.base import MetricScore
from taleward.evaluation.result import Evaluation, MetricResult
from taleward.moderation.calibration.labeled_texts import LabeledData, LabeledText
from taleward.testing import FakeJudge, FakeWriter

HOSTILE = """<script>alert('$x$')</script>"><img src=x onerror="alert(1)">&lt;"""
ALLOWED = {"div", "strong", "em", "table", "thead", "tbody", "tr", "th", "td", "span", "code", "p", "img"}


class Elements(HTMLParser):
    """Collects elements and attributes, and checks that all elements are closed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(html: str) -> str:
    """Return the visible text of a view, after checking that it brings no foreign elements, styles or colors."""
    elements = Elements(html)
    assert elements.open == []
    assert elements.tags <= ALLOWED
    assert {name for name, _ in elements.attributes} <= {"style", "class", "title", "scope", "alt", "src"}
    assert all((value or "").startswith("data:image/png") for name, value in elements.attributes if name == "src")
    styles = " ".join(value or "" for name, value in elements.attributes if name == "style")
    assert not re.search(r"(?<![-\w])(color|background|font)\b", styles), "colors are the theme's"
    assert "tex2jax_ignore" in html
    return unescape(re.sub(r"<[^>]+>", " ", html))


def hostile_policy() -> Policy:
    return Policy.model_validate(
        {
            "name": HOSTILE,
            "version": HOSTILE,
            "parent": HOSTILE,
            "description": HOSTILE,
            "severities": dict.fromkeys(("mild", "moderate", "severe"), HOSTILE),
            "categories": {HOSTILE: {"title": HOSTILE, "definition": HOSTILE}},
            "bands": {HOSTILE: {"ages": [3, 5], "writing": HOSTILE, "thresholds": {HOSTILE: 0.25}}},
        }
    )


def hostile_template() -> Template:
    return Template(
        name="hostile",
        version=HOSTILE,
        description=HOSTILE,
        text=HOSTILE + " {hero}",
        request="Tell of {hero} " + HOSTILE,
        variables={"hero": Variable(description=HOSTILE, example=HOSTILE)},
        bands={HOSTILE: BandVariant(text="{hero} " + HOSTILE, guidance=HOSTILE)},
    )


def evaluation(name: str = HOSTILE, **fields: Any) -> Evaluation:
    score = MetricScore(
        metric=HOSTILE, value=0.25, low=0.1, high=0.5, n=1, unit=HOSTILE, higher_is_better=True, signature=HOSTILE
    )
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    fields = {"started_at": moment, "finished_at": moment, "ids": (HOSTILE,), "data": "ab", **fields}
    return Evaluation.model_validate(
        {
            "name": name,
            "params": {},
            "metrics": {HOSTILE: MetricResult(score=score, values=(0.25,), statistics=((0.25, 1.0),))},
            **fields,
        }
    )


def hostile_guard() -> tw.Guard:
    judge = FakeJudge(policy=hostile_policy(), band=HOSTILE, failing_words={})
    judge.spec = HOSTILE
    return tw.Guard(RunnableLambda(lambda _: "A hen.").with_config(run_name=HOSTILE), judge)


def bench() -> Any:
    rows = tuple(LabeledText(text, label, ()) for text, label in (("bad", True), ("good", False)) * 4)
    return benchmark_judges({HOSTILE: FakeJudge()}, LabeledData(HOSTILE, "ab" * 32, rows), resamples=10)


def hostile_comparison() -> ComparisonResult:
    scores = {name: evaluation(name).scores[HOSTILE] for name in (HOSTILE, "other")}
    metric = MetricComparison(metric=HOSTILE, scores=scores, pairs=(), winner=HOSTILE)
    return ComparisonResult(names=(HOSTILE, "other"), metrics={HOSTILE: metric}, n=1, level=0.05, warnings=(HOSTILE,))


# The long name leaves the plot of a comparison no room.
@pytest.mark.filterwarnings("ignore:constrained_layout not applied")
@pytest.mark.parametrize(
    "make",
    [hostile_policy, hostile_template, hostile_guard, evaluation, bench, hostile_comparison],
    ids=["policy", "template", "guard", "evaluation", "bench", "comparison"],
)
def test_hostile_text_is_escaped_and_loses_nothing(make: Any) -> None:
    assert HOSTILE in checked(make()._repr_html_())


def test_a_policy_shows_tolerance_and_threshold_of_each_category_in_each_band() -> None:
    policy = tw.load_policy("kids")
    html = policy._repr_html_()
    rows = re.findall(r"<tr>(.*?)</tr>", html)
    cells = {unescape(re.sub(r"<[^>]+>", "", row[0])): row[1:] for row in (re.findall(r">([^<]+)<", r) for r in rows)}
    assert cells["frightening"] == [
        "none, fails from 0.5",
        "mild, fails from 0.6",
        "moderate, fails from 0.75",
    ]
    assert set(policy.categories) <= set(cells)
    assert "kids@1" in checked(html)


def test_a_template_marks_its_variables_and_shows_each_band_and_example() -> None:
    template = tw.load_template("adventure")
    html = template._repr_html_()
    text = checked(html)
    assert 'title="where the story takes place">{setting}</code>' in html
    for name in template.variables:
        assert text.count(f"{{{name}}}") == html.count(f">{{{name}}}</code>") > 0
    for band in template.bands.values():
        assert band.guidance in text
    assert all(value in text for values in template.example_values for value in values.values())


def test_a_guard_shows_who_writes_and_judges_and_its_limits() -> None:
    writer = tw.StoryChain("embedded:storyteller-mini", template="bedtime", band="3-5", seed=7)
    text = checked(tw.Guard(writer, FakeJudge(), attempts=2, timeout_s=None, mask_personal_data=True)._repr_html_())
    for shown in ("StoryChain", "embedded:storyteller-mini", "bedtime@1", "seed: 7", "fake (FakeJudge)", "kids@1"):
        assert shown in text
    for shown in ("6-8 (ages 6 to 8)", "up to 2", "personal data is masked"):
        assert shown in text
    assert re.search(r"time limit\s+none", text)


def test_a_guard_shows_no_attribute_of_a_foreign_writer() -> None:
    writer = FakeWriter("A hen.")
    writer.api_key = "sk-secret"  # type: ignore[attr-defined]
    assert "sk-secret" not in tw.Guard(writer, FakeJudge())._repr_html_()


def test_an_evaluation_says_what_failed_and_what_is_missing() -> None:
    text = checked(
        evaluation("mine", failed={"row 1": "down"}, missing=("row 2",), stopped="out of time")._repr_html_()
    )
    assert "1 samples failed, for example row 1" in text
    assert "partial: out of time" in text


def test_only_html_is_left_unescaped() -> None:
    table = notebook_table(["<a>"], [["<b>", Html("<em>c</em>")]])
    assert "&lt;a&gt;" in table
    assert "&lt;b&gt;" in table
    assert "<em>c</em>" in table
    assert "&lt;d&gt;" in notebook_box("t", "<d>")
