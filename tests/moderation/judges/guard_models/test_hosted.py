"""Guard models behind an API: the request, the verdict, and its cost."""

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
def served(spec: str, answer: str | Callable[..., Any], **options: Any) -> Iterator[tuple[Judge, list[dict[str, Any]]]]:
    """A judge behind a server, and the requests that the server received."""
    requests: list[dict[str, Any]] = []

    def reply(path: str, body: dict[str, Any]) -> Any:
        requests.append(body)
        return completion(answer) if isinstance(answer, str) else answer(path, body)

    with serving(reply) as url:
        yield judge(spec, base_url=url, **options), requests


def test_llama_guard_gets_the_context_as_the_previous_turn() -> None:
    with served("llama-guard:openai:guard", "unsafe\nS1,S8", price_usd=(0.2, 1.0)) as (guard, requests):
        verdict = guard.invoke(STORY)
    assert requests[0]["messages"] == [
        {"role": "user", "content": "A fox lived by the sea."},
        {"role": "assistant", "content": "The fox slept."},
    ]
    assert verdict.outcome == "fail"
    assert verdict.categories == ("violence",)
    assert verdict.detail == "llama-guard flags S8, which kids@1 maps to no category"
    assert verdict.cost_usd == pytest.approx((1000 * 0.2 + 10 * 1.0) / 1e6)
    assert verdict.judge == "llama-guard:openai:guard"


def test_a_text_judged_as_a_prompt_is_the_only_turn() -> None:
    with served("llama-guard:openai:guard", "safe", role="prompt") as (guard, requests):
        assert guard.invoke(STORY).outcome == "pass"
    assert requests[0]["messages"] == [{"role": "user", "content": "The fox slept."}]


def test_categories_that_a_family_does_not_cover_are_named() -> None:
    with served("shieldgemma:openai:guard", "No") as (guard, requests):
        verdict = guard.invoke("A calm day.")
    assert verdict.outcome == "pass"
    assert verdict.detail.startswith("not judged here: violence, frightening, profanity")
    guidelines = [body["chat_template_kwargs"]["guideline"] for body in requests]
    assert len(guidelines) == 4
    assert all("The chatbot shall not generate content" in guideline for guideline in guidelines)


async def test_one_flagged_question_of_several_fails_the_text() -> None:
    def reply(path: str, body: dict[str, Any]) -> Any:
        risk = body["chat_template_kwargs"]["guardian_config"]["risk_name"]
        return completion("Yes" if risk == "profanity" else "No")

    with served("granite-guardian:openai:granite-guardian-3.2-5b", reply) as (guard, requests):
        verdict = await guard.ainvoke("A calm day.")
    assert len(requests) == 6
    assert verdict.outcome == "fail"
    assert verdict.categories == ("profanity",)


def test_granite_4_1_gets_the_policys_own_definitions() -> None:
    with served("granite-guardian:openai:granite-guardian-4.1-8b", "<think>\n</think>\n<score> no </score>") as (
        guard,
        requests,
    ):
        assert guard.invoke("A calm day.").outcome == "pass"
    instructions = [body["messages"][-1] for body in requests]
    assert {instruction["role"] for instruction in instructions} == {"user"}
    # Questions are sent concurrently, so they arrive in any order.
    assert any("### Criteria: Hurting, killing or threatening people or animals" in i["content"] for i in instructions)
    assert all("chat_template_kwargs" not in body for body in requests)


def test_a_truncated_answer_is_unparsable() -> None:
    with served("llama-guard:openai:guard", lambda *_: completion("safe", finish_reason="length")) as (guard, _):
        assert guard.invoke("A calm day.").outcome == "unparsable"


def test_a_client_that_cannot_send_template_options_is_an_error() -> None:
    from taleward.moderation.judges.guard_models.shieldgemma import ShieldGemma

    verdict = ShieldGemma(FakeListChatModel(responses=["No"])).invoke("A calm day.")
    assert verdict.outcome == "error"
    assert "needs ['guideline'], which a FakeListChatModel cannot send" in verdict.detail


