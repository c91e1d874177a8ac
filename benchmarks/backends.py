"""The local backend against langchain-huggingface and transformers: `python -m benchmarks.backends`.

All run the same Llama of 15 million parameters with random weights (dim 288, 6 layers, vocabulary 32,000), so the
figures say nothing about quality, and all texts have the same length. Install the peer without its dependencies:
`pip install --no-deps langchain-huggingface==1.2.3`. Set OMP_NUM_THREADS=1 if other work shares the cores.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.language_models import LanguageModelInput

from benchmarks.table import Row, Size, is_installed, pick, run
from taleward.backends.chat_models import chat_model
from taleward.backends.local.chat import LocalChat
from taleward.backends.local.questions import MultipleChoice, Question, Scale, YesNo
from taleward.backends.transformers.classifier import classifier

PROMPT = "x" * 33
STORY = "There was a fox who lived by the sea. " * 6
TOKENS_PER_SECOND = "tokens/s"
CLASSES = ["calm", "wild", "sad"]
PIPELINE_INVOKE = "HuggingFacePipeline.invoke"

DIMENSIONS = {"hidden_size": 288, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 6}
TINY_DIMENSIONS = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}


class Load(NamedTuple):
    """What the model is asked for.

    Attributes:
        tokens: Tokens per text.
        callers: Texts at once.
    """

    tokens: int = 128
    callers: int = 32


SMOKE_LOAD = Load(tokens=4, callers=2)


def save_llama(folder: Path, dimensions: Mapping[str, int] = DIMENSIONS) -> str:
    """Save a Llama with random weights, and a byte-level tokenizer with one token each for Yes and No."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    for word in ("Ye", "Yes", "No"):
        vocabulary[word] = len(vocabulary)
    words = map("".join, itertools.product("abcdefghijklmnopqrstuvwxyz", repeat=4))
    while len(vocabulary) < 31_998:
        vocabulary[next(words)] = len(vocabulary)
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[("Y", "e"), ("Ye", "s"), ("N", "o")]))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", pad_token="<pad>")  # noqa: S106
    tokenizer.chat_template = "<s>{% for m in messages %}{{ m.content }}{% endfor %}"
    torch.manual_seed(0)
    tokens = {"bos_token_id": 31_998, "eos_token_id": None, "pad_token_id": 31_999, "vocab_size": 32_000}
    config = LlamaConfig(**dimensions, **tokens, max_position_embeddings=1024, tie_word_embeddings=True)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def save_nli(folder: Path) -> str:
    """Save a tiny NLI model with random weights and MiniLM's tokenizer."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    from taleward.backends.onnx.minilm import model_folder

    tokenizer = AutoTokenizer.from_pretrained(str(model_folder()))
    labels = {0: "CONTRADICTION", 1: "NEUTRAL", 2: "ENTAILMENT"}
    torch.manual_seed(0)
    dimensions = {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    label_options = {"id2label": labels, "label2id": {name: number for number, name in labels.items()}}
    config = BertConfig(vocab_size=len(tokenizer), **dimensions, **label_options)
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def median_seconds(
    *calls: Callable[[], object], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Return the median duration of each call. The calls take turns; the first turn is a warm-up and does not count."""
    durations: list[list[float]] = [[] for _ in calls]
    for turn in range(repeats + 1):
        for call, times in zip(calls, durations, strict=True):
            start = clock()
            call()
            if turn:
                times.append(clock() - start)
    return [statistics.median(times) for times in durations]


def local_model(folder: str, tokens: int, **options: Any) -> LocalChat:
    """Create Taleward's chat model."""
    model = chat_model(f"hf:{folder}", max_tokens=tokens, temperature=0, **options)
    if not isinstance(model, LocalChat):
        raise TypeError(type(model))
    return model


async def call_concurrently(model: LocalChat, callers: int) -> None:
    """Call `ainvoke` from many tasks at once."""
    await asyncio.gather(*(model.ainvoke(PROMPT) for _ in range(callers)))


