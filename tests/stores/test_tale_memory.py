"""Tale memory and labeled examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.prompts import FewShotPromptTemplate, PromptTemplate

from taleward.core.errors import ConfigurationError
from taleward.moderation.guard.guard import Guard
from taleward.stores.example_retriever import ExampleRetriever
from taleward.stores.tale_memory import TaleMemory
from taleward.stores.vector.faiss_store import FaissStore
from taleward.testing import FakeJudge, FakeWriter, WordEmbeddings


async def test_a_guard_remembers_what_it_released_and_nothing_else(tmp_path: Path) -> None:
    memory = TaleMemory(FaissStore(WordEmbeddings(), tmp_path), max_similarity=0.9)
    assert memory.novelty("the brave fox found a key") == 1.0
    guard = Guard(FakeWriter("the brave fox found a key"), FakeJudge(), recorder=memory)
    tale = guard.invoke({})
    Guard(FakeWriter("a bad wolf"), FakeJudge(), recorder=memory).invoke({})
    assert len(memory.store) == 1
    assert memory.novelty("the brave fox found a key") == pytest.approx(0.0, abs=1e-5)
    assert memory.is_repeat("the brave fox found a key!")
    assert not memory.is_repeat("seven whales sang under the sea")
    assert await memory.anovelty("seven whales sang under the sea") > 0.5
    [similar] = memory.similar("a fox", filter={"band": "6-8"})
    assert (similar.id, similar.text) == (tale.id, "the brave fox found a key")
    memory.forget([tale.id])
    assert memory.novelty("the brave fox found a key") == 1.0
    with pytest.raises(ConfigurationError, match="max_similarity"):
        TaleMemory(memory.store, max_similarity=2)


async def test_examples_are_similar_and_cover_every_label() -> None:
    retriever = ExampleRetriever(FaissStore(WordEmbeddings()), k=2)
    texts = ["the wolf ate the hen", "the wolf ate the fox", "the wolf ate the dog", "the wolf hugged the hen"]
    ids = retriever.add(texts, ["fail", "fail", "fail", "pass"], metadata={"band": "6-8"})
    examples = retriever.examples("the wolf ate the hen today")
    assert [e.label for e in examples] == ["pass", "fail"]
    assert examples[-1].text == "the wolf ate the hen"
    assert await retriever.aexamples("the wolf ate the hen today") == examples
    retriever.add(texts[:1], ["pass"])
    assert len(retriever.store) == 4
    retriever.store.delete(ids)
    assert retriever.examples("anything") == []
    with pytest.raises(ConfigurationError, match="k must be"):
        ExampleRetriever(retriever.store, k=0)


def test_langchains_few_shot_prompt_accepts_the_retriever() -> None:
    retriever: Any = ExampleRetriever(FaissStore(WordEmbeddings()), k=1)
    retriever.add_example({"text": "the wolf ate the hen", "label": "fail"})
    prompt = FewShotPromptTemplate(
        example_selector=retriever,
        example_prompt=PromptTemplate.from_template("{text} -> {label}"),
        suffix="{story} ->",
        input_variables=["story"],
    )
    assert prompt.format(story="the wolf ate").startswith("the wolf ate the hen -> fail")
