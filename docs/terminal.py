"""Record the terminal picture of the README, `docs/terminal.svg`: `python docs/terminal.py`.

Runs the commands in a terminal of their own, as a reader would, and draws what they print. Needs the storyteller and
the judge, and no network.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

FILE = Path(__file__).parent / "terminal.svg"
WIDTH = 92
_SPINNER = re.compile(r"[\u2800-\u28ff]")
STORY = (
    "Every evening the small fox carried a lamp to the harbor. The storm howled, but her grandmother held her paw. "
    "On Friday a sailor asked where she lived. He gave her a coin, and told her to meet him alone and to tell nobody."
)
COMMANDS = (
    ["tell", "a story about a small fox who finds a silver key", "--no-record"],
    ["judge", "--explain", "--band", "6-8", "story.txt"],
)


def main() -> None:
    """Run the commands and write the picture."""
    console = Console(record=True, width=WIDTH, file=Path(os.devnull).open("w"))  # noqa: SIM115  open until the end
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "story.txt").write_text(STORY, encoding="utf-8")
        for command in COMMANDS:
            shown = " ".join(f'"{word}"' if " " in word else word for word in command)
            console.print(Text.assemble(("$ ", "bold green"), (f"taleward {shown}", "bold")))
            console.print(Text.from_ansi(run(command, Path(folder))))
    console.save_svg(str(FILE), title="taleward")


def run(command: list[str], folder: Path) -> str:
    """Return what a command prints to a terminal of `WIDTH` columns, in order and with its colors."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-m", "taleward", *command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    output = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux says so when the last writer has closed the terminal
            break
        if not chunk:
            break
        output += chunk
    process.wait()
    os.close(ours)
    lines = output.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    # Spinners are wiped out when they end.
    return "\n".join(line for line in lines if not _SPINNER.search(line))


if __name__ == "__main__":
    main()