def writing(folder: str, size: Size) -> Iterator[Row]:
    """Texts of 128 tokens: one, and 32 at once."""
    import torch
    from transformers import AutoModelForCausalLM

    load = pick(size, full=Load(), quick=Load(), smoke=SMOKE_LOAD)
    repeats = pick(size, full=5, quick=1, smoke=1)
    at_once, unit, all_tokens = f"{load.callers} at once", TOKENS_PER_SECOND, load.callers * load.tokens
    prompts: list[LanguageModelInput] = [PROMPT] * load.callers
    ours, int8 = local_model(folder, load.tokens), local_model(folder, load.tokens, precision="int8")
    torch_engine = local_model(folder, load.tokens, engine="transformers")
    if is_installed("langchain_huggingface", "--no-deps langchain-huggingface==1.2.3"):
        yield from writing_against_langchain(folder, size, load, ours, int8)

    batch_s, gather_s = median_seconds(
        lambda: ours.batch(prompts), lambda: asyncio.run(call_concurrently(ours, load.callers)), repeats=repeats
    )
    ratio = batch_s / gather_s
    batch, gathered = all_tokens / batch_s, all_tokens / gather_s
    name = "batch of the same model"
    yield Row(f"{load.callers} callers of ainvoke", unit, gathered, batch, name, ratio, ">= 0.85", ratio >= 0.85)

    reference = AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = torch.randint(0, 200, (load.callers, len(PROMPT) + 1))
    options = {"attention_mask": torch.ones_like(ids), "max_new_tokens": load.tokens, "do_sample": False}
    engine_s, generate_s = median_seconds(
        lambda: torch_engine.batch(prompts), lambda: reference.generate(ids, **options), repeats=repeats
    )
    ratio = generate_s / engine_s
    yield Row(
        f"{at_once}, engine transformers",
        unit,
        all_tokens / engine_s,
        all_tokens / generate_s,
        "generate",
        ratio,
        ">= 0.95",
        ratio >= 0.95,
    )


def writing_against_langchain(folder: str, size: Size, load: Load, ours: LocalChat, int8: LocalChat) -> Iterator[Row]:
    """The same texts against langchain-huggingface."""
    from langchain_huggingface import ChatHuggingFace, HuggingFacePipeline

    at_once, unit, all_tokens = f"{load.callers} at once", TOKENS_PER_SECOND, load.callers * load.tokens
    prompts: list[LanguageModelInput] = [PROMPT] * load.callers
    repeats = pick(size, full=5, quick=1, smoke=1)
    make_pipeline = partial(HuggingFacePipeline.from_model_id, folder, task="text-generation")
    settings = {"max_new_tokens": load.tokens, "do_sample": False, "return_full_text": False}
    pipeline = make_pipeline(pipeline_kwargs=settings)
    batching = make_pipeline(pipeline_kwargs=settings, batch_size=load.callers)
    chat = ChatHuggingFace(llm=pipeline)

    one_s, one_int8_s, peer_s, batch_s, batch_int8_s = median_seconds(
        lambda: ours.invoke(PROMPT),
        lambda: int8.invoke(PROMPT),
        lambda: pipeline.invoke(PROMPT),
        lambda: ours.batch(prompts),
        lambda: int8.batch(prompts),
        repeats=repeats,
    )
    one, one_int8, peer = load.tokens / one_s, load.tokens / one_int8_s, load.tokens / peer_s
    batch, batch_int8 = all_tokens / batch_s, all_tokens / batch_int8_s
    few = pick(size, full=8, quick=1, smoke=1)
    [chat_s] = median_seconds(lambda: chat.batch(prompts[:few]), repeats=1)
    chat_speed, chat_name = few * load.tokens / chat_s, "ChatHuggingFace.batch"
    name, at_least_30 = PIPELINE_INVOKE, ">= 30 times"
    yield Row("one call, float32", unit, one, peer, name, one / peer)
    yield Row("one call, int8", unit, one_int8, peer, name, one_int8 / peer, ">= 6 times", one_int8 >= 6 * peer)
    yield Row(f"{at_once}, float32", unit, batch, peer, name, batch / peer)
    for peer_speed, peer_name in ((peer, name), (chat_speed, chat_name)):
        ratio = batch_int8 / peer_speed
        yield Row(f"{at_once}, int8", unit, batch_int8, peer_speed, peer_name, ratio, at_least_30, ratio >= 30)

    cpu_s, cpu_int8_s, peer_cpu_s = median_seconds(
        lambda: ours.batch(prompts),
        lambda: int8.batch(prompts),
        lambda: pipeline.invoke(PROMPT),
        repeats=pick(size, full=3, quick=1, smoke=1),
        clock=time.process_time,
    )
    cpu_unit, peer = "tokens/CPU second", load.tokens / peer_cpu_s
    for precision, duration_s in (("float32", cpu_s), ("int8", cpu_int8_s)):
        speed = all_tokens / duration_s
        yield Row(f"{at_once}, {precision}, by CPU time", cpu_unit, speed, peer, name, speed / peer)

    [batching_s] = median_seconds(lambda: batching.batch(prompts), repeats=repeats)
    peer, name = all_tokens / batching_s, f"HuggingFacePipeline, batch_size={load.callers}"
    yield Row(f"{at_once}, float32", unit, batch, peer, name, batch / peer)
    yield Row(f"{at_once}, int8", unit, batch_int8, peer, name, batch_int8 / peer)


