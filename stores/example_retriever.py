"""Labeled examples, found by likeness: for few-shot prompts, and human verdicts for a judge's prompt."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.example_selectors import BaseExampleSelector

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.stores.vector.base import TalewardStore
from taleward.stores.vector.filters import Filter

_LABEL = "label"


class LabeledExample(FrozenModel):
    """A text with its label.

    Attributes:
        text: The text.
        label: What a person said of it, for example an outcome or a class.
        score: How like the question it is, 0..1; `None` where it was not searched for.
    """

    text: str
    label: str
    score: float | None = None


class ExampleRetriever(BaseExampleSelector):
    """Picks the examples most like a text, with every label among them where the store has them.

    It is a LangChain example selector too, so that a `FewShotPromptTemplate` takes it; its examples have the keys
    `text` and `label`.

    Args:
        store: Any store of Taleward.
        k: Examples to give.
        filter: Which examples to look at, see `taleward.stores.vector.filters`.
    """

    def __init__(self, store: TalewardStore, *, k: int = 4, filter: Filter | None = None) -> None:
        if k < 1:
            raise ConfigurationError(f"k must be 1 or more; got {k}.")
        self.store, self.k, self.filter = store, k, filter

    def add(
        self, texts: Iterable[str], labels: Iterable[str], *, metadata: Mapping[str, Any] | None = None
    ) -> list[str]:
        """Keep labelled texts; a text that is there gets the new label.

        Args:
            texts: The texts.
            labels: One label a text.
            metadata: For all of them, for example `{"policy": "kids@1", "band": "6-8"}`.

        Returns:
            Their ids, to delete them by.
        """
        pairs = list(zip(texts, labels, strict=True))
        latest = dict(pairs)
        ids = {text: hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in latest}
        metadatas = [{**(metadata or {}), _LABEL: label} for label in latest.values()]
        self.store.add_texts(list(latest), metadatas, ids=list(ids.values()))
        return [ids[text] for text, _ in pairs]

    def examples(self, text: str, k: int | None = None) -> list[LabeledExample]:
        """The examples most like a text, most alike last, where a model minds them most.

        Half of the places go to the most alike whatever their label, the others to labels not among those.
        """
        k = k or self.k
        found = self.store.similarity_search_with_score(text, 4 * k, self.filter)
        picked = found[: (k + 1) // 2]
        for document, score in found[len(picked) :]:
            if len(picked) < k and document.metadata.get(_LABEL) not in {d.metadata.get(_LABEL) for d, _ in picked}:
                picked.append((document, score))
        names = {document.id for document, _ in picked}
        picked += [hit for hit in found if hit[0].id not in names][: k - len(picked)]
        examples = [
            LabeledExample(text=d.page_content, label=str(d.metadata.get(_LABEL, "")), score=score)
            for d, score in picked
        ]
        return sorted(examples, key=lambda example: example.score or 0.0)

    async def aexamples(self, text: str, k: int | None = None) -> list[LabeledExample]:
        """As `examples`, without blocking the event loop."""
        return await asyncio.to_thread(self.examples, text, k)

    def add_example(self, example: dict[str, str]) -> str:
        """Keep one example with the keys `text` and `label`."""
        return self.add([example["text"]], [example[_LABEL]])[0]

    def select_examples(self, input_variables: dict[str, str]) -> list[dict[str, str]]:
        """The examples most like the input variables, joined; as `examples` otherwise."""
        found = self.examples("\n".join(input_variables.values()))
        return [{"text": example.text, _LABEL: example.label} for example in found]
