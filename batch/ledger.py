"""The ledger: what a batch has finished. One file a chunk, and the file is the commit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from taleward.batch.chunks import PARTS, ChunkSummary, part_number, read_part, read_summary
from taleward.batch.fingerprint import Manifest, check_same_job
from taleward.batch.ids import check_ids
from taleward.batch.sources.base import BatchSource
from taleward.batch.storage import BatchFolder
from taleward.batch.tasks.base import BatchTask
from taleward.core.errors import ConfigurationError, InvalidFile
from taleward.core.frozen_model import FrozenDict

if TYPE_CHECKING:
    from pyarrow import Table

MANIFEST = "manifest.json"
_SUMMARIES = "summaries.jsonl"
DEFAULT_CHUNK = 200
_SAVE_EVERY_S = 60.0
_SAVE_SHARE = 30.0
_READERS = 16


class Ledger:
    """The finished chunks of a batch.

    Args:
        folder: The folder of the batch.
        manifest: What the batch is.

    Attributes:
        unsaved: Whether there are counts that `save_summaries` has not saved.
    """

    def __init__(self, folder: BatchFolder, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self._summaries: dict[int, ChunkSummary] = {}
        self.unsaved = False
        self._next_save_s = time.monotonic() + _SAVE_EVERY_S

    @classmethod
    def open(cls, location: str | os.PathLike[str]) -> Ledger:
        """Open the ledger of a batch to read it, also while the batch runs.

        Raises:
            InvalidFile: If there is no batch in the folder.
        """
        folder = BatchFolder(location)
        content = folder.read(MANIFEST)
        if content is None:
            raise InvalidFile(
                f"there is no batch in {folder}.", hint="Pass the folder that was given to taleward batch with --out."
            )
        ledger = cls(folder, Manifest.read(content, f"{folder}/{MANIFEST}"))
        ledger.refresh()
        return ledger

    def refresh(self) -> None:
        """List the finished chunks, and read the counts of those that are new."""
        numbered = ((part_number(file.name), file) for file in self.folder.list(PARTS))
        files = {number: file for number, file in numbered if number is not None}
        saved, saved_ns = self._saved_summaries()
        self._summaries, unknown = {}, list[int]()
        for number, file in files.items():
            summary = saved.get(number)
            # A chunk that was written again after its counts were saved has others now.
            if summary is not None and summary.file_bytes == file.size and file.modified_ns < saved_ns:
                self._summaries[number] = summary
            else:
                unknown.append(number)
        self.unsaved = bool(unknown)
        # A killed run has not saved all counts; they are also at the end of each chunk's file.
        with ThreadPoolExecutor(_READERS) as pool:
            for number, read in zip(unknown, pool.map(self._read_summary, unknown), strict=True):
                self._summaries[number] = read.model_copy(update={"file_bytes": files[number].size})

    def _read_summary(self, number: int) -> ChunkSummary:
        return read_summary(self.folder, number)

    @property
    def summaries(self) -> Mapping[int, ChunkSummary]:
        """The counts of the finished chunks, by their numbers."""
        return self._summaries

    def pending(self, *, retry_errors: bool) -> list[int]:
        """Return the chunks to run, ascending.

        Args:
            retry_errors: Whether chunks with rows that have an error are run again.
        """
        return [
            number
            for number in range(self.manifest.chunks)
            if (summary := self._summaries.get(number)) is None or (retry_errors and summary.errors)
        ]

    def add(self, summary: ChunkSummary) -> None:
        """Add a chunk that was committed."""
        self._summaries[summary.number] = summary
        self.unsaved = True
        if time.monotonic() >= self._next_save_s:
            self.save_summaries()

    def save_summaries(self) -> None:
        """Save the counts of all chunks in one file, so that the next run need not open each chunk's own."""
        started_s = time.monotonic()
        lines = [summary.model_dump_json(exclude_defaults=True) for summary in self._summaries.values()]
        self.folder.write(_SUMMARIES, "".join(f"{line}\n" for line in lines).encode())
        self.unsaved = False
        ended_s = time.monotonic()
        self._next_save_s = ended_s + max(_SAVE_EVERY_S, _SAVE_SHARE * (ended_s - started_s))

    def _saved_summaries(self) -> tuple[dict[int, ChunkSummary], int]:
        """Return the saved counts, and the time before which chunks must have been written for them to be right."""
        file = next((file for file in self.folder.list("") if file.name == _SUMMARIES), None)
        if file is None:
            return {}, 0
        lines = (self.folder.read(_SUMMARIES) or b"").splitlines()
        try:
            summaries = [ChunkSummary.model_validate_json(line) for line in lines]
        except ValidationError:  # of another version; the chunks' files have the same counts
            return {}, 0
        # Object stores count in seconds.
        margin_ns = 0 if self.folder.is_local else 1_000_000_000
        return {summary.number: summary for summary in summaries}, file.modified_ns - margin_ns

    def tables(self) -> Iterator[Table]:
        """Yield the results, chunk by chunk in the order of the source."""
        for number in sorted(self._summaries):
            yield read_part(self.folder, number)


