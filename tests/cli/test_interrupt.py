"""Ctrl-C during `taleward eval`, as a shell sees it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

# A writer that takes long in a thread of its own, as a model in native code does.
_EVAL = """
import asyncio, signal, sys, time
from taleward.chains.story import StoryChain
from taleward.cli import main

def write(*args):
    time.sleep(0.2)
    return "A fox ran home."

async def awrite(self, *args, **kwargs):
    return await asyncio.to_thread(write)

StoryChain.ainvoke = awrite
# A shell starts what runs in the background with Ctrl-C ignored, and so these tests.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["taleward", "eval", "data.jsonl", "--judge", "lexicon", "--metric", "words", "--concurrency", "2"]
main()
"""
VALUES = ("setting", "character", "mysterious_object", "magical_properties", "action", "outcome")


def start_eval(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _EVAL],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "COLUMNS": "500"},
    )


def test_ctrl_c_says_what_is_kept_and_the_same_command_goes_on(tmp_path: Path) -> None:
    rows = [{"id": str(n), "inputs": dict.fromkeys(VALUES, "fox")} for n in range(60)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    process = start_eval(tmp_path)
    samples: list[Path] = []
    deadline_s = time.monotonic() + 240
    while time.monotonic() < deadline_s and not (samples and samples[0].read_text().count("\n") >= 2):
        samples = list(tmp_path.glob(".taleward/spool/*/samples.jsonl"))
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    kept = samples[0].read_text().count("\n")
    assert 2 <= kept < 60
    assert f"interrupted: {kept} of 60 samples are finished and kept in .taleward" in output
    assert "to go on, run: taleward eval data.jsonl --judge lexicon --metric words --concurrency 2;" in output
    assert "--no-resume" in output
    resumed = start_eval(tmp_path)
    output, _ = resumed.communicate(timeout=240)
    assert resumed.returncode == 0, output
    assert "60 samples" in output
