"""`run_batch`: what is finished stays, what is left goes on, and nothing wrong is begun."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from langchain_core.runnables import RunnableLambda

import taleward as tw
from taleward.batch import BatchResult, FunctionTask, JudgeTask, Ledger, TellTask, run_batch
from taleward.batch.ids import check_ids
from taleward.batch.sources import open_source
from taleward.batch.storage import BatchFolder
from taleward.batch.tasks import RowSeeds
from taleward.core.errors import ConfigurationError, IntegrityError, InvalidFile, UnknownName
from taleward.testing import FakeJudge, FakeWriter

SHOUT = FunctionTask(function="tests.helpers.batch_functions:shout")


def write_rows(file: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def texts(count: int) -> list[dict[str, str]]:
    return [{"id": f"r{n}", "text": f"fox {n}"} for n in range(count)]


def read(result: BatchResult) -> list[dict[str, Any]]:
    return [row for table in result.tables() for row in table.to_pylist()]


def run_here(source: Any, out: Path, task: Any = SHOUT, **options: Any) -> BatchResult:
    return run_batch(task, source, out, engine="inline", **options)


def test_every_row_has_one_result_in_the_order_of_the_source(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.jsonl", texts(25))
    result = run_here(source, tmp_path / "out", chunk=10)
    assert (result.rows, result.finished, result.chunks, result.chunks_run) == (25, 25, 3, 3)
    assert not result.partial
    rows = read(result)
    assert [row["id"] for row in rows] == [f"r{n}" for n in range(25)]
    assert rows[3]["text"] == "FOX 3"
    assert rows[3]["outcome"] == "done"
    assert sorted(file.name for file in (tmp_path / "out" / "parts").iterdir()) == [
        f"part-0000000{n}.parquet" for n in range(3)
    ]


def test_a_rerun_does_only_what_is_missing(tmp_path: Path) -> None:
    source, out = write_rows(tmp_path / "rows.jsonl", texts(25)), tmp_path / "out"
    run_here(source, out, chunk=10)
    assert run_here(source, out).chunks_run == 0
    (out / "parts" / "part-00000001.parquet").unlink()
    (out / "parts" / ".part-00000002.parquet.77.tmp").write_bytes(b"half")
    again = run_here(source, out)
    assert (again.chunks_run, again.rows_run, again.finished) == (1, 10, 25)
    assert [row["id"] for row in read(again)] == [f"r{n}" for n in range(25)]
    assert not list(out.rglob("*.tmp"))


def test_without_saved_counts_those_in_the_chunks_are_read(tmp_path: Path) -> None:
    source, out = write_rows(tmp_path / "rows.jsonl", texts(25)), tmp_path / "out"
    run_here(source, out, chunk=10)
    (out / "summaries.jsonl").unlink()
    assert run_here(source, out).outcomes == {"done": 25}


def test_a_damaged_chunk_is_an_error_that_names_it(tmp_path: Path) -> None:
    source, out = write_rows(tmp_path / "rows.jsonl", texts(25)), tmp_path / "out"
    run_here(source, out, chunk=10)
    (out / "parts" / "part-00000001.parquet").write_bytes(b"half a chunk")
    with pytest.raises(IntegrityError, match=r"part-00000001\.parquet is damaged"):
        run_here(source, out)


def test_another_job_in_the_folder_is_an_error_that_names_what_differs(tmp_path: Path) -> None:
    source, out = write_rows(tmp_path / "rows.jsonl", texts(3)), tmp_path / "out"
    task = JudgeTask(judge=("lexicon",))
    run_here(source, out, task)
    with pytest.raises(ConfigurationError) as caught:
        run_here(source, out, JudgeTask(judge=("lexicon",), band="3-5"), seed=7)
    message = str(caught.value)
    assert '- band: "6-8" there, "3-5" now' in message
    assert '- seed: "None" there, "7" now' in message
    assert "policy" not in message
    with pytest.raises(ConfigurationError, match='task: "judge" there, "function" now'):
        run_here(source, out)
    with pytest.raises(ConfigurationError, match='chunk: "200" there, "10" now'):
        run_here(source, out, task, chunk=10)
    write_rows(source, [*texts(3), {"id": "more", "text": "x"}])
    with pytest.raises(ConfigurationError, match="- data: "):
        run_here(source, out, task)


def test_the_same_policy_name_with_other_content_is_another_job(tmp_path: Path) -> None:
    source, out = write_rows(tmp_path / "rows.jsonl", texts(3)), tmp_path / "out"
    policy = tmp_path / "mine.yaml"
    policy.write_text("name: mine\nversion: '1'\ndescription: Mine.\nextends: kids\n")
    run_here(source, out, JudgeTask(judge=("lexicon",), policy=str(policy)))
    policy.write_text("name: mine\nversion: '1'\ndescription: Not the same.\nextends: kids\n")
    with pytest.raises(ConfigurationError, match="- policy: "):
        run_here(source, out, JudgeTask(judge=("lexicon",), policy=str(policy)))


def test_the_weights_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"one")
    task = TellTask(model=f"hf:{model}", judge=("lexicon",)).resolved()
    before = task.fingerprint()
    (model / "model.safetensors").write_bytes(b"two")
    after = task.fingerprint()
    assert {name for name in before if before[name] != after[name]} == {"model weights"}
    assert JudgeTask().resolved().fingerprint()["judge weights"]


def test_a_file_that_was_only_touched_or_moved_goes_on(tmp_path: Path) -> None:
    source, out = write_rows(tmp_path / "rows.jsonl", texts(3)), tmp_path / "out"
    run_here(source, out)
    os.utime(source, (1, 1))
    assert run_here(source, out).chunks_run == 0
    assert run_here(source.rename(tmp_path / "moved.jsonl"), out).chunks_run == 0


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (['{"id": "a"}', '{"text": "b"}'], "line 2: has no id"),
        (['{"id": "a"}', "", '{"id": ""}'], "line 3: has no id"),
        (['{"id": "a"}', '{"id": "b"}', '{"id": "a"}'], "line 3: the id 'a' is also that of .*line 1"),
        (['{"id": 7}', '{"id": "7"}'], "line 2: the id '7' is also that of"),
        (['{"id": "a"}', "{not json: a child's words}"], "line 2: is not valid JSON$"),
        (['{"id": ["a"]}'], "line 1: id: got a list; expected a text or a whole number"),
        ([], "has no rows"),
    ],
)
def test_wrong_rows_are_refused_before_anything_runs(tmp_path: Path, lines: list[str], problem: str) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(InvalidFile, match=f"(?m){problem}"):
        run_here(source, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_repeated_ids_are_found_among_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taleward.batch.ids._HELD_HASHES", 1000)  # so that hashes go to disk
    rows = texts(12_000)
    assert check_ids(open_source(write_rows(tmp_path / "rows.jsonl", rows))) == 12_000
    rows[11_000]["id"] = "r5"
    with pytest.raises(InvalidFile, match=r"line 11001: the id 'r5' is also that of .*, line 6"):
        check_ids(open_source(write_rows(tmp_path / "rows.jsonl", rows)))


def test_a_row_that_fails_is_a_row_with_an_error_and_can_be_run_again(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    mark.touch()
    rows = [{"id": str(n), "text": str(mark) if n in (3, 14) else "nothing"} for n in range(20)]
    task = FunctionTask(function="tests.helpers.batch_functions:fail_once")
    source, out = write_rows(tmp_path / "rows.jsonl", rows), tmp_path / "out"
    result = run_here(source, out, task, chunk=5)
    assert result.outcomes == {"done": 18, "error": 2}
    assert result.error_types == {"RuntimeError": 2}
    assert read(result)[3]["error"] == "the server has the key [redacted]"
    assert run_here(source, out, task).chunks_run == 0
    mark.unlink()
    again = run_here(source, out, task, retry_errors=True)
    assert again.chunks_run == 2
    assert again.outcomes == {"done": 20}
    assert [row["text"] for row in read(again)] == ["well"] * 20


def test_a_limit_ends_with_a_partial_result_that_goes_on(tmp_path: Path) -> None:
    source, out = write_rows(tmp_path / "rows.jsonl", texts(40)), tmp_path / "out"
    task = FunctionTask(function="tests.helpers.batch_functions:cost_a_cent")
    merged = tmp_path / "all.parquet"
    result = run_here(source, out, task, chunk=10, max_cost_usd=0.15, merge=merged)
    assert result.partial
    assert result.finished == 20
    assert result.cost_usd == pytest.approx(0.2)
    assert result.stopped == "the limit of 0.15 USD is reached (0.2 USD spent)"
    assert not merged.exists()
    result = run_here(source, out, task, max_seconds=1e-9)
    assert result.stopped == "the limit of 1e-09 seconds is reached"
    assert result.chunks_run == 0
    result = run_here(source, out, task, merge=merged)
    assert (result.stopped, result.finished, result.merged) == (None, 40, str(merged))
    assert pyarrow.parquet.read_table(merged).num_rows == 40


def test_a_limit_on_costs_that_are_unknown_is_an_error(tmp_path: Path) -> None:
    source, out = write_rows(tmp_path / "rows.jsonl", texts(40)), tmp_path / "out"
    with pytest.raises(ConfigurationError, match="10 rows of chunk 0 have an unknown cost"):
        run_here(source, out, chunk=10, max_cost_usd=1.0)


def test_seeds_follow_from_the_id_and_not_from_the_position() -> None:
    seeds = RowSeeds(7)
    assert seeds.of("fox") == RowSeeds(7).of("fox")
    assert len({seeds.of(f"r{n}") for n in range(1000)}) == 1000
    assert RowSeeds(8).of("fox") != seeds.of("fox")
    assert RowSeeds(None).of("fox") == RowSeeds(0).of("fox")
    assert 0 <= seeds.of("ü\ud800") < 2**31


def test_a_guard_of_this_process_runs_in_it_and_nowhere_else(tmp_path: Path) -> None:
    guard = tw.Guard(FakeWriter("A fox ran home."), FakeJudge())
    rows = [{"id": "a", "hero": "fox"}, {"id": "b", "hero": "bear"}]
    result = run_here(rows, tmp_path / "out", guard)
    assert result.outcomes == {"released": 2}
    assert tw.Tale.model_validate_json(read(result)[0]["result"]).text == "A fox ran home."
    with pytest.raises(ConfigurationError, match="a Guard of this process cannot be sent to the workers") as caught:
        run_batch(guard, rows, tmp_path / "other")
    assert "TellTask" in str(caught.value.hint)
    assert not (tmp_path / "other").exists()


def test_what_did_not_pass_leaves_no_words(tmp_path: Path) -> None:
    guard = tw.Guard(FakeWriter("A wolf bit the fox."), FakeJudge("fail"), attempts=1, judge_inputs=False)
    result = run_here([{"id": "a", "hero": "fox"}], tmp_path / "out", guard)
    assert result.outcomes == {"refused": 1}
    assert "bit the fox" not in json.dumps(read(result))
    broken = tw.Guard(FakeWriter("A wolf bit the fox."), FakeJudge("error"), attempts=1, judge_inputs=False)
    result = run_here([{"id": "a", "hero": "fox"}], tmp_path / "broken", broken)
    assert result.error_types == {"JudgeError": 1}
    assert read(result)[0]["text"] is None


def test_a_judge_of_this_process_reads_the_text(tmp_path: Path) -> None:
    result = run_here(texts(3), tmp_path / "out", FakeJudge())
    assert result.outcomes == {"pass": 3}
    result = run_here(texts(3), tmp_path / "out2", RunnableLambda(lambda values: values["text"]))
    assert read(result)[0]["text"] == "fox 0"


def test_two_runs_in_one_folder_exclude_each_other(tmp_path: Path) -> None:
    folder = BatchFolder(tmp_path / "out")
    folder.create()
    with folder.lock(), pytest.raises(ConfigurationError, match=rf"another process \({os.getpid()}\) runs a batch"):
        run_here(texts(3), tmp_path / "out")
    assert run_here(texts(3), tmp_path / "out").finished == 3


def test_results_can_be_read_while_the_batch_runs(tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen: list[int] = []

    def look(values: Mapping[str, Any]) -> str:
        seen.append(sum(summary.rows for summary in Ledger.open(out).summaries.values()))
        return "done"

    run_here(texts(4), out, look, chunk=1)
    assert seen == [0, 1, 2, 3]
    with pytest.raises(InvalidFile, match="there is no batch in"):
        Ledger.open(tmp_path)


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_merged_files_have_all_rows_and_errors_go_to_their_own(tmp_path: Path, suffix: str) -> None:
    mark = tmp_path / "mark"
    mark.touch()
    rows = [{"id": str(n), "text": str(mark) if n == 3 else "ü, \n"} for n in range(7)]
    task = FunctionTask(function="tests.helpers.batch_functions:fail_once")
    merged, errors = tmp_path / f"all{suffix}", tmp_path / f"errors{suffix}"
    run_here(rows, tmp_path / "out", task, chunk=2, merge=merged, errors_file=errors)

    def ids(file: Path) -> list[str]:
        if suffix == ".parquet":
            return list(pyarrow.parquet.read_table(file).column("id").to_pylist())
        if suffix == ".csv":
            return [line.split(",")[0] for line in file.read_text().splitlines()[1:]]
        return [json.loads(line)["id"] for line in file.read_text().splitlines()]

    assert ids(merged) == ["0", "1", "2", "4", "5", "6"]
    assert ids(errors) == ["3"]
    run_here(rows, tmp_path / "out", task, merge=merged)
    assert len(ids(merged)) == 7


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"workers": 0}, ConfigurationError, "workers must be at least 1; got 0"),
        ({"chunk": 0}, ConfigurationError, "chunk must be at least 1; got 0"),
        ({"max_seconds": 0.0}, ConfigurationError, "max_seconds must be above 0"),
        ({"merge": "all.xls"}, UnknownName, r"unknown kind of file for results '\.xls'"),
        ({"task": "jugde"}, UnknownName, "Did you mean 'judge'"),
        ({"task": FunctionTask(function="no.such:thing")}, ConfigurationError, "'no.such:thing' cannot be imported"),
        ({"task": 7}, ConfigurationError, "got a int"),
        ({"task": JudgeTask(base_url="https://me:secret@host/v1")}, ConfigurationError, "a user name or a password"),
        ({"task": JudgeTask(band="99")}, UnknownName, "unknown band"),
        ({"engine": "rey"}, UnknownName, "unknown engine 'rey'"),
    ],
)
def test_wrong_options_are_refused_before_anything_runs(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        run_batch(**{"task": SHOUT, "source": texts(2), "out": tmp_path / "out", "engine": "inline", **options})
    assert "secret@" not in str(caught.value)
    assert not list((tmp_path / "out").rglob("*.parquet"))


@pytest.mark.filterwarnings("default")  # MLflow's own code warns
def test_a_batch_is_one_run_in_mlflow(in_tmp: Path) -> None:
    import mlflow

    source = write_rows(in_tmp / "rows.jsonl", texts(4))
    result = run_here(source, in_tmp / "out", chunk=2, experiment="batches")
    again = run_here(source, in_tmp / "out", experiment="batches")
    assert result.not_recorded is None
    assert again.run_id == result.run_id
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{in_tmp / '.taleward' / 'mlflow.db'}")
    run = client.get_run(result.run_id)
    assert run.data.metrics["finished"] == 4
    assert run.data.metrics["outcome/done"] == 4
    assert run.data.params["task"] == "function"
    assert {file.path for file in client.list_artifacts(result.run_id)} == {"batch.png", "chunks.json", "result.json"}
