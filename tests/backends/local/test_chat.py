"""Chat models by spec: what is taken, what is refused, and the local ones at work."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from taleward import StoryChain
from taleward.backends.base.embedded import embedded_path
from taleward.backends.chat_models import chat_model
from taleward.backends.discovery import devices, discover
from taleward.backends.embedding_models import embeddings
from taleward.backends.local import loading
from taleward.backends.local.chat import LocalChat
from taleward.backends.local.response import StopText
from taleward.backends.onnx.llama import EmbeddedLlama
from taleward.backends.transformers import hub
from taleward.backends.transformers.seq2seq import seq2seq_model
from taleward.chains.template import load_template
from taleward.core.errors import BackendError, ConfigurationError, MissingKey, UnknownName

VALUES = {name: told.example for name, told in load_template("adventure").variables.items()}
OPENING = "Once upon a time, there was a little girl named Lily."


@pytest.fixture(scope="module")
def teller() -> LocalChat:
    model = chat_model("embedded:storyteller", max_tokens=40)
    assert isinstance(model, LocalChat)
    return model


@pytest.fixture(scope="module")
def chatty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storyteller's weights as a model that follows instructions, by another chat template."""
    folder = tmp_path_factory.mktemp("chatty")
    shutil.copytree(embedded_path("storyteller"), folder, dirs_exist_ok=True)
    template = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    (folder / "chat_template.jinja").write_text(template)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "follows_instructions": True}))
    return folder


def test_the_same_seed_writes_the_same(teller: LocalChat) -> None:
    first, again, other = (teller.invoke(OPENING, seed=seed) for seed in (0, 0, 1))
    assert first.text == again.text != other.text
    assert len(first.text) > 40


def test_usage_and_reason(teller: LocalChat) -> None:
    answer = teller.invoke(OPENING, seed=0, max_tokens=5)
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 5
    assert answer.usage_metadata["input_tokens"] > 5
    assert answer.response_metadata["finish_reason"] == "length"
    ended = teller.invoke(OPENING, seed=0, max_tokens=900)
    assert ended.response_metadata["finish_reason"] == "stop"


def test_a_stream_is_the_answer_in_pieces(teller: LocalChat) -> None:
    pieces = list(teller.stream(OPENING, seed=3))
    assert len(pieces) > 10
    assert "".join(p.text for p in pieces) == teller.invoke(OPENING, seed=3).text


async def test_async_is_the_same(teller: LocalChat) -> None:
    assert (await teller.ainvoke(OPENING, seed=3)).text == teller.invoke(OPENING, seed=3).text
    assert "".join([p.text async for p in teller.astream(OPENING, seed=3)]) == teller.invoke(OPENING, seed=3).text


def test_stop_cuts_before_the_words(teller: LocalChat) -> None:
    whole = teller.invoke(OPENING, seed=3).text
    stop = whole[30:37]
    cut = teller.invoke(OPENING, seed=3, stop=[stop])
    assert cut.text == whole[: whole.index(stop)]
    assert cut.response_metadata["finish_reason"] == "stop"
    assert "".join(p.text for p in teller.stream(OPENING, seed=3, stop=[stop])) == cut.text


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_a_stop_over_borders_of_pieces(size: int) -> None:
    def run(text: str, stops: list[str]) -> Iterator[str]:
        cutter = StopText(stops)
        for at in range(0, len(text), size):
            yield cutter.push(text[at : at + size])
            if cutter.stopped:
                return
        yield cutter.finish()

    assert "".join(run("one ## two ### three", ["###"])) == "one ## two "
    assert "".join(run("one ## two", ["###"])) == "one ## two"
    assert "".join(run("aab", ["ab", "aab"])) == ""


@pytest.mark.parametrize("engine", ["onnx", "transformers"])
def test_control_tokens_in_a_prompt_are_text(engine: str) -> None:
    model = chat_model("embedded:storyteller", engine=engine)
    assert isinstance(model, LocalChat)
    prompt = model._loaded.prompt([{"role": "user", "content": "a </s> b"}])
    end = json.loads((Path(model.path) / "config.json").read_text())["eos_token_id"]
    assert "</s>" in (Path(model.path) / "tokenizer.json").read_text()
    assert end not in prompt
    assert model._loaded.decode(prompt, control=True) == "<s><|request|>a </s> b<|story|>"


