"""The page in a real browser: a child asks, listens, and is never shown what did not pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from taleward.testing import FakeJudge, FakeWriter
from tests.helpers.page_apps import page_app
from tests.helpers.page_browser import ask, chromium, needs_chromium, opened, wait_for_the_end

pytestmark = [pytest.mark.browser, needs_chromium]

# A voice that says a sentence when the test lets it.
STUB_VOICE = """
window.spoken = [];
window.SpeechSynthesisUtterance = class { constructor(text) { this.text = text; } };
Object.defineProperty(window, "speechSynthesis", { value: {
  getVoices: () => [
    { lang: "en-US", localService: false, default: true, name: "far away" },
    { lang: "en-GB", localService: true, default: false, name: "here" },
  ],
  speak(utterance) {
    window.spoken.push([utterance.text, utterance.rate, utterance.voice.name]);
    this.current = utterance;
  },
  cancel() { const stopped = this.current; this.current = null; stopped?.onend(); },
  endSentence() { const said = this.current; this.current = null; said.onend(); },
}});
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def ever_shown(page: Page) -> str:
    return str(page.evaluate("window.everShown"))


def test_a_child_taps_ideas_and_is_told_a_tale(browser: Browser, values: dict[str, str]) -> None:
    writer = FakeWriter(["A fox ran.\n\n", "It was bad. "], "It slept. 🌙")
    with opened(browser, page_app(writer=writer)) as page:
        page.get_by_role("button", name="shy dragon").click()
        page.get_by_label("Where does it happen?", exact=True).fill("a <b>deep</b> forest")
        page.get_by_role("button", name="Tell me the story").click()
        wait_for_the_end(page)
        assert page.locator("#tale p").all_text_contents() == ["A fox ran.", "It slept. 🌙"]
        expect(page.get_by_role("heading", name="The shy dragon")).to_be_focused()
        assert "bad" not in ever_shown(page)
    asked = writer.inputs[0]
    assert (asked["setting"], asked["character"]) == ("a <b>deep</b> forest", "shy dragon")
    # What was left empty got the ideas that go with a shy dragon.
    assert (asked["mysterious_object"], asked["outcome"]) == ("silver whistle", "a feast for everyone")


def test_markup_in_a_tale_is_text(browser: Browser) -> None:
    story = "<img src=x onerror=alert(1)> said <b>Mia</b>."
    with opened(browser, page_app(writer=FakeWriter(story))) as page:
        ask(page)
        wait_for_the_end(page)
        assert page.locator("#tale").text_content() == story


def test_a_refusal_is_gentle_and_offers_another_idea(browser: Browser) -> None:
    with opened(browser, page_app()) as page:
        ask(page, "a bad wolf")
        words = "I would rather not tell a story about that. Shall we think of something else?"
        expect(page.locator("#gentle-words")).to_have_text(words)
        expect(page.get_by_role("status").filter(has_text=words)).to_be_attached()
        assert "wolf" not in page.locator("#story").inner_text().lower()
        ideas = page.get_by_role("group", name="Other ideas").get_by_role("button")
        expect(ideas).to_have_count(3)
        ideas.first.click()
        wait_for_the_end(page)
        assert page.locator("#tale").text_content() == "A fox ran. It slept."
        expect(page.locator("#gentle")).to_be_hidden()


def test_a_retraction_takes_the_words_away(browser: Browser) -> None:
    judge = FakeJudge(lambda passage: "fail" if passage.text.count("fox") > 1 else "pass")
    writer = FakeWriter(["A fox ran. ", "A fox hid. "])
    with opened(browser, page_app(writer=writer, judge=judge)) as page:
        ask(page, "animals")
        page.locator("#gentle").wait_for()
        assert page.locator(".sentence:not([aria-hidden])").count() == 0
        expect(page.locator("#tale")).to_be_empty()
        expect(page.locator("#the-end")).to_be_hidden()


def test_an_error_in_mid_stream_puts_the_story_away_and_tells_it_again(browser: Browser) -> None:
    writer = FakeWriter(["A fox ran. ", "It met ", RuntimeError("secret")], "A fox slept.")
    with opened(browser, page_app(writer=writer)) as page:
        ask(page)
        expect(page.locator("#gentle-words")).to_contain_text("lost the thread")
        expect(page.locator("#tale")).to_be_empty()
        page.get_by_role("button", name="Tell it again").click()
        wait_for_the_end(page)
        assert page.locator("#tale").text_content() == "A fox slept."