def prepare_ledger(
    folder: BatchFolder,
    source: BatchSource,
    task: BatchTask,
    fingerprint: Mapping[str, str],
    chunk: int | None,
    notify: Callable[[str], None] = lambda _: None,
) -> Ledger:
    """Open the ledger of a job, or begin it; only while the folder is locked.

    The rows are read once to check their ids and to hash them. As long as the sizes and times of the files are the
    same, a job that goes on does not read them again.

    Args:
        folder: The folder of the batch.
        source: The rows.
        task: The task, resolved.
        fingerprint: What decides the results, but for the data and the size of a chunk.
        chunk: Rows in a chunk; `None` for what the batch has, or 200.
        notify: Called with what takes long.

    Raises:
        ConfigurationError: If another job is in the folder.
        InvalidFile: If ids are missing or repeated, or the folder has files but no batch.
    """
    content = folder.read(MANIFEST)
    before = None if content is None else Manifest.read(content, f"{folder}/{MANIFEST}")
    if before is None and folder.list(PARTS):
        raise InvalidFile(
            f"{folder} has chunks but no {MANIFEST}, so that nobody knows of which batch.",
            hint="Choose another folder.",
        )
    signature = tuple(map(tuple, source.signature))
    if before is not None and chunk not in (None, before.chunk):
        check_same_job(str(folder), {"chunk": str(before.chunk)}, {"chunk": str(chunk)})
    if before is not None and signature and before.signature == signature:
        check_same_job(str(folder), before.fingerprint, {**fingerprint, "data": before.fingerprint["data"]})
        return _opened(folder, before)
    if before is not None:
        # Before the rows are read: what differs here can be said at once.
        check_same_job(str(folder), {**before.fingerprint, "data": ""}, {**fingerprint, "data": ""})
    notify("checking the ids")
    complete = {**fingerprint, "data": source.digest()}
    if before is not None:
        check_same_job(str(folder), before.fingerprint, complete)
    rows = check_ids(source)
    _check_columns(source, task)
    manifest = Manifest(
        job_id=before.job_id if before else os.urandom(16).hex(),
        fingerprint=FrozenDict(complete),
        task=task.name,
        settings=FrozenDict(_plain_settings(task)),
        source=source.location,
        source_format=source.format,
        signature=signature,
        rows=rows,
        chunk=before.chunk if before else chunk or DEFAULT_CHUNK,
        extra_columns=FrozenDict(task.extra_columns),
        created_at=before.created_at if before else datetime.now(UTC).isoformat(timespec="seconds"),
    )
    folder.write(MANIFEST, manifest.model_dump_json(indent=1).encode())
    return _opened(folder, manifest)


def _opened(folder: BatchFolder, manifest: Manifest) -> Ledger:
    folder.remove_temporary(PARTS)
    ledger = Ledger(folder, manifest)
    ledger.refresh()
    return ledger


def _plain_settings(task: BatchTask) -> dict[str, Any]:
    return {} if task.name == "live" else task.model_dump(mode="json")


def _check_columns(source: BatchSource, task: BatchTask) -> None:
    """Check that the source has the columns that the task needs, if all rows have the same."""
    columns = source.columns
    for name in task.needed_columns() if columns is not None else ():
        if name not in (columns or ()):
            raise ConfigurationError(
                f"the task {task.name!r} reads the column {name!r}, which {source.location} does not have; its "
                f"columns: {', '.join(columns or ())}.",
                hint="Name the column of the text with --column, or column=... in Python.",
            )
