"""Encoders and encoder-decoders: tiny models with random weights, compared with transformers itself."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taleward.backends.embedding_models import embeddings
from taleward.backends.engine.single_pass_batcher import Batcher
from taleward.backends.transformers.classifier import Classifier, classifier
from taleward.backends.transformers.embeddings import HubEmbeddings
from taleward.backends.transformers.seq2seq import seq2seq_model
from taleward.core.errors import BackendError, ConfigurationError
from taleward.stores.embedding_fingerprint import fingerprint
from tests.helpers.tiny_models import tiny_tokenizer

TEXTS = ["A fox.", "An owl sat in the old tree by the sea and sang.", "It rained.", "x" * 90, "Tom ran. [SEP] He fell."]
BERT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
}


def save_model(folder: Path, kind: str, **settings: Any) -> Path:
    import torch
    import transformers
    from tokenizers.processors import TemplateProcessing

    tokenizer = tiny_tokenizer(["[CLS]", "[SEP]", "[PAD]"])
    tokenizer.pad_token, tokenizer.model_max_length = "[PAD]", 128
    if kind.startswith("Bert"):
        tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    special_tokens = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("[CLS]", "[SEP]")]
    pair = "[CLS] $A [SEP] $B:1 [SEP]:1"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing("[CLS] $A [SEP]", pair, special_tokens)
    pad, end = tokenizer.pad_token_id, special_tokens[1][1]
    if kind.startswith(("T5", "Bart")):
        common = {"vocab_size": len(tokenizer), "pad_token_id": pad, "eos_token_id": end, "decoder_start_token_id": pad}
        config = getattr(transformers, f"{kind[: 2 if kind[0] == 'T' else 4]}Config")(**common, **settings)
    else:
        config = transformers.BertConfig(vocab_size=len(tokenizer), pad_token_id=pad, **BERT, **settings)
    torch.manual_seed(1)
    getattr(transformers, kind)(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def nli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    labels = {0: "CONTRADICTION", 1: "NEUTRAL", 2: "ENTAILMENT"}
    names = {name: number for number, name in labels.items()}
    folder = tmp_path_factory.mktemp("nli")
    return save_model(folder, "BertForSequenceClassification", id2label=labels, label2id=names)


@pytest.mark.parametrize("multi_label", [False, True])
def test_zero_shot_matches_the_pipeline(nli: Path, multi_label: bool) -> None:
    from transformers import pipeline

    pipe = pipeline("zero-shot-classification", model=str(nli), device="cpu")
    classes = ["calm", "wild", "sad"]
    model = classifier(f"hf:{nli}")
    predictions = model.zero_shot(TEXTS[:4], classes, hypothesis="It is {}.", multi_label=multi_label)
    for text, probabilities in zip(TEXTS[:4], predictions, strict=True):
        expected = pipe(text, classes, hypothesis_template="It is {}.", multi_label=multi_label)
        by_label = dict(zip(expected["labels"], expected["scores"], strict=True))
        assert probabilities == pytest.approx(by_label, abs=1e-5)


async def test_a_classifier_is_a_runnable(nli: Path) -> None:
    from transformers import pipeline

    pipe = pipeline("text-classification", model=str(nli), device="cpu", top_k=None)
    model = classifier(f"hf:{nli}")
    expected = [{result["label"]: result["score"] for result in pipe([text])[0]} for text in TEXTS[:4]]
    assert [pytest.approx(e, abs=1e-5) for e in expected] == model.batch(TEXTS[:4])
    assert [pytest.approx(e, abs=1e-5) for e in expected] == await asyncio.gather(*map(model.ainvoke, TEXTS[:4]))
    assert pytest.approx(expected[0], abs=1e-5) == (model | dict).invoke(TEXTS[0])
    assert model.scores([]).shape == (0, 3)
    # "[SEP]" in a text is not the control token, so this text has as many tokens as letters.
    assert len(model._loaded.encode(TEXTS[4:], truncate=False)[0]) == len(TEXTS[4]) + 2


def test_a_classifier_rejects_invalid_input(nli: Path, tmp_path: Path) -> None:
    model = Classifier(spec="hf:x", path=str(nli))
    with pytest.raises(BackendError, match="has 202 tokens; the model reads at most 128"):
        model.invoke("y" * 200)
    assert model.model_copy(update={"truncate": True}).invoke("y" * 200)
    with pytest.raises(ConfigurationError, match=r"unknown option of hf:.* 'truncat'\. Did you mean 'truncate'"):
        classifier(f"hf:{nli}", truncat=True)
    with pytest.raises(ConfigurationError, match="a classifier must be a local model; got 'openai:x'"):
        classifier("openai:x")
    bare = save_model(tmp_path, "BertModel")
    with pytest.raises(ConfigurationError, match=r"has no classification head \(BertModel\)"):
        classifier(f"hf:{bare}").invoke("x")
    sentiment = save_model(tmp_path / "s", "BertForSequenceClassification", num_labels=2)
    with pytest.raises(ConfigurationError, match=r"is not an NLI model: none of its labels \(LABEL_0, LABEL_1\)"):
        classifier(f"hf:{sentiment}").zero_shot(["x"], ["a", "b"])


@pytest.mark.parametrize("pooling", ["mean", "cls"])
async def test_embeddings_match_a_forward_pass(pooling: str, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModel

    folder = save_model(tmp_path, "BertModel")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(f'{{"pooling_mode_cls_token": {str(pooling == "cls").lower()}}}')
    model = embeddings(f"hf:{folder}")
    assert isinstance(model, HubEmbeddings)
    network = AutoModel.from_pretrained(folder).eval()
    expected = []
    for text in TEXTS:
        ids = torch.tensor(model._loaded.encode([text], truncate=True))
        with torch.no_grad():
            states = network(input_ids=ids).last_hidden_state[0].numpy()
        vector = states[0] if pooling == "cls" else states.mean(0)
        expected.append(vector)
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(model.embed_documents(TEXTS), expected / lengths, atol=1e-5)
    np.testing.assert_allclose(await model.aembed_documents(TEXTS), expected / lengths, atol=1e-5)
    np.testing.assert_allclose(
        embeddings(f"hf:{folder}", normalize=False).embed_query(TEXTS[1]), expected[1], atol=1e-5
    )
    assert fingerprint(model) == fingerprint(embeddings(f"hf:{folder}"))
    others = (embeddings(f"hf:{folder}", **o) for o in ({"normalize": False}, {"query_prefix": "query: "}))
    assert fingerprint(model) not in {fingerprint(other) for other in others}
    assert model.embed_array([]).shape == (0, 32)


@pytest.mark.parametrize("mode", ["mean", "cls", "lasttoken", "max"])
def test_embeddings_match_sentence_transformers(mode: str, tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers", reason="needs sentence-transformers to compare with")
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    transformer = Transformer(str(save_model(tmp_path / "bert", "BertModel")))
    saved = library.SentenceTransformer(modules=[transformer, Pooling(32, pooling_mode=mode)], device="cpu")
    saved.save(str(tmp_path / "saved"))
    model = embeddings(f"hf:{tmp_path / 'saved'}", normalize=False)
    if mode == "max":
        with pytest.raises(ConfigurationError, match="use the pooling max; supported are mean, cls, lasttoken"):
            model.embed_query("x")
        return
    expected = library.SentenceTransformer(str(tmp_path / "saved"), device="cpu").encode(TEXTS[:4])
    np.testing.assert_allclose(model.embed_documents(TEXTS[:4]), expected, atol=1e-5)


def test_unsupported_modules_are_named(tmp_path: Path) -> None:
    folder = save_model(tmp_path, "BertModel")
    (folder / "modules.json").write_text('[{"type": "sentence_transformers.models.Dense"}]')
    with pytest.raises(ConfigurationError, match="have unsupported modules: Dense; supported are"):
        embeddings(f"hf:{folder}").embed_query("x")


@pytest.mark.parametrize("kind", ["T5ForConditionalGeneration", "BartForConditionalGeneration"])
async def test_seq2seq_matches_generate(kind: str, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSeq2SeqLM

    if kind.startswith("T5"):
        sizes: dict[str, Any] = {"d_model": 32, "d_ff": 64, "d_kv": 8, "num_layers": 2, "num_heads": 4}
    else:
        halves = {f"{h}_{n}": v for h in ("encoder", "decoder") for n, v in (("layers", 2), ("attention_heads", 4))}
        sizes = {"d_model": 32, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "init_std": 0.3, **halves}
    folder = save_model(tmp_path, kind, **sizes)
    model = seq2seq_model(f"hf:{folder}", num_beams=3, max_tokens=12, prefix="summarize: ")
    network = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()

    def generate_alone(text: str, **options: Any) -> str:
        ids = torch.tensor(model._loaded.encode(["summarize: " + text], truncate=True))
        output = network.generate(ids, **{"num_beams": 3, "max_new_tokens": 12, **options})
        return str(model._loaded.tokenizer.batch_decode(output, skip_special_tokens=True)[0]).strip()

    expected = [generate_alone(text) for text in TEXTS]
    assert model.batch(TEXTS) == expected
    assert await asyncio.gather(*map(model.ainvoke, TEXTS)) == expected
    assert model.invoke(TEXTS[0], num_beams=1, min_tokens=9) == generate_alone(TEXTS[0], num_beams=1, min_new_tokens=9)
    penalty = {"length_penalty": 3.0}
    assert model.invoke(TEXTS[0], generation=penalty) == generate_alone(TEXTS[0], **penalty)
    assert model.get_num_tokens("abc") == len("summarize: abc") + 2
    with pytest.raises(ConfigurationError, match=r"does not accept \['beams'\]; it accepts num_beams"):
        model.invoke("x", beams=2)


def test_texts_of_similar_length_share_a_batch() -> None:
    batches: list[list[int]] = []
    is_first_running, may_continue = threading.Event(), threading.Event()

    def run(lists: list[Sequence[int]], _: Any) -> list[int]:
        if not batches:
            is_first_running.set()
            may_continue.wait(5)
        batches.append([len(tokens) for tokens in lists])
        return [sum(tokens) for tokens in lists]

    batcher = Batcher(run, max_batch=4, max_batch_tokens=100)
    blocker = threading.Thread(target=batcher.run, args=([[1]],))
    blocker.start()
    is_first_running.wait(5)
    results: list[int] = []
    lists = [[1] * n for n in (30, 2, 31, 3, 90, 32, 1)]
    waiting = threading.Thread(target=lambda: results.extend(batcher.run(lists)))
    waiting.start()
    while len(batcher._queue._waiting) < len(lists):
        pass
    may_continue.set()
    waiting.join()
    blocker.join()
    assert results == [sum(tokens) for tokens in lists]
    assert batches[1:] == [[30, 31, 32], [2, 3, 1], [90]]


def test_a_failing_batch_raises_in_its_callers_and_the_thread_ends() -> None:
    def run(lists: list[Sequence[int]], _: Any) -> list[int]:
        if [13] in lists:
            raise RuntimeError("broken")
        return [0] * len(lists)

    batcher = Batcher(run)
    with pytest.raises(BackendError, match="the model failed: broken"):
        batcher.run([[13]])
    assert batcher.run([[1]]) == [0]
    [thread] = [t for t in threading.enumerate() if t._target == batcher._queue.run_batches]  # type: ignore[attr-defined]
    del batcher
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()
