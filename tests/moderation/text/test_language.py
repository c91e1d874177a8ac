"""Text in other languages is detected, and English-only judges abstain from it."""

from __future__ import annotations

import pytest

from taleward.core.events import TextEvent
from taleward.core.verdict import Passage
from taleward.moderation.guard.guard import Guard
from taleward.moderation.judges import judge
from taleward.moderation.text.language import looks_foreign
from taleward.testing import FakeWriter

ENGLISH = "Once there was a fox who lived by the sea with her mother. She liked to swim and to sing all day."
FOREIGN = [
    "Había una vez un niño que vivía en un bosque muy grande con su madre y su perro pequeño.",
    "Es war einmal ein kleines Mädchen, das lebte mit seiner Mutter in einem Haus am Rande des Waldes.",
    "Il était une fois une petite fille qui vivait avec sa mère dans une maison au bord de la forêt.",
    "Byla jednou jedna holčička, která bydlela s maminkou v domku na kraji lesa a měla psa.",
    "Жила-была девочка, и все её любили.",
    "从前有一个小女孩住在森林里",
]


@pytest.mark.parametrize("text", FOREIGN)
def test_other_languages_are_detected(text: str) -> None:
    assert looks_foreign(text)


@pytest.mark.parametrize(
    "text",
    [
        ENGLISH,
        "Wow!",
        "Zoë and José ate crêpes in the café, and they said it was très bien.",
        "Tap, tap, tap went the rain. Drip, drop, drip!",
        "“Здравствуй,” said the Russian doll, and she bowed to the children who had come to see her.",
        "",
    ],
)
def test_english_is_not_foreign(text: str) -> None:
    assert not looks_foreign(text)


@pytest.mark.parametrize("spec", ["lexicon", "embedded:judge"])
@pytest.mark.parametrize("text", FOREIGN)
def test_an_english_judge_abstains_from_other_languages(spec: str, text: str) -> None:
    verdict = judge(spec).invoke(f"{ENGLISH} {text}")
    assert verdict.outcome == "abstain"
    assert "not in English" in verdict.detail
    assert judge(spec).invoke(Passage(text=text, context=f"{ENGLISH} ")).outcome == "abstain"


def test_a_hit_fails_a_foreign_text() -> None:
    assert judge("lexicon").invoke(f"{FOREIGN[0]} He stabbed the guard.").outcome == "fail"


@pytest.mark.parametrize("text", FOREIGN)
def test_an_english_sentence_among_others_is_judged(text: str) -> None:
    harmful = "He slit the guard's belly with an axe, and the blood ran over the floor."
    verdict = judge("embedded:judge").invoke(f"{text} {harmful} {text}")
    assert verdict.outcome == "fail"
    assert any("belly" in (f.quote or "") for f in verdict.findings)


def test_a_switch_of_language_ends_the_released_text() -> None:
    events = list(Guard(FakeWriter([f"{ENGLISH} {FOREIGN[0]} Fin."]), judge("lexicon"), attempts=1).stream({}))
    released_text = "".join(e.text for e in events if isinstance(e, TextEvent))
    assert released_text.startswith(ENGLISH)
    assert "niño" not in released_text
