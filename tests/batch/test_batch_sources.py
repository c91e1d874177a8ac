"""Sources: the same rows from every format, in chunks that do not depend on how they are read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings, strategies as st

from taleward.batch import FunctionTask, run_batch
from taleward.batch.chunks import decode_chunk, encode_chunk
from taleward.batch.sources import BatchRow, BatchSource, decode_rows, open_source
from taleward.batch.sources.memory import MemorySource
from taleward.core.errors import ConfigurationError, InvalidFile, UnknownName

ROWS = [{"id": f"r{n}", "text": f"the fox, {n}\nran"} for n in range(23)]


def write(folder: Path, kind: str) -> Path:
    file, table = folder / f"rows{kind}", pyarrow.Table.from_pylist(ROWS)
    if kind == ".parquet":
        pyarrow.parquet.write_table(table, file, row_group_size=4)
    elif kind == ".csv":
        pyarrow.csv.write_csv(table, file)
    elif kind == ".tsv":
        pyarrow.csv.write_csv(table, file, pyarrow.csv.WriteOptions(delimiter="\t"))
    elif kind == ".jsonl":
        file.write_text("\n".join(json.dumps(row) for row in ROWS))
    elif kind == ".jsonl.gz":
        file.write_bytes(gzip.compress("".join(json.dumps(row) + "\n\n" for row in ROWS).encode()))
    elif kind == "-in-two":
        file.mkdir()
        for name, part in (("b", ROWS[9:]), ("a", ROWS[:9])):
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(part), file / f"{name}.parquet")
    else:
        for row in ROWS:
            place = file / f"{row['id']}.txt"
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(row["text"].encode())
    return file


def chunks(source: BatchSource, size: int, wanted: list[int]) -> dict[int, list[BatchRow]]:
    # Through the same bytes as to a worker.
    found = source.chunks(size, wanted)
    return {number: decode_rows(decode_chunk(encode_chunk(batch))) for number, batch in found}


@pytest.mark.parametrize("kind", [".parquet", ".csv", ".tsv", ".jsonl", ".jsonl.gz", "-in-two"])
@pytest.mark.parametrize("wanted", [[0, 1, 2, 3, 4], [1], [4], [0, 3]])
def test_every_format_gives_the_same_chunks(tmp_path: Path, kind: str, wanted: list[int]) -> None:
    found = chunks(open_source(write(tmp_path, kind)), 5, wanted)
    expected = {n: [BatchRow(row["id"], {"text": row["text"]}) for row in ROWS[5 * n : 5 * n + 5]] for n in wanted}
    assert {n: [BatchRow(*row) for row in rows] for n, rows in found.items()} == expected


def test_a_folder_of_texts_has_paths_as_ids(tmp_path: Path) -> None:
    source = open_source(write(tmp_path, "-texts"))
    assert sorted(row.id for rows in chunks(source, 10, [0, 1, 2]).values() for row in rows) == sorted(
        f"{row['id']}.txt" for row in ROWS
    )
    (tmp_path / "rows-texts" / "r1.txt").write_bytes(b"\xff")
    assert [type(i.ids[0]) for i in source.ids()].count(ValueError) == 1


@settings(max_examples=30)
@given(rows=st.integers(1, 40), size=st.integers(1, 12), data=st.data())
def test_chunks_are_slices_whatever_is_wanted(rows: int, size: int, data: st.DataObject) -> None:
    source = MemorySource([{"id": str(n)} for n in range(rows)], "id")
    all_chunks = list(range(-(-rows // size)))
    wanted = sorted(data.draw(st.sets(st.sampled_from(all_chunks))))
    found = chunks(source, size, wanted)
    assert {n: [int(row.id) for row in part] for n, part in found.items()} == {
        n: list(range(n * size, min(rows, (n + 1) * size))) for n in wanted
    }


def test_an_empty_cell_is_missing_and_numbers_stay_as_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text('id,text\n007,\n1.50,"say ""hi"""\n')
    [rows] = chunks(open_source(file), 10, [0]).values()
    assert rows == [BatchRow("007", {"text": None}), BatchRow("1.50", {"text": 'say "hi"'})]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"id,text\n1,a child's words,more\n", "is not valid CSV: CSV parse error"),
        ("a.csv", b"key,text\n1,a\n", "has no column 'id'; its columns: key, text"),
        ("a.csv", b"id,id\n1,a\n", "two columns named 'id'"),
        ("a.parquet", b"no parquet", "is not valid Parquet"),
        ("a.xls", b"", "unknown kind of source '.xls'"),
        ("a.txt", b"a text", "is a single text"),
    ],
)
def test_wrong_files_are_errors_that_quote_no_row(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises((InvalidFile, UnknownName), match=message) as caught:
        list(open_source(file).ids())
    assert "child" not in str(caught.value)


def test_files_of_a_folder_must_be_alike(tmp_path: Path) -> None:
    write(tmp_path, ".csv")
    write(tmp_path, ".parquet")
    with pytest.raises(InvalidFile, match=r"files of several kinds: \.csv, \.parquet"):
        open_source(tmp_path)
    with pytest.raises(InvalidFile, match="there is no file"):
        open_source(tmp_path / "nothing.csv")
    with pytest.raises(ConfigurationError, match="nosuch"):
        open_source("nosuch://bucket/rows.parquet")


def test_a_batch_runs_from_and_to_an_object_store() -> None:
    import fsspec

    store = fsspec.filesystem("memory")
    store.pipe("/requests/rows.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS).encode())
    task = FunctionTask(function="tests.helpers.batch_functions:shout")
    places: dict[str, Any] = {"source": "memory://requests/rows.jsonl", "out": "memory://out"}
    result = run_batch(task, **places, engine="inline", chunk=10, merge="memory://all.jsonl")
    assert (result.finished, result.chunks_run) == (23, 3)
    assert run_batch(task, **places, engine="inline").chunks_run == 0
    store.rm("/out/parts/part-00000001.parquet")
    assert run_batch(task, **places, engine="inline").rows_run == 10
    assert len(store.cat("/all.jsonl").splitlines()) == 23
