"""A script that ends while the engine is still at a text whose caller has left."""

from __future__ import annotations

import subprocess
import sys


def test_the_process_ends_well() -> None:
    code = (
        "from taleward.backends.chat_models import chat_model\n"
        "chat_model('embedded:storyteller').invoke('A fox ran. ' * 30, max_tokens=100, seed=0, stop=[' '])"
    )
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
