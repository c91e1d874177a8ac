"""Answers of language models, kept as a LangChain cache that gives back only what passed the policy."""

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
_ABOUT = ("model_name", "finish_reason")


class AnswerStats(FrozenModel):
    """What an answer cache holds, and what it was good for since this object was made.

    Attributes:
        answers: Answers kept.
        passed: Those with a pass under this cache's policy and band.
        hits: Answers given.
        misses: Questions without an answer that may be given.
        withheld: Misses that had an answer whose verdict is no pass, or that has none.
        failures: Times that the cache itself failed and was passed over.
        bytes_on_disk: Size of the file and its log.
    """

    answers: int
    passed: int
    hits: int
    misses: int
    withheld: int
    failures: int
    bytes_on_disk: int


class AnswerCache(BaseCache):
    """A LangChain cache of answers, exact: the same prompt to the same model with the same parameters and policy.

    An answer is given only when its recorded verdict under this policy and band is a pass. A verdict comes from the
    judge given here, asked once about each text when it is first wanted; or from `record_verdict`; or, with the cache
    as a guard's recorder, from the guard, for writers whose draft is their model's answer as it is. Without a verdict
    an answer is a miss. Only plain text is kept, not tool calls; of the prompt, only its hash.

    A cache that fails is logged and is a miss.

    Args:
        path: The file; made when missing.
        policy: The policy in force, or its id, for example `kids@1`.
        band: The age band.
        judge: A Runnable from a text to a verdict, for texts without one.
        ttl_s: Seconds that answers and verdicts live; `None` for no end.
        max_entries: Answers in the file at most; those used longest ago go first.
        clock: Seconds since the epoch, for tests.

    Raises:
        ConfigurationError: An option is out of range.
        IntegrityError: The file is no answer cache.
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
            raise ConfigurationError(f"ttl_s must be above 0, or None for no end; got {ttl_s}.")
        if max_entries is not None and max_entries < 1:
            raise ConfigurationError(f"max_entries must be 1 or more, or None for no bound; got {max_entries}.")
        self.policy = policy.id if isinstance(policy, Policy) else policy
        if "@" not in self.policy:
            raise ConfigurationError(
                f"policy is a policy or its id with a version, such as 'kids@1'; got {policy!r}.",
                hint=f"load_policy({policy!r}).id says it.",
            )
        self.band, self.judge = band, judge
        self.ttl_s, self.max_entries = ttl_s, max_entries
        self._clock = clock
        self._hits = self._misses = self._withheld = self._failures = 0
        self._database = SqliteDatabase(Path(path), schema=_SCHEMA, version=_VERSION, kind="answer cache")

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """The answer that may be given; `None` where there is none."""
        try:
            found = self._find(prompt, llm_string)
        except Exception as error:  # noqa: BLE001  a cache in trouble is a miss
            self._failed("read", error)
            found = None
        self._hits += found is not None
        self._misses += found is None
        return found

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Keep an answer; it is given back once its text has a pass."""
        try:
            self._keep(prompt, llm_string, return_val)
        except Exception as error:  # noqa: BLE001  the answer is there; only its copy is lost
            self._failed("written", error)

    def clear(self, **kwargs: Any) -> None:
        """Forget all answers and verdicts."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM answers")
            connection.execute("DELETE FROM verdicts")
        self._database.forget()

    def delete(self, ids: Iterable[str]) -> int:
        """Forget texts with their verdicts.

        Args:
            ids: SHA-256 of texts in hexadecimal (`taleward.core.tale.digest`), as a tale's attempts name drafts.

        Returns:
            How many answers were deleted.
        """
        names = [(i,) for i in ids]
        with self._database.writing() as connection:
            before = connection.total_changes
            connection.executemany("DELETE FROM answers WHERE sha256 = ?", names)
            gone = connection.total_changes - before
            connection.executemany("DELETE FROM verdicts WHERE sha256 = ?", names)
        self._database.forget()
        return gone

    def record_verdict(self, text: str, verdict: Verdict) -> None:
        """Keep a verdict on a text; one that is no pass takes a former pass away."""
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?, ?, ?)",
                (digest(text), verdict.policy, verdict.band, verdict.outcome, verdict.judge, self._expires()),
            )

    def record(self, tale: Tale, inputs: Mapping[str, Any]) -> None:
        """Keep the verdicts on a tale's drafts; with this a guard takes the cache as its recorder."""
        for attempt in tale.attempts:
            if attempt.draft is not None:
                self.record_verdict(attempt.draft, attempt.verdict)

    def stats(self) -> AnswerStats:
        """What the file holds, and the hits and misses of this object."""
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
        """All that must be the same beside the prompt."""
        return _hash(llm_string, self.policy, self.band)

    def _key(self, prompt: str, llm_string: str) -> str:
        return _hash(self._scope(llm_string), prompt)

    def _find(self, prompt: str, llm_string: str) -> list[Generation] | None:
        return self._answer(self._key(prompt, llm_string))

    def _answer(self, key: str) -> list[Generation] | None:
        """The answer under a key, if its text passed."""
        now = self._clock()
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT text, chat, about, used FROM answers WHERE key = ? AND (expires IS NULL OR expires > ?)",
                (key, now),
            ).fetchone()
        if row is None:
            return None
        text, chat, about, used = row
        if not self._passes(text):
            self._withheld += 1
            return None
        if self.max_entries is not None and used < now - 60:
            with self._database.writing() as connection:
                connection.execute("UPDATE answers SET used = ? WHERE key = ?", (now, key))
        if not chat:
            return [Generation(text=text)]
        held = {**json.loads(about), "cached": True}
        return [ChatGeneration(message=AIMessage(content=text, response_metadata=held))]

    def _passes(self, text: str) -> bool:
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
        if (verdict.policy, verdict.band) != (self.policy, self.band):
            raise ConfigurationError(
                f"the judge answers under {verdict.policy} for {verdict.band};"
                f" this cache is for {self.policy}, {self.band}."
            )
        # Only a plain answer is worth keeping: a judge that was away is asked again.
        if verdict.outcome in ("pass", "fail"):
            self.record_verdict(text, verdict)
        return verdict.passed

    def _keep(self, prompt: str, llm_string: str, answer: Sequence[Generation]) -> str | None:
        """Write an answer and return its key; `None` where it is no plain text."""
        if len(answer) != 1 or not answer[0].text:
            return None
        message = getattr(answer[0], "message", None)
        if message is not None and (not isinstance(message.content, str) or getattr(message, "tool_calls", None)):
            return None
        about = {k: v for k, v in getattr(message, "response_metadata", {}).items() if k in _ABOUT}
        text, now, key = answer[0].text, self._clock(), self._key(prompt, llm_string)
        row = (key, self._scope(llm_string), digest(text), text, message is not None)
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, json.dumps(about, default=str), now, self._expires()),
            )
            self._trim(connection, now)
        return key

    def _trim(self, connection: sqlite3.Connection, now: float) -> None:
        connection.execute("DELETE FROM answers WHERE expires <= ?", (now,))
        connection.execute("DELETE FROM verdicts WHERE expires <= ?", (now,))
        if self.max_entries is not None:
            [count] = connection.execute("SELECT count(*) FROM answers").fetchone()
            connection.execute(
                "DELETE FROM answers WHERE key IN (SELECT key FROM answers ORDER BY used LIMIT ?)",
                (max(0, count - self.max_entries),),
            )

    def _expires(self) -> float | None:
        return None if self.ttl_s is None else self._clock() + self.ttl_s

    def _failed(self, what: str, error: Exception) -> None:
        self._failures += 1
        _log.warning("the answer cache was not %s: %s: %s", what, type(error).__name__, redact(str(error)))


def _hash(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
