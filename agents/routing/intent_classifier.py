"""Semantic routing: logistic regression over a request's embedding and its words, with a fitted threshold."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.embeddings import Embeddings

from taleward.agents.routing.regression_math import fit_regression, probabilities
from taleward.agents.routing.request_parsing import SpellingCorrector, parse_request
from taleward.agents.routing.routes import NONE, Routes, load_routes
from taleward.agents.routing.strategy import RoutingAttempt, RoutingRequest, RoutingStrategy
from taleward.backends.embedding_models import embeddings as make_embeddings
from taleward.core.frozen_model import FrozenDict

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

SHIPPED = Path(__file__).parent / "data" / "fitted.json"
_UTTERANCES_PER_TOOL = 120
_MIN_NGRAM_COUNT = 3
# Requests that people wrote count more than utterances sampled from patterns.
_EXAMPLE_WEIGHT = 3.0
_FOLDS = 5
# A tool is offered in a question only if it is at least this probable, relative to the runner-up.
_OPTION_RATIO = 0.5
_TOKEN = re.compile(r"[a-z']+|[?!]")


class SemanticStrategy(RoutingStrategy):
    """Route by similarity to examples: no text is generated, and a request takes milliseconds.

    The strategy reads the request's first instruction, with misspelled words corrected and without an attached text,
    as a sentence embedding plus unigrams and bigrams weighted by inverse document frequency. A logistic regression is
    trained on utterances sampled from the routes' patterns and on the routes' examples. Below a probability threshold
    the strategy is unsure; the threshold is fitted by cross-validation on the examples, so that the share `abstain` of
    them goes to the next strategy.

    The shipped routes come with a fitted model. With your own routes or embeddings it is fitted at construction, which
    embeds about 1,500 short texts; pass `CachedEmbeddings` to do that only once.

    Args:
        routes: Routes, such as `load_routes(Path("routes.yaml"))`; `None` for the shipped ones.
        embeddings: An embeddings spec, or LangChain embeddings.
        abstain: The share of requests that the strategy may be unsure about, 0 (inclusive) to 1 (exclusive).

    Attributes:
        labels: The tools, and `none`.
        threshold: The probability below which the strategy is unsure.
    """

    name = "semantic"

    def __init__(
        self,
        routes: Routes | None = None,
        *,
        embeddings: str | Embeddings = "embedded:minilm",
        abstain: float = 0.03,
    ) -> None:
        self.embeddings = make_embeddings(embeddings)
        self.routes = routes or load_routes()
        state = _load_shipped() if embeddings == "embedded:minilm" else None
        if state is None or state["digest"] != digest(self.routes, abstain):
            state = self._fit(abstain)
        self._restore(state)

    def choose(self, request: RoutingRequest) -> RoutingAttempt:
        """Return the tool for a request, or the two tools that the strategy hesitates between."""
        row = self._probabilities([request.text])[0]
        if request.previous_request and row.max() < self.threshold:
            return self._decide_with_answer(request)
        scores = FrozenDict({label: float(score) for label, score in zip(self.labels, row, strict=True)})
        ranking = sorted(scores, key=lambda label: (-scores[label], label))
        best = ranking[0]
        if scores[best] < self.threshold:
            min_score = _OPTION_RATIO * scores[ranking[1]]
            options = tuple(label for label in ranking if label != NONE and scores[label] >= min_score)[:2]
            return RoutingAttempt(
                strategy=self.name,
                outcome="unsure",
                tool=best,
                scores=scores,
                options=options,
                detail=f"{best} has probability {scores[best]:.2f}, below the threshold {self.threshold:.2f}",
            )
        if best == NONE:
            return RoutingAttempt(strategy=self.name, outcome="none", scores=scores)
        return RoutingAttempt(strategy=self.name, outcome="tool", tool=best, scores=scores)

    def _decide_with_answer(self, request: RoutingRequest) -> RoutingAttempt:
        """Choose between the offered tools by the answer and the first request together; nothing is asked twice."""
        rows = self._probabilities([request.text, request.previous_request])
        scores = {o: float(rows[:, self.labels.index(o)].mean()) for o in request.options if o in self.labels}
        if not scores:
            return RoutingAttempt(strategy=self.name, outcome="none")
        best = max(scores, key=lambda option: scores[option])
        return RoutingAttempt(strategy=self.name, outcome="tool", tool=best, scores=FrozenDict(scores))

    def _probabilities(self, requests: Sequence[str]) -> Floats:
        return probabilities(self._weights, self._features([self._instruction(text) for text in requests]))

    def _instruction(self, text: str) -> str:
        return self._spelling.correct(parse_request(text).first_instruction)

    def _features(self, instructions: Sequence[str]) -> Floats:
        import numpy

        vectors = numpy.asarray(self.embeddings.embed_documents(list(instructions)), dtype=numpy.float64)
        ngrams = numpy.zeros((len(instructions), len(self._columns)))
        for row, instruction in enumerate(instructions):
            for ngram in _ngrams(instruction):
                if ngram in self._columns:
                    column = self._columns[ngram]
                    ngrams[row, column] = self._idf[column]
        # Unit length, like the embeddings, so that neither part outweighs the other.
        ngrams /= numpy.maximum(numpy.linalg.norm(ngrams, axis=1, keepdims=True), 1e-9)
        return numpy.hstack([vectors, ngrams, numpy.ones((len(instructions), 1))])

    def _fit(self, abstain: float) -> dict[str, Any]:
        import numpy

        sampled = self.routes.utterances(_UTTERANCES_PER_TOOL)
        examples = [(example.tool, example.text) for example in self.routes.examples]
        # Examples with typos would teach the spelling corrector the misspelled words.
        well_spelled = [example.text for example in self.routes.examples if example.kind != "typo"]
        texts = [*(text for _, text in sampled), *well_spelled]
        words = Counter(word for text in texts for word in re.findall(r"[a-z']+", text.lower()))
        self._spelling = SpellingCorrector(words, _vocabulary())
        instructions = [self._instruction(text) for _, text in [*sampled, *examples]]
        counts = Counter(ngram for instruction in instructions for ngram in set(_ngrams(instruction)))
        ngrams = sorted(ngram for ngram, count in counts.items() if count >= _MIN_NGRAM_COUNT)
        self._columns = {ngram: column for column, ngram in enumerate(ngrams)}
        self._idf = [round(float(numpy.log(len(instructions) / counts[ngram])), 4) for ngram in ngrams]
        self.labels: list[str] = sorted({tool for tool, _ in [*sampled, *examples]})
        features = self._features(instructions)
        classes = numpy.array([self.labels.index(tool) for tool, _ in [*sampled, *examples]])
        weights = numpy.r_[numpy.ones(len(sampled)), numpy.full(len(examples), _EXAMPLE_WEIGHT)]
        confidences: list[float] = []
        for fold in range(_FOLDS) if examples else ():
            # Only examples are held out: the threshold is meant for requests that people write.
            held_out = numpy.array([i >= len(sampled) and i % _FOLDS == fold for i in range(len(classes))])
            coefficients = fit_regression(features[~held_out], classes[~held_out], weights[~held_out], len(self.labels))
            confidences += probabilities(coefficients, features[held_out]).max(axis=1).tolist()
        # These keys are the format of `fitted.json`.
        return {
            "digest": digest(self.routes, abstain),
            "labels": self.labels,
            "threshold": round(float(numpy.quantile(confidences, abstain)), 4) if confidences else 0.0,
            "words": dict(sorted(words.items())),
            "grams": ngrams,
            "rarity": self._idf,
            # Three decimals keep the shipped file small.
            "weights": numpy.round(fit_regression(features, classes, weights, len(self.labels)), 3).tolist(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        # Before NumPy is imported: if the optional libraries are missing, this error names the extra to install.
        self._spelling = SpellingCorrector(state["words"], _vocabulary())
        import numpy

        self.labels = state["labels"]
        self.threshold: float = state["threshold"]
        self._columns = {ngram: column for column, ngram in enumerate(state["grams"])}
        self._idf = state["rarity"]
        self._weights: Floats = numpy.asarray(state["weights"], dtype=numpy.float64)
        self.state = state


def digest(routes: Routes, abstain: float) -> str:
    """Return the SHA-256 of everything that a fit depends on."""
    settings = f"{abstain} {_UTTERANCES_PER_TOOL} {_MIN_NGRAM_COUNT} {_EXAMPLE_WEIGHT} {_FOLDS}"
    return hashlib.sha256(f"{routes.model_dump_json()} {settings}".encode()).hexdigest()


def _load_shipped() -> dict[str, Any] | None:
    if not SHIPPED.is_file():
        return None
    state: dict[str, Any] = json.loads(SHIPPED.read_text(encoding="utf-8"))
    return state


def _vocabulary() -> frozenset[str]:
    """Return the words that are single tokens of the encoder: they count as correctly spelled."""
    from taleward.backends.onnx.minilm import model_folder

    file = model_folder() / "tokenizer.json"
    return frozenset(json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"])


def _ngrams(instruction: str) -> Iterable[str]:
    words = _TOKEN.findall(instruction.lower())
    return [*words, *(f"{a} {b}" for a, b in pairwise(words))]


if __name__ == "__main__":
    # Without the file the constructor fits the shipped routes anew.
    SHIPPED.unlink(missing_ok=True)
    SHIPPED.write_text(json.dumps(SemanticStrategy().state, ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")
