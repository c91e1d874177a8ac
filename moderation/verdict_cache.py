"""Verdicts on disk: SQLite, for several processes at once, safe to kill at any moment.

No text is stored. An entry knows a text by its SHA-256; quotes, and words of the text in what a judge remarked, are
stored as places in the text and cut from it again when it comes back.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from pydantic import Field

from taleward.core.errors import BackendError, ConfigurationError
from taleward.core.frozen import Frozen, FrozenDict
from taleward.core.policy import Probability, Severity
from taleward.core.tale import digest
from taleward.core.verdict import Finding, Outcome, Passage, Verdict

T = TypeVar("T")
Words = tuple[str | tuple[int, int], ...]
"""A remark: pieces of its own, and places in the text."""

_WAIT_S = 1.0
_TRIES = 20
_TABLE = """
CREATE TABLE IF NOT EXISTS verdicts (
    key TEXT NOT NULL UNIQUE, text_sha256 TEXT NOT NULL, made REAL NOT NULL, body TEXT NOT NULL, sha256 TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_text ON verdicts (text_sha256);
CREATE INDEX IF NOT EXISTS by_age ON verdicts (made);
"""


class _Found(Frozen):
    category: str
    severity: Severity
    start: int | None = Field(default=None, ge=0)
    end: int | None = Field(default=None, ge=0)
    rationale: Words = ()


class Entry(Frozen):
    """A verdict without the words of its text."""

    outcome: Outcome
    calibration: str | None
    scores: FrozenDict[str, Probability]
    findings: tuple[_Found, ...]
    detail: Words

    @classmethod
    def of(cls, verdict: Verdict, passage: Passage) -> Entry | None:
        """A verdict's entry; `None` where it is no plain pass or fail, or quotes what is not in the text."""
        if verdict.outcome not in ("pass", "fail"):
            return None
        if any(f.quote is not None and f.quote != passage.text[f.start : f.end] for f in verdict.findings):
            return None
        findings = tuple(
            _Found(
                category=f.category,
                severity=f.severity,
                start=f.start,
                end=f.end,
                rationale=_hidden(f.rationale, passage),
            )
            for f in verdict.findings
        )
        return cls(
            outcome=verdict.outcome,
            calibration=verdict.calibration,
            scores=verdict.scores,
            findings=findings,
            detail=_hidden(verdict.detail, passage),
        )

    def verdict(self, passage: Passage, judge: str, policy: str, band: str) -> Verdict:
        """The verdict again, by its text. What a judge remarked comes back in the spelling of the text."""
        findings = tuple(
            Finding(
                category=f.category,
                severity=f.severity,
                quote=None if f.start is None else passage.text[f.start : f.end],
                start=f.start,
                end=f.end,
                rationale=_shown(f.rationale, passage),
            )
            for f in self.findings
        )
        return Verdict(
            outcome=self.outcome,
            judge=judge,
            policy=policy,
            band=band,
            scores=self.scores,
            findings=findings,
            detail=_shown(self.detail, passage),
            cached=True,
            calibration=self.calibration,
        )


class VerdictCache:
    """A file of verdicts.

    Args:
        path: The file; it is made, readable by its owner alone, when it is first used.
        days: How long a verdict is kept.
        most: How many are kept; the oldest go first.

    Raises:
        ConfigurationError: A number is out of its range.
    """

    def __init__(self, path: str | Path, *, days: float = 30.0, most: int = 100_000) -> None:
        if days <= 0 or most < 1:
            raise ConfigurationError(f"days must be above 0 and most at least 1; got {days} and {most}.")
        self.path, self.days, self.most = Path(path), days, most
        self._lock = threading.Lock()
        self._ready = 0

    def get(self, key: str) -> Entry | None:
        """The entry of a key; `None` where there is none, it is too old, or not whole.

        Raises:
            sqlite3.Error: The file cannot be read.
        """
        query = "SELECT made, body, sha256 FROM verdicts WHERE key = ?"
        row = self._run(lambda db: db.execute(query, (key,)).fetchone())
        if row is None or not 0 <= time.time() - row[0] < self._seconds or row[2] != _check(key, row[1]):
            return None
        return Entry.model_validate_json(row[1])

    def put(self, key: str, text: str, entry: Entry) -> None:
        """Keep an entry, and let go of those that are too old or too many.

        Raises:
            sqlite3.Error: The file cannot be written.
        """
        body, now = entry.model_dump_json(), time.time()

        def write(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            db.execute(
                "INSERT OR REPLACE INTO verdicts (key, text_sha256, made, body, sha256) VALUES (?, ?, ?, ?, ?)",
                (key, digest(text), now, body, _check(key, body)),
            )
            db.execute("DELETE FROM verdicts WHERE made <= ?", (now - self._seconds,))
            db.execute("DELETE FROM verdicts WHERE rowid <= (SELECT max(rowid) FROM verdicts) - ?", (self.most,))
            db.execute("COMMIT")

        self._run(write)

    def forget(self, text: str) -> int:
        """Delete what is kept about a text, by whatever judge; how many entries that was.

        Raises:
            BackendError: The file cannot be written; nothing was deleted.
        """
        return self._delete("DELETE FROM verdicts WHERE text_sha256 = ?", digest(text))

    def clear(self) -> int:
        """Delete everything; how many entries that was.

        Raises:
            BackendError: The file cannot be written; nothing was deleted.
        """
        return self._delete("DELETE FROM verdicts")

    def __len__(self) -> int:
        return int(self._run(lambda db: db.execute("SELECT count(*) FROM verdicts").fetchone()[0]))

    @property
    def _seconds(self) -> float:
        return self.days * 86_400

    def _delete(self, statement: str, *values: str) -> int:
        def delete(db: sqlite3.Connection) -> int:
            count = db.execute(statement, values).rowcount
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return count

        try:
            return self._run(delete)
        except (sqlite3.Error, OSError) as error:
            raise BackendError(
                f"the verdict cache {self.path} could not be changed: {error}", retryable=True
            ) from error

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """A connection of its own for each piece of work: threads and forked processes share none."""
        with self._lock:
            if self._ready != os.getpid() or not self.path.exists():
                self._make()
        with closing(sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA secure_delete = ON")
            return work(db)

    def _make(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        for attempt in range(_TRIES):
            try:
                with closing(sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None)) as db:
                    db.execute("PRAGMA journal_mode = WAL")  # fails at once where another process does the same
                    db.executescript(_TABLE)
                break
            except sqlite3.OperationalError:
                if attempt == _TRIES - 1:
                    raise
                time.sleep(0.02)
        self._ready = os.getpid()


def _check(key: str, body: str) -> str:
    return hashlib.sha256(f"{key}\n{body}".encode()).hexdigest()


def _hidden(remark: str, passage: Passage) -> Words:
    """A remark with every word that the text or its context has as a place in them."""
    source = _source(passage)
    lowered = source.lower()
    exact = len(lowered) != len(source)
    parts: list[str | tuple[int, int]] = []
    for piece in re.findall(r"\w+|\W+", remark):
        at = source.find(piece) if piece[0].isalnum() else -1
        if at < 0 and piece[0].isalnum() and not exact:
            at = lowered.find(piece.lower())
        parts.append((at, at + len(piece)) if at >= 0 else piece)
    return tuple(parts)


def _shown(words: Words, passage: Passage) -> str:
    source = _source(passage)
    return "".join(w if isinstance(w, str) else source[w[0] : w[1]] for w in words)


def _source(passage: Passage) -> str:
    return f"{passage.context}\n{passage.text}"
