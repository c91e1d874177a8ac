"""A LangChain cache for model answers that returns only what passed the policy."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.core.policy import Policy
from taleward.core.redaction import redact
from taleward.core.tale import Tale, digest
from taleward.core.verdict import Verdict
from taleward.stores.sqlite import SqliteDatabase

if TYPE_CHECKING:
    import sqlite3

_log = logging.getLogger(__name__)
_VERSION = 1
_SCHEMA = """
CREATE TABLE answers (
    key TEXT PRIMARY KEY, scope TEXT NOT NULL, sha256 TEXT NOT NULL, text TEXT NOT NULL, chat INTEGER NOT NULL,
    about TEXT NOT NULL, used REAL NOT NULL, expires REAL
) WITHOUT ROWID;
CREATE INDEX answers_by_text ON answers (sha256);
CREATE INDEX answers_by_use ON answers (used);
CREATE TABLE verdicts (
    sha256 TEXT NOT NULL, policy TEXT NOT NULL, band TEXT NOT NULL, outcome TEXT NOT NULL, judge TEXT NOT NULL,
    expires REAL, PRIMARY KEY (sha256, policy, band)
) WITHOUT ROWID
"""
_STORED_METADATA = ("model_name", "finish_reason")
# The time of last use is written at most this often, so that most hits need no write.
_TOUCH_INTERVAL_S = 60


class AnswerStats(FrozenModel):
    """The contents of an answer cache, and what it did since this object was created.

    Attributes:
        answers: Answers stored.
        passed: Stored answers with a pass under this cache's policy and band.
        hits: Lookups that returned an answer.
        misses: Lookups that returned none.
        withheld: Misses for which an answer was stored that has no pass.
        failures: Times the cache itself failed and was skipped.
        bytes_on_disk: Size of the file and its write-ahead log.
    """

    answers: int
    passed: int
    hits: int
    misses: int
    withheld: int
    failures: int
    bytes_on_disk: int


class AnswerCache(BaseCache):
    """An exact LangChain cache: the same prompt, model, parameters, policy and band return the stored answer.

    An answer is returned only if its text has a pass under this policy and band. The verdict comes from one of

    * `judge`, which judges a text once, when it is first looked up;
    * `record_verdict`;
    * a guard that has the cache as its recorder, if its drafts are the model's answers unchanged.

    An answer without a verdict is a miss. Only plain text is stored, no tool calls. Of the prompt, only the hash is.
    If the cache itself fails, that is logged and counts as a miss. A file that cannot be written, for example on a
    read-only disk, is only read.

    Args:
        path: The file; created if missing.
        policy: The policy in force, or its id, for example `kids@1`.
        band: The age band.
        judge: A Runnable from a text to a verdict, for texts without one.
        ttl_s: Seconds until answers and verdicts expire; `None` for never.
        max_entries: The most answers in the file; the least recently used are evicted.
        clock: Returns seconds since the epoch, for tests.

    Raises:
        ConfigurationError: If an option is out of range.
        IntegrityError: If the file is not an answer cache.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        policy: Policy | str,
        band: str,
        judge: Runnable[Any, Verdict] | None = None,
        ttl_s: float | None = None,
        max_entries: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if ttl_s is not None and not ttl_s > 0:
            raise ConfigurationError(f"ttl_s must be above 0, or None for no expiry; got {ttl_s}.")
        if max_entries is not None and max_entries < 1:
            raise ConfigurationError(f"max_entries must be 1 or more, or None for no limit; got {max_entries}.")
        self.policy = policy.id if isinstance(policy, Policy) else policy
        # Without its version, a changed policy would go on releasing answers that passed the old one.
        if "@" not in self.policy:
            raise ConfigurationError(
                f"policy must be a policy or its id with a version, such as 'kids@1'; got {policy!r}.",
                hint=f"Use load_policy({policy!r}).id.",
            )
        self.band, self.judge = band, judge
        self.ttl_s, self.max_entries = ttl_s, max_entries
        self._clock = clock
        self._hits = self._misses = self._withheld = self._failures = 0
        self._database = SqliteDatabase(Path(path), schema=_SCHEMA, version=_VERSION, kind="answer cache")

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """Return the stored answer if it passed, else `None`."""
        try:
            generations = self._find(prompt, llm_string)
        except Exception as error:  # noqa: BLE001  a cache that fails must not fail the caller
            self._log_failure("read", error)
            generations = None
        self._hits += generations is not None
        self._misses += generations is None
        return generations

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Store an answer, unless the file is read-only; lookups return it once its text has a pass."""
        if self._database.read_only:
            return
        try:
            self._store(prompt, llm_string, return_val)
        except Exception as error:  # noqa: BLE001  the caller has the answer; only its copy is lost
            self._log_failure("written", error)

    def clear(self, **kwargs: Any) -> None:
        """Delete all answers and verdicts.

        Raises:
            NotErased: As for `delete`.
        """
        with self._database.writing() as connection:
            connection.execute("DELETE FROM answers")
            connection.execute("DELETE FROM verdicts")
        self._database.erase_deleted()

    def delete(self, ids: Iterable[str]) -> int:
        """Delete texts with their verdicts.

        Args:
            ids: SHA-256 of texts in hexadecimal (`taleward.core.tale.digest`), as in `Attempt.draft_sha256`.

        Returns:
            The number of answers deleted.

        Raises:
            NotErased: If another program that is reading the file keeps the deleted bytes; call `delete` again with the
                same ids when it has finished.
        """
        keys = [(i,) for i in ids]
        with self._database.writing() as connection:
            before = connection.total_changes
            connection.executemany("DELETE FROM answers WHERE sha256 = ?", keys)
            deleted = connection.total_changes - before
            connection.executemany("DELETE FROM verdicts WHERE sha256 = ?", keys)
        self._database.erase_deleted()
        return deleted

    def record_verdict(self, text: str, verdict: Verdict) -> None:
        """Store the verdict on a text, replacing an earlier one under the same policy and band."""
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?, ?, ?)",
                (digest(text), verdict.policy, verdict.band, verdict.outcome, verdict.judge, self._expiry()),
            )

    def record(self, tale: Tale, inputs: Mapping[str, Any]) -> None:
        """Store the verdicts on a tale's drafts, as a guard's recorder."""
        for attempt in tale.attempts:
            if attempt.draft is not None:
                self.record_verdict(attempt.draft, attempt.verdict)

    def stats(self) -> AnswerStats:
        """Return the contents of the file, and the hits and misses of this object."""
        with self._database.reading() as connection:
            [answers] = connection.execute("SELECT count(*) FROM answers").fetchone()
            [passed] = connection.execute(
                "SELECT count(*) FROM answers JOIN verdicts USING (sha256)"
                " WHERE policy = ? AND band = ? AND outcome = 'pass'",
                (self.policy, self.band),
            ).fetchone()
        return AnswerStats(
            answers=answers,
            passed=passed,
            hits=self._hits,
            misses=self._misses,
            withheld=self._withheld,
            failures=self._failures,
            bytes_on_disk=self._database.bytes_on_disk,
        )

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._database.close()

    def _scope(self, llm_string: str) -> str:
        """Hash everything that must match besides the prompt."""
        return _hash(llm_string, self.policy, self.band)

    def _key(self, prompt: str, llm_string: str) -> str:
        return _hash(self._scope(llm_string), prompt)

    def _find(self, prompt: str, llm_string: str) -> list[Generation] | None:
        return self._passed_answer(self._key(prompt, llm_string))

    def _passed_answer(self, key: str) -> list[Generation] | None:
        """Return the answer stored under a key if its text passed."""
        now = self._clock()
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT text, chat, about, used FROM answers WHERE key = ? AND (expires IS NULL OR expires > ?)",
                (key, now),
            ).fetchone()
        if row is None:
            return None
        text, is_chat, metadata_json, used = row
        if not self._has_passed(text):
            self._withheld += 1
            return None
        if self.max_entries is not None and used < now - _TOUCH_INTERVAL_S and not self._database.read_only:
            with self._database.writing() as connection:
                connection.execute("UPDATE answers SET used = ? WHERE key = ?", (now, key))
        if not is_chat:
            return [Generation(text=text)]
        metadata = {**json.loads(metadata_json), "cached": True}
        return [ChatGeneration(message=AIMessage(content=text, response_metadata=metadata))]

    def _has_passed(self, text: str) -> bool:
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT outcome FROM verdicts WHERE sha256 = ? AND policy = ? AND band = ?"
                " AND (expires IS NULL OR expires > ?)",
                (digest(text), self.policy, self.band, self._clock()),
            ).fetchone()
        if row is not None:
            return bool(row[0] == "pass")
        if self.judge is None:
            return False
        verdict = self.judge.invoke(text)
        # Otherwise the verdict would be stored where this cache never finds it, and every lookup would judge again.
        if (verdict.policy, verdict.band) != (self.policy, self.band):
            raise ConfigurationError(
                f"the judge uses policy {verdict.policy} and band {verdict.band};"
                f" this cache uses {self.policy} and {self.band}."
            )
        # Other outcomes are not stored, so that a judge that was unavailable is asked again.
        if verdict.outcome in ("pass", "fail") and not self._database.read_only:
            self.record_verdict(text, verdict)
        return verdict.passed

    def _store(self, prompt: str, llm_string: str, generations: Sequence[Generation]) -> str | None:
        """Write an answer and return its key, or `None` if it is not a single plain text."""
        # A verdict covers one text; several candidates or a tool call would be returned unjudged.
        if len(generations) != 1 or not generations[0].text:
            return None
        message = getattr(generations[0], "message", None)
        if message is not None and (not isinstance(message.content, str) or getattr(message, "tool_calls", None)):
            return None
        metadata = {k: v for k, v in getattr(message, "response_metadata", {}).items() if k in _STORED_METADATA}
        text, now, key = generations[0].text, self._clock(), self._key(prompt, llm_string)
        row = (key, self._scope(llm_string), digest(text), text, message is not None)
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, json.dumps(metadata, default=str), now, self._expiry()),
            )
            self._evict(connection, now)
        return key

    def _evict(self, connection: sqlite3.Connection, now: float) -> None:
        connection.execute("DELETE FROM answers WHERE expires <= ?", (now,))
        connection.execute("DELETE FROM verdicts WHERE expires <= ?", (now,))
        if self.max_entries is not None:
            [count] = connection.execute("SELECT count(*) FROM answers").fetchone()
            excess = max(0, count - self.max_entries)
            oldest = connection.execute("SELECT key FROM answers ORDER BY used LIMIT ?", (excess,)).fetchall()
            if oldest:
                # What else is kept of an answer goes first: a kill in between leaves answers that are evicted later.
                self._forget([key for (key,) in oldest])
                connection.executemany("DELETE FROM answers WHERE key = ?", oldest)

    def _forget(self, keys: Sequence[str]) -> None:
        """Delete what a subclass stores besides the answers of these keys."""

    def _expiry(self) -> float | None:
        return None if self.ttl_s is None else self._clock() + self.ttl_s

    def _log_failure(self, action: str, error: Exception) -> None:
        self._failures += 1
        _log.warning("the answer cache was not %s: %s: %s", action, type(error).__name__, redact(str(error)))


def _hash(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
