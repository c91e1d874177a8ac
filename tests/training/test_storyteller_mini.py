"""Training the storyteller: corpus, requests, model, checkpoints, export, and the figures of its card."""

from __future__ import annotations

import gzip
import json
import random
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import taleward.backends
from training import text_cleaning as corpora, text_measures
from training.storyteller_mini import (
    batches,
    make_requests as openings,
    measure as report,
    model,
    sources,
    train,
    vary_stories as variants,
)
from training.storyteller_mini.llama2c import PeerTokenizer, read_model
from training.storyteller_mini.model import Llama, Shape

SHIPPED = Path(taleward.backends.__file__).parent / "models" / "storyteller-mini"
TINY = train.Recipe(
    steps=6,
    length=200,
    batch=4,
    shape=Shape(vocab=300, hidden=32, inner=48, layers=2, heads=2, kv_heads=1, positions=256),
)


def write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = random.Random(0)
    folder = tmp_path / "data"
    folder.mkdir()
    stories = []
    for number in range(60):
        name, thing = rng.choice(["Tom", "Mia", "Ben"]), rng.choice(["red ball", "shiny key", "blue hat"])
        stories.append({
            "text": f"Once upon a time, there was a little girl named {name}. {name} went to the park. "
            f"There, {name} found a {thing}. She decided to share number {number}. They were happy friends. "
            "They played all day and then they went home to sleep and dream."
        })  # fmt: skip
    write(folder / sources.TINYSTORIES, stories)
    pages = ["The cat sat in the sun and was happy all day long."] * 5
    write(folder / sources.STORYBOOKS, [{"title": "Cat", "license": "CC-BY", "pages": pages}])
    write(folder / sources.FAIRYTALES, [{"title": "Fox", "sections": ["A fox ran home and slept well."] * 9}])
    boat_story = (
        "**The Little Boat**\n\nOnce upon a time, there was a *small* boat. "
        + "It sailed out to sea and came home. " * 5
    )
    rows = [
        {"kind": "child", "title": "The Little Boat", "story": boat_story + "\n\nWould you like me to go on?"},
        {"kind": "bedtime", "title": "The Office", "story": boat_story.replace("Once upon a time", "At nine sharp")},
        {"kind": "campfire", "title": "The Grave", "story": boat_story},
    ]
    write(folder / sources.INSTRUCT, rows)
    return folder


