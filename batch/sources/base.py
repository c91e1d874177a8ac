"""What a batch reads: rows with ids, as Arrow batches, in the same order every time."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from taleward.batch.storage import import_pyarrow
from taleward.core.errors import InvalidFile
from taleward.core.yaml_files import did_you_mean

if TYPE_CHECKING:
    from pyarrow import RecordBatch, fs

RowFormat = Literal["columns", "json", "openai"]
"""How rows are in Arrow: each value in a column, or each row as a line of JSON, whose rows need not be alike."""

READ_ROWS = 5_000
"""Rows that are read at once."""

_FORMAT_KEY, _ID_KEY = b"taleward.format", b"taleward.id"
_HASH_BLOCK = 1 << 20


class BatchRow(NamedTuple):
    """A row of a source.

    Attributes:
        id: Identifies the row.
        values: Its other values by name.
    """

    id: str
    values: Mapping[str, Any]


class SourceFile(NamedTuple):
    """A file of a source.

    Attributes:
        path: Its path on the file system.
        size: Its size in bytes.
        modified_ns: When it was written, in nanoseconds since the epoch; 0 if the store does not say.
    """

    path: str
    size: int
    modified_ns: int


class IdBatch(NamedTuple):
    """Ids of consecutive rows.

    Attributes:
        place: Where they are, for messages, such as `line` or `row`.
        first: The number of the first one there, from 1.
        ids: The ids; `None` for a missing one, and a `ValueError` for a row that cannot be read.
    """

    place: str
    first: int
    ids: Sequence[str | ValueError | None]


class BatchSource(ABC):
    """Rows with ids, in files or in memory.

    Args:
        location: The path or URI, for messages.
        id_column: The column of the ids.
        filesystem: The file system of the files; `None` for rows in memory.
        files: The files, in the order in which they are read.
    """

    format: ClassVar[RowFormat] = "columns"

    def __init__(
        self,
        location: str,
        id_column: str,
        filesystem: fs.FileSystem | None = None,
        files: Sequence[SourceFile] = (),
    ) -> None:
        self.location, self.id_column = location, id_column
        self.filesystem, self.files = filesystem, tuple(files)

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The names of all columns; `None` if each row has its own."""
        return None

    @abstractmethod
    def ids(self) -> Iterator[IdBatch]:
        """Yield all ids, in order.

        Raises:
            InvalidFile: If a file cannot be read.
        """

    @abstractmethod
    def read(self, start: int) -> Iterator[RecordBatch]:
        """Yield the rows from number `start` on, counted from 0, in batches of any size."""

    @property
    def signature(self) -> list[list[Any]]:
        """Paths, sizes and times of the files: while they are the same, the content is taken to be the same."""
        return [list(file) for file in self.files]

    def digest(self) -> str:
        """Return the XXH3-128 of the content, in hexadecimal."""
        import xxhash

        total = xxhash.xxh3_128()
        for file in self.files:
            total.update(file.size.to_bytes(8, "little"))
            for block in self.blocks(file, compression=None):
                total.update(block)
        return total.hexdigest()

    def blocks(self, file: SourceFile, compression: str | None = "detect") -> Iterator[bytes]:
        """Yield the bytes of a file in blocks, decompressed if its name says that it is compressed.

        Raises:
            InvalidFile: If it cannot be read.
        """
        if self.filesystem is None:
            return
        try:
            with self.filesystem.open_input_stream(file.path, compression=compression) as stream:
                while block := stream.read(_HASH_BLOCK):
                    yield block
        except OSError as error:
            raise InvalidFile(f"{file.path} cannot be read: {error}") from error

    def chunks(self, size: int, wanted: Sequence[int]) -> Iterator[tuple[int, RecordBatch]]:
        """Yield chunks of rows by their numbers.

        Args:
            size: Rows in a chunk; chunk `n` has the rows from `n * size` on.
            wanted: The numbers of the chunks, ascending.
        """
        pyarrow = import_pyarrow()
        remaining = iter(wanted)
        number = next(remaining, None)
        if number is None:
            return
        position = number * size
        held: list[Any] = []  # the parts of chunk `number` so far
        held_rows = 0
        for read_batch in self.read(position):
            offset = 0
            while number is not None and offset < read_batch.num_rows:
                begin = number * size + held_rows
                if position + read_batch.num_rows <= begin:
                    break
                offset = begin - position
                part = read_batch.slice(offset, size - held_rows)
                held.append(part)
                held_rows += part.num_rows
                offset += part.num_rows
                if held_rows == size:
                    yield number, self._joined(pyarrow, held)
                    held, held_rows, number = [], 0, next(remaining, None)
            position += read_batch.num_rows
            if number is None:
                return
        if held and number is not None:
            yield number, self._joined(pyarrow, held)

    def _joined(self, pyarrow: Any, parts: Sequence[Any]) -> Any:
        table = pyarrow.Table.from_batches(parts).combine_chunks()
        metadata = {_FORMAT_KEY: self.format.encode(), _ID_KEY: self.id_column.encode()}
        [batch] = table.replace_schema_metadata(metadata).to_batches()
        return batch

    def missing_id_column(self, columns: Sequence[str]) -> InvalidFile:
        """Create the error for rows without the column of the ids."""
        return InvalidFile(
            f"{self.location} has no column {self.id_column!r};{did_you_mean(self.id_column, columns)} its columns: "
            f"{', '.join(columns) or '(none)'}.",
            hint="Each row needs an id that no other row has, so that a batch can go on after a stop. Name its column "
            "with --id-column, or id_column=... in Python.",
        )


def decode_rows(batch: RecordBatch) -> list[BatchRow]:
    """Return the rows of a chunk that `BatchSource.chunks` has made."""
    metadata = batch.schema.metadata
    id_column = metadata[_ID_KEY].decode()
    row_format: str = metadata[_FORMAT_KEY].decode()
    if row_format == "columns":
        records = batch.to_pylist()
    else:
        records = [json.loads(line) for line in batch.column(0).to_pylist()]
    rows = []
    for record in records:
        row_id = str(record.pop(id_column))
        rows.append(BatchRow(row_id, _openai_values(record) if row_format == "openai" else record))
    return rows


def _openai_values(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request or the text in a line of an OpenAI batch file; a value of `None` if it has none.

    A chat's only user message is the request. The age band and the template say how to write, so that nothing else in
    the chat can be kept.
    """
    body = record.get("body")
    body = body if isinstance(body, Mapping) else {}
    if "messages" not in body:
        return {"text": body.get("input"), "request": body.get("prompt")}
    messages = body["messages"] if isinstance(body["messages"], list) else []
    roles = [message.get("role") if isinstance(message, Mapping) else None for message in messages]
    content = messages[0].get("content") if roles == ["user"] else None
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
        content = "\n".join(map(str, parts)) if all(isinstance(part, str) for part in parts) else None
    return {"request": content, "text": content}
