"""Semantic routing: logistic regression over a request's vector and its words, which knows when it is not sure."""

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

from taleward.agents.routing.logistic_regression import fit_regression, probabilities
from taleward.agents.routing.request_parsing import Spelling, take_apart
from taleward.agents.routing.routes import NONE, Routes, load_routes
from taleward.agents.routing.strategy import RoutingAttempt, RoutingRequest, RoutingStrategy
from taleward.backends.embedding_models import embeddings as make_embeddings
from taleward.core.frozen_model import FrozenDict

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

SHIPPED = Path(__file__).parent / "data" / "fitted.json"
_EACH = 120
_RARE = 3
_WEIGHT_OF_EXAMPLES = 3.0
_FOLDS = 5
_HESITATION = 0.5
_TOKEN = re.compile(r"[a-z']+|[?!]")


class SemanticStrategy(RoutingStrategy):
    """Chooses by example: nothing is generated, and a request takes milliseconds.

    What is read is the wish, without a text that comes with it, of several wishes the first, with misspelt words
    mended; as a sentence vector, and as words and pairs of words weighted by how rare they are. Utterances drawn from
    the routes' patterns and the routes' examples teach a logistic regression. It is unsure below a threshold that is
    fitted by cross-validation on the examples, so that of such requests it leaves the given share to the next way.

    The shipped routes come fitted; with routes or embeddings of your own it is fitted when it is made, which embeds
    some 1,500 short texts: hand it `CachedEmbeddings` to do so once.

    Args:
        routes: Routes, such as `load_routes(Path("ours.yaml"))`; `None` for the shipped ones.
        embeddings: A spec, or LangChain embeddings.
        abstain: The share of requests that it may be unsure about, from 0 to below 1.

    Attributes:
        labels: The tools, and `none`.
        threshold: The probability below which it is unsure.
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
        state = _shipped() if embeddings == "embedded:minilm" else None
        if state is None or state["digest"] != digest(self.routes, abstain):
            state = self._fitted(abstain)
        self._read(state)

    def choose(self, request: RoutingRequest) -> RoutingAttempt:
        """The tool for a request, or the two that it hesitates between."""
        own = self._scores([request.text])[0]
        if request.before and own.max() < self.threshold:
            return self._answered(request)
        scores = FrozenDict({label: float(score) for label, score in zip(self.labels, own, strict=True)})
        order = sorted(scores, key=lambda label: (-scores[label], label))
        best, top = order[0], scores[order[0]]
        if top < self.threshold:
            options = tuple(o for o in order if o != NONE and scores[o] >= _HESITATION * scores[order[1]])[:2]
            why = f"{best} has {top:.2f}, less than {self.threshold:.2f}"
            return RoutingAttempt(way=self.name, found="unsure", tool=best, scores=scores, options=options, detail=why)
        if best == NONE:
            return RoutingAttempt(way=self.name, found="none", scores=scores)
        return RoutingAttempt(way=self.name, found="tool", tool=best, scores=scores)

    def _answered(self, request: RoutingRequest) -> RoutingAttempt:
        """The better of the tools that were asked about, by the answer and by the first request; it decides now."""
        rows = self._scores([request.text, request.before])
        both = {o: float(rows[:, self.labels.index(o)].mean()) for o in request.options if o in self.labels}
        if not both:
            return RoutingAttempt(way=self.name, found="none")
        return RoutingAttempt(
            way=self.name, found="tool", tool=max(both, key=lambda o: both[o]), scores=FrozenDict(both)
        )

    def _scores(self, requests: Sequence[str]) -> Floats:
        return probabilities(self._weights, self._features([self._wish(text) for text in requests]))

    def _wish(self, text: str) -> str:
        return self._spelling.mended(take_apart(text).first)

    def _features(self, wishes: Sequence[str]) -> Floats:
        import numpy

        vectors = numpy.asarray(self.embeddings.embed_documents(list(wishes)), dtype=numpy.float64)
        words = numpy.zeros((len(wishes), len(self._columns)))
        for row, wish in enumerate(wishes):
            for gram in _grams(wish):
                if gram in self._columns:
                    column = self._columns[gram]
                    words[row, column] = self._rarity[column]
        words /= numpy.maximum(numpy.linalg.norm(words, axis=1, keepdims=True), 1e-9)
        return numpy.hstack([vectors, words, numpy.ones((len(wishes), 1))])

    def _fitted(self, abstain: float) -> dict[str, Any]:
        import numpy

        drawn = self.routes.utterances(_EACH)
        spoken = [(example.tool, example.text) for example in self.routes.examples]
        right = [text for example in self.routes.examples if example.kind != "typo" for text in [example.text]]
        words = Counter(w for text in [*(t for _, t in drawn), *right] for w in re.findall(r"[a-z']+", text.lower()))
        self._spelling = Spelling(words, _vocabulary())
        wishes = [self._wish(text) for _, text in [*drawn, *spoken]]
        counts = Counter(gram for wish in wishes for gram in set(_grams(wish)))
        grams = sorted(gram for gram, count in counts.items() if count >= _RARE)
        self._columns = {gram: column for column, gram in enumerate(grams)}
        self._rarity = [round(float(numpy.log(len(wishes) / counts[gram])), 4) for gram in grams]
        self.labels: list[str] = sorted({tool for tool, _ in [*drawn, *spoken]})
        features = self._features(wishes)
        classes = numpy.array([self.labels.index(tool) for tool, _ in [*drawn, *spoken]])
        weights = numpy.r_[numpy.ones(len(drawn)), numpy.full(len(spoken), _WEIGHT_OF_EXAMPLES)]
        sure: list[float] = []
        for fold in range(_FOLDS) if spoken else ():
            held = numpy.array([i >= len(drawn) and i % _FOLDS == fold for i in range(len(classes))])
            part = fit_regression(features[~held], classes[~held], weights[~held], len(self.labels))
            sure += probabilities(part, features[held]).max(axis=1).tolist()
        return {
            "digest": digest(self.routes, abstain),
            "labels": self.labels,
            "threshold": round(float(numpy.quantile(sure, abstain)), 4) if sure else 0.0,
            "words": dict(sorted(words.items())),
            "grams": grams,
            "rarity": self._rarity,
            "weights": numpy.round(fit_regression(features, classes, weights, len(self.labels)), 3).tolist(),
        }

    def _read(self, state: dict[str, Any]) -> None:
        self._spelling = Spelling(state["words"], _vocabulary())  # first: it says what to install where that is missing
        import numpy

        self.labels = state["labels"]
        self.threshold: float = state["threshold"]
        self._columns = {gram: column for column, gram in enumerate(state["grams"])}
        self._rarity = state["rarity"]
        self._weights: Floats = numpy.asarray(state["weights"], dtype=numpy.float64)
        self.state = state


def digest(routes: Routes, abstain: float) -> str:
    """SHA-256 of what a fit follows from."""
    told = f"{routes.model_dump_json()} {abstain} {_EACH} {_RARE} {_WEIGHT_OF_EXAMPLES} {_FOLDS}"
    return hashlib.sha256(told.encode()).hexdigest()


def _shipped() -> dict[str, Any] | None:
    if not SHIPPED.is_file():
        return None
    found: dict[str, Any] = json.loads(SHIPPED.read_text(encoding="utf-8"))
    return found


def _vocabulary() -> frozenset[str]:
    """Words that the encoder knows whole: no misspelling of others."""
    from taleward.backends.onnx.minilm import model_folder

    file = model_folder() / "tokenizer.json"
    return frozenset(json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"])


def _grams(wish: str) -> Iterable[str]:
    words = _TOKEN.findall(wish.lower())
    return [*words, *(f"{a} {b}" for a, b in pairwise(words))]


if __name__ == "__main__":
    SHIPPED.unlink(missing_ok=True)
    SHIPPED.write_text(json.dumps(SemanticStrategy().state, ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")