def load_weights(folder: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = load_file(folder / "model.safetensors")
    return weights


def test_an_exported_model_has_the_same_loss_in_transformers(data: Path, tmp_path: Path) -> None:
    state = train.train(data, tmp_path / "out", tmp_path / "work", TINY)
    assert state["step"] == 6
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    ids = tokenizer("The cat sat in the sun.", return_tensors="pt")["input_ids"]
    assert ids[0, 0] == tokenizer.bos_token_id
    training_loss = report.load_model(tmp_path / "out")(ids[:, :-1], ids[:, 1:])
    transformers_loss = model(ids, labels=ids).loss
    assert training_loss.item() == pytest.approx(transformers_loss.item(), abs=1e-4)


def test_an_interrupted_run_continues_to_the_same_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train.train(data, tmp_path / "uninterrupted", tmp_path / "work1", TINY)
    rate_factor = train.rate_factor

    def interrupt(recipe: train.Recipe, progress: float) -> float:
        if progress >= 0.5:
            raise KeyboardInterrupt
        return rate_factor(recipe, progress)

    monkeypatch.setattr(train, "rate_factor", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train.train(data, tmp_path / "continued", tmp_path / "work2", TINY, save_seconds=-1)
    monkeypatch.undo()
    train.train(data, tmp_path / "continued", tmp_path / "work2", TINY)
    uninterrupted, continued = load_weights(tmp_path / "uninterrupted"), load_weights(tmp_path / "continued")
    assert all(torch.equal(uninterrupted[name], continued[name]) for name in uninterrupted)


def test_only_childrens_stories_are_read_without_titles_and_remarks(data: Path) -> None:
    corpus = sources.load(data)
    (story,) = [document for document in corpus.train if document.source in ("child", "bedtime")]
    assert story.title == "The Little Boat"
    assert story.text.startswith("Once upon a time, there was a small boat.")
    assert story.text.endswith("came home.")


def test_the_sliced_loss_and_its_gradients_equal_those_of_cross_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model._TiedLoss, "SLICE_ROWS", 7)
    rows = torch.randint(3, 300, (2, 33), generator=torch.Generator().manual_seed(0))
    rows[0, 20:] = batches.PAD
    inputs, targets = batches.inputs_and_targets(rows)
    sliced, reference = (Llama(TINY.shape, generator=torch.Generator().manual_seed(0)) for _ in range(2))
    loss = sliced(inputs, targets)
    loss.backward()
    hidden: list[torch.Tensor] = []
    reference.model.norm.register_forward_hook(lambda module, inputs, output: hidden.append(output))
    with torch.no_grad():
        assert reference(inputs, targets).item() == pytest.approx(loss.item(), abs=1e-5)
    reference.zero_grad()
    reference(inputs, targets)
    logits = hidden[-1].flatten(0, 1) @ reference.model.embed_tokens.weight.T
    torch.nn.functional.cross_entropy(logits, targets.flatten(), ignore_index=-100).backward()  # type: ignore[no-untyped-call]
    gradients = {name: weight.grad for name, weight in reference.named_parameters()}
    for name, weight in sliced.named_parameters():
        gradient = gradients[name]
        assert weight.grad is not None
        assert gradient is not None
        assert torch.allclose(weight.grad, gradient, atol=1e-5), name


def test_a_checkpoint_of_another_recipe_is_rejected(data: Path, tmp_path: Path) -> None:
    train.train(data, tmp_path / "out", tmp_path / "work", replace(TINY, steps=1))
    with pytest.raises(ValueError, match="another recipe"):
        train.train(data, tmp_path / "out", tmp_path / "work", TINY)


def test_the_learning_rate_ends_at_zero() -> None:
    recipe = train.Recipe(steps=100)
    assert train.rate_factor(recipe, 1.0) == 0
    assert train.rate_factor(recipe, 0.3) == 1
    assert 0 < train.rate_factor(recipe, 0.0) < 1


def test_a_missing_file_is_reported_with_the_files_in_the_folder(data: Path) -> None:
    (data / sources.FAIRYTALES).unlink()
    with pytest.raises(corpora.CorpusError, match=r"fairytaleqa_train.*tinystories"):
        sources.load(data)


@pytest.mark.parametrize(("line", "message"), [("{", "not valid JSON"), ("[1]", "is a list")])
def test_an_invalid_line_is_reported_with_its_number(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n' + line + "\n")
    with pytest.raises(corpora.CorpusError, match=rf"line 2 of 'rows\.jsonl'.*{message}"):
        list(corpora.read_jsonl(path))


def test_an_invalid_gzip_file_is_a_corpus_error(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_text("{}")
    with pytest.raises(corpora.CorpusError, match="Download the file again"):
        list(corpora.read_jsonl(path))


def test_a_missing_field_is_reported_with_the_fields_of_the_row() -> None:
    with pytest.raises(corpora.CorpusError, match=r"no field 'text'.*\['story'\]"):
        corpora.field({"story": 1}, "text", Path("x.jsonl"))


def test_mojibake_and_curly_quotes_become_ascii() -> None:
    mangled = "“Hi,” she said.".encode().decode("cp1252", errors="ignore")
    assert corpora.clean_text(mangled) == '"Hi," she said.'
    assert corpora.clean_text("It’s  here…\n\n Yes") == "It's here...\nYes"


def test_the_held_out_share_is_small_and_stable() -> None:
    held_out = [key for key in map(str, range(5000)) if corpora.is_held_out(key)]
    assert 0.02 < len(held_out) / 5000 < 0.04
    assert held_out == [key for key in map(str, range(5000)) if corpora.is_held_out(key + "!")]


def test_an_opening_and_a_request_are_built_from_phrases_of_the_story() -> None:
    story = (
        "Once upon a time, there was a little dog named Max. One day he went to the big park. He found a red ball. "
        "Max wanted to play with it. They became friends."
    )
    with_opening = openings.with_opening(story, random.Random(0))
    assert with_opening is not None
    assert with_opening.startswith("Once upon a time, in a")
    assert "little dog" in with_opening
    assert "red ball" in with_opening
    assert "to play with it" in with_opening or "to the big park" in with_opening
    assert with_opening.endswith("They became friends.")
    assert openings.with_opening("It rained.", random.Random(0)) is None
    request = openings.request_for_story("", openings.extract(story), random.Random(0))
    assert request is not None
    assert "little dog" in request
    assert openings.request_for_story("", openings.extract("It rained."), random.Random(0)) is None


FOX = (
    "Once upon a time, there was a little fox named Max. Max lived in a forest. One day the fox found an old map. "
    "The map was torn. Max took the map home. The fox slept. Foxes love maps. They were happy."
)


def test_a_thing_is_renamed_throughout_the_story() -> None:
    renamed = variants.rename(FOX, "little fox", "shy owl")
    assert "there was a shy owl named Max" in renamed
    assert "One day the owl found" in renamed
    assert "The owl slept. Owls love maps." in renamed
    assert "found a glowing key. The key was torn. Max took the key home." in variants.rename(
        FOX, "old map", "glowing key"
    )
    assert "there was an owl named" in variants.rename(FOX, "little fox", "owl")


def test_a_varied_story_has_the_parts_that_its_request_names() -> None:
    parts = openings.extract(FOX)
    assert parts is not None
    changes = set()
    for seed in range(200):
        story, new_parts = variants.vary_story(FOX, parts, random.Random(seed))
        assert story.count("Max") >= FOX.count("Max")
        for name in ("character", "item", "power", "action"):
            assert getattr(new_parts, name) in story, (name, seed)
        if new_parts.outcome != parts.outcome:
            assert new_parts.outcome in story
        request = openings.phrase_request(new_parts, random.Random(seed))
        assert new_parts.character in request
        changes.add(
            (
                new_parts.character != parts.character,
                new_parts.item != parts.item,
                bool(new_parts.power),
                bool(new_parts.action),
            )
        )
    assert len(changes) > 8


def test_no_sentence_is_inserted_into_direct_speech() -> None:
    story = (
        'There was a cat. "I am here. You are there. We are." said the cat. It sat. It ran. It slept. It woke. It ate.'
    )
    pieces = variants._split_outside_speech(story)
    assert '"I am here. You are there. We are." said the cat.' in pieces
    assert " ".join(pieces) == story


def test_requests_are_never_targets() -> None:
    row = [batches.BOS, batches.REQUEST, 9, 8, batches.STORY, 7, 6, batches.EOS, batches.BOS, 5, batches.EOS]
    inputs, targets = batches.inputs_and_targets(torch.tensor([[*row, batches.PAD]]))
    assert inputs.tolist() == [row]
    assert targets.tolist() == [[-100, -100, -100, -100, 7, 6, batches.EOS, -100, 5, batches.EOS, -100]]


def test_training_starts_from_a_trained_model(data: Path, tmp_path: Path) -> None:
    train.train(data, tmp_path / "first", tmp_path / "work1", TINY)
    no_learning = replace(TINY, steps=1, rate=0.0)
    train.train(data, tmp_path / "second", tmp_path / "work2", no_learning, start=tmp_path / "first")
    first, second = load_weights(tmp_path / "first"), load_weights(tmp_path / "second")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (tmp_path / "second/tokenizer.json").read_text() == (tmp_path / "first/tokenizer.json").read_text()


def test_repetition_copies_and_missing_texts() -> None:
    assert text_measures.repetition(["a", "b", "c", "d", "a", "b", "c", "d"]) == pytest.approx(1 / 5)
    assert text_measures.repetition(["a"]) == 0
    detector = text_measures.CopyDetector([["the", "cat", "sat", "on", "the", "mat"], [*"abcdefghijk"]])
    assert detector.longest_copy(["x", "the", "cat", "sat", "y"]) == 3
    assert detector.longest_copy([*"xcdefghijxaby"]) == 8
    assert detector.longest_copy(["the", "mat", "a"]) == 2
    model = Llama(TINY.shape, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="no texts"):
        report.bits_per_char(model, lambda text: [0], [])


def test_a_llama2c_model_is_read(tmp_path: Path) -> None:
    shape = TINY.shape
    model = Llama(shape, generator=torch.Generator().manual_seed(1))
    weights = model.state_dict()
    kinds = ["input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
    kinds += ["post_attention_layernorm", "mlp.gate_proj", "mlp.down_proj", "mlp.up_proj"]
    blocks = [weights["model.embed_tokens.weight"]]
    for kind in kinds:
        for layer in range(shape.layers):
            weight = weights[f"model.layers.{layer}.{kind}.weight"]
            if kind.endswith(("q_proj", "k_proj")):
                pairs = weight.view(-1, 2, shape.head_dim // 2, weight.shape[1])
                weight = pairs.transpose(1, 2).reshape(weight.shape)
            blocks.append(weight)
    blocks += [weights["model.norm.weight"], torch.zeros(shape.positions * shape.head_dim)]
    sizes = (shape.hidden, shape.inner, shape.layers, shape.heads, shape.kv_heads, shape.vocab, shape.positions)
    raw = struct.pack("<7i", *sizes) + b"".join(block.contiguous().numpy().tobytes() for block in blocks)
    (tmp_path / "model.bin").write_bytes(raw)
    loaded = read_model(tmp_path / "model.bin").state_dict()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)
    (tmp_path / "model.bin").write_bytes(raw[:-4])
    with pytest.raises(ValueError, match="its header requires"):
        read_model(tmp_path / "model.bin")


def test_the_llama2c_tokenizer_merges_by_score_and_falls_back_to_bytes(tmp_path: Path) -> None:
    words = [b"<unk>", b"<s>", b"</s>", *(f"<0x{i:02X}>".encode() for i in range(256)), b" ", b"a", b"b", b"ab", b" a"]
    scores = [0.0] * 262 + [-1.0, -2.0]
    packed = b"".join(struct.pack("<fi", s, len(w)) + w for s, w in zip(scores, words, strict=True))
    (tmp_path / "tok.bin").write_bytes(struct.pack("<i", 6) + packed)
    encode = PeerTokenizer(tmp_path / "tok.bin").encode
    assert encode("ab a") == [1, 259, 262, 263]
    assert encode("aé") == [1, 263, 3 + 0xC3, 3 + 0xA9]


def test_the_shipped_model_continues_an_opening_and_is_small() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 15e6
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED)
    model = AutoModelForCausalLM.from_pretrained(SHIPPED, dtype=torch.float32)
    prompt = "Once upon a time, there was a little girl named Lily. She loved to play in the"
    inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
    out = model.generate(**inputs, do_sample=False, max_new_tokens=20)
    text = tokenizer.decode(out[0], skip_special_tokens=True)
    assert text.startswith(prompt)
    assert len(text.split()) > len(prompt.split()) + 5
