import gzip
import json
import random
import struct
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import taleward.backends
from training import corpora
from training.storyteller import batches, model, openings, report, sources, train, variants
from training.storyteller.llama2c import PeerTokenizer, read_model
from training.storyteller.model import Llama, Shape

SHIPPED = Path(taleward.backends.__file__).parent / "models" / "storyteller"
TINY = train.Recipe(
    steps=6,
    length=200,
    batch=4,
    shape=Shape(vocab=300, hidden=32, inner=48, layers=2, heads=2, kv_heads=1, positions=256),
)


def write(path, rows):
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def data(tmp_path):
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
    told = (
        "**The Little Boat**\n\nOnce upon a time, there was a *small* boat. "
        + "It sailed out to sea and came home. " * 5
    )
    rows = [
        {"kind": "child", "title": "The Little Boat", "story": told + "\n\nWould you like me to go on?"},
        {"kind": "bedtime", "title": "The Office", "story": told.replace("Once upon a time", "At nine sharp")},
        {"kind": "campfire", "title": "The Grave", "story": told},
    ]
    write(folder / sources.INSTRUCT, rows)
    return folder


def weights(folder):
    return load_file(folder / "model.safetensors")


def test_a_run_ends_in_a_folder_that_transformers_loads_with_the_same_numbers(data, tmp_path):
    state = train.train(data, tmp_path / "out", tmp_path / "work", TINY)
    assert state["step"] == 6
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    ids = tokenizer("The cat sat in the sun.", return_tensors="pt")["input_ids"]
    assert ids[0, 0] == tokenizer.bos_token_id
    ours = report.load(tmp_path / "out")(ids[:, :-1], ids[:, 1:])
    theirs = model(ids, labels=ids).loss
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-4)


def test_a_run_that_was_cut_off_goes_on_to_the_same_weights(data, tmp_path, monkeypatch):
    train.train(data, tmp_path / "whole", tmp_path / "work1", TINY)
    real = train.rate_factor

    def cut(recipe, progress):
        if progress >= 0.5:
            raise KeyboardInterrupt
        return real(recipe, progress)

    monkeypatch.setattr(train, "rate_factor", cut)
    with pytest.raises(KeyboardInterrupt):
        train.train(data, tmp_path / "parts", tmp_path / "work2", TINY, save_seconds=-1)
    monkeypatch.undo()
    train.train(data, tmp_path / "parts", tmp_path / "work2", TINY)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_of_written_stories_those_for_children_are_read_without_titles_and_remarks(data):
    corpus = sources.load(data)
    (told,) = [document for document in corpus.train if document.source in ("child", "bedtime")]
    assert told.title == "The Little Boat"
    assert told.text.startswith("Once upon a time, there was a small boat.")
    assert told.text.endswith("came home.")


def test_the_loss_in_slices_is_the_plain_one_and_so_are_its_gradients(monkeypatch):
    monkeypatch.setattr(model._TiedLoss, "ROWS", 7)
    rows = torch.randint(3, 300, (2, 33), generator=torch.Generator().manual_seed(0))
    rows[0, 20:] = batches.PAD
    inputs, targets = batches.split(rows)
    ours, peer = (Llama(TINY.shape, generator=torch.Generator().manual_seed(0)) for _ in range(2))
    loss = ours(inputs, targets)
    loss.backward()
    hidden = []
    peer.model.norm.register_forward_hook(lambda module, given, out: hidden.append(out))
    with torch.no_grad():
        assert peer(inputs, targets).item() == pytest.approx(loss.item(), abs=1e-5)
    peer.zero_grad()
    peer(inputs, targets)
    scores = hidden[-1].flatten(0, 1) @ peer.model.embed_tokens.weight.T
    torch.nn.functional.cross_entropy(scores, targets.flatten(), ignore_index=-100).backward()
    for name, weight in ours.named_parameters():
        assert torch.allclose(weight.grad, dict(peer.named_parameters())[name].grad, atol=1e-5), name


