"""Text in other languages is detected, and English-only judges abstain from it."""

from __future__ import annotations

import pytest

from benchmarks.language import foreign_sentences, within
from taleward.core.errors import IntegrityError
from taleward.core.events import TextEvent
from taleward.core.verdict import Passage
from taleward.moderation.guard.guard import Guard
from taleward.moderation.judges import judge
from taleward.moderation.text.foreign_words import pack, unpack
from taleward.moderation.text.non_english import looks_foreign
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
        "'Buenos días', said Abuela, and she gave him a churro.",
        "“Bonjour, mademoiselle!” said Monsieur Dupont.",
        "Whoosh! Krrrk! Ba-dum-tss! Ai-yai-yai! went the machine.",
        "said Mama Tug.",
        "Lupita González Hernández",
        "Oluwaseun Adeyemi and Dörte Hansen met Wanjiru and Xochitl.",
        "A Pachycephalosaurus and a Micropachycephalosaurus chased a Tyrannosaurus rex.",
        "Grumblewump the snorgle wiffled all over the flimberry pie.",
        "Ye cannae dae that, lass, said the old fisherman, and I dinnae care.",
        "The note said KHOOR. Mia counted three letters back.",
        "Rhi-no-ce-ros, said the teacher.",
        "They ate crêpes and jalapeños, and then they cut the piñata.",
        "omg ur so funny lol, wrote Tom",
        "On 4/7 the robot R2B5 ran 10km in 2nd place.",
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


def test_no_unsafe_foreign_sentence_passes_alone_or_within_a_story() -> None:
    story = f"{ENGLISH} Then she went home, and they had supper together."
    for language, text in foreign_sentences():
        assert looks_foreign(text), (language, text)
        assert looks_foreign(text.upper()), (language, text)
        assert looks_foreign(within(story, text)), (language, text)
        assert looks_foreign(f"{ENGLISH} {text}", len(ENGLISH)), (language, text)


@pytest.mark.parametrize(
    "text",
    [
        "He tötete the mann with ein messer, and then lief he nach hause.",
        "Ma\u200bta al ni\u00adño con el cuchi\u00adllo.",
        "De\u0301molissez la maison de\u0301testable, tue\u0301e par le fe\u0301roce.",
        "T0te d3n Hund m1t d3m M3ss3r.",
        "Töte. Den. Hund. Mit. Dem. Messer.",
        "\n".join(["el cuchillo de sangre", "un niño muerto", "matarlo"]),
        "Ur uvg gur qbt jvgu n fgvpx.",
        "H ht th dg wth stck.",
        "kcits a htiw god eht tih eH",
    ],
)
def test_mixed_disguised_and_scrambled_text_is_foreign(text: str) -> None:
    assert looks_foreign(text)


def test_foreign_context_does_not_make_an_english_sentence_foreign() -> None:
    context = f"{FOREIGN[0]} "
    assert not looks_foreign(context + ENGLISH, len(context))


def test_a_damaged_model_is_refused() -> None:
    with pytest.raises(IntegrityError):
        unpack(b"no model")
    with pytest.raises(IntegrityError, match="holds 2 weights"):
        unpack(pack({"fox": -1.0}, b"ab", 0.1, {"known": 0.0}, 0.0))