@pytest.mark.parametrize("engine", ["onnx", "transformers"])
def test_the_storyteller_answers_a_request_and_goes_on_with_a_story(engine: str) -> None:
    """Written out for the engine that needs no transformers, the template gives what its folder's does."""
    model = chat_model("embedded:storyteller", engine=engine)
    assert isinstance(model, LocalChat)
    assert (model.completion_only, model.takes_requests) == (True, True)
    asked = [SystemMessage("be kind"), HumanMessage("a fox"), AIMessage("A fox ran."), HumanMessage("a hen")]
    prompts = [
        model._prompt(model._loaded, said, (), {}) for said in (asked, [*asked, AIMessage("A hen ")], asked[2:3])
    ]
    assert [model._loaded.decode(prompt, control=True) for prompt in prompts] == [
        "<s><|request|>be kind<|story|><|request|>a fox<|story|>A fox ran.</s><|request|>a hen<|story|>",
        "<s><|request|>be kind<|story|><|request|>a fox<|story|>A fox ran.</s><|request|>a hen<|story|>A hen ",
        "<s>A fox ran.",
    ]


@pytest.mark.parametrize("length", [1, 7, 200])
def test_both_engines_write_the_same(length: int) -> None:
    words = " ".join(["There was a small fox who lived near the sea."] * 20)[: 5 * length]
    answers = [
        chat_model("embedded:storyteller", engine=engine, temperature=0, repetition_penalty=1, max_tokens=60).invoke(
            words
        )
        for engine in ("onnx", "transformers")
    ]
    assert answers[0].text == answers[1].text
    assert answers[0].usage_metadata == answers[1].usage_metadata


def test_another_architecture_is_refused_by_name(tmp_path: Path) -> None:
    shutil.copytree(embedded_path("storyteller"), tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))
    with pytest.raises(
        BackendError, match=r"not supported by the engine 'onnx': its config.json has \{'model_type': 'gpt2'\}"
    ) as caught:
        EmbeddedLlama(tmp_path)
    assert f"hf:{tmp_path}" in str(caught.value.hint)


def test_a_chat_template_is_used_where_there_is_one(chatty: Path, teller: LocalChat) -> None:
    model = chat_model(f"hf:{chatty}", max_tokens=5)
    assert isinstance(model, LocalChat)
    assert not model.completion_only
    assert teller.completion_only
    turns = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}]
    assert model._loaded.decode(model._loaded.prompt(turns)) == "[system] be kind\n[user] hello\n"
    assert model.invoke([SystemMessage("be kind"), HumanMessage("hello")], seed=0).text
    open_ended = model._prompt(model._loaded, [HumanMessage("hello"), AIMessage("Once")], (), {})
    assert model._loaded.decode(open_ended) == "[user] hello\n[assistant] Once"


@pytest.mark.parametrize("engine", ["onnx", "transformers"])
def test_log_probabilities_are_the_models(engine: str, teller: LocalChat) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = chat_model("embedded:storyteller", engine=engine, max_tokens=12)
    answer = model.invoke(OPENING, seed=4, logprobs=True, top_logprobs=3)
    told = answer.response_metadata["logprobs"]["content"]
    assert "".join(token["token"] for token in told) == answer.text
    loaded = teller._loaded
    prompt = loaded.prompt([{"role": "user", "content": OPENING}])
    written = loaded.encode(answer.text)
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(teller.path).float()(torch.tensor([prompt + written])).logits[0]
    expected = logits.log_softmax(-1)[len(prompt) - 1 : -1]
    assert [t["logprob"] for t in told] == pytest.approx(
        [float(expected[i, t]) for i, t in enumerate(written)], abs=1e-3
    )
    assert [t["top_logprobs"][0]["logprob"] for t in told] == pytest.approx(expected.max(-1).values.tolist(), abs=1e-3)
    whole = None
    for chunk in model.stream(OPENING, seed=4, logprobs=True, top_logprobs=3):
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    assert whole.response_metadata["logprobs"] == answer.response_metadata["logprobs"]


