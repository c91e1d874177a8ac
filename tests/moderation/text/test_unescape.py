"""What a page shows is what is judged; what nobody reads as it stands is not passed."""

from __future__ import annotations

import time
from collections.abc import Callable
from html import escape

import pytest
from hypothesis import given, settings, strategies as st

from benchmarks.evasions import EVASIONS, HARMLESS
from taleward.moderation.judges import judge
from taleward.moderation.text.non_english import looks_foreign
from taleward.moderation.text.unescape import decode, looks_encoded

HARM = "He stabbed the guard with his sword, and blood ran over the floor."
BEFORE = "Mia and Ben baked a cake. "


@pytest.mark.parametrize("name", EVASIONS)
@pytest.mark.parametrize("spec", ["lexicon", "embedded:judge"])
def test_an_evasion_does_not_pass(spec: str, name: str) -> None:
    text = EVASIONS[name](HARM)
    assert not judge(spec).invoke(text).passed
    assert not judge(spec).invoke(f"{BEFORE}{text} They went home.").passed


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_text_with_odd_signs_is_read(name: str) -> None:
    assert judge("lexicon").invoke(HARMLESS[name]).outcome != "abstain"


@pytest.mark.parametrize(
    ("encoded", "shown"),
    [
        ("a &lt; b &amp;&amp; c", "a < b && c"),
        ("&#115;&#x74;abbed", "stabbed"),
        ("&amp;#115;tab", "stab"),
        ("st<b>ab</b>bed", "stabbed"),
        ("one<br/>two", "one two"),
        ('<img alt="he fell down">', " he fell down "),
        ("He%20fell%21", "He fell!"),
        ("He+fell+down", "He fell down"),
        ("stab-\nbed", "stabbed"),
        ("honey-\ncakes", "honey-cakes"),
        ("the \U0001f52a cut", "the  knife  cut"),
        ("50% of x < y and I <3 you & me", "50% of x < y and I <3 you & me"),
        ("<3 <fox> 100%zz", "<3 <fox> 100%zz"),
    ],
)
def test_decoding(encoded: str, shown: str) -> None:
    assert decode(encoded).text == shown


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=40), st.text(alphabet="ab &;#<>/%26-\n+\U0001f52a", max_size=40))
def test_offsets_cover_the_original_in_order(left: str, right: str) -> None:
    text = f"{left}{right}"
    decoded = decode(text)
    spans = [decoded.span(n, n + 1) for n in range(len(decoded.text))]
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert [start for start, _ in spans] == sorted(start for start, _ in spans)
    assert decoded.position(len(text)) == len(decoded.text)
    assert decode(escape(text)).text == decode(text).text or "&" in text or "<" in text


@pytest.mark.parametrize("spec", ["lexicon", "embedded:judge"])
@pytest.mark.parametrize("hide", [lambda t: "".join(f"&#{ord(c)};" for c in t), lambda t: t.replace("bb", "b<b></b>b")])
def test_findings_quote_the_original(spec: str, hide: Callable[[str], str]) -> None:
    text = BEFORE + hide(HARM)
    verdict = judge(spec).invoke(text)
    assert verdict.outcome == "fail"
    for finding in verdict.findings:
        assert finding.quote == text[finding.start : finding.end]
    assert any((finding.start or 0) >= len(BEFORE) for finding in verdict.findings)


@pytest.mark.parametrize(
    "text", ["Hecutoffthethiefshandwithanaxe", "killthedog", "HeHitTheDog", "48 65 20 68 69 74 20 68 69 6d"]
)
def test_codes_and_words_without_spaces_are_recognized(text: str) -> None:
    assert looks_encoded(f"She read: {text}.")


@pytest.mark.parametrize(
    "text",
    [
        "Supercalifragilisticexpialidocious! Zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz. Hooooooooooray!",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
        "Mia waited . . . . . . . . . and waited - - - - - - - - - until noon.",
        "SOS is ... --- ... in Morse code. Southampton, meadowland, Hiroshima, grandmotherliness.",
        "The YouTube channel of McDonald's iPhone; chapter 12b, 24-hour, B2B.",
    ],
)
def test_sounds_counting_and_long_words_are_not_codes(text: str) -> None:
    assert not looks_encoded(text)


@pytest.mark.parametrize("read", [decode, looks_encoded, looks_foreign])
@pytest.mark.parametrize(
    "unit",
    [
        "&",
        "<",
        "<a ",
        "<!--",
        "%4",
        "-\n",
        "a-",
        "- ",
        ". ",
        "a",
        "aB1",
        "ab ",
        "12 ",
        "é",
        "“",
        "&#60;",
        "\u0301",
        "'",
    ],
)
def test_time_grows_with_the_length(read: Callable[[str], object], unit: str) -> None:
    def seconds(size: int) -> float:
        runs = []
        for _ in range(3):
            text = unit * (size // len(unit))
            start = time.process_time()
            read(text)
            runs.append(time.process_time() - start)
        return min(runs)

    # Quadratic time would be 256 times as long.
    assert seconds(64_000) < 64 * seconds(4_000) + 0.05
