"""The HTML book: one file, nothing from outside; and in Chromium: turning, reading aloud, letters, night and print."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from taleward.books.binding.bind import bind
from tests.helpers.bound_books import TEXTS, drawn, make_book
from tests.helpers.page_browser import chromium, needs_chromium

DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 360, "height": 740}

# A voice of the device: says nothing, and ends a sentence when the test says so.
VOICE = """
window.said = [];
const voice = { name: "Test", lang: "en-US", localService: true, default: true };
class Utterance { constructor(text) { this.text = text; } }
Object.defineProperty(window, "SpeechSynthesisUtterance", { value: Utterance });
Object.defineProperty(window, "speechSynthesis", { value: {
  current: null, getVoices: () => [voice], addEventListener() {},
  speak(one) { this.current = one; window.said.push(one.text); },
  cancel() { const one = this.current; this.current = null; one?.onend?.(); },
  finish() { const one = this.current; this.current = null; one.onend(); },
} });
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pictures = [drawn(size=(64, 64)), drawn((150, 90, 40), size=(96, 64)), None]
    return bind(make_book(pictures=pictures), tmp_path_factory.mktemp("book") / "book.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Browser, book: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The book in a window; whatever it asks of the network or writes to the console fails the test."""
    options: dict[str, Any] = {"viewport": DESKTOP, "reduced_motion": "reduce", **getattr(request, "param", {})}
    context = browser.new_context(**options)
    opened = context.new_page()
    told: list[str] = []
    opened.on("console", lambda message: told.append(message.text))
    opened.on("pageerror", lambda error: told.append(str(error)))
    opened.on("request", lambda sent: told.extend([] if sent.url.startswith(("data:", "file:")) else [sent.url]))
    opened.add_init_script(VOICE)
    opened.goto(book.as_uri())
    yield opened
    context.close()
    assert told == []


def test_the_file_needs_nothing_else_and_allows_nothing_else(book: Path) -> None:
    source = book.read_text("utf-8")
    assert not re.search(r'(?:src|href)="(?!data:)|url\("(?!data:)|@import|https?://(?!github\.com)', source)
    assert " style=" not in source
    assert " onclick" not in source
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', source)
    assert policy is not None
    assert policy[1].startswith("default-src &#39;none&#39;")
    for tag in ("style", "script"):
        body = re.search(rf"<{tag}>(.*?)</{tag}>", source, re.S)
        assert body is not None
        digest = base64.b64encode(hashlib.sha256(body[1].encode()).digest()).decode()
        assert f"{tag}-src &#39;sha256-{digest}&#39;" in policy[1]


def test_words_are_words_whatever_they_contain(tmp_path: Path) -> None:
    hostile = '<script>alert(1)</script> & "quotes" {{ 7 * 7 }}'
    source = bind(make_book([hostile], [drawn()], title=hostile), tmp_path / "book.html").read_text("utf-8")
    assert source.count("<script>") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;quotes&#34; {{ 7 * 7 }}" in source


def test_every_leaf_has_a_heading_and_every_picture_an_alt_text(book: Path) -> None:
    source = book.read_text("utf-8")
    assert '<html lang="en" dir="ltr">' in source
    assert re.findall(r"<h[12][^>]*>([^<]+)<", source) == [
        *["Mira &amp; the &lt;Snow&gt;"] * 2,
        *(f"Page {n} of 3" for n in (1, 2, 3)),
        "The End",
    ]
    assert len(re.findall(r'<img [^>]*alt="[^"]+"', source)) == source.count("<img ") == 3
    assert "Made with AI" in source


@needs_chromium
@pytest.mark.browser
def test_pages_turn_by_keys_and_buttons(page: Page) -> None:
    expect(page.get_by_role("region", name="Mira & the <Snow>")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("region", name="Page 1 of 3")).to_be_focused()
    expect(page.get_by_role("region", name="Mira & the <Snow>")).to_be_hidden()
    expect(page.get_by_role("img", name='Page 1: a "fox" & snow.')).to_be_visible()
    page.get_by_role("button", name="Next page").click()
    expect(page.get_by_text("Who will help me dig?")).to_be_visible()
    assert page.url.endswith("#page-2")
    page.keyboard.press("ArrowLeft")
    page.get_by_role("button", name="Page back").click()
    page.get_by_role("button", name="Page back").click(force=True)
    expect(page.get_by_role("region", name="Mira & the <Snow>")).to_be_visible()
    page.keyboard.press("End")
    expect(page.get_by_text("Made with AI")).to_be_visible()
    page.keyboard.press("PageDown")
    page.get_by_role("button", name="Read it again").click()
    expect(page.get_by_role("region", name="Mira & the <Snow>")).to_be_visible()
    page.reload()
    expect(page.get_by_role("region", name="Mira & the <Snow>")).to_be_visible()


@needs_chromium
@pytest.mark.browser
@pytest.mark.parametrize("page", [{"viewport": PHONE, "has_touch": True}], indirect=True)
def test_pages_turn_by_swipes_and_nothing_is_wider_than_a_phone(page: Page) -> None:
    swipe = """([from, to, down]) => {
      const touch = (x, y) => new Touch({ identifier: 1, target: document.body, clientX: x, clientY: y });
      const send = (name, x, y, on) => document.body.dispatchEvent(new TouchEvent(name, {
        bubbles: true, touches: on ? [touch(x, y)] : [], changedTouches: [touch(x, y)] }));
      send("touchstart", from, 300, true); send("touchend", to, 300 + down, false); }"""
    page.evaluate(swipe, [300, 80, 10])
    expect(page.get_by_role("region", name="Page 1 of 3")).to_be_visible()
    page.evaluate(swipe, [300, 200, 200])
    expect(page.get_by_role("region", name="Page 1 of 3")).to_be_visible()
    page.evaluate(swipe, [80, 300, 0])
    expect(page.get_by_role("region", name="Mira & the <Snow>")).to_be_visible()
    for _ in range(5):
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="Larger letters").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for button in page.locator(".bar button").all():
        box = button.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 44


