"""Folders in the cache that are complete or absent, whenever a process is killed."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def complete_or_absent(folder: Path) -> Iterator[Path]:
    """Write a folder under another name and rename it: other processes see the complete folder or none."""
    unfinished = folder.with_name(f".{secrets.token_hex(8)}")
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
