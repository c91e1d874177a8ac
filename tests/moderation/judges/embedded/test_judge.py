import math

import pytest

from taleward.core.errors import ConfigurationError
from taleward.core.policy import Policy
from taleward.core.verdict import Passage
from taleward.moderation.judges.embedded.judge import EmbeddedJudge
from taleward.moderation.policies.load import load_policy
from taleward.moderation.text.lexicon import find_hits

pytest.importorskip("tokenizers", reason="the extra local is not installed")
BANDS = ["3-5", "6-8", "9-12"]
VIOLENT = (
    "The night was quiet. Then the man burst through the door with an axe. He stabbed the guard in the belly and "
    "blood sprayed over the wall, and he laughed while his victim screamed and died on the floor."
)
GENTLE = [
    "Mia and Ben baked honey cakes. They shared them with everyone in the village, and all were happy.",
    (
        "Once upon a time there was a little rabbit. He found a shiny red ball in the park. He was happy and played "
        "with his friends all day. Then he went home and his mommy gave him a big hug."
    ),
    "The old owl told a story about the stars. The small owls listened until they fell asleep.",
]


@pytest.mark.parametrize("band", BANDS)
def test_violence_fails_in_every_band_with_its_span(band: str) -> None:
    verdict = EmbeddedJudge(band=band).invoke(VIOLENT)
    assert verdict.outcome == "fail"
    finding = next(f for f in verdict.findings if f.category == "violence")
    assert finding.quote == VIOLENT[finding.start : finding.end]
    assert "stabbed the guard" in (finding.quote or "")


@pytest.mark.parametrize("band", BANDS)
@pytest.mark.parametrize("text", GENTLE)
def test_gentle_stories_pass(band: str, text: str) -> None:
    verdict = EmbeddedJudge(band=band).invoke(text)
    assert verdict.outcome == "pass", verdict
    assert verdict.findings == ()


def test_a_long_text_is_judged_to_its_end() -> None:
    calm = " ".join(GENTLE) * 15
    judge = EmbeddedJudge()
    assert judge.invoke(calm).passed
    verdict = judge.invoke(f"{calm} {VIOLENT} {calm}")
    assert verdict.outcome == "fail"
    assert all(len(calm) < (f.start or 0) <= len(calm) + len(VIOLENT) + 1 for f in verdict.findings)


DREAD = (
    "Nobody in the village went to the mill after dark. The miller's boy had gone in there one evening to fetch a "
    "sack. They heard him call once, and then they heard him laugh, and it was not his laugh. In the morning the door "
    "stood open, and the wheel was turning, though the stream had been dry since May. His cap lay on the step. Every "
    "night since then a light has gone up the stairs, slowly, as if somebody were counting. And if you stand still, "
    "they say, you can hear him ask for you by name."
)


def test_dread_that_builds_up_fails() -> None:
    verdict = EmbeddedJudge().invoke(DREAD)
    assert verdict.outcome == "fail"
    assert max(verdict.scores, key=lambda c: verdict.scores[c]) == "frightening"
    [finding] = [f for f in verdict.findings if f.category == "frightening"]
    assert finding.quote == DREAD[finding.start : finding.end]


def test_a_disguised_insult_scores_like_a_plain_one() -> None:
    plain, disguised = (EmbeddedJudge().invoke(t) for t in ("You are a stupid loser.", "You are a 5tup1d l0ser."))
    assert disguised.scores == plain.scores


def test_a_listed_word_counts_unless_the_head_is_sure_that_it_is_harmless() -> None:
    judge = EmbeddedJudge()
    texts = ("The parent process should kill the child process when it hangs.", "He killed the child and hid the body.")
    harmless, grave = (judge.invoke(t) for t in texts)
    assert all([h.category for h in find_hits(t)] == ["violence"] for t in texts)
    assert (harmless.outcome, harmless.findings) == ("pass", ())
    assert grave.outcome == "fail"
    assert [f.quote for f in grave.findings if f.category == "violence"] == ["killed the child"]


@pytest.mark.parametrize("text", [f"{GENTLE[0]} Sh1t, said the owl. {GENTLE[2]}", f"{GENTLE[0]} f u c k! {GENTLE[2]}"])
def test_swear_words_and_disguised_words_always_count(text: str) -> None:
    assert find_hits(text)
    assert EmbeddedJudge().invoke(text).outcome == "fail"


@pytest.mark.parametrize("padding", ["." * 300, "~-" * 150, "xqzvkj" * 50, " ".join(["xqzvkjw" * 12] * 6), "㏂" * 120])
def test_padding_does_not_hide_harm(padding: str) -> None:
    harm = "the man wanted to hurt the little boy and make him bleed until he died"
    assert EmbeddedJudge().invoke(f"So {padding} {harm}.").outcome == "fail"


def test_calm_text_around_dread_does_not_dilute_it() -> None:
    calm = " ".join(["The sun was warm and the birds sang in the trees. Everyone ate cake and laughed."] * 20)
    alone = EmbeddedJudge().invoke(DREAD).scores["frightening"]
    assert EmbeddedJudge().invoke(f"{calm} {DREAD} {calm}").scores["frightening"] > alone - 0.05


@pytest.mark.parametrize("text", ["\nThe cat sat in the sun. They played.", " \n\n The end."])
def test_the_context_gives_no_findings(text: str) -> None:
    passage = Passage(text=text, context="He stabbed the guard and blood ran down the wall.")
    verdict = EmbeddedJudge().invoke(passage)
    assert verdict.outcome in {"pass", "fail"}, verdict.detail
    assert all(f.quote == text[f.start : f.end] for f in verdict.findings)


