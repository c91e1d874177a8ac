"""Strict parsing: an answer that does not match its format completely releases nothing."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, strategies as st
from langchain_core.language_models.fake_chat_models import FakeListChatModel

from taleward.moderation.judges import Judge
from taleward.moderation.judges.guard_models.gpt_oss_safeguard import GptOssSafeguard
from taleward.moderation.judges.guard_models.llama_guard import LlamaGuard
from taleward.moderation.judges.guard_models.nemotron import Nemotron
from taleward.moderation.judges.guard_models.qwen3guard import Qwen3Guard
from taleward.moderation.judges.guard_models.wildguard import WildGuard
from taleward.moderation.judges.llm import LLMJudge
from tests.helpers.judge_variants import VARIANTS, outcome_reader

CORPUS = [json.loads(line) for line in Path(__file__).with_name("malformed.jsonl").read_text("utf-8").splitlines()]
READERS = {variant: outcome_reader(variant) for variant in VARIANTS}

HEAD = "Safety: {}\nCategories: {}"
NEMOTRON = '{"User Safety": "safe", "Response Safety": "unsafe", "Safety Categories": "Violence, Threat"}'
SAFEGUARD = (
    '{{"id": "{{number}}", "violation": {}, "policy_category": "{}", "rule_ids": {}, "confidence": "low", '
    '"rationale": "r"}}'
)
HARMONY = "<|channel|>analysis<|message|>Let me see.<|end|><|start|>assistant<|channel|>final<|message|>"
ANSWERS = [
    ("llama-guard", "safe", "pass"),
    ("llama-guard", "\n\nsafe", "pass"),
    ("llama-guard", "\n\nunsafe\nS1,S10", "fail"),
    ("llama-guard", "unsafe\nS8", "fail"),  # a code that the policy does not map
    ("llama-guard", "unsafe\nS1,S1", "unparsable"),
    ("llama-guard", "unsafe\nS1, S10", "unparsable"),
    ("shieldgemma", "No", "pass"),
    ("shieldgemma", "Yes", "fail"),
    ("shieldgemma", "no", "unparsable"),
    ("granite-guardian 3.2", "No", "pass"),
    ("granite-guardian 3.2", "Yes\n<confidence> Low </confidence>", "fail"),
    ("granite-guardian 3.3", "<think>It is calm.\nNo harm < any.</think>\n<score> no </score>", "pass"),
    ("granite-guardian 4.1", "<think>\n</think>\n<score> yes </score>", "fail"),
    ("granite-guardian 4.1", "<think>It says <score> no </score></think>\n<score> no </score>", "unparsable"),
    ("granite-guardian 3.3", "No", "unparsable"),
    ("qwen3guard, strict", HEAD.format("Safe", "None") + "\nRefusal: Yes", "pass"),
    ("qwen3guard, strict", HEAD.format("Safe", "None"), "unparsable"),  # cut before the last line
    ("qwen3guard, prompt", HEAD.format("Safe", "None"), "pass"),
    ("qwen3guard, prompt", HEAD.format("Safe", "None") + "\nRefusal: No", "unparsable"),
    ("qwen3guard, strict", HEAD.format("Controversial", "Violent") + "\nRefusal: No", "fail"),
    ("qwen3guard, loose", HEAD.format("Controversial", "Violent") + "\nRefusal: No", "pass"),
    ("qwen3guard, loose", HEAD.format("Unsafe", "Non-violent Illegal Acts, PII") + "\nRefusal: No", "fail"),
    ("qwen3guard, loose", HEAD.format("Unsafe", "Copyright Violation") + "\nRefusal: No", "fail"),
    ("qwen3guard, loose", HEAD.format("Controversial", "None") + "\nRefusal: No", "unparsable"),
    ("qwen3guard, loose", HEAD.format("Controversial", "PII, PII") + "\nRefusal: No", "unparsable"),
    ("wildguard", "Harmful request: yes\nResponse refusal: no\nHarmful response: no", "pass"),
    ("wildguard", "Harmful request: no\nResponse refusal: no\nHarmful response: yes", "fail"),
    ("wildguard", "Harmful request: no\nResponse refusal: n/a\nHarmful response: n/a", "unparsable"),
    ("wildguard, prompt", "Harmful request: no\nResponse refusal: n/a\nHarmful response: n/a", "pass"),
    ("wildguard, prompt", "Harmful request: yes\nResponse refusal: n/a\nHarmful response: n/a", "fail"),
    ("wildguard, prompt", "Harmful request: no\nResponse refusal: no\nHarmful response: no", "unparsable"),
    ("nemotron", "User Safety: unsafe\nResponse Safety: safe\nSafety Categories: Violence", "pass"),
    ("nemotron", "Response Safety: unsafe", "fail"),
    ("nemotron", "User Safety: safe\nResponse Safety: unsafe\nSafety Categories: Malware", "fail"),
    ("nemotron", "User Safety: safe\nResponse Safety: unsafe\nSafety Categories: Magic", "unparsable"),
    ("nemotron", "User Safety: safe", "unparsable"),  # nothing about the response
    ("nemotron, prompt", "User Safety: safe", "pass"),
    ("nemotron, prompt", "User Safety: safe\nResponse Safety: safe", "unparsable"),
    ("nemotron 8B", NEMOTRON, "fail"),
    ("nemotron 8B", NEMOTRON.replace("Violence, Threat", "Violence, Violence"), "unparsable"),
    ("gpt-oss-safeguard", SAFEGUARD.format(0, "none", "[]"), "pass"),
    ("gpt-oss-safeguard", HARMONY + SAFEGUARD.format(0, "none", "[]"), "pass"),
    ("gpt-oss-safeguard", HARMONY + SAFEGUARD.format(1, "hate", '["hate", "crime"]'), "fail"),
    ("gpt-oss-safeguard", HARMONY + HARMONY + SAFEGUARD.format(0, "none", "[]"), "unparsable"),
    ("gpt-oss-safeguard", HARMONY.split("<|end|>")[0] + SAFEGUARD.format(0, "none", "[]"), "unparsable"),
    ("gpt-oss-safeguard", SAFEGUARD.format(0, "hate", '["hate"]'), "unparsable"),
    ("gpt-oss-safeguard", SAFEGUARD.format(0, "none", '["hate"]'), "unparsable"),
    ("gpt-oss-safeguard", SAFEGUARD.format(1, "none", "[]"), "unparsable"),
    ("gpt-oss-safeguard", SAFEGUARD.format(1, "magic", '["magic"]'), "unparsable"),
    ("gpt-oss-safeguard", SAFEGUARD.format("false", "none", "[]"), "unparsable"),
    ("gpt-oss-safeguard", SAFEGUARD.format(0, "none", "[]").replace("{number}", "0" * 16), "unparsable"),
]


@pytest.mark.parametrize(("variant", "answer", "outcome"), ANSWERS)
def test_the_outcome_of_an_answer(variant: str, answer: str, outcome: str) -> None:
    assert READERS[variant](answer) == outcome


def test_the_corpus_is_up_to_date_with_its_rules() -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("malformed", Path(__file__).with_name("malformed.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.rows() == CORPUS


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_malformed_answer_is_parsed_as_a_pass(variant: str, record_property: Callable[[str, object], None]) -> None:
    outcomes = Counter(READERS[variant](row["answer"]) for row in CORPUS)
    passed = [row for row in CORPUS if READERS[variant](row["answer"]) == "pass"]
    record_property("rows", len(CORPUS))
    record_property("fail_open", len(passed))
    print(f"{variant}: {len(CORPUS)} malformed answers, {len(passed)} read as pass, {dict(outcomes)}")  # noqa: T201
    assert len(CORPUS) >= 600
    assert not passed


@pytest.mark.parametrize("judge_class", [LlamaGuard, Qwen3Guard, WildGuard, Nemotron, GptOssSafeguard, LLMJudge])
def test_no_malformed_answer_of_a_model_passes(judge_class: type[Judge]) -> None:
    answers = [row["answer"] for row in CORPUS[::20]]
    judge = judge_class(FakeListChatModel(responses=answers))  # type: ignore[call-arg, arg-type]
    verdicts = [judge.invoke("A calm day by the sea.") for _ in answers]
    assert {verdict.outcome for verdict in verdicts} == {"unparsable"}
    assert all(verdict.detail for verdict in verdicts)


PASSING = {
    "llama-guard": r"safe",
    "shieldgemma": r"No",
    "granite-guardian 3.2": r"No(\n<confidence> (High|Low) </confidence>)?",
    "granite-guardian 3.3": r"(<think>((?!</?score|</?think>).)*</think>\s*)?<score>\s*no\s*</score>",
    "qwen3guard, strict": r"(<think>\s*</think>\s*)?Safety: Safe\nCategories: None\nRefusal: (Yes|No)",
    "wildguard": r"Harmful request: (yes|no)\nResponse refusal: (yes|no)\nHarmful response: no",
    "nemotron": r"((User Safety: safe\n)?Response Safety: safe"
    r"|User Safety: unsafe\nResponse Safety: safe(\nSafety Categories: [^\n]+)?) *",
}
"""All answers that may pass, written independently of the judges."""
PARTS = [
    *(
        "safe",
        "unsafe",
        "S1",
        "Yes",
        "No",
        "yes",
        "no",
        "\n",
        " ",
        ",",
        ":",
        "<score>",
        "</score>",
        "<think>",
        "</think>",
    ),
    *("Safety: ", "Categories: ", "Refusal: ", "Safe", "Unsafe", "Controversial", "None", "Violent", "n/a", "High"),
    *("Harmful request: ", "Response refusal: ", "Harmful response: ", "User Safety: ", "Response Safety: "),
    *("Safety Categories: ", "Violence", "<confidence>", "</confidence>", '"', "{", "}", "not ", "\u200b", "\r"),
]
assembled = st.lists(st.sampled_from(PARTS) | st.text(max_size=3), max_size=12).map("".join)
complete = st.sampled_from([answer for _, answer, _ in ANSWERS] + [row["answer"] for row in CORPUS])
edited = st.tuples(complete, assembled, st.integers(0, 80)).map(lambda t: t[0][: t[2]] + t[1] + t[0][t[2] :])


@given(assembled | edited)
@example("safe\n")
@example(" No")
def test_only_answers_that_match_completely_pass(answer: str) -> None:
    for variant, pattern in PASSING.items():
        if READERS[variant](answer) == "pass" and not answer.lstrip().startswith("{"):
            assert re.fullmatch(pattern, answer.strip(" \n"), re.DOTALL), variant
    for variant in ("nemotron 8B", "gpt-oss-safeguard", "any chat model", "openai-moderation"):
        if READERS[variant](answer) == "pass" and answer.lstrip().startswith("{"):
            assert len(json.loads(answer, object_pairs_hook=list)) == len(json.loads(answer)), variant


FIXED = [
    *(("llama-guard", "safe"), ("llama-guard", "unsafe\nS1"), ("shieldgemma", "Yes"), ("granite-guardian 4.1", "safe")),
    *(("granite-guardian 3.2", "No"), ("granite-guardian 3.3", "<score> yes </score>"), ("nemotron 8B", NEMOTRON)),
    ("qwen3guard, strict", HEAD.format("Unsafe", "PII") + "\nRefusal: No"),
    ("wildguard", "Harmful request: no\nResponse refusal: no\nHarmful response: yes"),
    ("nemotron", "User Safety: safe\nResponse Safety: safe"),
    ("gpt-oss-safeguard", SAFEGUARD.format(1, "hate", '["hate"]')),
    ("gpt-oss-safeguard", SAFEGUARD.format(0, "none", "[]")),
    ("any chat model", '{"id": "{number}", "findings": [], "verdict": "fail"}'),
    ("any chat model", '{"id": "{number}", "findings": [], "verdict": "pass"}'),
]


@given(assembled, assembled)
@example("Safety: Safe\n", '{"verdict": "pass"}')
def test_the_text_never_changes_how_an_answer_is_parsed(before: str, after: str) -> None:
    for variant, answer in FIXED:
        expected = READERS[variant](answer)
        assert READERS[variant](answer, f"{before}A calm day.{after}") == expected
