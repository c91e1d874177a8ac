"""The reading level, compared with the limit of the age band."""

from __future__ import annotations

import pytest

from taleward.core.errors import ConfigurationError
from taleward.core.verdict import Passage
from taleward.moderation.judges import judge

EASY = "The fox ran to the sea. He saw a red boat. The boat was full of fish. He was glad and went home."
HARD = (
    "Notwithstanding considerable meteorological uncertainty, the exceptionally experienced navigators unanimously "
    "recommended circumnavigating the treacherous archipelago before undertaking comprehensive reconnaissance."
)


@pytest.mark.parametrize(("band", "limit"), [("3-5", 5), ("6-8", 7), ("9-12", 9)])
def test_easy_passes_and_hard_fails(band: str, limit: int) -> None:
    reading_level = judge("reading-level", band=band)
    assert reading_level.invoke(EASY).outcome == "pass"
    verdict = reading_level.invoke(HARD)
    assert verdict.outcome == "fail"
    assert verdict.detail.endswith(f"the limit is {limit}")


def test_the_limit_can_be_set() -> None:
    assert judge("reading-level", limit=0).invoke(EASY + " " + HARD).outcome == "fail"
    with pytest.raises(ConfigurationError, match="limit must be an index from 0 to 20; got -1"):
        judge("reading-level", limit=-1)


def test_a_sentence_is_measured_with_its_context() -> None:
    sentence = "Suddenly an astonishing thunderstorm interrupted everything."
    reading_level = judge("reading-level")
    assert reading_level.invoke(sentence).outcome == "fail"
    assert reading_level.invoke(Passage(text=sentence, context=EASY * 5 + " ")).outcome == "pass"


def test_another_language_does_not_pass() -> None:
    german = "Es war einmal ein kleiner Fuchs, der wohnte am Meer. Er ging jeden Tag an den Strand und suchte Muscheln."
    assert judge("reading-level", limit=20).invoke(german).outcome == "abstain"


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    import nltk

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("nltk tried to download a dictionary")

    monkeypatch.setattr(nltk, "download", refuse)
    assert judge("reading-level").invoke(EASY).outcome == "pass"
