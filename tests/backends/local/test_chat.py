"""Chat models by spec: accepted and rejected options, and the local models at work."""

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
from taleward.backends.base.shipped_models import embedded_path
from taleward.backends.chat_models import chat_model
from taleward.backends.discovery import devices, discover
from taleward.backends.embedding_models import embeddings
from taleward.backends.local import loading
from taleward.backends.local.chat import LocalChat
from taleward.backends.local.response import StopSequenceFilter
from taleward.backends.onnx.llama import EmbeddedLlama
from taleward.backends.transformers import hub_files
from taleward.backends.transformers.seq2seq import seq2seq_model
from taleward.chains.template import load_template
from taleward.core.errors import BackendError, ConfigurationError, MissingKey, UnknownName

VALUES = {name: variable.example for name, variable in load_template("adventure").variables.items()}
OPENING = "Once upon a time, there was a little girl named Lily."


@pytest.fixture(scope="module")
def storyteller() -> LocalChat:
    model = chat_model("embedded:storyteller-mini", max_tokens=40)
    assert isinstance(model, LocalChat)
    return model


@pytest.fixture(scope="module")
def instruct_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storyteller's weights with another chat template, as a model that follows instructions."""
    folder = tmp_path_factory.mktemp("instruct")
    shutil.copytree(embedded_path("storyteller-mini"), folder, dirs_exist_ok=True)
    template = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    (folder / "chat_template.jinja").write_text(template)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "follows_instructions": True}))
    return folder


def test_the_same_seed_gives_the_same_text(storyteller: LocalChat) -> None:
    first, again, other = (storyteller.invoke(OPENING, seed=seed) for seed in (0, 0, 1))
    assert first.text == again.text != other.text
    assert len(first.text) > 40


def test_usage_and_finish_reason(storyteller: LocalChat) -> None:
    answer = storyteller.invoke(OPENING, seed=0, max_tokens=5)
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 5
    assert answer.usage_metadata["input_tokens"] > 5
    assert answer.response_metadata["finish_reason"] == "length"
    finished = storyteller.invoke(OPENING, seed=0, max_tokens=900)
    assert finished.response_metadata["finish_reason"] == "stop"


def test_a_stream_is_the_answer_in_chunks(storyteller: LocalChat) -> None:
    chunks = list(storyteller.stream(OPENING, seed=3))
    assert len(chunks) > 10
    assert "".join(chunk.text for chunk in chunks) == storyteller.invoke(OPENING, seed=3).text


async def test_async_gives_the_same_text(storyteller: LocalChat) -> None:
    expected = storyteller.invoke(OPENING, seed=3).text
    assert (await storyteller.ainvoke(OPENING, seed=3)).text == expected
    assert "".join([chunk.text async for chunk in storyteller.astream(OPENING, seed=3)]) == expected


def test_a_stop_sequence_ends_the_answer_before_it(storyteller: LocalChat) -> None:
    full_text = storyteller.invoke(OPENING, seed=3).text
    stop = full_text[30:37]
    stopped = storyteller.invoke(OPENING, seed=3, stop=[stop])
    assert stopped.text == full_text[: full_text.index(stop)]
    assert stopped.response_metadata["finish_reason"] == "stop"
    assert "".join(chunk.text for chunk in storyteller.stream(OPENING, seed=3, stop=[stop])) == stopped.text


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_a_stop_sequence_split_over_pieces(size: int) -> None:
    def filtered(text: str, stop_sequences: list[str]) -> Iterator[str]:
        stop_filter = StopSequenceFilter(stop_sequences)
        for start in range(0, len(text), size):
            yield stop_filter.push(text[start : start + size])
            if stop_filter.stopped:
                return
        yield stop_filter.finish()

    assert "".join(filtered("one ## two ### three", ["###"])) == "one ## two "
    assert "".join(filtered("one ## two", ["###"])) == "one ## two"
    assert "".join(filtered("aab", ["ab", "aab"])) == ""


