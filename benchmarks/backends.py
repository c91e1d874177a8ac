"""The local backend against langchain-huggingface and transformers, on the same weights, in turns.

The model is a Llama of 15 million parameters with random weights (dim 288, 6 layers, vocabulary 32,000): it says
nothing about quality, and all that is written has the same length. The peer is installed apart, without what it pulls
in: `pip install --no-deps langchain-huggingface==1.2.3`. Set OMP_NUM_THREADS=1 where cores are shared.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.language_models import LanguageModelInput

from benchmarks.table import Row, run
from taleward.backends.chat_models import chat_model
from taleward.backends.local.chat import LocalChat
from taleward.backends.local.questions import MultipleChoice, Question, Scale, YesNo
from taleward.backends.transformers.classifier import classifier

PROMPT = "x" * 33
TOKENS = 128
CALLERS = 32
STORY = "There was a fox who lived by the sea. " * 6
TOKENS_A_SECOND = "tokens/s"
HYPOTHESES = ["calm", "wild", "sad"]


SIZES = {"hidden_size": 288, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 6}


def llama(folder: Path, sizes: Mapping[str, int] = SIZES) -> str:
    """The model, with a byte-level tokenizer that has a token for Yes and one for No; its folder."""
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
    model = LlamaForCausalLM(LlamaConfig(**sizes, **tokens, max_position_embeddings=1024, tie_word_embeddings=True))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def nli(folder: Path) -> str:
    """A tiny NLI model with random weights and MiniLM's tokenizer; its folder."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    from taleward.backends.onnx.minilm import model_folder

    tokenizer = AutoTokenizer.from_pretrained(str(model_folder()))
    labels = {0: "CONTRADICTION", 1: "NEUTRAL", 2: "ENTAILMENT"}
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    names = {"id2label": labels, "label2id": {name: number for number, name in labels.items()}}
    BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), **sizes, **names)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def seconds(*works: Callable[[], object], repeats: int, clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """The median of several runs of each, in turns, after one that does not count."""
    taken: list[list[float]] = [[] for _ in works]
    for turn in range(repeats + 1):
        for work, times in zip(works, taken, strict=True):
            begun = clock()
            work()
            if turn:
                times.append(clock() - begun)
    return [statistics.median(times) for times in taken]


def local(folder: str, **options: Any) -> LocalChat:
    """Our chat model."""
    model = chat_model(f"hf:{folder}", max_tokens=TOKENS, temperature=0, **options)
    if not isinstance(model, LocalChat):
        raise TypeError(type(model))
    return model


async def together(model: LocalChat) -> None:
    """As many callers at once."""
    await asyncio.gather(*(model.ainvoke(PROMPT) for _ in range(CALLERS)))


def writing(folder: str, quick: bool) -> Iterator[Row]:
    """Texts of 128 tokens: one, and 32 at once."""
    import torch
    from langchain_huggingface import ChatHuggingFace, HuggingFacePipeline
    from transformers import AutoModelForCausalLM

    repeats, few = (1, 1) if quick else (5, 8)
    ours, rounded, torch_engine = local(folder), local(folder, precision="int8"), local(folder, engine="transformers")
    made = partial(HuggingFacePipeline.from_model_id, folder, task="text-generation")
    settings = {"max_new_tokens": TOKENS, "do_sample": False, "return_full_text": False}
    pipeline, batching = made(pipeline_kwargs=settings), made(pipeline_kwargs=settings, batch_size=CALLERS)
    chat = ChatHuggingFace(llm=pipeline)
    plain = AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = torch.randint(0, 200, (CALLERS, len(PROMPT) + 1))
    written = {"attention_mask": torch.ones_like(ids), "max_new_tokens": TOKENS, "do_sample": False}
    many: list[LanguageModelInput] = [PROMPT] * CALLERS

    one, one8, theirs, batch, batch8, gathered = seconds(
        lambda: ours.invoke(PROMPT),
        lambda: rounded.invoke(PROMPT),
        lambda: pipeline.invoke(PROMPT),
        lambda: ours.batch(many),
        lambda: rounded.batch(many),
        lambda: asyncio.run(together(ours)),
        repeats=repeats,
    )
    one, one8, theirs = TOKENS / one, TOKENS / one8, TOKENS / theirs
    batch, batch8, gathered = (CALLERS * TOKENS / each for each in (batch, batch8, gathered))
    [chats] = seconds(lambda: chat.batch(many[:few]), repeats=1)
    name, unit, chats = "HuggingFacePipeline.invoke", TOKENS_A_SECOND, few * TOKENS / chats
    share = gathered / batch
    yield Row("one call, float32", unit, one, theirs, name, one / theirs)
    yield Row("one call, int8", unit, one8, theirs, name, one8 / theirs, ">= 6 times", one8 >= 6 * theirs)
    yield Row("32 at once, float32", unit, batch, theirs, name, batch / theirs)
    yield Row("32 at once, int8", unit, batch8, theirs, name, batch8 / theirs, ">= 30 times", batch8 >= 30 * theirs)
    name, met = "ChatHuggingFace.batch", batch8 >= 30 * chats
    yield Row("32 at once, int8", unit, batch8, chats, name, batch8 / chats, ">= 30 times", met)
    worked, worked8, theirs = seconds(
        lambda: ours.batch(many),
        lambda: rounded.batch(many),
        lambda: pipeline.invoke(PROMPT),
        repeats=1 if quick else 3,
        clock=time.process_time,
    )
    worked, worked8, theirs = CALLERS * TOKENS / worked, CALLERS * TOKENS / worked8, TOKENS / theirs
    name, work = "HuggingFacePipeline.invoke", "tokens/CPU second"
    yield Row("32 at once, float32, a core", work, worked, theirs, name, worked / theirs)
    yield Row("32 at once, int8, a core", work, worked8, theirs, name, worked8 / theirs)
    yield Row("32 callers of ainvoke", unit, gathered, batch, "our batch", share, ">= 0.85", share >= 0.85)

    mine, generated, batched = seconds(
        lambda: torch_engine.batch(many),
        lambda: plain.generate(ids, **written),
        lambda: batching.batch(many),
        repeats=repeats,
    )
    mine, generated, batched = (CALLERS * TOKENS / each for each in (mine, generated, batched))
    share = mine / generated
    yield Row("32 at once, engine transformers", unit, mine, generated, "generate", share, ">= 0.95", share >= 0.95)
    name = "HuggingFacePipeline, batch_size=32"
    yield Row("32 at once, float32", unit, batch, batched, name, batch / batched)
    yield Row("32 at once, int8", unit, batch8, batched, name, batch8 / batched)


def first_token(folder: str, quick: bool) -> Iterator[Row]:
    """How long a stream takes to its first token, and how long the engine alone does."""
    from taleward.backends.engine.request import GenerationRequest

    ours = local(folder)
    model: Any = ours._loaded
    # A prompt behind which the first token is a word: half a character is not shown before its other half is there.
    prompt = next(p for n in range(100) if ours.invoke(p := PROMPT[n % 20 :] + "yz" * n, max_tokens=1).text.isascii())
    tokens = model.prompt([{"role": "user", "content": prompt}])

    def bare() -> None:
        with model.engine.open(GenerationRequest(tokens, model.defaults, 0, TOKENS)) as text:
            next(iter(text))

    stream, engine = seconds(lambda: next(ours.stream(prompt)), bare, repeats=30 if quick else 100)
    name = "the engine's own"
    share = engine / stream
    yield Row(
        "first token of a stream", "ms", stream * 1e3, engine * 1e3, name, share, "<= 1.2 times", share >= 1 / 1.2
    )


def decisions(folder: str, quick: bool) -> Iterator[Row]:
    """Three questions about one text."""
    from transformers import pipeline

    theirs = pipeline("decision", model=folder, device="cpu")
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
    expected = theirs({"state": STORY, "questions": request})
    for engine in ("onnx", "transformers"):
        ours = local(folder, engine=engine)
        found = ours.decide(STORY, questions)
        apart = max(
            abs(found["scary"].yes - expected["scary"]["noul"]),
            *(abs(found["kind"].probabilities[n] - p) for n, p in expected["kind"]["probabilities"].items()),
            *(abs(found["age"].probabilities[n] - p) for n, p in expected["age"]["probabilities"].items()),
        )
        mine, other = seconds(
            partial(ours.decide, STORY, questions),
            lambda: theirs({"state": STORY, "questions": request}),
            repeats=3 if quick else 15,
        )
        name, what = 'pipeline("decision")', f"3 decisions on a text, engine {engine}"
        yield Row(what, "ms", mine * 1e3, other * 1e3, name, other / mine, ">= 1.3 times", other >= 1.3 * mine)
        yield Row(f"largest difference, engine {engine}", "", apart, None, name, None, "<= 1e-4", apart <= 1e-4)


def classes(folder: str, quick: bool) -> Iterator[Row]:
    """256 zero-shot classifications."""
    from transformers import pipeline

    theirs, ours = pipeline("zero-shot-classification", model=folder, device="cpu"), classifier(f"hf:{folder}")
    texts = [f"A fox with number {n} ran by the sea." + " and on" * (n % 6) for n in range(256)]
    mine, other = seconds(
        lambda: ours.zero_shot(texts, HYPOTHESES),
        lambda: [theirs(text, HYPOTHESES) for text in texts],
        repeats=1 if quick else 5,
    )
    name = "the pipeline, one by one"
    yield Row("256 texts, 3 classes", "s", mine, other, name, other / mine, ">= 5 times", other >= 5 * mine)


def perplexity(quick: bool) -> Iterator[Row]:
    """What 8 bits cost the embedded storyteller, on texts that it wrote itself in float32."""
    import numpy

    whole, rounded = (local_storyteller(precision) for precision in ("float32", "int8"))
    texts = [message.text for message in whole.batch(["Once upon a time"] * (16 if quick else 128), temperature=1)]

    def measured(model: LocalChat) -> float:
        loaded: Any = model._loaded
        total, count = 0.0, 0
        for text in texts:
            tokens, cache = loaded.prompt([{"content": text}]), None
            for token, following in itertools.pairwise(tokens[:64]):
                logits, cache = loaded.step([token], cache)
                raised = logits.astype(float) - logits.max()
                total += float(numpy.log(numpy.exp(raised).sum()) - raised[following])
                count += 1
        return float(numpy.exp(total / count))

    exact, rough = measured(whole), measured(rounded)
    yield Row("perplexity of the storyteller, int8", "", rough, exact, "float32", exact / rough)


def local_storyteller(precision: str) -> LocalChat:
    """The embedded storyteller."""
    model = chat_model("embedded:storyteller", precision=precision, max_tokens=64, seed=0)
    if not isinstance(model, LocalChat):
        raise TypeError(type(model))
    return model


def orchestration(quick: bool) -> Iterator[Row]:
    """What a chain costs beside its model, which is a fake here: ours against LangChain's `prompt | model | parser`."""
    from langchain_core.language_models.fake_chat_models import FakeListChatModel
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate

    from taleward.chains.story import StoryChain

    model = FakeListChatModel(responses=["The fox ran home."])
    ours = StoryChain(model)
    names = list(ours.template.variables)
    values = {name: variable.example for name, variable in ours.template.variables.items()}
    asked = " ".join(f"{{{name}}}" for name in names)
    theirs = ChatPromptTemplate.from_messages([("system", "Write."), ("user", asked)]) | model | StrOutputParser()
    calls = 100 if quick else 500

    async def awaited(chain: Any) -> None:
        for _ in range(calls):
            await chain.ainvoke(values)

    ways: dict[str, Callable[[Any], object]] = {
        "invoke": lambda chain: [chain.invoke(values) for _ in range(calls)],
        "ainvoke": lambda chain: asyncio.run(awaited(chain)),
        "batch(100), an item": lambda chain: [chain.batch([values] * 100) for _ in range(calls // 100)],
        "stream": lambda chain: [list(chain.stream(values)) for _ in range(calls)],
    }
    for way, work in ways.items():
        mine, other = seconds(partial(work, ours), partial(work, theirs), repeats=3)
        mine, other = mine / calls * 1e6, other / calls * 1e6
        name = "prompt | model | parser"
        yield Row(f"story chain with a fake model, {way}", "us", mine, other, name, other / mine, "<= 1", mine <= other)


def measure(quick: bool) -> Iterator[Row]:
    """All rows."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("TALEWARD_CACHE", str(Path(folder, "cache")))
        model = llama(Path(folder, "llama"))
        yield from writing(model, quick)
        yield from first_token(model, quick)
        yield from decisions(model, quick)
        yield from classes(nli(Path(folder, "nli")), quick)
        yield from perplexity(quick)
    yield from orchestration(quick)


if __name__ == "__main__":
    run("backends", measure)
