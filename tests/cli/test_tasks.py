"""`taleward summarize` and `taleward classify` as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.helpers.tiny_task_models import BAD, FOX


def taleward(*args: str, cwd: Path, text: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "taleward", *args]
    env = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(command, cwd=cwd, input=text, capture_output=True, text=True, check=False, env=env)


def test_a_text_is_summarized(tmp_path: Path) -> None:
    done = taleward("summarize", "-", "--sentences", "2", "--faithfulness", "embedded:minilm", cwd=tmp_path, text=FOX)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("A small fox lived by the sea.")
    assert "extractive by embedded:minilm, task summary@2" in done.stderr


def test_a_text_is_classified(tmp_path: Path) -> None:
    done = taleward("classify", "-", "--task", "sentiment", cwd=tmp_path, text=BAD)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("negative\n")
    (tmp_path / "text.txt").write_text("A table stands by the door.")
    options = ("--labels", "sea, sky", "--threshold", "0.99", "--json")
    unsure = taleward("classify", "text.txt", *options, cwd=tmp_path, text="")
    assert unsure.returncode == 3, unsure.stderr
    assert json.loads(unsure.stdout)["outcome"] == "abstain"


def test_another_encoding_is_an_error_or_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(f"{FOX} Caf\xe9.".encode("latin-1"))
    for command in (("summarize", "text.txt"), ("classify", "text.txt", "--task", "sentiment")):
        done = taleward(*command, cwd=tmp_path, text="")
        assert done.returncode == 2
        assert "text.txt is not UTF-8: byte 0xe9" in done.stderr
        done = taleward(*command, "--encoding", "latin-1", cwd=tmp_path, text="")
        assert done.returncode in (0, 3), done.stderr


def test_wrong_use_is_an_error(tmp_path: Path) -> None:
    done = taleward("classify", "-", cwd=tmp_path, text=FOX)
    assert done.returncode == 2
    assert "either labels or a task" in done.stderr
