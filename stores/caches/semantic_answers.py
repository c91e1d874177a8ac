"""An opt-in answer cache that recognizes paraphrased questions, with a word check against false hits."""

from __future__ import annotations

import json
import logging
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.outputs import Generation

from taleward.core.errors import ConfigurationError, NotErased
from taleward.core.frozen_model import FrozenModel
from taleward.stores.caches.answers import AnswerCache
from taleward.stores.vector.faiss_store import FaissStore
from taleward.stores.vector.rows import score_from_cosine

_log = logging.getLogger(__name__)
_ARTICLES = frozenset({"a", "an", "the"})
_REQUEST_WORDS = {"can", "could", "create", "give", "make", "me", "tell", "us", "will", "would", "write", "you"}
_LEADING_FILLERS = _ARTICLES | _REQUEST_WORDS | {"hello", "hey", "hi", "kindly", "please"}
_TRAILING_FILLERS = frozenset({"please", "thank", "thanks", "you"})
_MAX_CANDIDATES = 3


def question_words(text: str) -> tuple[str, ...]:
    """Return the words that carry a question's meaning, in order.

    Articles, and polite or requesting words at both ends, are dropped. Numbers and negations stay. Case and punctuation
    are ignored.
    """
    words = re.findall(r"\w+(?:['’.,]\w+)*", unicodedata.normalize("NFKC", text).casefold())
    start, end = 0, len(words)
    while start < end and words[start] in _LEADING_FILLERS:
        start += 1
    while start < end and words[end - 1] in _TRAILING_FILLERS:
        end -= 1
    return tuple(word for word in words[start:end] if word not in _ARTICLES)


def is_same_question(first: str, second: str) -> bool:
    """Return whether two questions have the same content words in the same order, and at least two of them.

    Cosine similarity alone is not enough: questions that differ by a name, a number, a `not` or their word order score
    up to 0.99. This check prefers a needless call to a false hit.
    """
    words = question_words(first)
    return len(words) >= 2 and words == question_words(second)


def split_prompt(prompt: str) -> tuple[str, str]:
    """Split a prompt into its context, which must match exactly, and its question, which may be paraphrased.

    LangChain passes a chat's messages as JSON; the question is the last message's text. Any other prompt is a question
    without context.

    Returns:
        The context and the question.
    """
    try:
        messages = json.loads(prompt)
        last = messages[-1].get("kwargs", messages[-1])
        question = last["content"]
    except (ValueError, TypeError, LookupError, AttributeError):
        return "", prompt
    if not isinstance(question, str):
        return "", prompt
    last["content"] = ""
    return json.dumps(messages, sort_keys=True), question


class FalseHitReport(FrozenModel):
    """The hits of a semantic cache on labeled pairs of questions.

    Attributes:
        different_pairs: Pairs of questions that need different answers.
        false_hits: Different pairs of which one question got the other's answer.
        same_pairs: Pairs of questions that need the same answer.
        hits: Same pairs of which one question got the other's answer.
    """

    different_pairs: int
    false_hits: int
    same_pairs: int
    hits: int

    @property
    def false_hit_rate(self) -> float:
        """The share of different pairs that were false hits, from 0 to 1; 0 if there are none."""
        return self.false_hits / self.different_pairs if self.different_pairs else 0.0


class SemanticAnswerCache(AnswerCache):
    """An `AnswerCache` that also answers paraphrases of earlier questions.

    If there is no exact match, the most similar questions under the same model, parameters, policy and band are
    considered. A question whose cosine similarity reaches `threshold` and that passes `is_same_question` provides its
    answer, if that passed. Verdicts are always looked up by the answer's exact text. Unlike `AnswerCache`, this cache
    stores the text of the questions.

    Args:
        path: A folder, created if missing, for `answers.db` and the store of questions.
        embeddings: LangChain embeddings, or a spec such as `embedded:minilm`.
        threshold: The lowest cosine similarity of a hit, from 0 to 1.
        options: Keyword arguments of `AnswerCache`.

    Raises:
        ConfigurationError: If an option is out of range.
    """

    def __init__(
        self, path: str | Path, embeddings: str | Embeddings, *, threshold: float = 0.9, **options: Any
    ) -> None:
        if not 0 <= threshold <= 1:
            raise ConfigurationError(f"threshold must be from 0 to 1; got {threshold}.")
        super().__init__(Path(path) / "answers.db", **options)
        self.threshold = threshold
        self._questions = FaissStore(embeddings, Path(path) / "questions", ttl_s=self.ttl_s, clock=self._clock)

    def measure_false_hits(self, pairs: Iterable[tuple[str, str, bool]]) -> FalseHitReport:
        """Count how many questions would get the answer of the other question of their pair.

        Args:
            pairs: Two questions, and whether they need the same answer.
        """
        totals, hits = {True: 0, False: 0}, {True: 0, False: 0}
        for first, second, is_same in pairs:
            totals[is_same] += 1
            hits[is_same] += self.matches(first, second)
        return FalseHitReport(
            different_pairs=totals[False], false_hits=hits[False], same_pairs=totals[True], hits=hits[True]
        )

    def matches(self, first: str, second: str) -> bool:
        """Return whether one question would get the other's answer."""
        return is_same_question(first, second) and self.cosine(first, second) >= self.threshold

    def cosine(self, first: str, second: str) -> float:
        """Return the cosine similarity of two questions' vectors, from 0 to 1."""
        import numpy

        a, b = numpy.asarray(self._questions.embeddings.embed_documents([first, second]))
        return score_from_cosine(a @ b / max(float(numpy.linalg.norm(a) * numpy.linalg.norm(b)), 1e-12))

    def clear(self, **kwargs: Any) -> None:
        """Delete all answers, verdicts and questions."""
        try:
            super().clear()
        finally:  # also if the answers are deleted, but not erased
            self._questions.delete([id_ for rows, _ in self._questions.scan() for id_ in rows.ids])

    def delete(self, ids: Iterable[str]) -> int:
        """Delete texts with their verdicts and the questions they answer; see `AnswerCache.delete`."""
        hashes = list(ids)
        # The questions first: a kill in between leaves answers that can still be deleted by the same ids.
        keys = self._database.select_in("SELECT key FROM answers WHERE sha256 IN ({})", hashes)
        try:
            self._questions.delete([key for (key,) in keys])
        except NotErased:
            super().delete(hashes)
            raise
        return super().delete(hashes)

    def close(self) -> None:
        """Close both files."""
        super().close()
        self._questions.close()

    def _find(self, prompt: str, llm_string: str) -> list[Generation] | None:
        exact = super()._find(prompt, llm_string)
        if exact is not None:
            return exact
        context, question = split_prompt(prompt)
        scope = {"scope": self._scope(llm_string + context)}
        # More than one candidate, since the nearest question may fail the word check or have no passed answer.
        candidates = self._questions.similarity_search_with_score(
            question, _MAX_CANDIDATES, scope, score_threshold=self.threshold
        )
        for candidate, cosine in candidates:
            if candidate.id is None or not is_same_question(question, candidate.page_content):
                continue
            answer = self._passed_answer(candidate.id)
            if answer is not None:
                _log.info("answered a question from a similar one with cosine similarity %.3f", cosine)
                return answer
        return None

    def _forget(self, keys: Sequence[str]) -> None:
        self._questions.delete(list(keys))

    def _store(self, prompt: str, llm_string: str, generations: Any) -> str | None:
        key = super()._store(prompt, llm_string, generations)
        if key is not None:
            context, question = split_prompt(prompt)
            self._questions.add_texts([question], [{"scope": self._scope(llm_string + context)}], ids=[key])
        return key