@pytest.mark.parametrize("engine", ["onnx", "transformers"])
def test_control_tokens_in_a_prompt_are_text(engine: str) -> None:
    model = chat_model("embedded:storyteller-mini", engine=engine)
    assert isinstance(model, LocalChat)
    prompt = model._loaded.prompt([{"role": "user", "content": "a </s> b"}])
    end = json.loads((Path(model.path) / "config.json").read_text())["eos_token_id"]
    assert "</s>" in (Path(model.path) / "tokenizer.json").read_text()
    assert end not in prompt
    assert model._loaded.decode(prompt, control=True) == "<s><|request|>a </s> b<|story|>"


@pytest.mark.parametrize("engine", ["onnx", "transformers"])
def test_the_storyteller_answers_a_request_and_continues_a_story(engine: str) -> None:
    """The engine `onnx` has the chat template built in; it gives what the folder's template gives."""
    model = chat_model("embedded:storyteller-mini", engine=engine)
    assert isinstance(model, LocalChat)
    assert (model.completion_only, model.takes_requests) == (True, True)
    messages = [SystemMessage("be kind"), HumanMessage("a fox"), AIMessage("A fox ran."), HumanMessage("a hen")]
    conversations = (messages, [*messages, AIMessage("A hen ")], messages[2:3])
    prompts = [model._prompt_tokens(model._loaded, conversation, (), {}) for conversation in conversations]
    assert [model._loaded.decode(prompt, control=True) for prompt in prompts] == [
        "<s><|request|>be kind<|story|><|request|>a fox<|story|>A fox ran.</s><|request|>a hen<|story|>",
        "<s><|request|>be kind<|story|><|request|>a fox<|story|>A fox ran.</s><|request|>a hen<|story|>A hen ",
        "<s>A fox ran.",
    ]


@pytest.mark.parametrize("length", [1, 7, 200])
def test_both_engines_generate_the_same_text(length: int) -> None:
    words = " ".join(["There was a small fox who lived near the sea."] * 20)[: 5 * length]
    answers = [
        chat_model(
            "embedded:storyteller-mini", engine=engine, temperature=0, repetition_penalty=1, max_tokens=60
        ).invoke(words)
        for engine in ("onnx", "transformers")
    ]
    assert answers[0].text == answers[1].text
    assert answers[0].usage_metadata == answers[1].usage_metadata


def test_the_error_for_another_architecture_names_it(tmp_path: Path) -> None:
    shutil.copytree(embedded_path("storyteller-mini"), tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))
    with pytest.raises(
        BackendError, match=r"not supported by the engine 'onnx': its config.json has \{'model_type': 'gpt2'\}"
    ) as caught:
        EmbeddedLlama(tmp_path)
    assert f"hf:{tmp_path}" in str(caught.value.hint)


def test_a_chat_template_is_used_if_there_is_one(instruct_folder: Path, storyteller: LocalChat) -> None:
    model = chat_model(f"hf:{instruct_folder}", max_tokens=5)
    assert isinstance(model, LocalChat)
    assert not model.completion_only
    assert storyteller.completion_only
    turns = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}]
    assert model._loaded.decode(model._loaded.prompt(turns)) == "[system] be kind\n[user] hello\n"
    assert model.invoke([SystemMessage("be kind"), HumanMessage("hello")], seed=0).text
    open_ended = model._prompt_tokens(model._loaded, [HumanMessage("hello"), AIMessage("Once")], (), {})
    assert model._loaded.decode(open_ended) == "[user] hello\n[assistant] Once"


@pytest.mark.parametrize("engine", ["onnx", "transformers"])
def test_log_probabilities_match_transformers(engine: str, storyteller: LocalChat) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = chat_model("embedded:storyteller-mini", engine=engine, max_tokens=12)
    answer = model.invoke(OPENING, seed=4, logprobs=True, top_logprobs=3)
    logprobs = answer.response_metadata["logprobs"]["content"]
    assert "".join(token["token"] for token in logprobs) == answer.text
    loaded = storyteller._loaded
    prompt = loaded.prompt([{"role": "user", "content": OPENING}])
    generated = loaded.encode(answer.text)
    with torch.no_grad():
        logits = (
            AutoModelForCausalLM.from_pretrained(storyteller.path).float()(torch.tensor([prompt + generated])).logits[0]
        )
    expected = logits.log_softmax(-1)[len(prompt) - 1 : -1]
    assert [t["logprob"] for t in logprobs] == pytest.approx(
        [float(expected[i, t]) for i, t in enumerate(generated)], abs=1e-3
    )
    best = [t["top_logprobs"][0]["logprob"] for t in logprobs]
    assert best == pytest.approx(expected.max(-1).values.tolist(), abs=1e-3)
    merged = None
    for chunk in model.stream(OPENING, seed=4, logprobs=True, top_logprobs=3):
        merged = chunk if merged is None else merged + chunk
    assert merged is not None
    assert merged.response_metadata["logprobs"] == answer.response_metadata["logprobs"]


