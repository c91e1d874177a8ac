"""A script that exits while the engine still generates a text that nobody waits for."""

from __future__ import annotations

import subprocess
import sys


def test_the_process_exits_cleanly() -> None:
    code = (
        "from taleward.backends.chat_models import chat_model\n"
        "chat_model('embedded:storyteller-mini').invoke('A fox ran. ' * 30, max_tokens=100, seed=0, stop=[' '])"
    )
    for _ in range(2):
        process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert process.returncode == 0, process.stderr