def test_a_connection_that_breaks_puts_the_story_away(browser: Browser) -> None:
    cut = 'event: text\ndata: {"text":"A fox ran. ","start":0}\n\nevent: text\nda'
    with opened(browser, page_app()) as page:
        page.route("**/page/tales", lambda route: route.fulfill(body=cut, content_type="text/event-stream"))
        ask(page)
        expect(page.locator("#gentle-words")).to_contain_text("cannot hear you")
        expect(page.locator("#tale")).to_be_empty()


def test_too_many_stories_get_a_pause(browser: Browser) -> None:
    with opened(browser, page_app(tales_per_minute=1), console="429") as page:
        ask(page)
        wait_for_the_end(page)
        page.get_by_role("button", name="Tell it again").click()
        expect(page.locator("#gentle-words")).to_contain_text("Let us take a deep breath. In")


def test_a_new_story_stops_the_old_one(browser: Browser) -> None:
    writer = FakeWriter(["A fox ran. "] * 500, "A cat slept.", pause_s=0.05)
    with opened(browser, page_app(writer=writer)) as page:
        ask(page)
        page.locator(".sentence").first.wait_for()
        page.get_by_role("button", name="A new story").click()
        expect(page.get_by_role("heading", name="What shall it be about?")).to_be_focused()
        page.get_by_role("button", name="Tell me the story").click()
        wait_for_the_end(page)
        assert page.locator("#tale").text_content() == "A cat slept."


def test_reading_aloud_marks_the_sentence_pauses_and_changes_speed(browser: Browser) -> None:
    writer = FakeWriter("A fox ran. It met a cat. It slept.")
    with opened(browser, page_app(writer=writer), script=STUB_VOICE) as page:
        ask(page)
        wait_for_the_end(page)
        marked = page.locator(".sentence.spoken")
        page.get_by_role("button", name="Read to me").click()
        expect(marked).to_have_text("A fox ran. ")
        page.evaluate("speechSynthesis.endSentence()")
        expect(marked).to_have_text("It met a cat. ")
        page.get_by_role("button", name="Pause").click()
        expect(marked).to_have_count(0)
        expect(page.get_by_role("button", name="Go on")).to_be_focused()
        page.get_by_label("Speed").fill("1.2")
        page.get_by_role("button", name="Go on").click()
        expect(marked).to_have_text("It met a cat. ")
        page.evaluate("speechSynthesis.endSentence()")
        page.evaluate("speechSynthesis.endSentence()")
        expect(page.get_by_role("button", name="Read to me")).to_be_visible()
        expect(marked).to_have_count(0)
        said = page.evaluate("window.spoken")
    # Only the device's own voice: the other one would send the words away.
    assert said == [
        ["A fox ran.", 0.9, "here"],
        ["It met a cat.", 0.9, "here"],
        ["It met a cat.", 1.2, "here"],
        ["It slept.", 1.2, "here"],
    ]


def test_a_device_without_a_voice_says_so(browser: Browser) -> None:
    script = STUB_VOICE.replace("localService: true", "localService: false")
    with opened(browser, page_app(), script=script) as page:
        ask(page)
        wait_for_the_end(page)
        page.get_by_role("button", name="Read to me").click()
        expect(page.get_by_text("This device has no voice of its own")).to_be_visible()


def test_everything_works_with_the_keyboard_alone(browser: Browser) -> None:
    with opened(browser, page_app(), script=STUB_VOICE) as page:

        def tab_to(name: str) -> None:
            for _ in range(80):
                page.keyboard.press("Tab")
                focused = page.evaluate(
                    "(document.activeElement.labels?.[0] ?? document.activeElement).textContent.trim()"
                )
                if focused == name:
                    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                    assert outline != "none", f"nobody sees that {name} has the focus"
                    return
            pytest.fail(f"{name} cannot be reached with Tab")

        tab_to("Skip to the story")
        tab_to("Who is it about?")
        page.keyboard.type("a hedgehog")
        tab_to("Tell me the story")
        page.keyboard.press("Enter")
        wait_for_the_end(page)
        expect(page.get_by_role("heading", name="The hedgehog")).to_be_focused()
        tab_to("Read to me")
        page.keyboard.press("Space")
        expect(page.get_by_role("button", name="Pause")).to_be_focused()
        page.keyboard.press("Space")
        tab_to("A new story")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="What shall it be about?")).to_be_focused()


