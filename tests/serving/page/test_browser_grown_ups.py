"""The grown-ups' side in a real browser, and axe-core on every side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from taleward.core.verdict import Finding, Passage
from taleward.evaluation.feedback.mlflow_store import FeedbackStore
from taleward.evaluation.tracking.tale_recorder import MlflowRecorder, default_tracking_uri
from taleward.moderation.judges.base import Assessment
from taleward.testing import FakeJudge
from tests.helpers.page_apps import PIN, page_app
from tests.helpers.page_browser import ask, chromium, needs_chromium, opened, wait_for_the_end

pytestmark = [pytest.mark.browser, needs_chromium]

FOX = Finding(category="frightening", severity="mild", quote="fox", start=2, end=5, rationale="foxes have teeth")


def marking_judge() -> FakeJudge:
    """A judge that marks a fox, and turns down what is bad."""

    def assess(passage: Passage) -> Assessment:
        found = (FOX,) if passage.text.startswith("A fox") else ()
        return Assessment(outcome="fail" if "bad" in passage.text else None, findings=found)

    return FakeJudge(assess)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def open_grown_ups(page: Page) -> None:
    page.get_by_role("link", name="For grown-ups").click()
    page.get_by_label("PIN").fill(PIN)
    page.get_by_role("button", name="Open").click()
    page.get_by_role("heading", name="What was told here").wait_for()


def findings(page: Page) -> list[str]:
    """What axe-core finds wrong, with the element."""
    # Text in the middle of fading in has too little contrast.
    page.evaluate(
        "Promise.all(document.getAnimations()"
        ".filter((a) => a.effect.getTiming().iterations < 9).map((a) => a.finished))"
    )
    report = Axe().run(page, options={"resultTypes": ["violations"]}).response
    assert report["passes"]
    return [f"{rule['id']}: {node['html'][:120]}" for rule in report["violations"] for node in rule["nodes"]]


def test_the_gate_keeps_children_out(browser: Browser) -> None:
    with opened(browser, page_app(), console="403") as page:
        ask(page)
        wait_for_the_end(page)
        page.get_by_role("link", name="For grown-ups").click()
        page.get_by_label("PIN").fill("000000")
        page.keyboard.press("Enter")
        expect(page.locator("#pin-answer")).to_have_text("This is not the PIN. 4 more tries.")
        expect(page.locator("#tales")).to_be_hidden()
        page.get_by_label("PIN").fill(PIN)
        page.keyboard.press("Enter")
        expect(page.locator(".words")).to_have_text("A fox ran. It slept.")
        # It closes when the grown-ups leave, also by loading the page anew.
        page.get_by_role("link", name="Back to the stories").click()
        page.get_by_role("link", name="For grown-ups").click()
        expect(page.get_by_label("PIN")).to_be_visible()
        expect(page.locator("#tales")).to_be_empty()


def test_grown_ups_choose_the_ages(browser: Browser) -> None:
    with opened(browser, page_app(bands=("3-5", "9-12"))) as page:
        open_grown_ups(page)
        page.get_by_label("Ages 3 to 5").check()
        expect(page.get_by_text("The next stories are for these ages.")).to_be_visible()
        page.get_by_text("What the rules forbid").click()
        expect(page.get_by_text("Hurting, killing or threatening")).to_be_visible()


def test_feedback_is_stored_and_a_story_deleted(browser: Browser, tmp_path: Path) -> None:
    uri = default_tracking_uri(tmp_path)
    store = FeedbackStore(uri)
    with opened(browser, page_app(judge=marking_judge(), recorders=[MlflowRecorder(uri)])) as page:
        ask(page)
        wait_for_the_end(page)
        assert "teeth" not in str(page.evaluate("window.everShown"))
        open_grown_ups(page)
        expect(page.locator("mark")).to_have_text("fox [Frightening (mild)]")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("Please say first")).to_be_visible()
        page.get_by_role("button", name="Does not").click()
        page.get_by_role("checkbox", name="Frightening").check()
        page.get_by_label("Comment").fill("Too many teeth.")
        page.get_by_role("button", name="Save").click()
        page.get_by_text("Thank you.").wait_for(timeout=90_000)
        (feedback,) = store.all()
        assert (feedback.person, feedback.kid_friendly, feedback.comment) == ("grown-up", False, "Too many teeth.")
        assert feedback.categories == ("frightening",)
        assert feedback.for_training is False
        page.get_by_role("button", name="Delete this story").click()
        page.get_by_role("button", name="Yes, delete it").click()
        page.locator(".tale").wait_for(state="detached", timeout=90_000)
    assert list(store.tales()) == []


def test_without_mlflow_the_page_says_so_kindly(browser: Browser) -> None:
    with opened(browser, page_app()) as page:
        ask(page)
        wait_for_the_end(page)
        open_grown_ups(page)
        expect(page.get_by_text("Your opinion would help, but this server does not record")).to_be_visible()
        expect(page.get_by_role("button", name="Save")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_side(browser: Browser, scheme: str) -> None:
    with opened(browser, page_app(judge=marking_judge()), color_scheme=scheme, bypass_csp=True) as page:
        assert findings(page) == []
        page.get_by_role("button", name="One sentence").click()
        assert findings(page) == []
        ask(page)
        wait_for_the_end(page)
        assert findings(page) == []
        page.get_by_role("button", name="A new story").click()
        ask(page, "a bad wolf")
        page.locator("#gentle").wait_for()
        assert findings(page) == []
        page.get_by_role("link", name="For grown-ups").click()
        page.get_by_label("PIN").wait_for()
        assert findings(page) == []
        page.get_by_label("PIN").fill(PIN)
        page.keyboard.press("Enter")
        page.locator(".tale").first.wait_for()
        page.get_by_text("What the rules forbid").click()
        assert findings(page) == []
