"""The semantic-router side of `benchmarks.agents`: reads JSON from standard input and writes JSON to standard output.

It runs in a Python environment that has semantic-router. It gets the same utterances and vectors as Taleward's router,
and its threshold is fitted on the same requests to the same share of abstentions.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy
from semantic_router import IndexedRouter, Route
from semantic_router.encoders.base import DenseEncoder

_DEFAULT_INDEX = 3  # top_k 5 and mean


class PrecomputedEncoder(DenseEncoder):  # type: ignore[misc]  # semantic-router is in another environment
    """Returns vectors that were computed before."""

    vectors: dict[str, list[float]]

    def __call__(self, docs: list[str]) -> list[list[float]]:
        return [self.vectors[doc] for doc in docs]

    async def acall(self, docs: list[str]) -> list[list[float]]:
        return self(docs)


def make_router(vectors: dict[str, list[float]], utterances: list[tuple[str, str]], **options: object) -> IndexedRouter:
    """Make a router from pairs of tool and utterance."""
    by_tool: dict[str, list[str]] = {}
    for tool, text in utterances:
        by_tool.setdefault(tool, []).append(text)
    routes = [Route(name=tool, utterances=texts) for tool, texts in by_tool.items()]
    return IndexedRouter(PrecomputedEncoder(name="precomputed", vectors=vectors), routes, **options)


def main() -> None:
    """Route the test requests with the default settings, and with those that do best on the fit requests."""
    request = json.load(sys.stdin)
    candidates = []
    for top_k in (1, 5, 15, 40):
        for aggregation in ("mean", "max", "sum"):
            options = {"top_k": top_k, "aggregation": aggregation}
            router = make_router(request["vectors"], request["sampled"], **options)
            choices = [router(text, threshold=-1e9) for _, text in request["fit"]]
            correct = sum(choice.name == tool for choice, (tool, _) in zip(choices, request["fit"], strict=True))
            threshold = float(numpy.quantile([choice.confidence for choice in choices], request["abstain"]))
            candidates.append((correct, options, threshold))
    best = max(candidates, key=lambda candidate: candidate[0])
    response: dict[str, Any] = {}
    for name, (_, options, threshold) in {"default": candidates[_DEFAULT_INDEX], "best": best}.items():
        router = make_router(request["vectors"], [*request["sampled"], *request["fit"]], **options)
        response[name] = [router(text, threshold=threshold).name for _, text in request["test"]]
        response[name + " settings"] = f"top_k {options['top_k']}, {options['aggregation']}"
    json.dump(response, sys.stdout)


if __name__ == "__main__":
    main()
