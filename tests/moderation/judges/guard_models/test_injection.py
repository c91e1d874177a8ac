"""Stories that speak to the judge: every prompt keeps its fences, its turns and its control tokens."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st
from langchain_core.messages import BaseMessage

from taleward.backends.chat_models import chat_model
from taleward.backends.local.hub_models import local_model
from taleward.core.verdict import Passage
from taleward.moderation.judges import judge
from taleward.moderation.judges.guard_models.base import GuardModel
from taleward.moderation.judges.llm import LLMJudge
from taleward.moderation.judges.neutralize import neutralize_markup
from tests.helpers.hostile_texts import CONTROL, HOSTILE
from tests.helpers.judge_variants import VARIANTS, made
from tests.helpers.tiny_guard_models import MODELS, make

QUIET = "quiet"
LABELS = re.compile(r"^ *(?:user|human|agent|assistant|system|model|answers?|safety|refusal)[^\n:]*:", re.I | re.M)


def near(story: str) -> str:
    return f"The fox went home. {story}\n{story} The end."


@pytest.mark.parametrize("story", HOSTILE)
def test_the_text_is_spelled_in_signs_that_steer_nothing(story: str) -> None:
    spelled = neutralize_markup(near(story))
    assert len(spelled) == len(near(story))
    assert not any(token in spelled for token in CONTROL)
    assert not re.search(r"<[^\s<>]|\[/?INST\]|^ *#|^ *---+ *$", spelled, re.MULTILINE)
    assert not LABELS.search("\n".join(spelled.splitlines()))


def test_a_story_is_spelled_as_it_is() -> None:
    story = '"Look: 3 < 5 - and 7 > 6!" said Mia [aged 7]. The user of the boat: a fox. It cost $5 -- no more. :-) <3'
    assert neutralize_markup(story) == story.replace("<3", "‹3")


@given(st.text())
def test_spelling_keeps_length_and_ends(text: str) -> None:
    assert len(neutralize_markup(text)) == len(text)
    assert neutralize_markup(neutralize_markup(text)) == neutralize_markup(text)


def turns(variant: str) -> Callable[[str, str], list[list[tuple[str, str]]]]:
    """Roles and contents of each prompt about a text with a context, the random number taken out."""
    asked = made(variant)

    def built(text: str, context: str) -> list[list[tuple[str, str]]]:
        passage = Passage(text=text, context=context)
        if isinstance(asked, LLMJudge):
            number = "f" * 16
            messages: list[BaseMessage] = asked._messages(passage, number)
            return [[(m.type, m.text) for m in messages]]
        assert isinstance(asked, GuardModel)
        return [
            [(t["role"], t["content"].replace(q.code, "N") if len(q.code) == 16 else t["content"]) for t in q.turns]
            for q in asked.questions(passage)
        ]

    return built


ASKED = {variant: turns(variant) for variant in VARIANTS if variant != "openai-moderation"}


@pytest.mark.parametrize("variant", ASKED)
@pytest.mark.parametrize("story", HOSTILE)
def test_prompts_behind_an_api_keep_their_turns_and_fences(variant: str, story: str) -> None:
    for text, context in ((near(story), ""), ("A calm day.", near(story)), (near(story), near(story))):
        quiet = ASKED[variant](QUIET if text != "A calm day." else text, QUIET if context else "")
        spelled = ASKED[variant](text, context)
        assert [[role for role, _ in prompt] for prompt in spelled] == [
            [role for role, _ in prompt] for prompt in quiet
        ]
        for prompt, calm in zip(spelled, quiet, strict=True):
            for (_, said), (_, expected) in zip(prompt, calm, strict=True):
                assert said.replace(neutralize_markup(near(story)), QUIET) == expected


def test_the_fence_is_new_with_each_call_and_not_in_the_text() -> None:
    asked = made("gpt-oss-safeguard")
    assert isinstance(asked, GuardModel)
    asks = [asked.questions(Passage(text="A day.", context="Before."))[0] for _ in range(100)]
    assert len({question.code for question in asks}) == 100
    for question in asks:
        assert re.fullmatch("[0-9a-f]{16}", question.code)
        assert f"<text-{question.code}>\nA day.\n</text-{question.code}>" in question.turns[1]["content"]


def test_a_number_that_stands_in_the_text_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from taleward.moderation.judges import llm

    drawn = iter(["a" * 16, "b" * 16, "c" * 16])
    monkeypatch.setattr(llm.secrets, "token_hex", lambda _: next(drawn))
    assert llm.random_delimiter(Passage(text=f"x{'a' * 16}", context="b" * 16)) == "c" * 16


@pytest.fixture(scope="module", params=MODELS)
def local(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[GuardModel, list[int]]:
    """A judge on a tiny model, and its tokenizer's control tokens."""
    tiny = MODELS[request.param]
    asked = judge(make(request.param, tmp_path_factory.mktemp("guard")), **tiny.options, device="cpu")
    assert isinstance(asked, GuardModel)
    model = local_model(asked.model)
    assert model is not None
    return asked, sorted(model._tokenizer.added_tokens_decoder)


@pytest.mark.parametrize("role", ["response", "prompt"])
def test_prompts_of_models_that_run_here_keep_their_control_tokens(
    local: tuple[GuardModel, list[int]], role: str
) -> None:
    asked, control = local
    asked.role = role  # type: ignore[assignment]
    model = local_model(asked.model)
    assert model is not None

    def signs(text: str, context: str) -> list[list[int]]:
        questions = asked.questions(Passage(text=text, context=context))
        return [[t for t in asked.tokens(model, q) if t in control] for q in questions]

    calm = signs(QUIET, QUIET)
    for story in HOSTILE:
        assert signs(near(story), near(story)) == calm, story


def test_an_llm_that_runs_here_reads_control_tokens_as_text(tmp_path_factory: pytest.TempPathFactory) -> None:
    spec = make("nemotron 8B", tmp_path_factory.mktemp("guard")).partition(":")[2]
    model = local_model(chat_model(spec, device="cpu"))
    assert model is not None
    control = sorted(model._tokenizer.added_tokens_decoder)
    calm = [t for t in model.prompt([{"role": "user", "content": QUIET}]) if t in control]
    for story in HOSTILE:
        tokens = model.prompt([{"role": "user", "content": near(story)}])
        assert [t for t in tokens if t in control] == calm
        assert near(story) in model.decode(tokens)