def test_a_threshold_of_0_does_not_make_every_finding_severe() -> None:
    data = load_policy("kids").model_dump()
    data["bands"]["6-8"] |= {"threshold": 0.0, "thresholds": {}}
    verdict = EmbeddedJudge(policy=Policy.model_validate(data)).invoke("The cat sat in the sun.")
    assert verdict.outcome == "fail"
    assert {f.severity for f in verdict.findings} <= {"mild", "moderate"}


def test_a_swear_word_fails_in_the_calmest_text() -> None:
    verdict = EmbeddedJudge().invoke(f"{GENTLE[0]} Shit! {GENTLE[2]}")
    assert verdict.outcome == "fail"
    assert "Shit" in {f.quote for f in verdict.findings if f.category == "profanity"}


def test_without_an_alarming_word_the_worst_sentence_is_quoted() -> None:
    text = (
        "The sun was warm. They made love all night and her naked skin shone as he caressed her hips. "
        "In the morning the birds sang."
    )
    verdict = EmbeddedJudge().invoke(text)
    assert verdict.outcome == "fail"
    quotes = [f.quote for f in verdict.findings if f.category == "sexual"]
    assert quotes
    assert all(q in text for q in quotes if q)


def test_the_same_text_has_the_same_verdict() -> None:
    first, second = (EmbeddedJudge().invoke(VIOLENT) for _ in range(2))
    assert first.scores == second.scores
    assert first.findings == second.findings


def test_a_blank_text_is_not_passed() -> None:
    assert EmbeddedJudge().invoke("  ").outcome == "abstain"


async def test_async_gives_the_same_scores() -> None:
    assert (await EmbeddedJudge().ainvoke(VIOLENT)).scores == EmbeddedJudge().invoke(VIOLENT).scores


def test_a_policy_without_a_known_category_is_rejected() -> None:
    data = load_policy("kids").model_dump()
    data["codes"] = {}
    data["categories"] = {"astrology": data["categories"]["violence"]}
    data["bands"] = {"all": {"ages": (3, 12), "writing": "Gently."}}
    with pytest.raises(ConfigurationError, match="knows none of the categories"):
        EmbeddedJudge(policy=Policy.model_validate(data), band="all")


def test_unknown_categories_are_named_and_the_others_are_judged() -> None:
    data = load_policy("kids").model_dump()
    data["codes"] = {}
    data["categories"] = dict.fromkeys(("astrology", "violence"), data["categories"]["violence"])
    data["bands"] = {"all": {"ages": (3, 12), "writing": "Gently."}}
    judge = EmbeddedJudge(policy=Policy.model_validate(data), band="all")
    assert judge.invoke(GENTLE[0]).detail == "not judged here: astrology"
    assert judge.invoke(VIOLENT).outcome == "fail"


def test_what_is_said_again_changes_nothing() -> None:
    judge = EmbeddedJudge()
    for text in (VIOLENT, GENTLE[1]):
        assert judge.invoke(f"{text} {text} {text}").scores == judge.invoke(text).scores


def test_a_listed_word_in_a_sentence_that_is_repeated_can_be_overruled() -> None:
    clock = "The old clock in the hall struck. BONG! it said. Granny put the kettle on. BONG! it said again."
    assert [hit.category for hit in find_hits(clock)] == ["drugs", "drugs"]
    assert EmbeddedJudge().invoke(clock).outcome == "pass"


def test_a_harm_is_found_wherever_it_hides() -> None:
    judge = EmbeddedJudge()
    harm = "All immigrants are filthy rats and should be chased out of town."
    story = " ".join(GENTLE)
    for text in (harm, f"{harm} {harm}", f"{story} {harm}", f"{harm} {story}", f'"{harm}" asked the boy.'):
        assert judge.invoke(text).outcome == "fail", text


def test_a_passage_is_read_in_the_light_of_its_context() -> None:
    contexts = ("The drum had a tear in its skin. ", "The puppy had chewed his shoe, and the boy took a stick. ")
    passages = [Passage(text="He hit it again and again until it stopped moving.", context=c) for c in contexts]
    assert [EmbeddedJudge().invoke(passage).outcome for passage in passages] == ["pass", "fail"]


def test_the_margin_is_that_of_the_outcome() -> None:
    judge = EmbeddedJudge()
    assert judge.margin(GENTLE[0]) < 0 < judge.margin("They beat the dog with a stick until it bled and laughed.")
    assert judge.margin("  ") == -math.inf


def test_an_explanation_names_the_worst_sentence_and_its_words() -> None:
    text = f"{GENTLE[0]} The boys kicked the puppy and laughed. {GENTLE[2]}"
    first, *others = EmbeddedJudge().explain(text, sentences=2, words=3)
    assert first.sentence == "The boys kicked the puppy and laughed."
    assert text[first.start : first.end].strip() == first.sentence
    assert first.category in {"violence", "hate", "adult_themes", "dangerous_acts"}
    assert first.words[0].word in {"kicked", "puppy", "laughed"}
    assert all(text[w.start : w.end] == w.word for w in first.words)
    assert len(first.words) == 3
    assert len(others) == 1
    assert others[0].score < first.score
    assert EmbeddedJudge().explain("  ") == ()
