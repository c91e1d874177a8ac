"""Records that Python would read, and that mean nothing or fill the memory."""

from __future__ import annotations

import contextlib
import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from taleward.core import record_files
from taleward.core.errors import InvalidFile
from taleward.core.record_files import parse_records
from taleward.evaluation.datasets import load_dataset
from taleward.moderation.calibration.labeled_texts import load_labeled


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.jsonl",
            '{"output": "a"}\n{"output": "b", "cost_usd": NaN}',
            "line 2: is not valid JSON: NaN is not a JSON",
        ),
        ("a.jsonl", '{"output": "a", "cost_usd": 1e999}', "1e999 is not a JSON number"),
        ("a.jsonl", '{"output": "a", "cost_usd": -Infinity}', "-Infinity is not a JSON number"),
        ("a.jsonl", '{"output": "a", "output": "b"}', "the key 'output' occurs twice"),
        ("a.jsonl", '{"inputs": {"a": 1, "a": 2}}', "the key 'a' occurs twice"),
        ("a.jsonl", '{"inputs": ' + "[" * 100_000, "nested too deeply"),
        ("a.jsonl", '{"cost_usd": ' + "9" * 5000 + "}", "is not valid JSON"),
        ("a.csv", "output,output\na,b\n", "two columns named 'output'"),
        ("a.csv", "output\na,b\n", "line 2: has 2 values for 1 columns"),
    ],
)
def test_ambiguous_records_are_reported_with_their_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InvalidFile, match=message):
        load_dataset(tmp_path / name)
    with pytest.raises(InvalidFile):
        load_labeled(tmp_path / name)


def test_a_missing_last_cell_is_a_missing_value(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("output,label\na\n")
    assert load_dataset(tmp_path / "a.csv")[0].label is None


def test_files_and_records_have_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_files, "MAX_FILE_BYTES", 1000)
    monkeypatch.setattr(record_files, "MAX_RECORD_CHARS", 100)
    (tmp_path / "bomb.jsonl.gz").write_bytes(gzip.compress(b"a" * 10_000_000))
    with pytest.raises(InvalidFile, match="more than 1,000 bytes, decompressed"):
        load_dataset(tmp_path / "bomb.jsonl.gz")
    for name, content in {"a.jsonl": f'{{"output": "{"a" * 100}"}}', "a.csv": f"output\n{'a' * 101}\n"}.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(InvalidFile, match=r"has 1\d\d characters; at most 100 are read"):
            load_dataset(tmp_path / name)
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b"a" * 100)[:-9])
    with pytest.raises(InvalidFile, match="cannot be read"):
        load_dataset(tmp_path / "cut.jsonl.gz")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
@given(content=st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('{}[]",:\n\r\0 1eNa'), max_size=80))
@settings(max_examples=60)
def test_any_content_gives_records_or_an_invalid_file(suffix: str, content: str) -> None:
    with contextlib.suppress(InvalidFile):
        list(parse_records(Path(f"a{suffix}"), content.encode(), "the file"))