@pytest.mark.parametrize("engine", ["onnx", "transformers"])
async def test_a_model_that_fails_while_streaming_raises_at_once(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = chat_model("embedded:storyteller-mini", engine=engine, max_tokens=400, seed=1)
    assert isinstance(model, LocalChat)
    stream = model.stream(OPENING)
    next(stream)

    def broken(*_: object) -> None:
        raise RuntimeError("out of memory")

    batch_classes = [type(replica) for replica in model._loaded.engine._replicas]
    with monkeypatch.context() as patch:
        patch.setattr(batch_classes[0], "advance", broken)
        started = time.monotonic()
        with pytest.raises(BackendError, match="generation failed: out of memory"):
            list(stream)
        with pytest.raises(BackendError, match="out of memory"):
            await model.ainvoke(OPENING)
        assert time.monotonic() - started < 5
    assert model.invoke(OPENING, max_tokens=3).text


def test_a_call_has_its_own_timeout(storyteller: LocalChat) -> None:
    with pytest.raises(BackendError, match="deadline exceeded"):
        storyteller.invoke(OPENING, timeout=1e-6)
    assert storyteller.bind(timeout=60).invoke(OPENING, max_tokens=3).text


def test_a_prompt_that_is_too_long(storyteller: LocalChat) -> None:
    with pytest.raises(BackendError, match=r"has \d+ tokens, and the context of embedded:storyteller-mini is 1024"):
        storyteller.invoke("word " * 2000)


def test_unknown_options_are_named(storyteller: LocalChat) -> None:
    with pytest.raises(ConfigurationError, match=r"does not accept \['tempo'\]; it accepts grammar, instruction"):
        storyteller.invoke(OPENING, tempo=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temprature": 0}, r"unknown option of embedded:storyteller-mini 'temprature'\. Did you mean 'temperature'"),
        ({"temperature": -1}, r"temperature: input should be greater than or equal to 0; got -1"),
        ({"engine": "ctranslate2"}, r"'auto', 'onnx' or 'transformers'; got 'ctranslate2'"),
        ({"device": "cuda"}, r"uses the engine 'onnx', which runs on the CPU and does not accept device"),
        ({"engine": "auto", "precision": "int8", "load": {"dtype": "bfloat16"}}, r"does not accept load"),
        (
            {"engine": "transformers", "precision": "int8"},
            r"the engine 'transformers' does not support precision 'int8'",
        ),
    ],
)
def test_invalid_options_raise_when_the_model_is_made(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        chat_model("embedded:storyteller-mini", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1}, "temperature must be a number, 0 or more; got -1"),
        ({"top_p": 0}, "top_p must be a number above 0 and up to 1; got 0"),
        ({"max_tokens": 0}, "max_tokens must be an integer, 1 or more; got 0"),
        ({"seed": "x"}, "seed must be a non-negative integer; got 'x'"),
        ({"top_logprobs": -1}, "top_logprobs must be a non-negative integer; got -1"),
        ({"response_format": {"type": "xml"}}, "response_format must be a Pydantic model, or an object of type"),
    ],
)
def test_invalid_values_of_a_call(storyteller: LocalChat, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        storyteller.invoke(OPENING, **options)


def test_a_base_url_for_a_local_model() -> None:
    with pytest.raises(UnknownName, match="unknown option of embedded:storyteller-mini 'base_url'") as caught:
        chat_model("embedded:storyteller-mini", base_url="http://127.0.0.1:9/v1")
    assert "openai:NAME" in str(caught.value.hint)


def test_stop_may_be_a_string(storyteller: LocalChat) -> None:
    full_text = storyteller.invoke(OPENING, seed=3).text
    assert storyteller.bind(stop=full_text[30:37]).invoke(OPENING, seed=3).text == full_text[:30]


def test_a_missing_gpu_is_an_error_with_the_reason(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    shutil.copytree(embedded_path("storyteller-mini"), tmp_path, dirs_exist_ok=True)
    for options in ({"device": "cuda"}, {"load": {"device_map": "cuda"}}, {"load": {"device_map": {"": "cuda:0"}}}):
        with pytest.raises(ConfigurationError, match=r"there is no device 'cuda.*': torch .*\. Devices are cpu"):
            chat_model(f"hf:{tmp_path}", **options).invoke("x")
    with pytest.raises(ConfigurationError, match=r"there is no device 'gpu'\. Devices are cpu\."):
        chat_model(f"hf:{tmp_path}", device="gpu").invoke("x")
    assert "no GPU (torch" in ", ".join(devices())


def test_load_options_reach_transformers(tmp_path: Path) -> None:
    import torch

    shutil.copytree(embedded_path("storyteller-mini"), tmp_path, dirs_exist_ok=True)
    load = {"dtype": "bfloat16", "attn_implementation": "eager", "device_map": "auto"}
    model: Any = chat_model(f"hf:{tmp_path}", load=load, max_tokens=5)
    assert model.invoke(OPENING).text
    torch_model = model._loaded._model
    assert (torch_model.dtype, torch_model.config._attn_implementation) == (torch.bfloat16, "eager")
    with pytest.raises(ConfigurationError, match=r"cannot be loaded with load=\{'colour'\}: .*colour") as caught:
        chat_model(f"hf:{tmp_path}", load={"colour": "red"}).invoke("x")
    assert "from_pretrained" in str(caught.value.hint)
    if find_spec("flash_attn") is None:
        with pytest.raises(ConfigurationError, match=r"cannot be loaded with load=.*FlashAttention2") as caught:
            chat_model(f"hf:{tmp_path}", load={"attn_implementation": "flash_attention_2"}).invoke("x")
        assert "Install the missing package" in str(caught.value.hint)


def test_embedded_models_that_generate_no_text() -> None:
    for name, function in (("judge", "taleward.judge("), ("minilm", "taleward.embeddings(")):
        with pytest.raises(ConfigurationError, match="does not generate text") as caught:
            chat_model(f"embedded:{name}")
        assert function in str(caught.value.hint)


def test_a_first_call_does_not_block_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even by loading the model, whose settings LangChain reads on the event loop."""
    shutil.copytree(embedded_path("storyteller-mini"), tmp_path, dirs_exist_ok=True)
    loading_threads: list[int] = []
    load = loading._load

    def record_thread(*arguments: Any) -> Any:
        loading_threads.append(threading.get_ident())
        return load(*arguments)

    monkeypatch.setattr(loading, "_load", record_thread)

    async def stream(model: BaseChatModel) -> str:
        return "".join([chunk.text async for chunk in model.astream(OPENING)])

    async def write(model: BaseChatModel) -> str:
        return (await model.ainvoke(OPENING)).text

    async def tell(model: BaseChatModel) -> str:
        return await StoryChain(model).ainvoke(VALUES)

    for number, call in enumerate((write, stream, tell)):
        (tmp_path / str(number)).symlink_to(tmp_path)
        assert asyncio.run(call(chat_model(f"hf:{tmp_path / str(number)}", max_tokens=3)))
    assert len(loading_threads) == 3
    assert threading.get_ident() not in loading_threads


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("engine", ["onnx", "transformers"])
def test_a_forked_child_generates_too(engine: str) -> None:
    """An engine's threads stay in the parent, so the child must start its own, or it would wait forever."""
    script = (
        "import os, signal, sys, warnings; warnings.simplefilter('ignore'); from taleward import chat_model\n"
        f"model = chat_model('embedded:storyteller-mini', engine={engine!r}, seed=1, max_tokens=5)\n"
        "parent_text = model.invoke('Once').text\n"
        "if (child := os.fork()) == 0:\n"
        "    signal.alarm(60)\n"
        "    os._exit(0 if model.invoke('Once').text == parent_text else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=240, check=False).returncode == 0


def test_a_model_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="could not be loaded") as caught:
        chat_model(f"hf:{tmp_path}").invoke("x")
    assert "embedded:storyteller" in str(caught.value.hint)


@pytest.mark.parametrize("spec", ["storyteller", "embedded:", ":x", ""])
def test_an_invalid_spec(spec: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a model spec"):
        chat_model(spec)


def test_invalid_embeddings() -> None:
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


def test_the_error_for_a_missing_package_says_what_to_install() -> None:
    with pytest.raises(ConfigurationError, match="pip install langchain-anthropic"):
        chat_model("anthropic:claude-x")


def test_a_missing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(MissingKey, match="OPENAI_API_KEY is not set"):
        chat_model("openai:gpt-5-mini")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    assert "very-secret" not in repr(chat_model("openai:gpt-5-mini"))


def test_a_ready_model_is_returned_as_it_is() -> None:
    ready = FakeListChatModel(responses=["x"])
    assert chat_model(ready) is ready
    with pytest.raises(ConfigurationError, match="cannot apply options to an existing FakeListChatModel"):
        chat_model(ready, temperature=0)


def test_a_hub_model_that_cannot_be_loaded() -> None:
    for call in (
        lambda: chat_model("hf:nobody/no-such-model").invoke("x"),
        lambda: chat_model("hf:nobody/no-such-model", engine="transformers").invoke("x"),
        lambda: embeddings("hf:nobody/no-such-model").embed_query("x"),
        lambda: seq2seq_model("hf:nobody/no-such-model").invoke("x"),
    ):
        with pytest.raises(
            BackendError, match=r"is not a local folder, it is not in the cache .* could not be downloaded"
        ):
            call()
    with pytest.raises(BackendError) as caught:
        chat_model("hf:nobody/no-such-model").invoke("x")
    assert "hf download nobody/no-such-model" in str(caught.value.hint)
    assert "'embedded:storyteller'" in str(caught.value.hint)


def test_a_missing_folder_is_not_searched_on_the_hub() -> None:
    for path in ("/models/no-story", "./models/no-story", "~/no-story"):
        with pytest.raises(BackendError, match="there is no such folder") as caught:
            chat_model(f"hf:{path}").invoke("x")
        assert "hf download" not in str(caught.value.hint)


def test_without_a_network_the_hub_is_not_retried_for_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("socket.getaddrinfo", fail)
    hub_files._resolves.cache_clear()
    assert hub_files.download_options("nobody/no-such-model") == {"local_files_only": True}
    with pytest.raises(BackendError, match=r"could not be downloaded: there is no network, or hugging"):
        chat_model("hf:nobody/no-such-model", engine="transformers").invoke("x")
    hub_files._resolves.cache_clear()


def test_discovery(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    shutil.copytree(embedded_path("storyteller-mini"), tmp_path / "models--me--small/snapshots/1")
    (tmp_path / "models--me--half/snapshots/1").mkdir(parents=True)
    (tmp_path / "models--me--half/snapshots/1/config.json").write_text("{}")
    models = {model.spec: model for model in discover()}
    storyteller, cached = models["embedded:storyteller-mini"], models["hf:me/small"]
    assert storyteller.usable
    assert (models["embedded:storyteller"].parameters, models["embedded:storyteller"].context) == (134_515_008, 8192)
    assert cached.usable
    assert (cached.kind, cached.description) == ("writer, judge", "llama, 6 layers, engine onnx")
    assert storyteller.parameters == cached.parameters == 5_475_584
    assert storyteller.context == cached.context == 1024
    assert cached.folder == str(tmp_path / "models--me--small/snapshots/1")
    assert not models["hf:me/half"].usable
    assert "has no model.safetensors" in models["hf:me/half"].description
    assert not models["openai:MODEL"].usable
    assert "OPENAI_API_KEY" in models["openai:MODEL"].description
    assert (models["embedded:judge"].parameters or 0) > (models["embedded:minilm"].parameters or 0) > 22_000_000
    assert "pip install langchain-anthropic; no ANTHROPIC_API_KEY" in models["anthropic:MODEL"].description
