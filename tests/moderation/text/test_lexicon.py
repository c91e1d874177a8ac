"""Listed words are found with exact spans, disguises are seen through, and harmless look-alikes are left alone."""

import pytest
from hypothesis import given, strategies as st

from taleward.core.errors import ConfigurationError
from taleward.core.policy import Policy
from taleward.moderation.judges.lexicon import LexiconJudge
from taleward.moderation.policies.load import load_policy
from taleward.moderation.text.lexicon import find_hits

BANDS = ["3-5", "6-8", "9-12"]
HARMLESS = [
    "The class from Scunthorpe met a cockerel and a pussycat. Pass it on, assist them, and mind the grass!",
    "Dick Whittington ate shitake. A titmouse sat on the analyst's cocktail.",
    "Kill the lights! A shot of espresso, a blood orange, and she shot a photo of the dragon.",
    "How do I kill a Python process? He was drunk with joy and shot me a smile.",
    "The cat's tail was beaten by the rain. The witch and her water gun made everyone laugh.",
    "It was hit by a ball. I am a b c d e f g, sang Ann. A, B, C! W-w-wait! Hooooray! Yessss! Noooo!",
    "In 1845 there were 12 dogs, 3 cats and 10,000 ants. It cost $5 and a 4x4 came at 7pm.",
    '"Never play with matches," said Papa, and put them away.',
    "My friend is Muslim. My uncle is gay. Black, deaf and Jewish children play with us.",
    "Hello, h3llo, Heeello! The shell said he'll come through the gates of hell.",
    "The fox stole a cheese, felt bad and brought it back. The doctor gave Ben his medicine.",
    "What is arson?",
    "Please explain what blackmail is.",
    "What's the difference between theft and burglary?",
    "Define the word genocide for my homework.",
    "These shoes are killing me.",
    "They are not terrorists.",
]
DISGUISED = [
    "sh1t", "s h i t", "s.h.i.t", "shiiiit", "sh*t", "SHIT", "ѕhіt", "ｓｈｉｔ", "s\u200bhit", "$hit", "f**k", "f***",
    "fuuuck", "F U C K", "f-u-c-k", "a$$hole", "b!tch", "@sshole", "fück", "f--k", "5h1t", "b1tch!", "h3ll", "h*ll",
]  # fmt: skip
HARMFUL = [
    ("He stabbed the guard and blood ran down the wall.", "violence", "stabbed the guard"),
    ("She beat the dog with a stick until it stopped moving.", "violence", "beat the dog with"),
    ("They tore off each other's clothes and fell into bed.", "sexual", "fell into bed"),
    ("People like them are vermin and do not belong here.", "hate", "People like them are vermin"),
    ("He lit a cigarette and poured himself another whiskey.", "drugs", "cigarette"),
    ("She did not want to live any more and took the razor.", "self_harm", "did not want to live any"),
    ("Max drank the blue cleaner and got super powers.", "dangerous_acts", "drank the blue cleaner"),
    ("They hot-wired the car and robbed the shop.", "crime", "robbed the shop"),
    ("He lost the house at poker and beat his wife.", "adult_themes", "lost the house at poker"),
    ("Something with no face dragged itself up the stairs.", "frightening", "Something with no face"),
    ("Call me at 555-201-3344.", "personal_data", "555-201-3344"),
    ("I live at 12 Oak Street.", "personal_data", "12 Oak Street"),
    ("Write to bob.smith@example.com now.", "personal_data", "bob.smith@example.com"),
    ("My card is 4111 1111 1111 1111.", "personal_data", "4111 1111 1111 1111"),
    ("Look at https://example.com/x?y=1 now.", "personal_data", "https://example.com/x?y=1"),
    ("Tell me your phone number.", "personal_data", "Tell me your phone"),
]


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_look_alikes_have_no_hit(text: str) -> None:
    assert find_hits(text) == []


@pytest.mark.parametrize("word", DISGUISED)
def test_disguises_are_seen_through(word: str) -> None:
    text = f"Oh, you {word} there"
    hits = find_hits(text)
    assert [h.category for h in hits] == ["profanity"]
    assert text[hits[0].start : hits[0].end] in word


@pytest.mark.parametrize(("text", "category", "quote"), HARMFUL)
def test_a_hit_in_every_category_has_its_exact_span(text: str, category: str, quote: str) -> None:
    assert (category, quote) in [(h.category, text[h.start : h.end]) for h in find_hits(text)]


@given(st.text(max_size=60))
def test_any_text_gets_a_verdict_whose_quotes_match(text: str) -> None:
    verdict = LexiconJudge().invoke(f"x {text} shit")
    assert verdict.outcome == "fail"
    assert all(f"x {text} shit"[f.start : f.end] == f.quote for f in verdict.findings)


def test_a_phrase_does_not_cross_a_sentence_boundary() -> None:
    assert find_hits("We were ready to kill. Time passed.") == []
    assert find_hits("Do not play. With matches we lit the lamp.") == []


@pytest.mark.parametrize("band", BANDS)
def test_violence_fails_in_every_band_and_is_quoted(band: str) -> None:
    verdict = LexiconJudge(band=band).invoke("Once there was a fox. He stabbed the guard. The end.")
    assert verdict.outcome == "fail"
    assert verdict.findings[0].quote == "stabbed the guard"
    assert verdict.scores["violence"] >= 0.9


def test_a_tolerated_hit_is_a_finding_and_stays_below_the_threshold() -> None:
    kids = load_policy("kids")
    data = kids.model_dump()
    data["bands"]["9-12"]["tolerance"]["profanity"] = "mild"
    judge = LexiconJudge(policy=Policy.model_validate(data), band="9-12")
    verdict = judge.invoke("Damn, I lost my hat.")
    assert verdict.outcome == "pass"
    assert [f.severity for f in verdict.findings] == ["mild"]
    assert 0 < verdict.scores["profanity"] < 0.6


def policy_with(*categories: str) -> Policy:
    data = load_policy("kids").model_dump()
    data["codes"] = {}
    data["categories"] = dict.fromkeys(categories, data["categories"]["violence"])
    data["bands"] = {"all": {"ages": (3, 12), "writing": "Gently."}}
    return Policy.model_validate(data)


def test_a_policy_of_unknown_categories_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="knows none of the categories"):
        LexiconJudge(policy=policy_with("astrology"), band="all")


def test_unknown_categories_are_named() -> None:
    verdict = LexiconJudge(policy=policy_with("astrology", "violence"), band="all").invoke("A calm day.")
    assert verdict.outcome == "pass"
    assert verdict.detail == "not judged here: astrology"
    assert set(verdict.scores) == {"violence"}


def test_a_blank_text_is_not_passed() -> None:
    assert LexiconJudge().invoke(" \n").outcome == "abstain"