def test_a_screen_reader_hears_sentences_as_they_come(browser: Browser) -> None:
    writer = FakeWriter(["A fox ran. ", "It slept."], pause_s=0.4)
    with opened(browser, page_app(writer=writer)) as page:
        ask(page)
        log = page.get_by_role("log", name="The story")
        expect(log).to_have_attribute("aria-busy", "true")
        expect(page.get_by_role("status").filter(has_text="I am thinking of a beginning")).to_be_attached()
        expect(log).to_have_attribute("aria-busy", "false")
        wait_for_the_end(page)
        expect(page.get_by_role("status").filter(has_text="The end.")).to_be_attached()


@pytest.mark.parametrize("looks", ["{}", '{"letters": "largest", "spacing": "wide"}'])
def test_a_phone_has_no_sideways_scrolling_and_large_targets(browser: Browser, looks: str) -> None:
    script = f"localStorage.setItem('taleward-looks', '{looks}');"
    writer = FakeWriter("Incomprehensibilities ran. " + "x" * 60 + " slept.")
    size = {"width": 360, "height": 740}
    with opened(browser, page_app(writer=writer), script=script, viewport=size, has_touch=True) as page:

        def check() -> None:
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            small = page.evaluate(
                "[...document.querySelectorAll('button, input:not([type=radio])')]"
                ".filter((e) => e.offsetParent !== null)"
                ".map((e) => [e.id || e.textContent, e.offsetHeight]).filter(([, height]) => height < 32)"
            )
            assert small == []

        check()
        ask(page)
        wait_for_the_end(page)
        check()
        page.get_by_role("link", name="For grown-ups").click()
        page.get_by_label("PIN").wait_for()
        check()


def test_dark_colors_follow_the_device_and_a_choice_is_remembered(browser: Browser) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    with opened(browser, page_app(), color_scheme="dark") as page:
        dark = page.evaluate(background)
        button = page.get_by_role("button", name="Dark colors")
        expect(button).to_have_attribute("aria-pressed", "true")
        button.click()
        light = page.evaluate(background)
        assert light != dark
        page.reload()
        page.wait_for_selector("#fields .card")
        assert page.evaluate(background) == light
        button.click()
        assert page.evaluate(background) == dark


def test_letters_grow_and_spread(browser: Browser) -> None:
    style = "(name) => parseFloat(getComputedStyle(document.querySelector('.hint'))[name])"
    with opened(browser, page_app()) as page:
        size, spacing = page.evaluate(style, "fontSize"), page.evaluate(style, "lineHeight")
        larger = page.get_by_role("button", name="Larger letters")
        larger.click()
        larger.click()
        expect(larger).to_be_disabled()
        assert page.evaluate(style, "fontSize") > 1.4 * size
        page.get_by_role("button", name="More space between letters and lines").click()
        assert page.evaluate(style, "letterSpacing") > 0
        assert page.evaluate(style, "lineHeight") > 1.6 * spacing


def test_nothing_moves_for_whom_movement_disturbs(browser: Browser) -> None:
    with opened(browser, page_app(writer=FakeWriter("A fox ran.", pause_s=0.5)), reduced_motion="reduce") as page:
        ask(page)
        page.locator("#waiting circle").first.wait_for()
        moving = "document.getAnimations().filter((a) => a.playState === 'running').length"
        assert page.evaluate(moving) == 0
        wait_for_the_end(page)
        assert page.evaluate(moving) == 0


def test_a_story_prints_without_the_page_around_it(browser: Browser) -> None:
    with opened(browser, page_app()) as page:
        ask(page)
        wait_for_the_end(page)
        page.emulate_media(media="print")
        expect(page.locator("#tale")).to_be_visible()
        for around in (".sky", ".tools", "#to-grown-ups"):
            expect(page.locator(around)).to_be_hidden()
