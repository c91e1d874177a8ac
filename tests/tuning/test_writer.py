"""Tuning a writer, with a tiny model made from a configuration."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")
from transformers import LlamaConfig

from taleward.backends.chat_models import chat_model
from taleward.core.errors import ConfigurationError, InvalidFile
from taleward.tuning.rows import ChatTurn, DpoRow, KtoRow, SftRow, TuningRow, write_tuning_rows
from taleward.tuning.tuned_folder import read_record
from taleward.tuning.writer import tune_writer
from tests.helpers.tiny_models import SMALL, save_causal, tiny_tokenizer

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QUICK: dict[str, Any] = {"batch_size": 2, "micro_batch_size": 2, "epochs": 1, "learning_rate": 1e-3, "lora_rank": 4}
# A random model has nothing that an adapter could use.
LEARNS: dict[str, Any] = {"epochs": 40, "learning_rate": 1e-2, "lora_rank": 0}
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    tokenizer = tiny_tokenizer(["<|im_start|>", "<|im_end|>"], chat_template=CHATML)
    return save_causal(tmp_path_factory.mktemp("base"), LlamaConfig(**SMALL), tokenizer)


def prompt(words: str) -> tuple[ChatTurn, ...]:
    return (ChatTurn(role="user", content=words),)


SFT: list[TuningRow] = [SftRow(prompt=prompt(f"a fox, {n}"), completion="The fox ran home.") for n in range(8)]


def test_a_tuned_model_writes_what_it_was_shown(base: str, tmp_path: Path) -> None:
    tuned = tune_writer(base, SFT, tmp_path / "out", held_out=SFT[:2], **QUICK | LEARNS)
    assert tuned.record.held_out_loss is not None
    assert tuned.record.held_out_loss < 1.0
    assert (tuned.record.steps, tuned.record.recipe.rows) == (160, 8)
    text = chat_model(tuned.spec, temperature=0, max_tokens=30).invoke("a fox, 3").text
    assert text == "The fox ran home."
    assert read_record(tuned.folder) == tuned.record
    assert not (tuned.folder / "checkpoints").exists()


@pytest.mark.parametrize(
    "rows",
    [
        [DpoRow(prompt=prompt(f"{n}"), chosen="Good.", rejected="Bad.") for n in range(4)],
        [KtoRow(prompt=prompt(f"{n}"), completion="Good.", label=n % 2 == 0) for n in range(4)],
        SFT[:4],
    ],
    ids=["dpo", "kto", "all weights"],
)
def test_every_method_leaves_a_model_that_loads(base: str, rows: list[TuningRow], tmp_path: Path) -> None:
    rank = 0 if rows[0].method == "sft" else 4
    tuned = tune_writer(base, rows, tmp_path / "out", **QUICK | {"method": rows[0].method, "lora_rank": rank})
    assert tuned.record.steps == 2
    assert (tuned.folder / "adapter" / "adapter_model.safetensors").is_file() == (rank > 0)
    assert chat_model(tuned.spec, max_tokens=2).invoke("x").response_metadata["finish_reason"] in ("length", "stop")


def test_a_run_that_was_killed_goes_on_from_its_checkpoint(base: str, tmp_path: Path) -> None:
    out, file = tmp_path / "out", tmp_path / "rows.jsonl"
    write_tuning_rows(SFT, file)
    script = (
        "from taleward.tuning.writer import tune_writer\n"
        f"tune_writer({base!r}, {str(file)!r}, {str(out)!r}, save_steps=5, **{QUICK | {'epochs': 25}!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", script], env=os.environ | {"CUDA_VISIBLE_DEVICES": ""})
    while not list(out.glob("checkpoints/checkpoint-*/trainer_state.json")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "tuning.json").exists()
    with pytest.raises(InvalidFile, match="another recipe: epochs was 25"):
        tune_writer(base, file, out, save_steps=5, **QUICK)
    tuned = tune_writer(base, file, out, save_steps=5, **QUICK | {"epochs": 25})
    assert tuned.record.steps == 100
    with pytest.raises(InvalidFile, match="holds a tuned writer already"):
        tune_writer(base, file, out, **QUICK)


def test_a_run_is_recorded_in_mlflow(base: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tuned = tune_writer(
        base, SFT, tmp_path / "out", experiment="tuning", tracking_uri=uri, save_steps=2, sample_prompts=["a fox"],
        **QUICK,
    )  # fmt: skip
    client = MlflowClient(uri)
    run = client.get_run(tuned.record.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["rows_sha256"] == tuned.record.recipe.rows_sha256
    assert run.data.params["method"] == "sft"
    assert "train_loss" in run.data.metrics
    samples = json.loads(Path(client.download_artifacts(run.info.run_id, "samples.json")).read_text())
    assert [(s["step"], s["prompt"]) for s in samples] == [(2, "a fox"), (4, "a fox")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": []}, "there are no rows"),
        ({"method": "dpo"}, "takes rows of the class DpoRow; got SftRow"),
        ({"method": "ppo"}, "invalid setting method"),
        ({"epochs": 0}, "invalid setting epochs"),
        ({"batch_size": 3, "micro_batch_size": 2}, "multiple of micro_batch_size"),
        ({"speed": 1}, "invalid setting speed"),
        ({"max_length": 20}, "row 1 .* has .* tokens; max_length is 20"),
        ({"model": "openai:gpt-5-mini"}, "only models in Hugging Face layout"),
        ({"device": "cuda:99"}, "no device"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_runs(
    base: str, arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"model": base, "rows": SFT, "out": tmp_path / "out", **QUICK, **arguments}
    with pytest.raises(ConfigurationError, match=message):
        tune_writer(given.pop("model"), given.pop("rows"), given.pop("out"), **given)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_else_is_left_alone(base: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InvalidFile, match="is not empty"):
        tune_writer(base, SFT, tmp_path, **QUICK)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