def first_token(folder: str, size: Size) -> Iterator[Row]:
    """Time to the first token of a stream, against that of the engine alone."""
    from taleward.backends.engine.request import GenerationRequest

    tokens = pick(size, full=Load(), quick=Load(), smoke=SMOKE_LOAD).tokens
    ours = local_model(folder, tokens)
    model: Any = ours._loaded
    # The first token of this prompt's answer must be a whole character: a stream holds back incomplete ones.
    prompt = next(p for n in range(100) if ours.invoke(p := PROMPT[n % 20 :] + "yz" * n, max_tokens=1).text.isascii())
    prompt_tokens = model.prompt([{"role": "user", "content": prompt}])

    def engine_alone() -> None:
        with model.engine.open(GenerationRequest(prompt_tokens, model.defaults, 0, tokens)) as sequence:
            next(iter(sequence))

    repeats = pick(size, full=100, quick=30, smoke=1)
    stream_s, engine_s = median_seconds(lambda: next(ours.stream(prompt)), engine_alone, repeats=repeats)
    ratio, goal = engine_s / stream_s, "<= 1.2 times"
    name = "the engine alone"
    yield Row("first token of a stream", "ms", stream_s * 1e3, engine_s * 1e3, name, ratio, goal, ratio >= 1 / 1.2)


def decisions(folder: str, size: Size) -> Iterator[Row]:
    """Three questions about one text."""
    from transformers import pipeline

    decision_pipeline = pipeline("decision", model=folder, device="cpu")
    questions: dict[str, Question] = {
        "scary": YesNo(question="Is it scary?"),
        "kind": MultipleChoice(question="Which kind?", options={"calm": "", "wild": "Very wild"}),
        "age": Scale(question="How old?", levels=("3-5", "6-8", "9-12")),
    }
    request = {
        "scary": {"type": "noul", "instructions": "Is it scary?"},
        "kind": {"type": "choice", "instructions": "Which kind?", "criteria": {"calm": None, "wild": "Very wild"}},
        "age": {"type": "score", "instructions": "How old?", "criteria": ["3-5", "6-8", "9-12"]},
    }
    expected = decision_pipeline({"state": STORY, "questions": request})
    for engine in ("onnx", "transformers"):
        ours = local_model(folder, 1, engine=engine)
        results = ours.decide(STORY, questions)
        difference = max(
            abs(results["scary"].yes - expected["scary"]["noul"]),
            *(abs(results["kind"].probabilities[n] - p) for n, p in expected["kind"]["probabilities"].items()),
            *(abs(results["age"].probabilities[n] - p) for n, p in expected["age"]["probabilities"].items()),
        )
        ours_s, peer_s = median_seconds(
            partial(ours.decide, STORY, questions),
            lambda: decision_pipeline({"state": STORY, "questions": request}),
            repeats=pick(size, full=15, quick=3, smoke=1),
        )
        name, metric = 'pipeline("decision")', f"3 decisions on a text, engine {engine}"
        ratio = peer_s / ours_s
        yield Row(metric, "ms", ours_s * 1e3, peer_s * 1e3, name, ratio, ">= 1.3 times", ratio >= 1.3)
        metric = f"largest difference, engine {engine}"
        yield Row(metric, "", difference, None, name, None, "<= 1e-4", difference <= 1e-4)


