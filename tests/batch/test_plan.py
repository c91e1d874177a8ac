"""`BatchPlan`: what a scheduler of your own needs, and the check that its machines are alike."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from taleward.batch import BatchPlan, FunctionTask, JudgeTask, check_machine, plan_batch, run_batch, run_chunk
from taleward.batch.storage import BatchFolder
from taleward.batch.worker import WorkerSpec
from taleward.core.errors import ConfigurationError, InvalidFile

SHOUT = FunctionTask(function="tests.helpers.batch_functions:shout")


def write_rows(file: Path, count: int) -> Path:
    file.write_text("".join(json.dumps({"id": f"r{n}", "text": f"fox {n}"}) + "\n" for n in range(count)))
    return file


def test_workers_of_a_plan_do_what_run_batch_does(tmp_path: Path) -> None:
    source, out = write_rows(tmp_path / "rows.jsonl", 25), tmp_path / "out"
    assert plan_batch(SHOUT, source, out, chunk=10, seed=7).pending() == [0, 1, 2]
    plan = BatchPlan.open(out)
    spec = plan.spec.model_dump_json()
    done = [json.loads(run_chunk(spec, *chunk)) for chunk in plan.chunks(plan.pending()[1:])]
    assert [(summary["number"], summary["rows"]) for summary in done] == [(1, 10), (2, 5)]
    assert BatchPlan.open(out).pending() == [0]
    result = run_batch(SHOUT, source, out, engine="inline", seed=7)
    assert (result.chunks_run, result.finished, result.outcomes) == (1, 25, {"done": 25})


def test_a_plan_of_other_rows_is_refused(tmp_path: Path) -> None:
    source, out = write_rows(tmp_path / "rows.jsonl", 5), tmp_path / "out"
    plan_batch(SHOUT, source, out)
    write_rows(source, 6)
    with pytest.raises(InvalidFile, match=r"rows.jsonl is not the file that the batch in .* began with"):
        BatchPlan.open(out)
    plan_batch(SHOUT, [{"id": "a", "text": "fox"}], tmp_path / "memory")
    with pytest.raises(InvalidFile, match="were in the memory of the program"):
        BatchPlan.open(tmp_path / "memory")
    with pytest.raises(ConfigurationError, match="chunk must be at least 1"):
        plan_batch(SHOUT, source, tmp_path / "none", chunk=0)
    with pytest.raises(ConfigurationError, match="cannot be sent to the workers"):
        plan_batch(lambda values: "x", source, tmp_path / "none")  # type: ignore[arg-type]


def test_a_machine_with_another_folder_or_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = write_rows(tmp_path / "rows.jsonl", 5), tmp_path / "out"
    spec = plan_batch(JudgeTask(judge=("lexicon",), band="3-5"), source, out).spec
    check_machine(WorkerSpec.model_validate_json(spec.model_dump_json()))
    with pytest.raises(ConfigurationError, match=r"has no batch in .*, so that its results would be lost"):
        check_machine(spec.model_copy(update={"out": str(tmp_path / "local")}))
    other = plan_batch(SHOUT, source, tmp_path / "other").spec
    with pytest.raises(ConfigurationError, match="has another batch in"):
        check_machine(spec.model_copy(update={"out": other.out}))
    monkeypatch.setattr("taleward.batch.machines.taleward_version", lambda: "9.9")
    with pytest.raises(ConfigurationError, match=r'- taleward: ".*" in the batch, "9\.9" on '):
        check_machine(spec)


def test_a_batch_waits_for_workers_that_hold_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taleward.batch.storage._ORPHANS_S", 0.1)
    source, out = write_rows(tmp_path / "rows.jsonl", 5), tmp_path / "out"
    plan_batch(SHOUT, source, out)
    holds = [BatchFolder(out).hold() for _ in range(2)]
    with pytest.raises(ConfigurationError, match="workers of an earlier run still write to"):
        run_batch(SHOUT, source, out, engine="inline")
    for descriptor in holds:
        assert descriptor is not None
        os.close(descriptor)
    assert run_batch(SHOUT, source, out, engine="inline").finished == 5
