"""Sources of rows, one format per file, and `open_source`, which picks one by the file's name."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from taleward.batch.sources.base import BatchRow, BatchSource, SourceFile, decode_rows
from taleward.batch.storage import open_filesystem
from taleward.core.errors import InvalidFile, UnknownName

if TYPE_CHECKING:
    from pyarrow import fs

__all__ = ["SOURCES", "BatchRow", "BatchSource", "decode_rows", "open_source"]

SOURCES: Mapping[str, str] = {
    ".parquet": "parquet.ParquetSource",
    ".jsonl": "jsonl.JsonLinesSource",
    ".ndjson": "jsonl.JsonLinesSource",
    ".csv": "csv.CsvSource",
    ".tsv": "csv.CsvSource",
    ".txt": "text_folder.TextFolderSource",
    ".md": "text_folder.TextFolderSource",
}
"""Suffixes, and the module and class that read such files."""

_OPENAI = "openai_batch.OpenAIBatchSource"
_COMPRESSED = ".gz"
DEFAULT_ID_COLUMN = "id"
_FIRST_BYTES = 65_536


def open_source(
    source: str | os.PathLike[str] | Iterable[Mapping[str, Any]], id_column: str | None = None
) -> BatchSource:
    """Open the rows of a batch.

    Args:
        source: The path or URI of a Parquet, JSON Lines, CSV or TSV file, of an OpenAI batch file, or of a folder of
            files of one kind, which may also be texts; or rows as mappings.
        id_column: The column of the ids; by default `id`, and `custom_id` in OpenAI batch files.

    Raises:
        ConfigurationError: If a URI cannot be opened, or rows are not plain data.
        InvalidFile: If there are no such files, or files of several kinds.
        MissingExtra: If pyarrow is not installed.
    """
    if not isinstance(source, (str, os.PathLike)):
        from taleward.batch.sources.memory import MemorySource

        return MemorySource(list(source), id_column or DEFAULT_ID_COLUMN)
    location = os.fspath(source)
    filesystem, path = open_filesystem(location)
    files, is_folder = _find_files(filesystem, path, location)
    kinds = {SOURCES[_suffix(file.path)] for file in files}
    if len(kinds) > 1:
        suffixes = sorted({_suffix(file.path) for file in files})
        raise InvalidFile(
            f"{location} has files of several kinds: {', '.join(suffixes)}.", hint="Run a batch for each kind."
        )
    [kind] = kinds
    if kind == SOURCES[".txt"] and not is_folder:
        raise InvalidFile(
            f"{location} is a single text; a batch takes rows.",
            hint=f"Pass the folder of the texts, or a file that ends in {', '.join(sorted(SOURCES))}.",
        )
    if kind == SOURCES[".jsonl"] and _is_openai_batch(filesystem, files[0]):
        kind = _OPENAI
        id_column = id_column or "custom_id"
    module, _, class_name = kind.partition(".")
    source_class = getattr(import_module(f"taleward.batch.sources.{module}"), class_name)
    opened: BatchSource = source_class(location, id_column or DEFAULT_ID_COLUMN, filesystem, files)
    if kind == SOURCES[".txt"]:
        opened.root = path  # type: ignore[attr-defined]
    return opened


def _find_files(filesystem: fs.FileSystem, path: str, location: str) -> tuple[list[SourceFile], bool]:
    from pyarrow import fs

    try:
        info = filesystem.get_file_info(path)
        found = [info]
        if info.type == fs.FileType.Directory:
            found = filesystem.get_file_info(fs.FileSelector(path, recursive=True))
    except OSError as error:
        raise InvalidFile(f"{location} cannot be read: {error}") from error
    if info.type == fs.FileType.NotFound:
        raise InvalidFile(f"there is no file {location}.", hint="Pass a file, a folder, or a URI such as s3://...")
    hidden = path.count("/") + 1  # folders above do not count
    files = [
        SourceFile(file.path, file.size, file.mtime_ns or 0)
        for file in sorted(found, key=lambda file: file.path)
        if file.is_file and not any(part.startswith((".", "_")) for part in file.path.split("/")[hidden:])
    ]
    if info.type == fs.FileType.Directory:
        files = [file for file in files if _suffix(file.path) in SOURCES]
        if not files:
            raise InvalidFile(f"the folder {location} has no files that end in {', '.join(sorted(SOURCES))}.")
        return files, True
    if _suffix(location) not in SOURCES:
        raise UnknownName("kind of source", _suffix(location) or location, SOURCES, hint="Rename or convert the file.")
    return files, False


def _suffix(path: str) -> str:
    name = path.rpartition("/")[2].lower().removesuffix(_COMPRESSED)
    return os.path.splitext(name)[1]  # noqa: PTH122  a path in an object store, not of this machine


def _is_openai_batch(filesystem: fs.FileSystem, file: SourceFile) -> bool:
    """Whether the first line has a `custom_id` and a `body`."""
    try:
        with filesystem.open_input_stream(file.path, compression="detect") as stream:
            line = stream.read(_FIRST_BYTES).lstrip().split(b"\n")[0]
    except OSError as error:
        raise InvalidFile(f"{file.path} cannot be read: {error}") from error
    try:
        record = json.loads(line)
    except ValueError:  # also for a line that is longer than what was read
        return line.lstrip().startswith(b"{") and b'"custom_id"' in line and b'"body"' in line
    return isinstance(record, Mapping) and {"custom_id", "body"} <= set(record)
