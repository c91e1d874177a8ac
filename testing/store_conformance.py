"""Conformance tests of vector stores; they need pytest and pytest-asyncio."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document

from taleward.core.errors import ConfigurationError
from taleward.stores.caches.embeddings import CachedEmbeddings
from taleward.stores.vector.base import TalewardStore
from taleward.stores.vector.filters import matches
from taleward.testing.fake_embeddings import WordEmbeddings

TEXTS = [
    "the brave rabbit found a golden key",
    "the brave rabbit lost a golden key",
    "a whale sang under the quiet sea",
    "seven lanterns lit the village square",
]

METADATA: list[dict[str, Any]] = [
    {"age": 6, "lang": "en", "read": True},
    {"age": 7.5, "lang": "fr", "read": False},
    {"age": 9, "lang": "en"},
    {},
]

FILTERS: list[dict[str, Any]] = [
    {},
    {"lang": "en"},
    {"lang": {"$eq": "en"}},
    {"lang": {"$ne": "en"}},
    {"age": 6.0},
    {"age": {"$gt": 6}},
    {"age": {"$gte": 6, "$lt": 9}},
    {"age": {"$lte": 7.5}},
    {"age": "6"},
    {"age": True},
    {"read": True},
    {"read": 1},
    {"read": {"$ne": True}},
    {"lang": {"$in": ["fr", "de", 7]}},
    {"lang": {"$nin": ["fr"]}},
    {"lang": {"$in": []}},
    {"lang": {"$nin": []}},
    {"lang": "en", "age": 9},
    {"$or": [{"lang": "fr"}, {"age": 6}]},
    {"$and": [{"lang": "en"}, {"$or": [{"age": 6}, {"age": {"$gt": 8}}]}]},
    {"$or": [{"lang": {"$in": []}}, {"age": {"$in": []}}]},
    {"unknown": "key"},
]


class StoreConformance(ABC):
    """Tests of the contract that `taleward.stores.TalewardStore` describes; inherit them and implement `open`.

    Each test gets a folder of its own, and `WordEmbeddings`.

    Example:
        ```python
        class TestMyStore(StoreConformance):
            def open(self, folder, embeddings, **options):
                return MyStore(embeddings, folder / "store", **options)
        ```
    """

    @abstractmethod
    def open(self, folder: Path, embeddings: Any, **options: Any) -> TalewardStore:
        """Open the store in a folder; with a folder that was used before, open the same store again.

        Args:
            folder: The test's own folder. A store on a server can derive the name of a collection from it.
            embeddings: The embeddings to pass to the store.
            options: `ttl_s` and `clock`, to pass to the store.
        """

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """The folder of a test."""
        return tmp_path

    @pytest.fixture
    def embeddings(self) -> WordEmbeddings:
        """The embeddings of a test."""
        return WordEmbeddings()

    @pytest.fixture
    def store(self, folder: Path, embeddings: WordEmbeddings) -> Iterator[TalewardStore]:
        """An empty store."""
        store = self.open(folder, embeddings)
        yield store
        store.close()

    @pytest.fixture
    def filled_store(self, store: TalewardStore) -> TalewardStore:
        """A store with four documents, `a` to `d`."""
        store.add_texts(TEXTS, METADATA, ids=list("abcd"))
        return store

    # Adding and getting

    def test_documents_come_back_as_they_were_added(self, filled_store: TalewardStore) -> None:
        """Text, id and metadata come back, with their types."""
        assert len(filled_store) == 4
        documents = filled_store.get_by_ids(["b", "nobody", "a", "d"])
        assert documents == [
            Document(id=i, page_content=TEXTS[at], metadata=METADATA[at]) for i, at in (("b", 1), ("a", 0), ("d", 3))
        ]
        assert [type(documents[1].metadata[key]) for key in METADATA[0]] == [int, str, bool]

    def test_every_method_works_on_an_empty_store(self, store: TalewardStore, embeddings: WordEmbeddings) -> None:
        """Searches find nothing, and deleting is no error."""
        assert len(store) == 0
        assert store
        assert store.add_texts([]) == []
        assert store.similarity_search("anything") == []
        assert store.max_marginal_relevance_search("anything") == []
        assert store.search_vectors([embeddings.embed_query("anything")] * 2) == [[], []]
        assert store.get_by_ids(["a"]) == []
        assert store.delete(["a"])

    def test_ids_are_generated_if_missing(self, store: TalewardStore) -> None:
        """Generated ids are unique, and `add_documents` keeps the ids of documents."""
        generated = store.add_texts(TEXTS[:2])
        mixed = store.add_documents([Document(page_content=TEXTS[2], id="whale"), Document(page_content=TEXTS[3])])
        assert mixed[0] == "whale"
        assert len({*generated, *mixed}) == 4
        assert [d.page_content for d in store.get_by_ids([*generated, *mixed])] == TEXTS

    def test_the_same_id_replaces_text_metadata_and_vector(self, filled_store: TalewardStore) -> None:
        """Nothing is left of the old document."""
        filled_store.add_texts(["a whale again"], [{"lang": "de"}], ids=["a"])
        assert len(filled_store) == 4
        assert filled_store.get_by_ids(["a"]) == [
            Document(id="a", page_content="a whale again", metadata={"lang": "de"})
        ]
        assert filled_store.similarity_search("a whale again", k=1)[0].id == "a"
        assert filled_store.similarity_search("brave rabbit found", k=4, filter={"age": 6}) == []

    def test_deleted_documents_are_gone(self, filled_store: TalewardStore) -> None:
        """They are gone from reading, searching and counting; deleting them again is no error."""
        filled_store.delete(["a", "c", "nobody"])
        filled_store.delete(["a"])
        assert len(filled_store) == 2
        assert filled_store.get_by_ids(["a"]) == []
        assert {d.id for d in filled_store.similarity_search(TEXTS[0], k=4)} == {"b", "d"}
        filled_store.add_texts([TEXTS[0]], ids=["a"])
        assert filled_store.similarity_search(TEXTS[0], k=1)[0].id == "a"

    def test_all_can_be_deleted_and_added_again(self, filled_store: TalewardStore) -> None:
        """A store stays usable when it is emptied."""
        filled_store.delete(list("abcd"))
        assert len(filled_store) == 0
        assert filled_store.similarity_search(TEXTS[0]) == []
        filled_store.add_texts(TEXTS[:1], ids=["a"])
        assert filled_store.similarity_search(TEXTS[0])[0].id == "a"

    def test_a_store_can_be_reopened(
        self, folder: Path, filled_store: TalewardStore, embeddings: WordEmbeddings
    ) -> None:
        """It has all its documents, and embeds none of them again."""
        filled_store.close()
        embeddings.embedded_texts.clear()
        reopened = self.open(folder, embeddings)
        assert len(reopened) == 4
        assert embeddings.embedded_texts == []
        assert reopened.similarity_search(TEXTS[2], k=1)[0] == Document(
            id="c", page_content=TEXTS[2], metadata=METADATA[2]
        )
        reopened.close()

    @pytest.mark.parametrize(
        "text", ["", " ", "привет, мир", "🦔" * 50, "a\x00b", "line\nline\r\n", "word " * 50_000], ids=range(7)
    )
    def test_any_text_comes_back_unchanged(self, store: TalewardStore, text: str) -> None:
        """Texts may be empty, in any script, huge, or contain control characters."""
        store.add_texts([text], [{"ключ": "значение", 'quo"te': "'; --"}], ids=["идентификатор"])
        [document] = store.get_by_ids(["идентификатор"])
        assert document.page_content == text
        assert document.metadata == {"ключ": "значение", 'quo"te': "'; --"}
        assert store.similarity_search(text, k=1, filter={'quo"te': "'; --"})[0].page_content == text

    # Searching

    def test_scores_are_cosines_from_0_to_1_best_first(self, filled_store: TalewardStore) -> None:
        """The score of an equal text is 1, and all methods return the same scores."""
        hits = filled_store.similarity_search_with_score(TEXTS[0], k=4)
        scores = [score for _, score in hits]
        assert [d.id for d, _ in hits][:2] == ["a", "b"]
        assert scores == sorted(scores, reverse=True)
        assert scores[0] == pytest.approx(1.0, abs=1e-5)
        assert all(0.0 <= score <= 1.0 for score in scores)
        by_method = filled_store.similarity_search_with_relevance_scores(TEXTS[0], k=4)
        assert [s for _, s in by_method] == pytest.approx(scores)

    def test_opposite_vectors_score_0(self, store: TalewardStore, embeddings: WordEmbeddings) -> None:
        """Negative cosines count as 0."""
        store.add_texts(TEXTS[:1])
        [[(_, score)]] = store.search_vectors([[-x for x in embeddings.embed_query(TEXTS[0])]], k=1)
        assert score == 0.0

    def test_a_threshold_leaves_out_less_similar_documents(self, filled_store: TalewardStore) -> None:
        """It also works on a retriever."""
        assert [d.id for d, _ in filled_store.similarity_search_with_score(TEXTS[0], score_threshold=0.99)] == ["a"]
        search = {"score_threshold": 0.99, "k": 4}
        retriever = filled_store.as_retriever(search_type="similarity_score_threshold", search_kwargs=search)
        assert [d.id for d in retriever.invoke(TEXTS[0])] == ["a"]
        with pytest.raises(ConfigurationError, match="from 0 to 1"):
            filled_store.similarity_search(TEXTS[0], score_threshold=1.5)

    def test_a_query_vector_may_have_any_length(self, filled_store: TalewardStore, embeddings: WordEmbeddings) -> None:
        """Only its direction matters."""
        vector = [3.0 * x for x in embeddings.embed_query(TEXTS[2])]
        assert filled_store.similarity_search_by_vector(vector, k=1)[0].id == "c"

    def test_many_vectors_in_one_search(self, filled_store: TalewardStore, embeddings: WordEmbeddings) -> None:
        """Each vector gets the same documents as in a search of its own."""
        vectors = embeddings.embed_documents(TEXTS)
        together = filled_store.search_vectors(vectors, k=3)
        for vector, hits in zip(vectors, together, strict=True):
            [alone] = filled_store.search_vectors([vector], k=3)
            assert [d.id for d, _ in hits] == [d.id for d, _ in alone]
        assert [hits[0][0].id for hits in together] == list("abcd")

    def test_k_larger_than_the_store_returns_all(self, filled_store: TalewardStore) -> None:
        """A `k` below 1 is an error."""
        assert len(filled_store.similarity_search("rabbit", k=100)) == 4
        with pytest.raises(ConfigurationError, match="k must be 1 or more"):
            filled_store.similarity_search("rabbit", k=0)

    def test_mmr_prefers_diverse_documents(self, filled_store: TalewardStore) -> None:
        """It does not return two near-duplicates."""
        query = "the brave rabbit and the whale under the sea with a golden key"
        assert {d.id for d in filled_store.similarity_search(query, k=2)} == {"a", "b"}
        documents = filled_store.max_marginal_relevance_search(query, k=2, fetch_k=4, lambda_mult=0.3)
        assert len(documents) == 2
        assert {d.id for d in documents} != {"a", "b"}
        most_similar = filled_store.max_marginal_relevance_search(query, k=2, lambda_mult=1.0)
        assert {d.id for d in most_similar} == {"a", "b"}
        [only] = filled_store.max_marginal_relevance_search(query, k=2, filter={"age": 9})
        assert only.id == "c"

    # Filters

    @pytest.mark.parametrize("filter", FILTERS, ids=str)
    def test_a_filter_selects_the_same_documents_in_every_store(
        self, filled_store: TalewardStore, filter: dict[str, Any]
    ) -> None:
        """The documents are those that `taleward.stores.vector.filters.matches` accepts."""
        documents = filled_store.similarity_search("a story", k=10, filter=filter)
        assert {d.id for d in documents} == {
            i for i, metadata in zip("abcd", METADATA, strict=True) if matches(filter, metadata)
        }

    def test_a_filter_applies_before_the_search(self, store: TalewardStore) -> None:
        """A matching document is found even if many others are more similar."""
        texts = [f"the brave rabbit number {i}" for i in range(300)]
        store.add_texts(texts, [{"i": i} for i in range(300)])
        documents = store.similarity_search("the brave rabbit number 1", k=2, filter={"i": {"$gte": 298}})
        assert {d.metadata["i"] for d in documents} == {298, 299}

    @pytest.mark.parametrize(
        "filter",
        [
            {"a": {"$like": 1}},
            {"$not": []},
            {"a": {"$gt": "6"}},
            {"a": None},
            {"a": {}},
            {"$or": []},
            {"a": {"$in": "x"}},
        ],
        ids=str,
    )
    def test_an_invalid_filter_is_an_error(self, filled_store: TalewardStore, filter: dict[str, Any]) -> None:
        """It does not silently match nothing."""
        with pytest.raises(ConfigurationError):
            filled_store.similarity_search("a story", filter=filter)

    # Rejected input

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"texts": "one"}, "got one text"),
            ({"texts": ["one", 2]}, "got int"),
            ({"texts": ["\ud83d"]}, "surrogate"),
            ({"texts": ["one"], "metadatas": []}, "1 texts and 0 metadatas"),
            ({"texts": ["one"], "ids": ["a", "b"]}, "1 texts and 2 ids"),
            ({"texts": ["one", "two"], "ids": ["a", "a"]}, "'a' comes twice"),
            ({"texts": ["one"], "metadatas": [{"a": [1]}]}, "metadata 'a'"),
            ({"texts": ["one"], "metadatas": [{"a": None}]}, "metadata 'a'"),
            ({"texts": ["one"], "metadatas": [{"a": float("nan")}]}, "finite"),
            ({"texts": ["one"], "metadatas": [{"a": 2**60}]}, r"2\*\*53"),
            ({"texts": ["one"], "metadatas": [{"$a": 1}]}, "starts with neither"),
            ({"texts": ["one"], "colour": "red"}, "colour"),
        ],
    )
    def test_invalid_documents_are_rejected(
        self, store: TalewardStore, embeddings: WordEmbeddings, arguments: dict[str, Any], message: str
    ) -> None:
        """If one document is invalid, none is embedded or written."""
        with pytest.raises(ConfigurationError, match=message):
            store.add_texts(**arguments)
        assert len(store) == 0
        assert embeddings.embedded_texts == []

    def test_vectors_of_another_dimension_are_rejected(self, filled_store: TalewardStore) -> None:
        """The message names both dimensions, in searching and in adding."""
        with pytest.raises(ConfigurationError, match="3 dimensions; this store holds 64, made by 'test:words'"):
            filled_store.similarity_search_by_vector([1.0, 0.0, 0.0])
        with pytest.raises(ConfigurationError, match="3 dimensions"):
            filled_store.add_vectors(["x"], [[1.0, 0.0, 0.0]])
        assert len(filled_store) == 4

    def test_another_model_is_rejected(self, folder: Path, filled_store: TalewardStore) -> None:
        """The message names both fingerprints."""
        filled_store.close()
        with pytest.raises(ConfigurationError, match=r"'test:words'.*'test:other'"):
            self.open(folder, WordEmbeddings(name="test:other"))

    # Time to live

    def test_expired_documents_are_gone(self, folder: Path, embeddings: WordEmbeddings) -> None:
        """They are gone from all results, and from a store that is reopened without a time to live."""
        now = [1000.0]
        store = self.open(folder, embeddings, ttl_s=60, clock=lambda: now[0])
        store.add_texts(TEXTS[:2], METADATA[:2], ids=["a", "b"])
        now[0] += 59
        store.add_texts(TEXTS[2:3], ids=["c"])
        assert store.get_by_ids(["a"])[0].metadata == METADATA[0]
        now[0] += 2
        assert [d.id for d in store.similarity_search(TEXTS[0], k=4)] == ["c"]
        assert store.get_by_ids(["a", "c"])[0].id == "c"
        store.close()
        now[0] += 60
        reopened = self.open(folder, embeddings, clock=lambda: now[0])
        assert len(reopened) == 0
        reopened.close()

    # Async and the cache

    async def test_async_methods_return_the_same(self, store: TalewardStore, embeddings: WordEmbeddings) -> None:
        """Every method has an async version."""
        assert await store.aadd_texts(TEXTS, METADATA, ids=list("abcd")) == list("abcd")
        query = TEXTS[1]
        assert await store.asimilarity_search(query, k=3) == store.similarity_search(query, k=3)
        scored = await store.asimilarity_search_with_score(query, k=3, filter={"lang": "en"})
        assert [d.id for d, _ in scored] == [
            d.id for d, _ in store.similarity_search_with_score(query, k=3, filter={"lang": "en"})
        ]
        vector = embeddings.embed_query(query)
        assert (await store.asimilarity_search_by_vector(vector))[0].id == "b"
        assert await store.amax_marginal_relevance_search(query) == store.max_marginal_relevance_search(query)
        assert (await store.as_retriever().ainvoke(query))[0].id == "b"
        relevance = await store.asimilarity_search_with_relevance_scores(query, k=1)
        assert relevance[0][1] == pytest.approx(1.0, abs=1e-5)
        assert (await store.aget_by_ids(["c"]))[0].id == "c"
        await store.adelete(["c"])
        assert len(store) == 3

    def test_a_cached_text_is_not_embedded_again(self, folder: Path, embeddings: WordEmbeddings) -> None:
        """It is embedded neither when it is added again nor when it is searched for."""
        store = self.open(folder, CachedEmbeddings(embeddings, folder / "cache.db"))
        store.add_texts([*TEXTS, TEXTS[0]])
        assert sorted(embeddings.embedded_texts) == sorted(TEXTS)
        store.add_texts(TEXTS)
        store.similarity_search(TEXTS[0])
        assert len(embeddings.embedded_texts) == len(TEXTS)
        store.close()

    def test_many_texts_can_be_added_at_once(self, folder: Path, embeddings: WordEmbeddings) -> None:
        """All are added, even if they do not fit into one request to a server."""
        store = self.open(folder, embeddings)
        texts = [f"story {i}" for i in range(6000)]
        ids = store.add_texts(texts)
        assert len(store) == 6000
        assert [d.page_content for d in store.get_by_ids([ids[0], ids[5999]])] == ["story 0", "story 5999"]
        store.close()
