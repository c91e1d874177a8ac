"""Families behind an API: what is sent, what comes of the answer, what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel

from taleward.core.errors import ConfigurationError, MissingKey, UnknownName
from taleward.core.verdict import Passage
from taleward.moderation.judges import JUDGES, Judge, judge
from taleward.moderation.policies.load import load_policy
from tests.helpers.openai_stub import completion, serving

STORY = Passage(text="The fox slept.", context="A fox lived by the sea.")


@contextmanager
def asked(spec: str, answer: str | Callable[..., Any], **options: Any) -> Iterator[tuple[Judge, list[dict[str, Any]]]]:
    """A judge behind a server, and the requests that came there."""
    came: list[dict[str, Any]] = []

    def reply(path: str, body: dict[str, Any]) -> Any:
        came.append(body)
        return completion(answer) if isinstance(answer, str) else answer(path, body)

    with serving(reply) as url:
        yield judge(spec, base_url=url, **options), came


def test_llama_guard_is_asked_with_the_context_as_the_turn_before() -> None:
    with asked("llama-guard:openai:guard", "unsafe\nS1,S8", price_usd=(0.2, 1.0)) as (guard, came):
        verdict = guard.invoke(STORY)
    assert came[0]["messages"] == [
        {"role": "user", "content": "A fox lived by the sea."},
        {"role": "assistant", "content": "The fox slept."},
    ]
    assert verdict.outcome == "fail"
    assert verdict.categories == ("violence",)
    assert verdict.detail == "llama-guard flags S8, which kids@1 maps to no category"
    assert verdict.cost_usd == pytest.approx((1000 * 0.2 + 10 * 1.0) / 1e6)
    assert verdict.judge == "llama-guard:openai:guard"


def test_a_text_as_a_prompt_stands_alone() -> None:
    with asked("llama-guard:openai:guard", "safe", role="prompt") as (guard, came):
        assert guard.invoke(STORY).outcome == "pass"
    assert came[0]["messages"] == [{"role": "user", "content": "The fox slept."}]


def test_what_a_family_does_not_know_is_said() -> None:
    with asked("shieldgemma:openai:guard", "No") as (guard, came):
        verdict = guard.invoke("A calm day.")
    assert verdict.outcome == "pass"
    assert verdict.detail.startswith("not judged here: violence, frightening, profanity")
    kwargs = [body["chat_template_kwargs"]["guideline"] for body in came]
    assert len(kwargs) == 4
    assert all("The chatbot shall not generate content" in guideline for guideline in kwargs)


async def test_questions_are_asked_at_the_same_time_and_one_bad_answer_is_enough() -> None:
    def reply(path: str, body: dict[str, Any]) -> Any:
        risk = body["chat_template_kwargs"]["guardian_config"]["risk_name"]
        return completion("Yes" if risk == "profanity" else "No")

    with asked("granite-guardian:openai:granite-guardian-3.2-5b", reply) as (guard, came):
        verdict = await guard.ainvoke("A calm day.")
    assert len(came) == 6
    assert verdict.outcome == "fail"
    assert verdict.categories == ("profanity",)


def test_granite_4_1_is_asked_by_the_policys_own_definition() -> None:
    with asked("granite-guardian:openai:granite-guardian-4.1-8b", "<think>\n</think>\n<score> no </score>") as (
        guard,
        came,
    ):
        assert guard.invoke("A calm day.").outcome == "pass"
    orders = [body["messages"][-1] for body in came]
    assert {order["role"] for order in orders} == {"user"}
    # Questions go out at the same time, so they may come in any order.
    assert any("### Criteria: Hurting, killing or threatening people or animals" in o["content"] for o in orders)
    assert all("chat_template_kwargs" not in body for body in came)


def test_an_answer_cut_at_the_limit_is_unparsable() -> None:
    with asked("llama-guard:openai:guard", lambda *_: completion("safe", finish_reason="length")) as (guard, _):
        assert guard.invoke("A calm day.").outcome == "unparsable"


def test_a_client_that_cannot_tell_the_template_is_an_error() -> None:
    from taleward.moderation.judges.guard_models.shieldgemma import ShieldGemma

    verdict = ShieldGemma(FakeListChatModel(responses=["No"])).invoke("A calm day.")
    assert verdict.outcome == "error"
    assert "must be told ['guideline']" in verdict.detail


def moderation(**scores: float) -> dict[str, Any]:
    names = load_policy("kids").codes["openai-moderation"]
    values = {name: scores.get(name, 0.01) for name in names}
    flags = {name: value > 0.7 for name, value in values.items()}
    result = {"flagged": any(flags.values()), "categories": flags, "category_scores": values}
    return {"id": "modr-1", "model": "omni-moderation-latest", "results": [result]}


@pytest.mark.parametrize(("scores", "outcome"), [({}, "pass"), ({"violence": 0.9}, "fail"), ({"sexual": 0.55}, "fail")])
async def test_openais_moderation(scores: dict[str, float], outcome: str) -> None:
    with asked("openai-moderation", lambda *_: moderation(**scores)) as (guard, came):
        verdict = guard.invoke(STORY)
        assert (await guard.ainvoke(STORY)).scores == verdict.scores
    assert came[0] == {"model": "omni-moderation-latest", "input": "The fox slept."}
    assert verdict.outcome == outcome
    assert verdict.scores["hate"] == 0.01
    assert verdict.cost_usd == 0.0
    assert set(verdict.categories) == set(scores)


def test_openais_moderation_with_a_category_that_nobody_mapped() -> None:
    answer = moderation()
    result = answer["results"][0]
    result["categories"]["weather"] = result["flagged"] = True
    result["category_scores"]["weather"] = 0.9
    with asked("openai-moderation:omni-moderation-2024-09-26", lambda *_: answer) as (guard, _):
        verdict = guard.invoke("It rained.")
    assert verdict.outcome == "fail"
    assert verdict.detail == "openai-moderation flags weather, which kids@1 maps to no category"


def test_openais_moderation_without_a_word_on_a_category_is_unparsable() -> None:
    answer = moderation()
    for part in ("categories", "category_scores"):
        del answer["results"][0][part]["self-harm"]
    with asked("openai-moderation", lambda *_: answer) as (guard, _):
        verdict = guard.invoke("It rained.")
    assert verdict.outcome == "unparsable"
    assert verdict.detail == "openai-moderation: there is no word on self-harm, which kids@1 maps"


def test_openais_moderation_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(MissingKey, match="OPENAI_API_KEY"):
        judge("openai-moderation")


def test_every_name_in_the_table_is_a_judge() -> None:
    from importlib import import_module

    for place in JUDGES.values():
        file, _, kind = place.rpartition(".")
        assert issubclass(getattr(import_module(f"taleward.moderation.judges.{file}"), kind), Judge)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lama-guard:hf:x", r"unknown judge 'lama-guard'\. Did you mean 'llama-guard'\?"),
        ("lexikon", r"unknown judge 'lexikon'\. Did you mean 'lexicon'\?"),
        ("qwen3gard:openai:x", r"Did you mean 'qwen3guard'\?"),
    ],
)
def test_an_unknown_name_is_guessed(spec: str, message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        judge(spec)


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("llama-guard", {}, "needs a model behind its name"),
        ("reading-level:hf:x", {}, "takes no model; got 'hf:x'"),
        ("encoder:openai:x", {}, "a classifier runs here"),
        ("qwen3guard:hf:x", {"mode": "lose"}, "mode is 'strict' or 'loose'; got 'lose'"),
        ("qwen3guard:hf:x", {"role": "writer"}, "role is 'response' or 'prompt'; got 'writer'"),
        ("granite-guardian:hf:x", {}, "those known are 3.0, 3.1, 3.2, 3.3, 4.1"),
        ("granite-guardian:hf:x", {"version": "2.0"}, r"is 2\.0; those known are"),
        ("nemotron:hf:x", {"taxonomy_prompt": 1}, "taxonomy_prompt is True, False or None; got 1"),
    ],
)
def test_a_wrong_set_up_is_refused(spec: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        judge(spec, **options)
