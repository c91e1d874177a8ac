"""The journal of an evaluation on disk: resume a killed run, and upload to MLflow once it can be reached.

A journal is a folder with

* `plan.json`: what is evaluated;
* `samples.jsonl`: one line per finished sample, written as soon as the sample is finished;
* `result.json` and `files/`: the result and the files of the run, once everything is measured.

All of it is plain data. The journal is removed when MLflow has stored everything.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
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
"""The default folder of all journals."""


class JournalLocked(ConfigurationError):
    """Another process is running this evaluation."""


class Journal:
    """The journal of one evaluation.

    Args:
        folder: The folder of the journal.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def plan(self) -> dict[str, Any]:
        """What is evaluated, and how."""
        return dict(_read_json(self.folder / "plan.json"))

    @property
    def result(self) -> dict[str, Any]:
        """The result of a finished evaluation."""
        return dict(_read_json(self.folder / "result.json"))

    @property
    def files(self) -> Path:
        """The folder with the files of the run."""
        return self.folder / "files"

    @property
    def finished(self) -> bool:
        """Whether everything is measured, so that only the upload is missing."""
        return (self.folder / "result.json").exists()

    def samples(self, parse: Callable[[Mapping[str, Any]], T]) -> dict[str, T]:
        """Return the finished samples by id.

        Args:
            parse: Converts a JSON object to a sample.
        """
        file = self.folder / "samples.jsonl"
        if not file.exists():
            return {}
        # What follows the last newline is empty, or a line that a killed process did not finish.
        lines = [line for line in file.read_bytes().split(b"\n")[:-1] if line]
        return {row["id"]: parse(row) for row in map(json.loads, lines)}

    @contextmanager
    def open_samples(self) -> Iterator[Callable[[str], None]]:
        """Yield a function that appends a line of JSON to the samples; a line survives a kill once it returns.

        The function raises `OSError` if the disk is full; the lines before stay, and no part of a line is left.
        """
        file = self.folder / "samples.jsonl"
        # Without a buffer: what did not fit on the disk must not be written later, after other lines.
        with file.open("ab", buffering=0) as out:
            if out.tell() and not file.read_bytes().endswith(b"\n"):
                out.truncate(file.read_bytes().rfind(b"\n") + 1)

            def append(line: str) -> None:
                raw, end = line.encode("utf-8", "surrogatepass") + b"\n", out.seek(0, os.SEEK_END)
                try:
                    _write_all(out, raw)
                except OSError as error:
                    out.truncate(end)
                    raise self._write_error(error) from error

            yield append

    def finish(self, result: Mapping[str, Any]) -> None:
        """Save the result and mark the journal as finished.

        Raises:
            OSError: If the disk is full; the samples stay.
        """
        try:
            _write_json(self.folder / "result.json", result)
        except OSError as error:
            raise self._write_error(error) from error

    def _write_error(self, error: OSError) -> OSError:
        return OSError(
            error.errno,
            f"{self.folder} cannot be written ({error.strerror}). The samples finished so far are in it: make room, "
            "and run the same evaluation again to continue",
        )

    def remove(self) -> None:
        """Delete the journal with all texts in it."""
        # The plan goes first: a folder without one is no journal, should the process be killed in between.
        (self.folder / "plan.json").unlink()
        shutil.rmtree(self.folder)


@contextmanager
def journal_lock(journal: Journal) -> Iterator[None]:
    """Lock a journal against other processes; the operating system frees the lock if this process dies.

    Raises:
        JournalLocked: If another process holds the lock.
    """
    journal.folder.parent.mkdir(parents=True, exist_ok=True)
    path = journal.folder.parent / f"{journal.folder.name}.lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JournalLocked(
                f"another process is running the evaluation in {journal.folder}.",
                hint="Wait until it is finished, or give this evaluation another name.",
            ) from error
        yield
        # Others keep their lock file: if it were deleted, a waiting process would lock a file that nobody else sees.
        if not journal.folder.exists():
            path.unlink(missing_ok=True)


def open_journal(spool: Path, plan: Mapping[str, Any], *, resume: bool) -> Journal:
    """Open the journal of a plan, or create it.

    Args:
        spool: The folder of all journals.
        plan: What is evaluated, and how. Equal plans have the same journal.
        resume: Whether to continue an existing journal; otherwise it is deleted first.
    """
    content = json.dumps(plan, sort_keys=True, ensure_ascii=False)
    journal = Journal(spool / hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16])
    if (journal.folder / "plan.json").exists() and not resume:
        journal.remove()
    if not (journal.folder / "plan.json").exists():
        shutil.rmtree(journal.folder, ignore_errors=True)
        journal.folder.mkdir(parents=True)
        # The random id identifies the MLflow run of this journal: an equal plan, run again later, gets its own run.
        _write_json(journal.folder / "plan.json", {**plan, "id": os.urandom(16).hex()})
    return journal


def journals(spool: Path = DEFAULT_SPOOL) -> list[Journal]:
    """List all journals, finished or not, oldest first."""
    plans = sorted(spool.glob("*/plan.json"), key=lambda file: file.stat().st_mtime)
    return [Journal(file.parent) for file in plans]


def _write_all(file: io.FileIO, content: bytes) -> None:
    """Write all of a content: a single write stops where the disk is full, without an error."""
    while content:
        content = content[file.write(content) :]


def _read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _write_json(file: Path, value: Mapping[str, Any]) -> None:
    # Renaming is atomic: a killed process leaves the whole file or none.
    temporary = file.with_suffix(".half")
    try:
        temporary.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    temporary.replace(file)
