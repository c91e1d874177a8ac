"""Decisions from logits, and prompts without injected control tokens, on tiny models with random weights."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from taleward.backends.chat_models import chat_model
from taleward.backends.engine.safe_tokenization import Instruction, encode_prompt, encode_text
from taleward.backends.local.chat import LocalChat
from taleward.backends.local.decisions import decide
from taleward.backends.local.questions import MultipleChoice, Question, Scale, YesNo
from taleward.backends.transformers.causal_lm import HubCausalLM
from taleward.core.errors import BackendError, ConfigurationError, ContextTooLong
from tests.helpers.tiny_models import SMALL, save_causal, tiny_tokenizer

CONTROL = ["<s>", "<|im_start|>", "[INST]", "<think>", "<|im_end|>"]
TEMPLATE = (
    "<s>{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def configs() -> dict[str, Any]:
    from transformers import Gemma2Config, GptOssConfig, GraniteMoeHybridConfig, LlamaConfig

    return {
        "llama": LlamaConfig(**SMALL),
        "gemma2": Gemma2Config(**SMALL, sliding_window=16),
        "granitemoehybrid": GraniteMoeHybridConfig(
            **{**SMALL, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1},
            layer_types=["mamba", "attention"],
            num_local_experts=2,
            num_experts_per_tok=1,
            shared_intermediate_size=32,
        ),
        "gpt_oss": GptOssConfig(**SMALL, sliding_window=16, num_local_experts=2, num_experts_per_tok=1),
    }


@pytest.fixture(scope="module", params=["llama", "gemma2", "granitemoehybrid", "gpt_oss"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> HubCausalLM:
    folder = tmp_path_factory.mktemp(request.param)
    save_causal(folder, configs()[request.param], tiny_tokenizer(CONTROL, chat_template=TEMPLATE))
    return HubCausalLM(str(folder), "cpu")


def by_forward_pass(model: HubCausalLM, prompt: list[int], choices: list[str]) -> np.ndarray:
    """The same decision, by one forward pass over each whole text."""
    import torch

    logprobs = []
    for choice in choices:
        answer = model.encode(choice)
        with torch.no_grad():
            out = model._model(input_ids=torch.tensor([prompt + answer]), use_cache=False).logits[0]
        steps = out.float().log_softmax(-1)[len(prompt) - 1 : -1]
        logprobs.append(float(sum(steps[i, token] for i, token in enumerate(answer))))
    probabilities = np.exp(logprobs)
    return np.append(probabilities / probabilities.sum(), probabilities.sum())


@pytest.mark.parametrize("choices", [["Yes", "No"], ["unsafe", "safe"], ["a", "b", "cd", "ce"]])
def test_a_decision_matches_a_plain_forward_pass(model: HubCausalLM, choices: list[str]) -> None:
    story = "Once there was a fox who lived by the sea. " * 5
    prompts = [model.prompt([{"role": "user", "content": story + end}]) for end in ("hate?", "harm?", "harm? Say.")]
    for prompt, decision in zip(prompts, decide(model, prompts, choices), strict=True):
        expected = by_forward_pass(model, prompt, choices)
        np.testing.assert_allclose(decision.probabilities, expected[:-1], atol=1e-4)
        assert decision.mass == pytest.approx(expected[-1], rel=1e-3)
        assert sum(decision.probabilities) == pytest.approx(1.0)


def test_the_shared_prefix_is_processed_once(model: HubCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    processed = 0
    step = HubCausalLM.step

    def count_tokens(self: HubCausalLM, tokens: list[int], cache: Any = None) -> Any:
        nonlocal processed
        processed += len(tokens)
        return step(self, tokens, cache)

    monkeypatch.setattr(HubCausalLM, "step", count_tokens)
    prompts = [[*range(1, 201), *end] for end in ((1, 2), (3, 4), (5, 6), (7, 8))]
    decide(model, prompts, ["A", "B"])
    assert processed == 200 + 4 * 2


def test_equal_prompts_and_a_prompt_of_one_token(model: HubCausalLM) -> None:
    first, second = decide(model, [[5, 6], [5, 6]], ["A", "B"])
    assert first == second
    assert decide(model, [[5]], ["A", "B"])[0].probabilities == pytest.approx(
        by_forward_pass(model, [5], ["A", "B"])[:-1]
    )


@pytest.mark.parametrize(
    ("prompts", "choices"), [([], ["A", "B"]), ([[]], ["A", "B"]), ([[1]], ["A"]), ([[1]], ["A", "AB"])]
)
def test_invalid_decisions(model: HubCausalLM, prompts: list[list[int]], choices: list[str]) -> None:
    with pytest.raises(ValueError, match="a decision needs non-empty prompts, and two or more choices"):
        decide(model, prompts, choices)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_logits_that_are_not_numbers_are_an_error(
    model: HubCausalLM, monkeypatch: pytest.MonkeyPatch, broken: float
) -> None:
    monkeypatch.setattr(HubCausalLM, "step", lambda *_: (np.array([0.0, broken, 1.0], dtype=np.float32), None))
    with pytest.raises(BackendError, match="logits are not numbers"):
        decide(model, [[5]], ["A", "B"])


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_tokenizer(CONTROL, chat_template=TEMPLATE)


def render(tokenizer: Any, contents: Any) -> str:
    turns = [{"role": "user", "content": c} for c in contents]
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


pieces = st.sampled_from([*CONTROL, "<|im_", "end|>", "<", "|", "\n", "user", "system", "{{ bos_token }}", "{% if %}"])
stories = st.lists(pieces | st.text(max_size=5), max_size=8).map("".join)


@given(stories)
@settings(max_examples=200)
def test_no_story_can_inject_a_control_token(tokenizer: Any, story: str) -> None:
    control = set(tokenizer.convert_tokens_to_ids(CONTROL))
    tokens = encode_prompt(tokenizer, lambda c: render(tokenizer, c), [story])
    quiet = encode_prompt(tokenizer, lambda c: render(tokenizer, c), ["quiet"])
    assert [t for t in tokens if t in control] == [t for t in quiet if t in control]
    assert story.encode(errors="replace").decode() in tokenizer.decode(tokens)
    assert not control & set(encode_text(tokenizer, story))


def test_a_prompt_matches_the_tokenizers(tokenizer: Any) -> None:
    expected = tokenizer.apply_chat_template([{"role": "user", "content": "A calm day."}], add_generation_prompt=True)
    assert encode_prompt(tokenizer, lambda c: render(tokenizer, c), ["A calm day."]) == list(expected["input_ids"])


def folder_with(path: Path, template: str) -> HubCausalLM:
    from transformers import LlamaConfig

    save_causal(path, LlamaConfig(**SMALL), tiny_tokenizer(CONTROL, chat_template=template))
    return HubCausalLM(str(path), "cpu")


def test_a_template_that_expects_content_parts_gets_them(tmp_path: Path) -> None:
    parts = "{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %}"
    template = f"{{% for m in messages %}}{parts}<|im_end|>{{% endfor %}}"
    model = folder_with(tmp_path, template)
    prompt = model.prompt([{"role": "user", "content": "A day.<|im_end|>"}, {"role": "assistant", "content": "B"}])
    assert model.decode(prompt, control=True) == "A day.<|im_end|><|im_end|>B<|im_end|>"
    assert model.decode(prompt) == "A day.<|im_end|>B"


def test_a_template_that_drops_a_turn_is_an_error(tmp_path: Path) -> None:
    model = folder_with(tmp_path, "{{ messages[0].content }}<|im_end|>")
    with pytest.raises(BackendError, match="leaves out some of the 2 messages"):
        model.prompt([{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}])


def test_control_tokens_are_recognized_in_all_threads(tmp_path: Path) -> None:
    model = folder_with(tmp_path, TEMPLATE)
    control = set(model._tokenizer.convert_tokens_to_ids(CONTROL))

    def both(_: int) -> tuple[set[int], int]:
        prompt = model.prompt([{"role": "user", "content": "A day.<|im_end|>"}])
        return control & set(model.encode("A <|im_end|> day")), sum(token in control for token in prompt)

    with ThreadPoolExecutor(8) as pool:
        assert set(map(repr, pool.map(both, range(300)))) == {"(set(), 4)"}


def test_an_instruction_may_contain_control_tokens(tmp_path: Path) -> None:
    model = folder_with(tmp_path, TEMPLATE)
    prompt = model.prompt([{"role": "user", "content": Instruction("<think>")}])
    [think] = [t for t in prompt if model.decode([t], control=True) == "<think>"]
    assert model.decode([think]) == ""


@pytest.mark.parametrize("engine", ["onnx", "transformers"])
def test_answers_match_transformers(engine: str, tmp_path: Path) -> None:
    from transformers import LlamaConfig, pipeline

    folder = tmp_path / "model"
    template = "{% for m in messages %}{{ m.content }}{% endfor %}:"
    tokenizer = tiny_tokenizer(["<s>", "</s>"], words=["Yes", "No"], chat_template=template)
    save_causal(folder, LlamaConfig(**{**SMALL, "head_dim": 16}), tokenizer)
    story = "A fox slept under a boat by the sea. </s>"
    questions: dict[str, Question | str] = {
        "scary": YesNo(question="Is it scary?", yes="A child would cry."),
        "sad": "Is it sad?",
        "kind": MultipleChoice(question="Which kind?", options={"calm": "", "wild": "Very wild."}),
        "age": Scale(question="How old?", levels=("3-5", "6-8", "9-12")),
    }
    pipeline_questions = {
        "scary": {"type": "noul", "instructions": "Is it scary?", "criteria": {"true": "A child would cry."}},
        "sad": {"type": "noul", "instructions": "Is it sad?"},
        "kind": {"type": "choice", "instructions": "Which kind?", "criteria": {"calm": None, "wild": "Very wild."}},
        "age": {"type": "score", "instructions": "How old?", "criteria": ["3-5", "6-8", "9-12"]},
    }
    expected = pipeline("decision", model=str(folder), device="cpu")({"state": story, "questions": pipeline_questions})
    model = chat_model(f"hf:{folder}", engine=engine)
    assert isinstance(model, LocalChat)
    results = model.decide(story, questions)
    assert list(results) == list(questions)
    assert results["scary"].yes == pytest.approx(expected["scary"]["noul"], abs=1e-4)
    assert results["sad"].yes == pytest.approx(expected["sad"]["noul"], abs=1e-4)
    assert results["kind"].best == expected["kind"]["choice"]
    assert results["kind"].probabilities == pytest.approx(expected["kind"]["probabilities"], abs=1e-4)
    assert results["age"].score == pytest.approx(expected["age"]["score"], abs=1e-4)


@pytest.mark.parametrize("engine", ["onnx", "transformers"])
def test_a_text_that_is_too_long_is_an_error(engine: str) -> None:
    model: Any = chat_model("embedded:storyteller-mini", engine=engine)
    with pytest.raises(ContextTooLong, match=r"text, question and answer have \d+ tokens; the model's context is 1024"):
        model.decide("A fox ran by the sea. " * 300, {"scary": "Is it scary?"})


async def test_questions_for_the_embedded_storyteller() -> None:
    model = chat_model("embedded:storyteller-mini")
    assert isinstance(model, LocalChat)
    results = await model.adecide([("user", "A fox ran."), ("assistant", "It was fast.")], {"scary": "Is it scary?"})
    assert sum(results["scary"].probabilities.values()) == pytest.approx(1)
    assert 0 < results["scary"].mass < 1
    with pytest.raises(ConfigurationError, match="decide needs at least one question"):
        model.decide("A fox ran.", {})
