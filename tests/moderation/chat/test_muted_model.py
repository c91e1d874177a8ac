"""Only tracers see the wrapped model's output; its cache and its arguments work as they are."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import UsageMetadataCallbackHandler, get_usage_metadata_callback
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessageChunk
from langchain_core.tracers.context import _configure_hooks, register_configure_hook
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

from taleward.moderation.chat.guarded_chat import GuardedChat
from taleward.moderation.judges.base import Assessment
from taleward.testing import FakeJudge
from tests.helpers.chat_paths import FINE, STREAMED, WHOLE, Path
from tests.helpers.scripted_chat import SECRET, EndWitness, ScriptedChat, Witness, cut, leaked, says

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")


@pytest.mark.parametrize("path", WHOLE + STREAMED, ids=lambda path: path.__name__)
def test_no_callback_hears_the_wrapped_model(path: Path) -> None:
    model_witness, end_witness, ambient_witness = Witness(), EndWitness(), Witness()
    variable: ContextVar[Any] = ContextVar("variable", default=None)
    register_configure_hook(variable, True)
    token = variable.set(ambient_witness)
    try:
        model = ScriptedChat(answers=[list(cut(FINE + SECRET, 4))], callbacks=[model_witness])
        path(GuardedChat(model, FakeJudge()), {"callbacks": [end_witness]})
    finally:
        variable.reset(token)
        _configure_hooks[:] = [hook for hook in _configure_hooks if hook[0] is not variable]
    for witness in (model_witness, end_witness, ambient_witness):
        assert leaked(witness.events) == ""
        assert "would rather" in repr(witness.events)
    assert model.callbacks == [model_witness]


def test_tracers_keep_the_wrapped_models_words() -> None:
    tracer = RunCollectorCallbackHandler()
    GuardedChat(says(SECRET), FakeJudge()).invoke("hi", {"callbacks": [tracer]})
    assert "ЖЩ" in repr([child.outputs for run in tracer.traced_runs for child in run.child_runs])


def test_tokens_are_counted_once() -> None:
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    chunk = AIMessageChunk(content=FINE, usage_metadata=usage, response_metadata={"model_name": "m"})
    counter = UsageMetadataCallbackHandler()
    with get_usage_metadata_callback() as ambient_counter:
        GuardedChat(ScriptedChat(answers=[[chunk]]), FakeJudge()).invoke("hi", {"callbacks": [counter]})
    assert counter.usage_metadata["m"]["total_tokens"] == 7
    assert ambient_counter.usage_metadata["m"]["total_tokens"] == 7


def test_a_verdict_is_not_cached() -> None:
    set_llm_cache(InMemoryCache())
    try:
        model = says(FINE)
        assert "fox" in GuardedChat(model, FakeJudge()).invoke("hi").content
        assert "fox" not in GuardedChat(model, FakeJudge(lambda _: Assessment(outcome="abstain"))).invoke("hi").content
        assert len(model.requests) == 1
    finally:
        set_llm_cache(None)


def test_arguments_reach_the_model() -> None:
    model = says(FINE)
    chat = GuardedChat(model, FakeJudge())
    chat.invoke("hi", stop=["end"], seed=7)
    list(chat.bind(seed=0).stream("hi"))
    assert [(call["stop"], call["seed"]) for call in model.requests] == [(["end"], 7), (None, 0)]