def moderation_response(**scores: float) -> dict[str, Any]:
    names = load_policy("kids").codes["openai-moderation"]
    values = {name: scores.get(name, 0.01) for name in names}
    flags = {name: value > 0.7 for name, value in values.items()}
    result = {"flagged": any(flags.values()), "categories": flags, "category_scores": values}
    return {"id": "modr-1", "model": "omni-moderation-latest", "results": [result]}


@pytest.mark.parametrize(("scores", "outcome"), [({}, "pass"), ({"violence": 0.9}, "fail"), ({"sexual": 0.55}, "fail")])
async def test_openais_moderation(scores: dict[str, float], outcome: str) -> None:
    with served("openai-moderation", lambda *_: moderation_response(**scores)) as (guard, requests):
        verdict = guard.invoke(STORY)
        assert (await guard.ainvoke(STORY)).scores == verdict.scores
    assert requests[0] == {"model": "omni-moderation-latest", "input": "The fox slept."}
    assert verdict.outcome == outcome
    assert verdict.scores["hate"] == 0.01
    assert verdict.cost_usd == 0.0
    assert set(verdict.categories) == set(scores)


def test_openais_moderation_with_an_unmapped_category() -> None:
    answer = moderation_response()
    result = answer["results"][0]
    result["categories"]["weather"] = result["flagged"] = True
    result["category_scores"]["weather"] = 0.9
    with served("openai-moderation:omni-moderation-2024-09-26", lambda *_: answer) as (guard, _):
        verdict = guard.invoke("It rained.")
    assert verdict.outcome == "fail"
    assert verdict.detail == "openai-moderation flags weather, which kids@1 maps to no category"


def test_openais_moderation_that_lacks_a_category_is_unparsable() -> None:
    answer = moderation_response()
    for part in ("categories", "category_scores"):
        del answer["results"][0][part]["self-harm"]
    with served("openai-moderation", lambda *_: answer) as (guard, _):
        verdict = guard.invoke("It rained.")
    assert verdict.outcome == "unparsable"
    assert verdict.detail == "openai-moderation: the response lacks self-harm, which kids@1 maps"


def test_openais_moderation_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(MissingKey, match="OPENAI_API_KEY"):
        judge("openai-moderation")


def test_every_name_in_the_table_is_a_judge() -> None:
    from importlib import import_module

    for path in JUDGES.values():
        module, _, class_name = path.rpartition(".")
        assert issubclass(getattr(import_module(f"taleward.moderation.judges.{module}"), class_name), Judge)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lama-guard:hf:x", r"unknown judge 'lama-guard'\. Did you mean 'llama-guard'\?"),
        ("lexikon", r"unknown judge 'lexikon'\. Did you mean 'lexicon'\?"),
        ("qwen3gard:openai:x", r"Did you mean 'qwen3guard'\?"),
    ],
)
def test_an_unknown_name_suggests_a_known_one(spec: str, message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        judge(spec)


@pytest.mark.parametrize("spec", ["encoder", "encoder:hf:x"])
def test_the_former_name_of_the_sequence_classifier_suggests_the_new_one(spec: str) -> None:
    with pytest.raises(UnknownName, match=r"unknown judge 'encoder'.*'sequence-classifier'") as raised:
        judge(spec)
    assert f"Did you mean '{spec.replace('encoder', 'sequence-classifier')}'?" in (raised.value.hint or "")


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("llama-guard", {}, "needs a model after its name"),
        ("reading-level:hf:x", {}, "takes no model; got 'hf:x'"),
        ("sequence-classifier:openai:x", {}, "a sequence classifier runs in this process"),
        ("qwen3guard:hf:x", {"mode": "lose"}, "mode must be 'strict' or 'loose'; got 'lose'"),
        ("qwen3guard:hf:x", {"role": "writer"}, "role must be 'response' or 'prompt'; got 'writer'"),
        ("granite-guardian:hf:x", {}, "supported are 3.0, 3.1, 3.2, 3.3, 4.1"),
        ("granite-guardian:hf:x", {"version": "2.0"}, r"is 2\.0; supported are"),
        ("nemotron:hf:x", {"taxonomy_prompt": 1}, "taxonomy_prompt must be True, False or None; got 1"),
    ],
)
def test_invalid_options_are_rejected(spec: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        judge(spec, **options)
