"""Check that every row of a source has an id that no other row has, in memory that does not grow with the rows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any

from taleward.batch.sources.base import BatchSource, IdBatch
from taleward.core.errors import InvalidFile

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Hashes = npt.NDArray[np.uint64]

_BUCKETS = 64
_HELD_HASHES = 500_000
"""Hashes in memory before they go to the buckets on disk: 4 MB."""
_MAX_LISTED = 8
_ID_HINT = "Each row needs an id of its own, so that no row is lost or done twice; nothing has run."


def check_ids(source: BatchSource) -> int:
    """Read a source once and check its ids.

    The ids' hashes go to files on disk, split by their first bits, and each file is sorted by itself. Ids whose hashes
    are equal are then read again and compared.

    Returns:
        The number of rows.

    Raises:
        InvalidFile: If an id is missing or repeated, a row cannot be read, or there are no rows; the message says
            where.
    """
    with ExitStack() as stack:
        buckets = _Buckets(stack)
        problems: list[str] = []
        count = 0
        for batch in source.ids():
            count += len(batch.ids)
            problems += _problems(batch, _MAX_LISTED - len(problems)) if len(problems) < _MAX_LISTED else ()
            buckets.add(row_id for row_id in batch.ids if isinstance(row_id, str))
        if problems:
            raise _error(source, problems)
        if not count:
            raise InvalidFile(f"{source.location} has no rows.")
        if suspects := buckets.repeated():
            problems = _repeated(source.ids(), suspects)
            if problems:
                raise _error(source, problems)
    return count


def _error(source: BatchSource, problems: Sequence[str]) -> InvalidFile:
    more = "\n  - and perhaps more" if len(problems) == _MAX_LISTED else ""
    listed = "".join(f"\n  - {problem}" for problem in problems)
    return InvalidFile(f"{source.location} has problems:{listed}{more}", hint=_ID_HINT)


def _problems(batch: IdBatch, most: int) -> list[str]:
    problems = []
    for number, row_id in enumerate(batch.ids, batch.first):
        if isinstance(row_id, str) and row_id:
            continue
        problem = f"{row_id}" if isinstance(row_id, ValueError) else "has no id"
        problems.append(f"{batch.place} {number}: {problem}")
        if len(problems) == most:
            break
    return problems


def _repeated(batches: Iterable[IdBatch], suspects: set[int]) -> list[str]:
    """Return where the ids with these hashes are, if they are the same."""
    from xxhash import xxh3_64_intdigest

    first_places: dict[str, str] = {}
    problems = []
    for batch in batches:
        for number, row_id in enumerate(batch.ids, batch.first):
            if (
                not isinstance(row_id, str)
                or xxh3_64_intdigest(row_id.encode("utf-8", "surrogatepass")) not in suspects
            ):
                continue
            place = f"{batch.place} {number}"
            if row_id in first_places:
                problems.append(f"{place}: the id {row_id!r:.80} is also that of {first_places[row_id]}")
                if len(problems) == _MAX_LISTED:
                    return problems
            else:
                first_places[row_id] = place
    return problems


class _Buckets:
    """Hashes of ids, on disk once there are many."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._held: list[int] = []
        self._files: list[IO[bytes]] = []

    def add(self, ids: Iterable[str]) -> None:
        from xxhash import xxh3_64_intdigest

        self._held.extend(xxh3_64_intdigest(row_id.encode("utf-8", "surrogatepass")) for row_id in ids)
        if len(self._held) >= _HELD_HASHES:
            self._spill()

    def repeated(self, most: int = 10_000) -> set[int]:
        """Return hashes that occur more than once, at most so many."""
        if self._files:
            self._spill()
        found: set[int] = set()
        for hashes in self._groups():
            hashes.sort()
            found.update(hashes[1:][hashes[1:] == hashes[:-1]].tolist()[: most - len(found)])
            if len(found) >= most:
                break
        return found

    def _groups(self) -> Iterator[Hashes]:
        import numpy

        if not self._files:
            yield numpy.array(self._held, dtype=numpy.uint64)
        for file in self._files:
            file.seek(0)
            yield numpy.frombuffer(bytearray(file.read()), dtype=numpy.uint64)

    def _spill(self) -> None:
        import numpy

        if not self._files:
            self._files = [self._temporary_file() for _ in range(_BUCKETS)]
        hashes = numpy.array(self._held, dtype=numpy.uint64)
        shift = numpy.uint64(64 - _BUCKETS.bit_length() + 1)
        numbers: Any = hashes >> shift
        for number in range(_BUCKETS):
            self._files[number].write(hashes[numbers == number].tobytes())
        self._held = []

    def _temporary_file(self) -> IO[bytes]:
        return self._stack.enter_context(tempfile.TemporaryFile())
