"""What an evaluation has done so far, on disk: a killed run goes on from it, and an unreachable store gets it later.

A journal is a folder with `plan.json` (what is evaluated), `samples.jsonl` (a line for each finished sample, written as
soon as it is there) and, once all is measured, `result.json` and the `files` of the run. It is plain data, and it is
removed when MLflow has it all.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from taleward.core.errors import ConfigurationError

T = TypeVar("T")

DEFAULT_SPOOL = Path(".taleward/spool")


class JournalLocked(ConfigurationError):
    """Another process works on this evaluation."""


class Journal:
    """One evaluation on disk.

    Args:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def plan(self) -> dict[str, Any]:
        """What is evaluated, and how."""
        return dict(_read(self.folder / "plan.json"))

    @property
    def result(self) -> dict[str, Any]:
        """What was measured."""
        return dict(_read(self.folder / "result.json"))

    @property
    def files(self) -> Path:
        """The folder with what the run keeps as files."""
        return self.folder / "files"

    @property
    def finished(self) -> bool:
        """Whether everything is measured, so that only MLflow is missing."""
        return (self.folder / "result.json").exists()

    def samples(self, make: Callable[[Mapping[str, Any]], T]) -> dict[str, T]:
        """The finished samples by id. A last line that a kill has torn is not one of them."""
        file = self.folder / "samples.jsonl"
        if not file.exists():
            return {}
        whole = [line for line in file.read_bytes().split(b"\n")[:-1] if line]
        return {row["id"]: make(row) for row in map(json.loads, whole)}

    @contextmanager
    def appending(self) -> Iterator[Callable[[str], None]]:
        """Gives a function that adds a line; what it has returned from survives the death of the process."""
        file = self.folder / "samples.jsonl"
        with file.open("ab") as out:
            if out.tell() and not file.read_bytes().endswith(b"\n"):
                out.truncate(file.read_bytes().rfind(b"\n") + 1)

            def add(line: str) -> None:
                out.write(line.encode("utf-8", "surrogatepass") + b"\n")
                out.flush()

            yield add

    def finish(self, result: Mapping[str, Any]) -> None:
        """Keep what was measured."""
        _write(self.folder / "result.json", result)

    def remove(self) -> None:
        """Remove it, texts and all."""
        # The plan goes first: what has none is no journal, should a kill come between.
        (self.folder / "plan.json").unlink()
        shutil.rmtree(self.folder)


@contextmanager
def locked(journal: Journal) -> Iterator[None]:
    """Only one process at a time works on a journal; the lock goes with the process.

    Raises:
        JournalLocked: Another one does.
    """
    journal.folder.parent.mkdir(parents=True, exist_ok=True)
    with (journal.folder.parent / f"{journal.folder.name}.lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JournalLocked(
                f"the evaluation in {journal.folder} is being run by another process.",
                hint="Wait for it, or give this one another name.",
            ) from error
        yield
        if not journal.folder.exists():
            (journal.folder.parent / f"{journal.folder.name}.lock").unlink(missing_ok=True)


def open_journal(spool: Path, plan: Mapping[str, Any], *, resume: bool) -> Journal:
    """The journal of a plan: the one that is there, or a new one.

    Args:
        spool: The folder of all journals.
        plan: Says what is evaluated; the same plan is the same evaluation.
        resume: Whether to go on with one that is there; else it is removed.
    """
    content = json.dumps(plan, sort_keys=True, ensure_ascii=False)
    journal = Journal(spool / hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16])
    if (journal.folder / "plan.json").exists() and not resume:
        journal.remove()
    if not (journal.folder / "plan.json").exists():
        shutil.rmtree(journal.folder, ignore_errors=True)
        journal.folder.mkdir(parents=True)
        _write(journal.folder / "plan.json", {**plan, "id": os.urandom(16).hex()})
    return journal


def journals(spool: Path = DEFAULT_SPOOL) -> list[Journal]:
    """All journals, finished or not, oldest first."""
    plans = sorted(spool.glob("*/plan.json"), key=lambda file: file.stat().st_mtime)
    return [Journal(file.parent) for file in plans]


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _write(file: Path, value: Mapping[str, Any]) -> None:
    half = file.with_suffix(".half")
    half.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    half.replace(file)