def classification(folder: str, size: Size) -> Iterator[Row]:
    """256 zero-shot classifications."""
    from transformers import pipeline

    peer, ours = pipeline("zero-shot-classification", model=folder, device="cpu"), classifier(f"hf:{folder}")
    count = pick(size, full=256, quick=256, smoke=2)
    texts = [f"A fox with number {n} ran by the sea." + " and on" * (n % 6) for n in range(count)]
    ours_s, peer_s = median_seconds(
        lambda: ours.zero_shot(texts, CLASSES),
        lambda: [peer(text, CLASSES) for text in texts],
        repeats=pick(size, full=5, quick=1, smoke=1),
    )
    ratio, name = peer_s / ours_s, "the pipeline, one by one"
    yield Row(f"{count} texts, 3 classes", "s", ours_s, peer_s, name, ratio, ">= 5 times", ratio >= 5)


def perplexity(size: Size) -> Iterator[Row]:
    """What int8 costs the small storyteller, on texts that it wrote in float32."""
    import numpy

    exact, int8 = (storyteller(precision) for precision in ("float32", "int8"))
    count = pick(size, full=128, quick=16, smoke=1)
    texts = [message.text for message in exact.batch(["Once upon a time"] * count, temperature=1)]

    def measured(model: LocalChat) -> float:
        logprobs = numpy.concatenate([scores.logprobs for scores in model.likelihood(texts)])
        return float(numpy.exp(-logprobs.mean()))

    ours, peer = measured(int8), measured(exact)
    yield Row("perplexity of the storyteller, int8", "", ours, peer, "float32", peer / ours)


def storyteller(precision: str) -> LocalChat:
    """Create the small storyteller."""
    model = chat_model("embedded:storyteller-mini", precision=precision, max_tokens=64, seed=0)
    if not isinstance(model, LocalChat):
        raise TypeError(type(model))
    return model


def chain_overhead(size: Size) -> Iterator[Row]:
    """What a chain adds to a fake model: `StoryChain` against a LangChain chain of prompt, model and parser."""
    from langchain_core.language_models.fake_chat_models import FakeListChatModel
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate

    from taleward.chains.story import StoryChain

    model = FakeListChatModel(responses=["The fox ran home."])
    ours = StoryChain(model)
    values = {name: variable.example for name, variable in ours.template.variables.items()}
    user_prompt = " ".join(f"{{{name}}}" for name in values)
    peer = ChatPromptTemplate.from_messages([("system", "Write."), ("user", user_prompt)]) | model | StrOutputParser()
    calls = pick(size, full=500, quick=100, smoke=2)
    batch_size = min(100, calls)

    async def ainvoke_all(chain: Any) -> None:
        for _ in range(calls):
            await chain.ainvoke(values)

    methods: dict[str, Callable[[Any], object]] = {
        "invoke": lambda chain: [chain.invoke(values) for _ in range(calls)],
        "ainvoke": lambda chain: asyncio.run(ainvoke_all(chain)),
        f"batch({batch_size}), per item": lambda chain: [
            chain.batch([values] * batch_size) for _ in range(calls // batch_size)
        ],
        "stream": lambda chain: [list(chain.stream(values)) for _ in range(calls)],
    }
    for method, call in methods.items():
        ours_s, peer_s = median_seconds(
            partial(call, ours), partial(call, peer), repeats=pick(size, full=3, quick=3, smoke=1)
        )
        ours_us, peer_us = ours_s / calls * 1e6, peer_s / calls * 1e6
        metric, name = f"story chain with a fake model, {method}", "LangChain prompt, model, parser"
        yield Row(metric, "us", ours_us, peer_us, name, peer_us / ours_us, "<= 1", ours_us <= peer_us)


def measure(size: Size) -> Iterator[Row]:
    """Yield all rows."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("TALEWARD_CACHE", str(Path(folder, "cache")))
        dimensions = pick(size, full=DIMENSIONS, quick=DIMENSIONS, smoke=TINY_DIMENSIONS)
        llama = save_llama(Path(folder, "llama"), dimensions)
        yield from writing(llama, size)
        yield from first_token(llama, size)
        yield from decisions(llama, size)
        yield from classification(save_nli(Path(folder, "nli")), size)
        yield from perplexity(size)
    yield from chain_overhead(size)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line."""
    return run("backends", measure, arguments)


if __name__ == "__main__":
    sys.exit(main())