def test_a_checkpoint_of_another_recipe_is_refused(data, tmp_path):
    train.train(data, tmp_path / "out", tmp_path / "work", replace(TINY, steps=1))
    with pytest.raises(ValueError, match="another recipe"):
        train.train(data, tmp_path / "out", tmp_path / "work", TINY)


def test_the_learning_rate_ends_at_zero():
    recipe = train.Recipe(steps=100)
    assert train.rate_factor(recipe, 1.0) == 0
    assert train.rate_factor(recipe, 0.3) == 1
    assert 0 < train.rate_factor(recipe, 0.0) < 1


def test_a_missing_file_names_itself_and_what_is_there(data):
    (data / sources.FAIRYTALES).unlink()
    with pytest.raises(corpora.CorpusError, match=r"fairytaleqa_train.*tinystories"):
        sources.load(data)


@pytest.mark.parametrize(("line", "says"), [("{", "not JSON"), ("[1]", "holds a list")])
def test_a_bad_line_is_named_by_its_number(tmp_path, line, says):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n' + line + "\n")
    with pytest.raises(corpora.CorpusError, match=rf"line 2 of 'rows\.jsonl'.*{says}"):
        list(corpora.read_jsonl(path))


def test_a_file_that_is_no_gzip_is_a_corpus_error(tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    path.write_text("{}")
    with pytest.raises(corpora.CorpusError, match="Fetch the file again"):
        list(corpora.read_jsonl(path))


def test_a_missing_field_names_the_fields_there_are():
    with pytest.raises(corpora.CorpusError, match=r"no field 'text'.*\['story'\]"):
        corpora.field({"story": 1}, "text", Path("x.jsonl"))


def test_mojibake_and_curly_quotes_become_plain():
    mangled = "“Hi,” she said.".encode().decode("cp1252", errors="ignore")
    assert corpora.plain(mangled) == '"Hi," she said.'
    assert corpora.plain("It’s  here…\n\n Yes") == "It's here...\nYes"


def test_held_out_is_a_stable_small_share():
    kept = [key for key in map(str, range(5000)) if corpora.held_out(key)]
    assert 0.02 < len(kept) / 5000 < 0.04
    assert kept == [key for key in map(str, range(5000)) if corpora.held_out(key + "!")]


def test_an_opening_is_built_from_what_the_story_says():
    story = (
        "Once upon a time, there was a little dog named Max. One day he went to the big park. He found a red ball. "
        "Max wanted to play with it. They became friends."
    )
    made = openings.with_opening(story, random.Random(0))
    assert made is not None
    assert made.startswith("Once upon a time, in a")
    assert "little dog" in made
    assert "red ball" in made
    assert "to play with it" in made or "to the big park" in made
    assert made.endswith("They became friends.")
    assert openings.with_opening("It rained.", random.Random(0)) is None
    asked = openings.as_request("", openings.extract(story), random.Random(0))
    assert asked is not None
    assert "little dog" in asked
    assert openings.as_request("", openings.extract("It rained."), random.Random(0)) is None


FOX = (
    "Once upon a time, there was a little fox named Max. Max lived in a forest. One day the fox found an old map. "
    "The map was torn. Max took the map home. The fox slept. Foxes love maps. They were happy."
)


def test_what_is_renamed_has_its_new_name_all_through_the_story():
    told = variants.renamed(FOX, "little fox", "shy owl")
    assert "there was a shy owl named Max" in told
    assert "One day the owl found" in told
    assert "The owl slept. Owls love maps." in told
    assert "found a glowing key. The key was torn. Max took the key home." in variants.renamed(
        FOX, "old map", "glowing key"
    )
    assert "there was an owl named" in variants.renamed(FOX, "little fox", "owl")


def test_a_varied_story_shows_the_parts_that_its_request_names():
    parts = openings.extract(FOX)
    assert parts is not None
    seen = set()
    for seed in range(200):
        story, now = variants.varied(FOX, parts, random.Random(seed))
        assert story.count("Max") >= FOX.count("Max")
        for name in ("character", "item", "power", "action"):
            assert getattr(now, name) in story, (name, seed)
        if now.outcome != parts.outcome:
            assert now.outcome in story
        request = openings.asked_for(now, random.Random(seed))
        assert now.character in request
        seen.add((now.character != parts.character, now.item != parts.item, bool(now.power), bool(now.action)))
    assert len(seen) > 8


def test_no_sentence_is_put_into_a_speech():
    story = (
        'There was a cat. "I am here. You are there. We are." said the cat. It sat. It ran. It slept. It woke. It ate.'
    )
    pieces = variants._sentences(story)
    assert '"I am here. You are there. We are." said the cat.' in pieces
    assert " ".join(pieces) == story


def test_requests_are_given_and_never_wanted():
    row = [batches.BOS, batches.REQUEST, 9, 8, batches.STORY, 7, 6, batches.EOS, batches.BOS, 5, batches.EOS]
    inputs, targets = batches.split(torch.tensor([[*row, batches.PAD]]))
    assert inputs.tolist() == [row]
    assert targets.tolist() == [[-100, -100, -100, -100, 7, 6, batches.EOS, -100, 5, batches.EOS, -100]]


def test_training_goes_on_from_a_finished_model(data, tmp_path):
    train.train(data, tmp_path / "first", tmp_path / "work1", TINY)
    still = replace(TINY, steps=1, rate=0.0)
    train.train(data, tmp_path / "second", tmp_path / "work2", still, start=tmp_path / "first")
    first, second = weights(tmp_path / "first"), weights(tmp_path / "second")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (tmp_path / "second/tokenizer.json").read_text() == (tmp_path / "first/tokenizer.json").read_text()


def test_figures_on_known_texts():
    assert report.repetition(["a", "b", "c", "d", "a", "b", "c", "d"]) == pytest.approx(1 / 5)
    assert report.repetition(["a"]) == 0
    learned = report.Learned([["the", "cat", "sat", "on", "the", "mat"], [*"abcdefghijk"]])
    assert learned.longest_copy(["x", "the", "cat", "sat", "y"]) == 3
    assert learned.longest_copy([*"xcdefghijxaby"]) == 8
    assert learned.longest_copy(["the", "mat", "a"]) == 2
    model = Llama(TINY.shape, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="no texts"):
        report.bits_per_char(model, lambda text: [0], [])


def test_a_model_in_the_layout_of_llama2c_is_read_as_it_was_written(tmp_path):
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
    read = read_model(tmp_path / "model.bin").state_dict()
    assert all(torch.equal(read[name], weights[name]) for name in weights)
    (tmp_path / "model.bin").write_bytes(raw[:-4])
    with pytest.raises(ValueError, match="its header asks for"):
        read_model(tmp_path / "model.bin")


def test_the_tokenizer_of_llama2c_merges_by_score_and_falls_back_on_bytes(tmp_path):
    words = [b"<unk>", b"<s>", b"</s>", *(f"<0x{i:02X}>".encode() for i in range(256)), b" ", b"a", b"b", b"ab", b" a"]
    scores = [0.0] * 262 + [-1.0, -2.0]
    packed = b"".join(struct.pack("<fi", s, len(w)) + w for s, w in zip(scores, words, strict=True))
    (tmp_path / "tok.bin").write_bytes(struct.pack("<i", 6) + packed)
    encode = PeerTokenizer(tmp_path / "tok.bin").encode
    assert encode("ab a") == [1, 259, 262, 263]
    assert encode("aé") == [1, 263, 3 + 0xC3, 3 + 0xA9]


def test_the_shipped_model_continues_an_opening_and_is_small():
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 15e6
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED)
    model = AutoModelForCausalLM.from_pretrained(SHIPPED, dtype=torch.float32)
    prompt = "Once upon a time, there was a little girl named Lily. She loved to play in the"
    inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
    out = model.generate(**inputs, do_sample=False, max_new_tokens=20)
    text = tokenizer.decode(out[0], skip_special_tokens=True)
    assert text.startswith(prompt)
    assert len(text.split()) > len(prompt.split()) + 5
