"""Labeled files are read in every format, and every invalid row is reported."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from taleward.core.errors import InvalidFile
from taleward.moderation.calibration.labeled_texts import Columns, LabeledText, load_labeled

ROWS = (LabeledText("bad\nday", True, ("violence", "hate")), LabeledText("good day", False))


def test_all_formats_give_the_same_texts(tmp_path: Path) -> None:
    table = 'label,text,kind\n1,"bad\nday",violence;hate\nfalse,good day,\n'
    lines = [
        {"text": "bad\nday", "label": True, "kind": ["violence", "hate"]},
        {"text": "good day", "label": 0},
    ]
    (tmp_path / "a.csv").write_text(table)
    (tmp_path / "a.tsv").write_text(table.replace(",", "\t"))
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    for name in ("a.csv", "a.jsonl"):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    columns = Columns(category="kind")
    for name in ("a.csv", "a.tsv", "a.jsonl", "a.csv.gz", "a.jsonl.gz"):
        assert load_labeled(tmp_path / name, columns).rows == ROWS, name
    compressed, uncompressed = (load_labeled(tmp_path / n, columns).sha256 for n in ("a.csv.gz", "a.csv"))
    assert compressed == uncompressed


def test_custom_labels(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t,is\nx,Toxic\ny,Not Toxic\n")
    data = load_labeled(tmp_path / "a.csv", Columns("t", "is", harmful=("Toxic",)), category="hate")
    assert data.rows == (LabeledText("x", True, ("hate",)), LabeledText("y", False))
    with pytest.raises(
        InvalidFile, match="no row has the harmful label 'toxic'; labels in the file: 'Not Toxic', 'Toxic'"
    ):
        load_labeled(tmp_path / "a.csv", Columns("t", "is", harmful=("toxic",)))
    with pytest.raises(InvalidFile, match="no row has the category column 'kind'; columns in the file: is, t"):
        load_labeled(tmp_path / "a.csv", Columns("t", "is", "kind", ("Toxic",)))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.csv",
            'text,label\n"two\nlines",1\nx,maybe\n',
            "line 4: label: got 'maybe'; expected true or false, 1 or 0",
        ),
        ("a.csv", "words,label\nx,1\n", "line 2: column 'text' is missing; columns of the row: words, label"),
        ("a.jsonl", '{"text": "x", "label": 1}\n\n{"text": " ", "label": 1}', "line 3: text: got ' '; expected a text"),
        ("a.jsonl", '{"text": "x", "label": 2}', "line 1: label: got 2; expected true or false"),
        ("a.jsonl", '{"text": "x"', "line 1: is not valid JSON: .*; expected a JSON object"),
        ("a.jsonl", "[1]", "line 1: is a list; expected a JSON object"),
        (
            "a.jsonl",
            '{"text": "x", "label": 1, "kind": "odd"}',
            "line 1: kind: got 'odd'; expected one of violence, hate",
        ),
        ("a.jsonl", "", "the file has no rows"),
        ("a.jsonl", '{"text": "", "label": 1}\n' * 20, "line 1 and 19 more: text: got ''"),
        ("a.jsonl", "".join(f'{{"text": "x", "label": {n}}}\n' for n in range(2, 20)), "line 8: .*\n  - and 10 more"),
        ("a.txt", "x", r"ends in '.txt'; expected .csv, .tsv, .jsonl"),
        ("a.csv.gz", "no gzip", "cannot be read: Not a gzipped file"),
    ],
)
def test_an_invalid_file_names_the_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidFile, match=message):
        load_labeled(tmp_path / name, Columns(category="kind"), known=("violence", "hate"))


def test_a_text_may_name_the_band_it_was_labeled_for(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label,ages\nx,1, 3-5 \ny,0,\n")
    assert [row.band for row in load_labeled(tmp_path / "a.csv", Columns(band="ages")).rows] == ["3-5", ""]
    assert [row.band for row in load_labeled(tmp_path / "a.csv").rows] == ["", ""]
    with pytest.raises(InvalidFile, match="no row has the band column 'band'"):
        load_labeled(tmp_path / "a.csv", Columns(band="band"))
