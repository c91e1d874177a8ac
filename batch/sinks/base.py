"""What all sinks share: a file that is complete or not there."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taleward.batch.fingerprint import Manifest
from taleward.batch.storage import open_filesystem

if TYPE_CHECKING:
    from pyarrow import Table


class Sink(ABC):
    """Writes results to one file.

    Args:
        manifest: What the batch is.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest

    @abstractmethod
    def write_tables(self, stream: Any, tables: Iterator[Table]) -> None:
        """Write results to a binary stream.

        Args:
            stream: The stream.
            tables: The results, in order.
        """

    def write(self, file: str, tables: Iterator[Table]) -> None:
        """Write results to a file.

        Args:
            file: A path or a URI.
            tables: The results, in order.
        """
        with _open(file) as stream:
            self.write_tables(stream, tables)


@contextmanager
def _open(file: str) -> Iterator[Any]:
    """Open a file that appears under its name when it is complete."""
    if "://" in file:
        filesystem, path = open_filesystem(file)
        with filesystem.open_output_stream(path) as stream:
            yield stream
        return
    target = Path(file).expanduser()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
