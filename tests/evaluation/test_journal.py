"""The journal of an evaluation survives a full disk."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from taleward.evaluation.journal import Journal, open_journal


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def lines(journal: Journal) -> list[str]:
    return (journal.folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("size", [250, 299, 301])
def test_a_full_disk_leaves_whole_samples_and_the_evaluation_goes_on(tmp_path: Path, size: int) -> None:
    journal = open_journal(tmp_path, {"name": "a"}, resume=True)
    samples = [json.dumps({"id": str(number), "text": "x" * 76}) for number in range(4)]
    with journal.open_samples() as append:
        with disk_of(size):
            append(samples[0])
            append(samples[1])
            with pytest.raises(OSError, match="run the same evaluation again"):
                append(samples[2] + " " * 2)
            assert lines(journal) == samples[:2]
        append(samples[3])
    assert lines(journal) == [*samples[:2], samples[3]]
    assert list(journal.samples(dict)) == ["0", "1", "3"]


def test_a_result_that_does_not_fit_leaves_the_journal_unfinished(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, {"name": "a"}, resume=True)
    with disk_of(100), pytest.raises(OSError, match="make room"):
        journal.finish({"text": "x" * 500})
    assert not journal.finished
    assert sorted(file.name for file in journal.folder.iterdir()) == ["plan.json"]
    journal.finish({"text": "x" * 500})
    assert journal.finished
