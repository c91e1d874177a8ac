"""Guard models in this process, on tiny models of their architecture: their prompts and their scores."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from taleward.backends.local.underlying_model import loaded_model
from taleward.backends.transformers.causal_lm import HubCausalLM
from taleward.core.policy import Policy
from taleward.core.verdict import Passage
from taleward.moderation.judges import judge
from taleward.moderation.judges.guard_models.base import GuardModel
from taleward.moderation.policies.load import load_policy
from tests.helpers.tiny_guard_models import MODELS, save_tiny_guard

TEXT = "The fox slept under the boat."
STORY = Passage(text=TEXT, context="A fox lived by the sea.")
BY_LOGITS = ["llama-guard 3 8B", "llama-guard 3 1B", "llama-guard 4", "shieldgemma", "granite-guardian 3.2"]
LLAMA_GUARD = f"User: A fox lived by the sea.\n\nAgent: {TEXT}\n\n<END CONVERSATION>"
PROMPT_PARTS = {
    **dict.fromkeys(("llama-guard 3 8B", "llama-guard 3 1B", "llama-guard 4"), LLAMA_GUARD),
    "shieldgemma": "<start_of_turn>\nChatbot Response: The fox slept under the boat.\n<end_of_turn>\n\nOur safety",
    "granite-guardian 3.2": f"Assistant Message: {TEXT}\n<end_of_turn>\n# Risk Definition\nharm\n",
    "granite-guardian 3.3": "<|start_of_role|>assistant<|end_of_role|>The fox slept under the boat.<|end_of_text|>\n"
    "<|start_of_role|>judge<|end_of_role|>harm no-think<|end_of_text|>",
    "granite-guardian 4.1": "<|start_of_role|>assistant<|end_of_role|>The fox slept under the boat.<|end_of_text|>\n"
    "<|start_of_role|>user<|end_of_role|><guardian><no-think>As a judge agent",
    "qwen3guard": "ASSISTANT: The fox slept under the boat.\n\n<END CONVERSATION>",
    "wildguard": "Human user:\nA fox lived by the sea.\n\nAI assistant:\nThe fox slept under the boat.\n\n---\n\n"
    "Answers: [/INST]\n<|assistant|>\n",
    "gpt-oss-safeguard": "The fox slept under the boat.\n</text-",
    "nemotron 3.5": "<start_of_turn>user\nA fox lived by the sea.<end_of_turn>\n<start_of_turn>model\nThe fox slept "
    "under the boat.<end_of_turn>\n<start_of_turn>model\n",
    "nemotron 8B": f"user: A fox lived by the sea.\n\nresponse: agent: {TEXT}\n\n<END CONVERSATION>",
}


@pytest.fixture(scope="module", params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {name: save_tiny_guard(name, tmp_path_factory.mktemp("guard")) for name in MODELS}


def guard(folders: dict[str, str], name: str, **options: Any) -> GuardModel:
    guard_model = judge(folders[name], **MODELS[name].options, device="cpu", **options)
    assert isinstance(guard_model, GuardModel)
    return guard_model


def test_the_prompt_is_the_models_own_template_with_the_story(folders: dict[str, str], name: str) -> None:
    guard_model = guard(folders, name)
    local = loaded_model(guard_model.model)
    assert local is not None
    prompts = [guard_model.prompt_tokens(local, q) for q in guard_model.questions(STORY)]
    assert PROMPT_PARTS[name] in local.decode(prompts[0], control=True)
    assert len({tuple(p) for p in prompts}) == len(prompts)


def test_a_model_with_random_weights_passes_nothing(folders: dict[str, str], name: str) -> None:
    guard_model = guard(folders, name)
    guard_model.max_tokens = 6  # type: ignore[misc]
    verdict = guard_model.invoke(STORY)
    assert verdict.outcome == "unparsable", verdict.detail


def probability(guard_model: GuardModel, prompt: list[int], yes: str, no: str) -> float:
    """P(yes) among {yes, no}, computed by plain forward passes."""
    import torch

    local = loaded_model(guard_model.model)
    assert isinstance(local, HubCausalLM)
    log_probabilities = []
    for word in (yes, no):
        answer = local.encode(word)
        with torch.no_grad():
            logits = local._model(input_ids=torch.tensor([prompt + answer]), use_cache=False).logits[0].float()
        log_probabilities.append(
            sum(float(logits[len(prompt) - 1 + i].log_softmax(-1)[t]) for i, t in enumerate(answer))
        )
    return float(np.exp(log_probabilities[0]) / np.exp(log_probabilities).sum())


@pytest.mark.parametrize("name", BY_LOGITS)
async def test_a_score_is_the_softmax_of_the_two_answers(folders: dict[str, str], name: str) -> None:
    guard_model = guard(folders, name, min_mass=0.0)
    local = loaded_model(guard_model.model)
    assert local is not None
    assert guard_model.choices is not None
    expected: dict[str, float] = {}
    for question in guard_model.questions(STORY):
        expected_score = probability(guard_model, guard_model.prompt_tokens(local, question), *guard_model.choices)
        codes = [question.code] if question.code else list(guard_model.codes)
        for category in {guard_model.codes[code].category for code in codes}:
            expected[category] = max(expected.get(category, 0.0), expected_score)
    verdict = await guard_model.ainvoke(STORY)
    assert set(verdict.scores) == set(expected)
    for category, score in expected.items():
        assert verdict.scores[category] == pytest.approx(score, abs=1e-4)


def lenient(threshold: float) -> Policy:
    data = load_policy("kids").model_dump()
    data["bands"]["6-8"] = {**data["bands"]["6-8"], "threshold": threshold, "thresholds": {}}
    return Policy.model_validate(data)


@pytest.mark.parametrize("name", BY_LOGITS)
def test_the_threshold_decides(folders: dict[str, str], name: str) -> None:
    passed = guard(folders, name, min_mass=0.0, policy=lenient(1.0)).invoke(STORY)
    assert passed.outcome == "pass"
    assert passed.detail.startswith("not judged here: ")
    failing = guard(folders, name, min_mass=0.0, policy=lenient(0.0))
    failing.max_tokens = 6  # type: ignore[misc]
    failed = failing.invoke(STORY)
    assert failed.outcome == "fail"
    assert failed.findings or failed.detail.startswith("P(unsafe) is ")


def test_an_unmapped_guideline_is_judged_by_the_bands_threshold(folders: dict[str, str]) -> None:
    for threshold, outcome in ((1.0, "pass"), (0.0, "fail")):
        policy = lenient(threshold).model_copy(update={"codes": {}})
        verdict = guard(folders, "shieldgemma", min_mass=0.0, policy=policy).invoke(STORY)
        assert verdict.outcome == outcome
        assert ("flags dangerous, harassment, hate, sexual" in verdict.detail) == (outcome == "fail")


@pytest.mark.parametrize("name", BY_LOGITS)
def test_a_model_that_would_answer_something_else_is_unparsable(folders: dict[str, str], name: str) -> None:
    verdict = guard(folders, name).invoke(STORY)
    assert verdict.outcome == "unparsable"
    assert re.search(r"gives (unsafe and safe|Yes and No) together a probability below 0\.5", verdict.detail)


def test_llama_guard_names_the_flagged_codes(folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    from taleward.moderation.judges.guard_models.base import GuardAnswer

    guard_model = guard(folders, "llama-guard 3 8B", min_mass=0.0, policy=lenient(0.0))
    monkeypatch.setattr(guard_model, "generate_answer", lambda *_: GuardAnswer("\n\nunsafe\nS2,S11"))
    verdict = guard_model.invoke(STORY)
    assert verdict.outcome == "fail"
    assert verdict.categories == ("crime", "self_harm")
    assert verdict.scores["crime"] == verdict.scores["self_harm"] > 0
    monkeypatch.setattr(guard_model, "generate_answer", lambda *_: GuardAnswer("\n\nunsafe\nS1,S8"))
    verdict = guard_model.invoke(STORY)
    assert verdict.categories == ("violence",)
    assert verdict.detail == "llama-guard flags S8, which kids@1 maps to no category"
    monkeypatch.setattr(guard_model, "generate_answer", lambda *_: GuardAnswer("\n\nsafe"))
    assert guard_model.invoke(STORY).outcome == "fail"


def test_a_text_that_does_not_fit_is_an_error(folders: dict[str, str]) -> None:
    verdict = guard(folders, "qwen3guard").invoke("fox " * 5000)
    assert verdict.outcome == "error"
    assert "holds 16384" in verdict.detail


def test_a_tokenizer_without_a_template_is_an_error(folders: dict[str, str]) -> None:
    spec = folders["wildguard"].replace("wildguard:", "qwen3guard:", 1)
    verdict = judge(spec, device="cpu").invoke(STORY)
    assert verdict.outcome == "error"
    assert "has no chat template" in verdict.detail


def test_the_cost_of_a_local_answer(folders: dict[str, str]) -> None:
    guard_model = guard(folders, "qwen3guard", price_usd=(1.0, 2.0))
    guard_model.max_tokens = 6  # type: ignore[misc]
    cost = guard_model.invoke(STORY).cost_usd
    assert cost is not None
    assert 0 < cost < 0.01
