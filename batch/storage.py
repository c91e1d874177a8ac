"""The folder of a batch, on a local disk or in an object store: atomic writes, listings, one run at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from taleward.core.errors import ConfigurationError, InvalidFile, MissingExtra

if TYPE_CHECKING:
    from pyarrow import fs

_LOCK = ".lock"
_WORKERS = ".workers"
_TEMPORARY_SUFFIX = ".tmp"
# What a killed driver leaves behind: its workers die within this time, and with them their hold on the lock.
_ORPHANS_S = 10.0


class StoredFile(NamedTuple):
    """A file in a listing.

    Attributes:
        name: Its name in the folder.
        size: Its size in bytes.
        modified_ns: When it was written, in nanoseconds since the epoch; 0 if the store does not say.
    """

    name: str
    size: int
    modified_ns: int


def import_pyarrow() -> Any:
    """Import pyarrow.

    Raises:
        MissingExtra: If it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.fs
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("a batch", "batch") from error
    return pyarrow


def open_filesystem(location: str) -> tuple[fs.FileSystem, str]:
    """Return the file system of a path or URI, and the path on it.

    Args:
        location: A local path, or a URI such as `s3://bucket/folder` or `gs://...`; fsspec opens those that pyarrow
            does not know.

    Raises:
        ConfigurationError: If the URI cannot be opened.
        MissingExtra: If pyarrow or fsspec is not installed.
    """
    pyarrow = import_pyarrow()
    if "://" not in location:
        return pyarrow.fs.LocalFileSystem(), str(Path(location).expanduser().absolute())
    try:
        filesystem, path = pyarrow.fs.FileSystem.from_uri(location)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, NotImplementedError):
        return _open_with_fsspec(pyarrow, location)
    except OSError as error:
        raise ConfigurationError(f"{location} cannot be opened: {error}") from error
    return filesystem, path


def _open_with_fsspec(pyarrow: Any, location: str) -> tuple[fs.FileSystem, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtra(f"opening {location}", "batch") from error
    try:
        filesystem, path = url_to_fs(location)
    except (ImportError, ValueError) as error:  # the package of the store is missing, or nobody knows the scheme
        raise ConfigurationError(f"{location} cannot be opened: {error}") from error
    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(filesystem)), str(path)


class BatchFolder:
    """The folder of a batch.

    Args:
        location: A local path or a URI, see `open_filesystem`.
    """

    def __init__(self, location: str | os.PathLike[str]) -> None:
        self.location = os.fspath(location)
        self._filesystem, self._path = open_filesystem(self.location)
        self.is_local = type(self._filesystem).__name__ == "LocalFileSystem"

    def __str__(self) -> str:
        return self.location

    @property
    def uri(self) -> str:
        """The folder for other processes: a path that does not depend on the working directory, or the URI."""
        return self._path if self.is_local else self.location

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; `None` if there is no such file."""
        try:
            with self._filesystem.open_input_file(self._full(name)) as file:
                content: bytes = file.read()
        except FileNotFoundError:
            return None
        return content

    def open(self, name: str) -> Any:
        """Open a file for random access, as pyarrow's `NativeFile`."""
        return self._filesystem.open_input_file(self._full(name))

    def write(self, name: str, content: Any) -> None:
        """Write a file so that others see all of it or nothing, whenever this process is killed.

        On a disk, a temporary file is synced and renamed; an object store's put is atomic by itself.

        Args:
            name: The file's name in the folder.
            content: Bytes, or a pyarrow buffer.
        """
        if not self.is_local:
            with self._filesystem.open_output_stream(self._full(name)) as file:
                file.write(content)
            return
        path = Path(self._full(name))
        # Not the process's id, which another machine can have, too.
        temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}{_TEMPORARY_SUFFIX}")
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def list(self, subfolder: str) -> list[StoredFile]:
        """List the finished files of a subfolder, in the order of their names; none if there is no such folder."""
        if self.is_local:
            # Half of the time that pyarrow takes, which counts with a million chunks.
            try:
                with os.scandir(self._full(subfolder)) as entries:
                    stats = [(e.name, e.stat()) for e in entries if not e.name.startswith(".") and e.is_file()]
            except FileNotFoundError:
                return []
            return sorted(StoredFile(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
        from pyarrow import fs

        selector = fs.FileSelector(self._full(subfolder), allow_not_found=True)
        infos = self._filesystem.get_file_info(selector)
        files = [info for info in infos if info.is_file and not info.base_name.startswith(".")]
        return sorted(StoredFile(info.base_name, info.size, info.mtime_ns or 0) for info in files)

    def create(self, *subfolders: str) -> None:
        """Create the folder and its subfolders.

        Raises:
            InvalidFile: If there is a file in its place, or it cannot be created.
        """
        try:
            for name in ("", *subfolders):
                self._filesystem.create_dir(self._full(name), recursive=True)
        except OSError as error:
            raise InvalidFile(f"the folder {self.location} cannot be created: {error}") from error

    def remove_temporary(self, subfolder: str) -> None:
        """Delete what killed processes left half-written; only while nobody else writes."""
        if self.is_local:
            for folder in (Path(self._path), Path(self._full(subfolder))):
                for file in folder.glob(f".*{_TEMPORARY_SUFFIX}"):
                    file.unlink(missing_ok=True)

    @contextmanager
    def lock(self) -> Iterator[int | None]:
        """Let nobody else run a batch in this folder; yield the lock's file descriptor, `None` for object stores.

        Processes that inherit the descriptor hold the lock, too, so that the workers of a killed driver are gone before
        the next one begins. The operating system frees the lock when all of them are dead. Object stores have no locks.

        Raises:
            ConfigurationError: If another process runs a batch in this folder.
        """
        if not self.is_local:
            yield None
            return
        import fcntl

        descriptor = os.open(self._full(_LOCK), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            deadline_s = time.monotonic() + _ORPHANS_S
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
                    if _is_running(owner) or time.monotonic() >= deadline_s:
                        raise ConfigurationError(
                            f"another process ({owner or 'unknown'}) runs a batch in {self.location}.",
                            hint="Wait until it is finished, or choose another folder.",
                        ) from error
                    time.sleep(0.05)
            self._wait_for_workers(deadline_s)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield descriptor
        finally:
            os.close(descriptor)

    def hold(self) -> int | None:
        """Have the next batch in this folder wait until this process is dead; for workers that no lock is left to.

        Returns:
            The file descriptor to keep open; `None` for object stores.
        """
        if not self.is_local:
            return None
        import fcntl

        descriptor = os.open(self._full(_WORKERS), os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        return descriptor

    def _wait_for_workers(self, deadline_s: float) -> None:
        """Wait until the workers are dead that `hold` the folder for a driver that is dead."""
        import fcntl

        try:
            descriptor = os.open(self._full(_WORKERS), os.O_RDWR)
        except FileNotFoundError:
            return
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    if time.monotonic() >= deadline_s:
                        raise ConfigurationError(
                            f"workers of an earlier run still write to {self.location}.",
                            hint="Wait until the cluster has ended them, or end them there.",
                        ) from error
                    time.sleep(0.05)
                else:
                    return
        finally:
            os.close(descriptor)

    def _full(self, name: str) -> str:
        return f"{self._path}/{name}" if name else self._path


def _is_running(process_id: str) -> bool:
    """Whether a process lives; one of this process's own, as in two threads, does."""
    if not process_id.isdigit():
        return False
    try:
        os.kill(int(process_id), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
