"""A folder of text files: the id of a text is its path in the folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from taleward.batch.sources.base import BatchSource, IdBatch, SourceFile
from taleward.batch.storage import import_pyarrow

if TYPE_CHECKING:
    from pyarrow import RecordBatch

_FILES_READ = 100
TEXT_COLUMN = "text"


class TextFolderSource(BatchSource):
    """The `.txt` and `.md` files of a folder and its subfolders, as UTF-8."""

    root = ""
    """The path of the folder on its file system."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns."""
        return (self.id_column, TEXT_COLUMN)

    def ids(self) -> Iterator[IdBatch]:
        """Yield the paths in the folder; every file is read, so that a wrong one is found before anything runs."""
        for number, file in enumerate(self.files, 1):
            row_id: str | ValueError = self._id_of(file)
            try:
                self._text(file)
            except UnicodeDecodeError:
                row_id = ValueError(f"{row_id} is not valid UTF-8")
            yield IdBatch("file", number, [row_id])

    def read(self, start: int) -> Iterator[RecordBatch]:
        """Yield the texts from number `start` on."""
        pyarrow = import_pyarrow()
        for begin in range(start, len(self.files), _FILES_READ):
            files = self.files[begin : begin + _FILES_READ]
            arrays = [pyarrow.array(map(self._id_of, files)), pyarrow.array(map(self._text, files))]
            yield pyarrow.RecordBatch.from_arrays(arrays, [self.id_column, TEXT_COLUMN])

    def _id_of(self, file: SourceFile) -> str:
        return file.path.removeprefix(self.root).lstrip("/")

    def _text(self, file: SourceFile) -> str:
        return b"".join(self.blocks(file, compression=None)).decode("utf-8-sig")

    def digest(self) -> str:
        """Return the XXH3-128 of all paths and contents, in hexadecimal."""
        import xxhash

        paths = "\0".join(map(self._id_of, self.files))
        return xxhash.xxh3_128(f"{paths}\0{super().digest()}".encode("utf-8", "surrogatepass")).hexdigest()
