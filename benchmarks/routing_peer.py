"""The peer's side of `benchmarks.agents`, run by a Python that has semantic-router: JSON on standard input and output.

It gets the same utterances and the same vectors; its threshold is fitted on the same requests, to the same share.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy
from semantic_router import IndexedRouter, Route
from semantic_router.encoders.base import DenseEncoder


class Ready(DenseEncoder):  # type: ignore[misc]  # semantic-router is in another environment
    """Vectors that were made elsewhere."""

    vectors: dict[str, list[float]]

    def __call__(self, docs: list[str]) -> list[list[float]]:
        return [self.vectors[doc] for doc in docs]

    async def acall(self, docs: list[str]) -> list[list[float]]:
        return self(docs)


def router(given: dict[str, Any], spoken: list[list[str]], **options: object) -> IndexedRouter:
    """A router with these utterances, tool and text."""
    texts: dict[str, list[str]] = {}
    for tool, text in spoken:
        texts.setdefault(tool, []).append(text)
    routes = [Route(name=tool, utterances=said) for tool, said in texts.items()]
    return IndexedRouter(Ready(name="ready", vectors=given["vectors"]), routes, **options)


def main() -> None:
    """Route the test requests: with the defaults, and with the settings that do best on the fit requests."""
    given = json.load(sys.stdin)
    tried = []
    for top_k in (1, 5, 15, 40):
        for aggregation in ("mean", "max", "sum"):
            options = {"top_k": top_k, "aggregation": aggregation}
            asked = router(given, given["drawn"], **options)
            found = [asked(text, threshold=-1e9) for _, text in given["fit"]]
            right = sum(choice.name == tool for choice, (tool, _) in zip(found, given["fit"], strict=True))
            threshold = float(numpy.quantile([choice.confidence for choice in found], given["abstain"]))
            tried.append((right, options, threshold))
    answers: dict[str, Any] = {}
    for name, (_, options, threshold) in {"default": tried[3], "best": max(tried, key=lambda t: t[0])}.items():
        final = router(given, [*given["drawn"], *given["fit"]], **options)
        answers[name] = [final(text, threshold=threshold).name for _, text in given["test"]]
        answers[name + " is"] = f"top_k {options['top_k']}, {options['aggregation']}"
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