@pytest.mark.parametrize("engine", ["onnx", "transformers"])
async def test_a_model_that_fails_while_it_streams_says_so_at_once(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = chat_model("embedded:storyteller", engine=engine, max_tokens=400, seed=1)
    assert isinstance(model, LocalChat)
    stream = model.stream(OPENING)
    next(stream)

    def broken(*_: object) -> None:
        raise RuntimeError("out of memory")

    rows = [type(r) for r in model._loaded.engine._replicas]
    with monkeypatch.context() as patch:
        patch.setattr(rows[0], "advance", broken)
        begun = time.monotonic()
        with pytest.raises(BackendError, match="generation failed: out of memory"):
            list(stream)
        with pytest.raises(BackendError, match="out of memory"):
            await model.ainvoke(OPENING)
        assert time.monotonic() - begun < 5
    assert model.invoke(OPENING, max_tokens=3).text


def test_a_call_takes_its_own_timeout(teller: LocalChat) -> None:
    with pytest.raises(BackendError, match="deadline exceeded"):
        teller.invoke(OPENING, timeout=1e-6)
    assert teller.bind(timeout=60).invoke(OPENING, max_tokens=3).text


def test_too_long_a_prompt(teller: LocalChat) -> None:
    with pytest.raises(BackendError, match=r"the prompt has \d+ tokens; embedded:storyteller holds 1024"):
        teller.invoke("word " * 2000)


def test_unknown_options_are_named(teller: LocalChat) -> None:
    with pytest.raises(ConfigurationError, match=r"does not take \['tempo'\]; it takes grammar, instruction"):
        teller.invoke(OPENING, tempo=1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"temprature": 0}, r"unknown option of embedded:storyteller 'temprature'\. Did you mean 'temperature'"),
        ({"temperature": -1}, r"temperature: input should be greater than or equal to 0; got -1"),
        ({"engine": "ctranslate2"}, r"'auto', 'onnx' or 'transformers'; got 'ctranslate2'"),
        ({"device": "cuda"}, r"would run on the engine 'onnx', on the CPU, which takes no device"),
        ({"engine": "auto", "precision": "int8", "load": {"dtype": "bfloat16"}}, r"which takes no load"),
        ({"engine": "transformers", "precision": "int8"}, r"the engine 'transformers' has no precision 'int8'"),
    ],
)
def test_options_that_are_not_taken_are_told_where_the_model_is_made(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        chat_model("embedded:storyteller", **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"temperature": -1}, "temperature must be a number, 0 or more; got -1"),
        ({"top_p": 0}, "top_p must be a number above 0 and up to 1; got 0"),
        ({"max_tokens": 0}, "max_tokens must be an integer, 1 or more; got 0"),
        ({"seed": "x"}, "seed is a whole number from 0; got 'x'"),
        ({"top_logprobs": -1}, "top_logprobs is a whole number from 0; got -1"),
        ({"response_format": {"type": "xml"}}, "response_format must be a Pydantic model, or an object of type"),
    ],
)
def test_values_of_a_call_that_are_not_taken(teller: LocalChat, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        teller.invoke(OPENING, **options)


def test_a_server_for_a_model_that_runs_here() -> None:
    with pytest.raises(UnknownName, match="unknown option of embedded:storyteller 'base_url'") as caught:
        chat_model("embedded:storyteller", base_url="http://127.0.0.1:9/v1")
    assert "openai:NAME" in str(caught.value.hint)


def test_a_stop_may_be_one_text(teller: LocalChat) -> None:
    whole = teller.invoke(OPENING, seed=3).text
    assert teller.bind(stop=whole[30:37]).invoke(OPENING, seed=3).text == whole[:30]


def test_no_gpu_is_told_with_the_reason(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    shutil.copytree(embedded_path("storyteller"), tmp_path, dirs_exist_ok=True)
    for options in ({"device": "cuda"}, {"load": {"device_map": "cuda"}}, {"load": {"device_map": {"": "cuda:0"}}}):
        with pytest.raises(ConfigurationError, match=r"there is no device 'cuda.*' here: torch .*\. Devices are cpu"):
            chat_model(f"hf:{tmp_path}", **options).invoke("x")
    with pytest.raises(ConfigurationError, match=r"there is no device 'gpu' here\. Devices are cpu\."):
        chat_model(f"hf:{tmp_path}", device="gpu").invoke("x")
    assert "no GPU (torch" in ", ".join(devices())


def test_options_of_loading_reach_transformers(tmp_path: Path) -> None:
    import torch

    shutil.copytree(embedded_path("storyteller"), tmp_path, dirs_exist_ok=True)
    load = {"dtype": "bfloat16", "attn_implementation": "eager", "device_map": "auto"}
    model: Any = chat_model(f"hf:{tmp_path}", load=load, max_tokens=5)
    assert model.invoke(OPENING).text
    inner = model._loaded._model
    assert (inner.dtype, inner.config._attn_implementation) == (torch.bfloat16, "eager")
    with pytest.raises(ConfigurationError, match=r"cannot be loaded with load=\{'colour'\}: .*colour") as caught:
        chat_model(f"hf:{tmp_path}", load={"colour": "red"}).invoke("x")
    assert "from_pretrained" in str(caught.value.hint)
    if find_spec("flash_attn") is None:
        with pytest.raises(ConfigurationError, match=r"cannot be loaded with load=.*FlashAttention2") as caught:
            chat_model(f"hf:{tmp_path}", load={"attn_implementation": "flash_attention_2"}).invoke("x")
        assert "Install what is missing" in str(caught.value.hint)


def test_embedded_models_that_write_nothing() -> None:
    for name, way in (("judge", "taleward.judge("), ("minilm", "taleward.embeddings(")):
        with pytest.raises(ConfigurationError, match="does not generate text") as caught:
            chat_model(f"embedded:{name}")
        assert way in str(caught.value.hint)


def test_nothing_of_a_first_call_holds_the_event_loop_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even loading the model, which LangChain asks about on the loop."""
    shutil.copytree(embedded_path("storyteller"), tmp_path, dirs_exist_ok=True)
    loaded_in: list[int] = []
    load = loading._load

    def seen(*arguments: Any) -> Any:
        loaded_in.append(threading.get_ident())
        return load(*arguments)

    monkeypatch.setattr(loading, "_load", seen)

    async def streamed(model: BaseChatModel) -> str:
        return "".join([chunk.text async for chunk in model.astream(OPENING)])

    for seed, ask in enumerate((lambda m: m.ainvoke(OPENING), streamed, lambda m: StoryChain(m).ainvoke(VALUES))):
        (tmp_path / str(seed)).symlink_to(tmp_path)
        assert asyncio.run(ask(chat_model(f"hf:{tmp_path / str(seed)}", max_tokens=3)))
    assert len(loaded_in) == 3
    assert threading.get_ident() not in loaded_in


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("engine", ["onnx", "transformers"])
def test_a_forked_child_writes_too(engine: str) -> None:
    """The threads of an engine stay with the parent: the child has its own, or would wait for ever."""
    script = (
        "import os, signal, sys, warnings; warnings.simplefilter('ignore'); from taleward import chat_model\n"
        f"model = chat_model('embedded:storyteller', engine={engine!r}, seed=1, max_tokens=5)\n"
        "parents = model.invoke('Once').text\n"
        "if (child := os.fork()) == 0:\n"
        "    signal.alarm(60)\n"
        "    os._exit(0 if model.invoke('Once').text == parents else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=240, check=False).returncode == 0


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="could not be loaded") as caught:
        chat_model(f"hf:{tmp_path}").invoke("x")
    assert "embedded:storyteller" in str(caught.value.hint)


@pytest.mark.parametrize("spec", ["storyteller", "embedded:", ":x", ""])
def test_no_spec(spec: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a model spec"):
        chat_model(spec)


def test_embeddings_that_are_not_taken() -> None:
    ready = embeddings("embedded:minilm")
    assert embeddings(ready) is ready
    with pytest.raises(ConfigurationError, match="cannot apply options to an existing MiniLMEmbeddings"):
        embeddings(ready, batch_size=2)
    with pytest.raises(UnknownName, match=r"unknown option of hf:x/y 'normalise'\. Did you mean 'normalize'"):
        embeddings("hf:x/y", normalise=False)
    with pytest.raises(UnknownName, match=r"unknown provider of embeddings 'opnai'\. Did you mean 'openai'"):
        embeddings("opnai:x")


def test_unknown_names() -> None:
    with pytest.raises(UnknownName, match=r"unknown embedded model 'storyteler'\. Did you mean 'storyteller'"):
        chat_model("embedded:storyteler")
    with pytest.raises(UnknownName, match=r"unknown provider 'opnai'\. Did you mean 'openai'.*'anthropic'"):
        chat_model("opnai:gpt")
    with pytest.raises(UnknownName, match="unknown embedded embeddings 'x'"):
        embeddings("embedded:x")


def test_a_missing_package_says_what_to_install() -> None:
    with pytest.raises(ConfigurationError, match="pip install langchain-anthropic"):
        chat_model("anthropic:claude-x")


def test_a_missing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(MissingKey, match="has no OPENAI_API_KEY"):
        chat_model("openai:gpt-5-mini")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    assert "very-secret" not in repr(chat_model("openai:gpt-5-mini"))


def test_a_ready_model_is_taken_as_it_is() -> None:
    ready = FakeListChatModel(responses=["x"])
    assert chat_model(ready) is ready
    with pytest.raises(ConfigurationError, match="cannot apply options to an existing FakeListChatModel"):
        chat_model(ready, temperature=0)


def test_a_hub_model_that_cannot_be_had() -> None:
    for ask in (
        lambda: chat_model("hf:nobody/no-such-model").invoke("x"),
        lambda: chat_model("hf:nobody/no-such-model", engine="transformers").invoke("x"),
        lambda: embeddings("hf:nobody/no-such-model").embed_query("x"),
        lambda: seq2seq_model("hf:nobody/no-such-model").invoke("x"),
    ):
        with pytest.raises(BackendError, match=r"is no folder here, it is not in the cache .* could not be fetched"):
            ask()
    with pytest.raises(BackendError) as caught:
        chat_model("hf:nobody/no-such-model").invoke("x")
    assert "hf download nobody/no-such-model" in str(caught.value.hint)
    assert "'embedded:storyteller'" in str(caught.value.hint)


def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub() -> None:
    for path in ("/models/no-story", "./models/no-story", "~/no-story"):
        with pytest.raises(BackendError, match="there is no such folder here") as caught:
            chat_model(f"hf:{path}").invoke("x")
        assert "hf download" not in str(caught.value.hint)


def test_without_a_network_the_hub_is_not_tried_for_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("socket.getaddrinfo", nowhere)
    hub._resolves.cache_clear()
    assert hub.fetching("nobody/no-such-model") == {"local_files_only": True}
    with pytest.raises(BackendError, match=r"could not be fetched: there is no network here, or no way to hugging"):
        chat_model("hf:nobody/no-such-model", engine="transformers").invoke("x")
    hub._resolves.cache_clear()


def test_discovery(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    shutil.copytree(embedded_path("storyteller"), tmp_path / "models--me--small/snapshots/1")
    (tmp_path / "models--me--half/snapshots/1").mkdir(parents=True)
    (tmp_path / "models--me--half/snapshots/1/config.json").write_text("{}")
    found = {row.spec: row for row in discover()}
    teller, mine = found["embedded:storyteller"], found["hf:me/small"]
    assert teller.usable
    assert mine.usable
    assert (mine.kind, mine.description) == ("writer, judge", "llama, 6 layers, engine onnx")
    assert teller.parameters == mine.parameters == 5_475_584
    assert teller.context == mine.context == 1024
    assert mine.folder == str(tmp_path / "models--me--small/snapshots/1")
    assert not found["hf:me/half"].usable
    assert "has no model.safetensors" in found["hf:me/half"].description
    assert not found["openai:MODEL"].usable
    assert "OPENAI_API_KEY" in found["openai:MODEL"].description
    assert (found["embedded:judge"].parameters or 0) > (found["embedded:minilm"].parameters or 0) > 22_000_000
    assert "pip install langchain-anthropic; no ANTHROPIC_API_KEY" in found["anthropic:MODEL"].description
