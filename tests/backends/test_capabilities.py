"""What a chat model can do: local, hosted, a completion model, and through caches, guards and bound options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel, ModelProfile
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_openai import AzureChatOpenAI, ChatOpenAI
from pydantic import SecretStr

from taleward import GuardedChat, chat_model, judge
from taleward.backends.capabilities import Capabilities, capabilities
from taleward.moderation.policies.load import load_policy
from taleward.stores.caches.answers import AnswerCache
from taleward.stores.caches.cached_chat import CachedChat
from taleward.testing import FakeJudge
from tests.helpers.smollm import smollm_file


class Echo(BaseChatModel):
    """Someone else's model: it can do nothing but answer."""

    completion_only: bool = False

    @property
    def _llm_type(self) -> str:
        return "echo"

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("echo"))])


def true_names(can: Capabilities) -> set[str]:
    return {name for name, value in can.as_dict().items() if value is True}


LOCAL = {"grammar", "json_schema", "logprobs", "decisions", "streaming"}
CHAT = {"follows_instructions", "takes_requests"}


def test_the_storyteller_is_a_completion_model_that_takes_requests() -> None:
    can = capabilities(chat_model("embedded:storyteller-mini"))
    assert true_names(can) == LOCAL | {"takes_requests"}
    assert can.context_length == 1024
    assert "follows_instructions=False" in repr(can)


@pytest.mark.smollm
def test_a_local_instruct_model(smollm_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALEWARD_CACHE", str(smollm_cache))
    assert true_names(capabilities(chat_model(f"hf:{smollm_file()}"))) == LOCAL | CHAT | {"tools"}


def test_openais_clients_and_what_their_profiles_say() -> None:
    key = SecretStr("x")
    openai = CHAT | {"json_schema", "logprobs", "streaming", "tools"}
    assert true_names(capabilities(ChatOpenAI(model="gpt-4o", api_key=key))) == openai | {"images"}
    assert true_names(capabilities(chat_model("openai:gpt-4o", api_key="x"))) == openai | {"images"}
    assert true_names(capabilities(chat_model("openai:m", base_url="http://127.0.0.1:9/v1"))) == openai
    azure = AzureChatOpenAI(azure_endpoint="https://x", api_version="1", azure_deployment="d", api_key=key)
    assert true_names(capabilities(azure)) == openai
    profile = ModelProfile(structured_output=False, tool_calling=False, max_input_tokens=7)
    old = capabilities(ChatOpenAI(model="old", api_key=key, profile=profile))
    assert (old.json_schema, old.tools, old.context_length) == (False, False, 7)


def test_any_other_model_only_answers_unless_it_says_more() -> None:
    can = capabilities(Echo())
    assert true_names(can) == CHAT
    assert can.context_length is None
    assert true_names(capabilities(Echo(completion_only=True))) == set()


def test_a_cache_passes_call_options_on_and_a_guard_does_not(tmp_path: Path) -> None:
    storyteller = chat_model("embedded:storyteller-mini")
    cached = CachedChat(
        model=storyteller, answers=AnswerCache(tmp_path / "answers.db", policy=load_policy("kids").id, band="6-8")
    )
    # Decisions would bypass the cache.
    assert true_names(capabilities(cached)) == LOCAL - {"decisions"} | {"takes_requests"}
    guarded = GuardedChat(storyteller, FakeJudge())
    assert true_names(capabilities(guarded)) == {"takes_requests", "streaming"}
    assert true_names(capabilities(GuardedChat(cached, FakeJudge()))) == {"takes_requests", "streaming"}


def test_bound_options_do_not_hide_what_the_model_can_do() -> None:
    bound: Any = Echo().bind(stop=["x"])
    assert capabilities(bound).follows_instructions
    with pytest.raises(TypeError, match="takes a chat model; got a str"):
        capabilities("openai:gpt-4o")  # type: ignore[arg-type]


def test_reading_whether_a_model_takes_a_grammar_does_not_load_it() -> None:
    can = capabilities(chat_model("hf:nobody/not-there"))
    assert (can.grammar, can.decisions, can.json_schema) == (True, True, True)


@pytest.mark.smollm
def test_a_local_model_judges_under_the_grammar_of_the_verdict(
    smollm_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This small model would never find the format by itself; whether it judges well is not asked here."""
    monkeypatch.setenv("TALEWARD_CACHE", str(smollm_cache))
    judging = judge(f"hf:{smollm_file()}", max_tokens=60)
    assert judging.invoke("The fox shared its bread with the hen.").outcome in ("pass", "fail")
