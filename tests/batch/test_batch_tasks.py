"""Every task over a few rows, from plain data as in a worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

import taleward as tw
from taleward.batch import ClassifyTask, EmbedTask, EvaluateTask, JudgeTask, SummarizeTask, TellTask, run_batch
from taleward.batch.chunks import Chunk, encode_chunk
from taleward.batch.sources import open_source
from taleward.batch.tasks import TASKS, BatchTask, task_class, task_from
from taleward.batch.worker import Worker, WorkerSpec
from taleward.core.errors import ConfigurationError, UnknownName
from taleward.core.frozen_model import FrozenDict
from taleward.evaluation.sample import as_samples
from taleward.testing import FakeOpenAI

CALM, HARSH = "A calm day by the sea.", "The killer stabbed him, and blood was everywhere."


def run(folder: Path, task: BatchTask, rows: Any, **options: Any) -> list[dict[str, Any]]:
    result = run_batch(task, rows, folder, engine="inline", **options)
    return [row for table in result.tables() for row in table.to_pylist()]


def texts(*values: str) -> list[dict[str, str]]:
    return [{"id": str(n), "text": text} for n, text in enumerate(values)]


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_plain_data_that_builds_the_same_task_elsewhere(name: str) -> None:
    settings: dict[str, dict[str, Any]] = {
        "function": {"function": "json:dumps"},
        "classify": {"labels": ["sea", "wood"]},
    }
    task = task_from(name, settings.get(name, {})).resolved()
    sent = json.loads(json.dumps(task.model_dump(mode="json")))
    rebuilt = task_from(name, sent)
    assert rebuilt == task
    assert rebuilt.fingerprint() == task.fingerprint()
    assert task_class(name).name == name


def test_judge(tmp_path: Path) -> None:
    calm, harsh, blank, missing = run(
        tmp_path, JudgeTask(judge=("lexicon",)), [*texts(CALM, HARSH, " "), {"id": "x", "txet": "a"}]
    )
    assert (calm["outcome"], harsh["outcome"], blank["outcome"]) == ("pass", "fail", "abstain")
    assert harsh["categories"]
    assert tw.Verdict.model_validate_json(harsh["result"]).findings
    assert missing["error"] == "the text in the column 'text' is missing; did you mean 'txet'?"


def test_tell_takes_requests_and_values_and_records_costs(tmp_path: Path, values: dict[str, str]) -> None:
    rows = [{"id": "a", "request": "a story about a fox"}, {"id": "b", **values, "more": 1}, {"id": "c", "request": 7}]
    with FakeOpenAI("A fox ran home and slept.") as server:
        task = TellTask(model="openai:fake", base_url=server.base_url, judge=("lexicon",))
        first, second, wrong = run(tmp_path, task, rows)
    assert first["outcome"] == second["outcome"] == "released"
    assert tw.Tale.model_validate_json(first["result"]).text == first["text"] == "A fox ran home and slept."
    assert first["tokens"] > 0
    assert wrong["error_type"] == "InvalidInputs"


def test_embed(tmp_path: Path) -> None:
    first, missing, third = run(tmp_path, EmbedTask(), [*texts(CALM), {"id": "x"}, {"id": "y", "text": CALM}])
    assert first["vector"] == pytest.approx(tw.embeddings("embedded:minilm").embed_query(CALM), abs=1e-5)
    assert third["vector"] == pytest.approx(first["vector"], abs=1e-5)
    assert (missing["vector"], missing["error_type"]) == (None, "ValueError")


def test_classify(tmp_path: Path) -> None:
    task = ClassifyTask(labels=("sea", "wood"))
    sea, wood, missing = run(tmp_path, task, [*texts("The waves of the ocean.", "Trees of the forest."), {"id": "x"}])
    assert (sea["label"], wood["label"], missing["outcome"]) == ("sea", "wood", "error")
    with pytest.raises(ConfigurationError):
        run(tmp_path / "other", ClassifyTask(), texts(CALM))


def test_summarize_releases_only_what_passes(tmp_path: Path) -> None:
    task = SummarizeTask(sentences=1, judge=("lexicon",))
    calm, harsh = run(tmp_path, task, texts(f"{CALM} The fox ate.", HARSH))
    assert calm["outcome"] == "released"
    assert calm["text"]
    assert harsh["outcome"] == "refused"
    assert "blood" not in json.dumps(harsh)


def test_evaluate_has_the_corpus_values_of_all_rows(tmp_path: Path) -> None:
    rows = [
        {"id": str(n), "output": "a fox ran " * (n + 1), "reference": "a fox ran home", "source": "x"} for n in range(7)
    ]
    result = run_batch(EvaluateTask(metrics=("words", "bleu")), rows, tmp_path, engine="inline", chunk=3)
    samples = [{"id": row["id"], "output": row["output"], "references": [row["reference"]]} for row in rows]
    expected = {
        name: tw.evaluation.metric(name).score(as_samples(samples), resamples=0).value for name in ("words", "bleu")
    }
    assert result.scores == pytest.approx(expected)
    lacking = run_batch(
        EvaluateTask(metrics=("bleu",)), [rows[0], {"id": "x", "output": "a"}], tmp_path / "b", engine="inline"
    )
    assert lacking.error_types == {"ConfigurationError": 1}
    with pytest.raises(ConfigurationError, match="'self_bleu' needs all rows at once"):
        EvaluateTask(metrics=("self_bleu",))
    with pytest.raises(UnknownName, match="Did you mean 'bleu'"):
        EvaluateTask(metrics=("bleuu",))


def test_an_openai_batch_file_gives_answers_in_its_format(tmp_path: Path) -> None:
    def request(number: int, body: dict[str, Any]) -> str:
        return json.dumps({"custom_id": f"q{number}", "method": "POST", "url": "/v1/x", "body": body}) + "\n"

    source, merged, errors = tmp_path / "in.jsonl", tmp_path / "out.jsonl", tmp_path / "errors.jsonl"
    chat = {"model": "any", "messages": [{"role": "user", "content": "a story about a fox"}]}
    parts = {"messages": [{"role": "user", "content": [{"type": "text", "text": "a fox"}]}]}
    long = {"messages": [{"role": "system", "content": "Be brief."}, *chat["messages"]]}
    source.write_text(request(0, chat) + request(1, parts) + request(2, long))
    with FakeOpenAI("A fox ran home and slept.") as server:
        task = TellTask(model="openai:fake", base_url=server.base_url, judge=("lexicon",))
        run_batch(task, source, tmp_path / "tales", engine="inline", merge=merged, errors_file=errors)
    first, second = map(json.loads, merged.read_text().splitlines())
    assert [first["custom_id"], second["custom_id"]] == ["q0", "q1"]
    assert first["response"]["status_code"] == 200
    assert first["response"]["body"]["choices"][0]["message"]["content"] == "A fox ran home and slept."
    [failed] = map(json.loads, errors.read_text().splitlines())
    assert (failed["custom_id"], failed["response"]["status_code"]) == ("q2", 500)
    assert "one user message" in failed["response"]["body"]["error"]["message"]

    source.write_text(request(0, {"input": CALM}) + request(1, {"input": HARSH}))
    judged = tmp_path / "judged.jsonl"
    run_batch(JudgeTask(judge=("lexicon",)), source, tmp_path / "verdicts", engine="inline", merge=judged)
    results = [json.loads(line)["response"]["body"]["results"][0] for line in judged.read_text().splitlines()]
    assert [result["flagged"] for result in results] == [False, True]
    assert any(results[1]["categories"].values())


def test_a_worker_can_be_used_by_any_scheduler(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    spec = WorkerSpec(task="judge", settings=FrozenDict({"judge": ["lexicon"]}), out=str(tmp_path))
    worker = Worker(WorkerSpec.model_validate_json(spec.model_dump_json()))
    for number, batch in open_source(texts(CALM, HARSH, CALM)).chunks(2, [0, 1]):
        summary = worker.chunk(Chunk(number, encode_chunk(batch)))
        assert pyarrow.parquet.read_table(tmp_path / "parts" / f"part-0000000{number}.parquet").num_rows == summary.rows
