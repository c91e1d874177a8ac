"""Retrieve labeled examples by similarity, for few-shot prompts and for judges' prompts."""

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
        label: The label a person gave it, for example an outcome or a class.
        score: The similarity to the query, from 0 to 1; `None` if the example was not retrieved by a search.
    """

    text: str
    label: str
    score: float | None = None


class ExampleRetriever(BaseExampleSelector):
    """Select the examples most similar to a text, with different labels among them where possible.

    It is also a LangChain example selector, so you can pass it to a `FewShotPromptTemplate`; its examples have the keys
    `text` and `label`.

    Args:
        store: Any Taleward vector store.
        k: The number of examples to select.
        filter: A metadata filter, see `taleward.stores.vector.filters`.

    Raises:
        ConfigurationError: If `k` is less than 1.
    """

    def __init__(self, store: TalewardStore, *, k: int = 4, filter: Filter | None = None) -> None:
        if k < 1:
            raise ConfigurationError(f"k must be 1 or more; got {k}.")
        self.store, self.k, self.filter = store, k, filter

    def add(
        self, texts: Iterable[str], labels: Iterable[str], *, metadata: Mapping[str, Any] | None = None
    ) -> list[str]:
        """Store labeled texts; a text that is already stored gets the new label.

        Args:
            texts: The texts.
            labels: One label per text.
            metadata: Metadata for all of them, for example `{"policy": "kids@1", "band": "6-8"}`.

        Returns:
            One id per text, by which you can delete it from the store.

        Raises:
            ValueError: If there are not as many labels as texts.
        """
        pairs = list(zip(texts, labels, strict=True))
        last_label = dict(pairs)
        ids = {text: hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in last_label}
        metadatas = [{**(metadata or {}), _LABEL: label} for label in last_label.values()]
        self.store.add_texts(list(last_label), metadatas, ids=list(ids.values()))
        return [ids[text] for text, _ in pairs]

    def examples(self, text: str, k: int | None = None) -> list[LabeledExample]:
        """Return the `k` examples most similar to a text, the most similar last.

        Half of them are the most similar whatever their label, the others prefer labels that are not yet among them.
        Models give most weight to the end of a prompt, hence the order.
        """
        k = k or self.k
        # Four times as many candidates, so that rarer labels have a chance to be among them.
        hits = self.store.similarity_search_with_score(text, 4 * k, self.filter)
        selected = hits[: (k + 1) // 2]
        for document, score in hits[len(selected) :]:
            if len(selected) < k and document.metadata.get(_LABEL) not in {d.metadata.get(_LABEL) for d, _ in selected}:
                selected.append((document, score))
        selected_ids = {document.id for document, _ in selected}
        selected += [hit for hit in hits if hit[0].id not in selected_ids][: k - len(selected)]
        examples = [
            LabeledExample(text=d.page_content, label=str(d.metadata.get(_LABEL, "")), score=score)
            for d, score in selected
        ]
        return sorted(examples, key=lambda example: example.score or 0.0)

    async def aexamples(self, text: str, k: int | None = None) -> list[LabeledExample]:
        """Like `examples`, without blocking the event loop."""
        return await asyncio.to_thread(self.examples, text, k)

    def add_example(self, example: dict[str, str]) -> str:
        """Store one example with the keys `text` and `label`, and return its id."""
        return self.add([example["text"]], [example[_LABEL]])[0]

    def select_examples(self, input_variables: dict[str, str]) -> list[dict[str, str]]:
        """Return the examples most similar to the input variables, joined by newlines; see `examples`."""
        selected = self.examples("\n".join(input_variables.values()))
        return [{"text": example.text, _LABEL: example.label} for example in selected]