@needs_chromium
@pytest.mark.browser
def test_it_reads_aloud_marks_the_sentence_pauses_and_turns_the_page(page: Page) -> None:
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="Read aloud").click()
    spoken = page.locator(".spoken")
    expect(spoken).to_have_text("Mira the fox woke up early.")
    page.evaluate("speechSynthesis.finish()")
    expect(spoken).to_have_text("Snow had fallen <all night> & covered her door.")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Read aloud")).to_be_visible()
    page.get_by_role("button", name="Read aloud").click()
    assert page.evaluate("said.length") == 3
    page.evaluate("speechSynthesis.finish()")
    expect(page.get_by_role("region", name="Page 2 of 3")).to_be_visible()
    expect(spoken).to_have_text("“Who will help me dig?” she asked.")
    page.keyboard.press("ArrowRight")
    expect(spoken).to_have_text("They dug until noon.")
    page.evaluate("speechSynthesis.finish(); speechSynthesis.finish()")
    expect(page.get_by_role("button", name="Read aloud")).to_be_visible()
    assert page.evaluate("said.at(-1)") == "Then the path was free, and both had soup."


@needs_chromium
@pytest.mark.browser
def test_letters_grow_and_pages_darken(page: Page) -> None:
    page.keyboard.press("ArrowRight")
    size = "parseFloat(getComputedStyle(document.querySelector('#page-1 .text')).fontSize)"
    paper = "getComputedStyle(document.querySelector('#page-1')).backgroundColor"
    before, day = page.evaluate(size), page.evaluate(paper)
    page.get_by_role("button", name="Larger letters").click()
    assert page.evaluate(size) > 1.25 * before
    page.get_by_role("button", name="Dark pages").click()
    expect(page.get_by_role("button", name="Dark pages")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate(paper) != day


@needs_chromium
@pytest.mark.browser
@pytest.mark.parametrize("page", [{"color_scheme": "dark"}, {"viewport": PHONE}], indirect=True)
def test_axe_finds_nothing_on_any_leaf(page: Page) -> None:
    from axe_playwright_python.sync_playwright import Axe

    for _ in range(5):
        found = Axe().run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
        page.keyboard.press("ArrowRight")


@needs_chromium
@pytest.mark.browser
@pytest.mark.parametrize("page", [{"reduced_motion": "no-preference"}], indirect=True)
def test_motion_follows_what_the_reader_prefers(page: Page) -> None:
    name = "getComputedStyle(document.querySelector('#page-1')).animationName"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(name) == "turn"
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(name) == "none"


@needs_chromium
@pytest.mark.browser
def test_on_paper_every_leaf_is_a_page(page: Page, tmp_path: Path) -> None:
    from pypdf import PdfReader

    page.pdf(path=tmp_path / "printed.pdf", format="A4", print_background=True)
    printed = PdfReader(tmp_path / "printed.pdf")
    assert len(printed.pages) == 5
    assert "They dug until noon." in " ".join(printed.pages[3].extract_text().split())


@needs_chromium
@pytest.mark.browser
def test_without_script_the_whole_book_is_there(browser: Browser, book: Path) -> None:
    context = browser.new_context(java_script_enabled=False, viewport=DESKTOP)
    opened = context.new_page()
    opened.goto(book.as_uri())
    for text in ("Mira the fox woke up early.", "They dug until noon.", TEXTS[1].split("\n")[0]):
        expect(opened.get_by_text(text)).to_be_visible()
    expect(opened.get_by_role("navigation")).to_be_hidden()
    context.close()
