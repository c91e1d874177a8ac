"""`taleward tune writer`: what it prints and leaves, its exit codes, and what it refuses."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("trl")
from transformers import LlamaConfig

from taleward.backends.chat_models import chat_model
from taleward.cli import main
from taleward.cli.app import app
from taleward.tuning.rows import ChatTurn, DpoRow, KtoRow, SftRow, TuningRow, write_tuning_rows
from taleward.tuning.tuned_folder import read_record
from tests.helpers.tiny_models import SMALL, save_causal, tiny_tokenizer

REQUESTS = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }}{{ eos_token }}{% else %}"
    "<|request|>{{ m.content }}<|story|>{% endif %}{% endfor %}"
)
QUICK = ["--batch-size", "2", "--micro-batch-size", "2", "--epochs", "1", "--lora-rank", "4"]


def prompt(words: str) -> tuple[ChatTurn, ...]:
    return (ChatTurn(role="user", content=words),)


SFT: list[TuningRow] = [SftRow(prompt=prompt(f"a fox, {n}"), completion="The fox ran home.") for n in range(4)]
KTO: list[TuningRow] = [
    KtoRow(prompt=prompt(f"a fox, {n}"), completion="The fox ran home.", label=n != 0) for n in range(4)
]
DPO: list[TuningRow] = [DpoRow(prompt=prompt("a fox"), chosen="The fox ran.", rejected="A stone lay.")]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    control = ["<s>", "<|request|>", "<|story|>", "</s>"]
    tokenizer = tiny_tokenizer(control, chat_template=REQUESTS, bos_token="<s>")
    return save_causal(
        tmp_path_factory.mktemp("base"), LlamaConfig(**SMALL | {"hidden_size": 64, "head_dim": 16}), tokenizer
    )


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    rows = {
        "sft": SFT,
        "kto": KTO,
        "dpo": DPO,
        "liked": KTO[1:],
        "long": [SFT[0].model_copy(update={"completion": "la " * 99})],
    }
    paths = {name: tmp_path / f"{name}.jsonl" for name in rows}
    for name, path in paths.items():
        write_tuning_rows(rows[name], path)
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "broken.jsonl").write_text('{"prompt": []}\n')
    return paths | {name: tmp_path / f"{name}.jsonl" for name in ("empty", "broken", "missing")}


def test_a_writer_is_tuned_and_its_spec_printed(
    base: str, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taleward.cli.output.console._stderr.width", 1000)
    out = tmp_path / "my tuned writer"
    arguments = ["--model", base, "--rows", str(files["sft"]), "--held-out", str(files["sft"]), "--out", str(out)]
    done = CliRunner().invoke(app, ["tune", "writer", *arguments, *QUICK, "--learning-rate", "0.01", "--seed", "3"])
    assert done.exit_code == 0, done.output
    assert done.stdout == f"hf:{out}\n"
    note, *commands = done.stderr.splitlines()
    assert note.startswith("4 rows, 2 steps in ")
    assert "held-out loss" in note
    tried, compared = (shlex.split(line.partition(": ")[2]) for line in commands)
    assert tried == ["taleward", "tell", "--model", f"hf:{out}"]
    assert compared[:5] == ["taleward", "promote", "NAME", "--from", str(out)]
    settings = read_record(out).recipe.settings
    assert (settings.method, settings.rate, settings.lora_rank, settings.seed) == ("sft", 0.01, 4, 3)
    for spec in (f"hf:{out}", f"embedded:{out}"):
        assert chat_model(spec, max_tokens=2).invoke("a fox").response_metadata["finish_reason"] in ("length", "stop")


def test_votes_are_recorded_in_mlflow_with_samples(
    base: str, files: dict[str, Path], in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    arguments = ["--model", base, "--rows", str(files["kto"]), "--out", "tuned", "--method", "kto", "--beta", "0.3"]
    arguments += ["--experiment", "tuning", "--sample-prompt", "a fox", "--save-steps", "1", "--folder", "store"]
    done = CliRunner().invoke(app, ["tune", "writer", *arguments, *QUICK])
    assert done.exit_code == 0, done.output
    assert done.stdout == "hf:tuned\n"
    client = MlflowClient(f"sqlite:///{in_tmp / 'store/mlflow.db'}")
    run = client.get_run(read_record(Path("tuned")).run_id)
    assert (run.data.params["method"], run.data.params["beta"]) == ("kto", "0.3")
    assert client.get_experiment(run.info.experiment_id).name == "tuning"
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["samples.json"]


@pytest.mark.parametrize(
    ("rows", "options", "problem"),
    [
        ("missing", [], "cannot read"),
        ("empty", [], "has no rows"),
        ("broken", [], "line 1, is not a row for sft: prompt"),
        ("dpo", [], "line 1, is not a row for sft: completion"),
        ("liked", ["--method", "kto"], "all 3 rows are liked; kto needs both kinds"),
        ("long", ["--max-length", "64"], "row 1 .* has .* tokens; max_length is 64"),
        ("sft", ["--batch-size", "6"], "batch_size must be a multiple of micro_batch_size; got 6 and 4"),
        ("kto", ["--method", "kto", "--micro-batch-size", "1"], "micro_batch_size must be at least 2"),
        ("sft", ["--model", "openai:gpt-5-mini"], "only models in Hugging Face layout can be tuned"),
        ("sft", ["--model", "embedded:storytelling"], "storytelling"),
        ("sft", ["--method", "ppo"], "'ppo' is not one of 'sft', 'dpo', 'kto'"),
        ("sft", ["--sample-prompt", "a fox"], "name an --experiment"),
        ("sft", ["--held-out", "nowhere.jsonl"], "cannot read nowhere.jsonl"),
    ],
)
def test_wrong_use_and_data_exit_with_2_and_leave_nothing(
    base: str,
    files: dict[str, Path],
    rows: str,
    options: list[str],
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--model", base, "--rows", str(files[rows]), "--out", str(tmp_path / "out"), *options]
    assert run(arguments, monkeypatch) == 2
    captured = capsys.readouterr()
    assert not captured.out
    assert_says(captured.err, problem)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_else_is_left_alone(
    base: str,
    files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sorted(tmp_path.iterdir())
    assert run(["--model", base, "--rows", str(files["sft"]), "--out", str(tmp_path)], monkeypatch) == 2
    assert_says(capsys.readouterr().err, "is not empty")
    assert sorted(tmp_path.iterdir()) == before


def test_a_model_that_cannot_be_loaded_exits_with_1(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model").mkdir()
    arguments = ["--model", f"hf:{tmp_path / 'model'}", "--rows", str(files["sft"]), "--out", str(tmp_path / "out")]
    assert run(arguments, monkeypatch) == 1
    assert_says(capsys.readouterr().err, "could not be loaded")
    assert not (tmp_path / "out").exists()


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "argv", ["taleward", "tune", "writer", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


def assert_says(output: str, problem: str) -> None:
    import re

    assert re.search(problem, " ".join(re.sub("[│╭╮╰╯─]", " ", output).split())), output
