"""Answers to questions that are the same in other words: opt-in, checked word by word, and measured."""

from __future__ import annotations

import json
import logging
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.outputs import Generation

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.stores.caches.answers import AnswerCache
from taleward.stores.vector.faiss_store import FaissStore
from taleward.stores.vector.rows import score

_log = logging.getLogger(__name__)
_ARTICLES = frozenset({"a", "an", "the"})
_ASKING = {"can", "could", "create", "give", "make", "me", "tell", "us", "will", "would", "write", "you"}
_BEFORE = _ARTICLES | _ASKING | {"hello", "hey", "hi", "kindly", "please"}
_BEHIND = frozenset({"please", "thank", "thanks", "you"})


def meaning_words(text: str) -> tuple[str, ...]:
    """The words that carry a question's meaning, in order: all but articles, and words of asking at both ends.

    Numbers, negations and the order of words stay; case and punctuation do not count.
    """
    words = re.findall(r"\w+(?:['’.,]\w+)*", unicodedata.normalize("NFKC", text).casefold())
    while words and words[0] in _BEFORE:
        words.pop(0)
    while words and words[-1] in _BEHIND:
        words.pop()
    return tuple(word for word in words if word not in _ARTICLES)


def same_question(one: str, other: str) -> bool:
    """Whether two questions have the same words of meaning in the same order, and at least two of them.

    This is the check beyond cosine: a question and its reversal, another number, a `not` or another name score up to
    0.99 and are told apart here. It errs towards a call too many.
    """
    words = meaning_words(one)
    return len(words) >= 2 and words == meaning_words(other)


def split_prompt(prompt: str) -> tuple[str, str]:
    """What went before, which must be the same to the letter, and the question, which need not.

    LangChain hands a chat's messages as JSON: the question is the last one's text. Any other prompt is all question.
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


class FalseHits(FrozenModel):
    """How a semantic cache did on pairs of questions whose sameness is known.

    Attributes:
        pairs: Pairs of questions that want different answers.
        false_hits: Those that got the other's answer.
        same: Pairs that want the same answer.
        hits: Those that got it.
    """

    pairs: int
    false_hits: int
    same: int
    hits: int

    @property
    def false_hit_rate(self) -> float:
        """Share of the different pairs that were taken for the same, 0..1; 0 without any."""
        return self.false_hits / self.pairs if self.pairs else 0.0


class SemanticAnswerCache(AnswerCache):
    """An `AnswerCache` that also answers a question asked before in other words.

    Where there is no exact answer, the questions most like this one under the same model, parameters and policy are
    looked at; one whose cosine reaches `threshold` and that passes `same_question` gives its answer, if that passed.
    Verdicts are found by their text alone, never by likeness. This cache keeps the questions' text, which the exact
    one does not.

    Args:
        path: A folder, made when missing: `answers.db` and the questions' store.
        embeddings: LangChain embeddings, or a spec such as `embedded:minilm`.
        threshold: The least cosine similarity, 0..1.
        options: As for `AnswerCache`.
    """

    def __init__(
        self, path: str | Path, embeddings: str | Embeddings, *, threshold: float = 0.9, **options: Any
    ) -> None:
        if not 0 <= threshold <= 1:
            raise ConfigurationError(f"threshold must be from 0 to 1; got {threshold}.")
        super().__init__(Path(path) / "answers.db", **options)
        self.threshold = threshold
        self._questions = FaissStore(embeddings, Path(path) / "questions", ttl_s=self.ttl_s, clock=self._clock)

    def false_hits(self, pairs: Iterable[tuple[str, str, bool]]) -> FalseHits:
        """Measure: would the second question get the first one's answer?

        Args:
            pairs: Two questions, and whether they want the same answer.
        """
        counts = {True: [0, 0], False: [0, 0]}
        for one, other, is_same in pairs:
            counts[is_same][0] += 1
            counts[is_same][1] += self.alike(one, other)
        (same, hits), (different, wrong) = counts[True], counts[False]
        return FalseHits(pairs=different, false_hits=wrong, same=same, hits=hits)

    def alike(self, one: str, other: str) -> bool:
        """Whether one question's answer would be given to the other."""
        return same_question(one, other) and self.cosine(one, other) >= self.threshold

    def cosine(self, one: str, other: str) -> float:
        """How like two questions are by their vectors alone, 0..1."""
        import numpy

        a, b = numpy.asarray(self._questions.embeddings.embed_documents([one, other]))
        return score(a @ b / max(float(numpy.linalg.norm(a) * numpy.linalg.norm(b)), 1e-12))

    def clear(self, **kwargs: Any) -> None:
        """Forget all answers, verdicts and questions."""
        super().clear()
        self._questions.delete([id_ for rows, _ in self._questions.scan() for id_ in rows.ids])

    def delete(self, ids: Iterable[str]) -> int:
        """Forget texts with their verdicts and the questions that they answered."""
        names = list(ids)
        keys = self._database.select_in("SELECT key FROM answers WHERE sha256 IN ({})", names)
        self._questions.delete([key for (key,) in keys])
        return super().delete(names)

    def close(self) -> None:
        """Close both files."""
        super().close()
        self._questions.close()

    def _find(self, prompt: str, llm_string: str) -> list[Generation] | None:
        exact = super()._find(prompt, llm_string)
        if exact is not None:
            return exact
        before, asked = split_prompt(prompt)
        scope = {"scope": self._scope(llm_string + before)}
        near = self._questions.similarity_search_with_score(asked, 3, scope, score_threshold=self.threshold)
        for known, cosine in near:
            if known.id is None or not same_question(asked, known.page_content):
                continue
            answer = self._answer(known.id)
            if answer is not None:
                _log.info("a question was answered by one of cosine %.3f", cosine)
                return answer
        return None

    def _keep(self, prompt: str, llm_string: str, answer: Any) -> str | None:
        key = super()._keep(prompt, llm_string, answer)
        if key is not None:
            before, asked = split_prompt(prompt)
            self._questions.add_texts([asked], [{"scope": self._scope(llm_string + before)}], ids=[key])
        return key
