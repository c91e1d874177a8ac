"""What every vector store must do, as tests: inherit `StoreConformance` and say how a store is opened.

    class TestMyStore(StoreConformance):
        def open(self, place, embeddings, **options):
            return MyStore(embeddings, place / "store", **options)

The tests need pytest and pytest-asyncio; each gets a folder of its own and the embeddings `WordEmbeddings`.
"""

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
    {"nobody": "knows"},
]


class StoreConformance(ABC):
    """Tests of the contract in `taleward.stores.vector.base.TalewardStore`."""

    @abstractmethod
    def open(self, place: Path, embeddings: Any, **options: Any) -> TalewardStore:
        """The store in a folder; a second call with the same folder opens the same store again.

        Args:
            place: An empty folder that is the test's own.
            embeddings: What the store embeds with.
            options: `ttl_s` and `clock`, for the store.
        """

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        """A folder for one test; a store on a server may make it a collection."""
        return tmp_path

    @pytest.fixture
    def model(self) -> WordEmbeddings:
        """The embeddings of one test."""
        return WordEmbeddings()

    @pytest.fixture
    def store(self, place: Path, model: WordEmbeddings) -> Iterator[TalewardStore]:
        """An empty store."""
        store = self.open(place, model)
        yield store
        store.close()

    @pytest.fixture
    def full(self, store: TalewardStore) -> TalewardStore:
        """A store with four documents, `a` to `d`."""
        store.add_texts(TEXTS, METADATA, ids=list("abcd"))
        return store

    # Adding and getting ---------------------------------------------------------------------------------------------

    def test_documents_come_back_as_they_were_added(self, full: TalewardStore) -> None:
        """Text, id and metadata, types included."""
        assert len(full) == 4
        found = full.get_by_ids(["b", "nobody", "a", "d"])
        assert found == [
            Document(id=i, page_content=TEXTS[at], metadata=METADATA[at]) for i, at in (("b", 1), ("a", 0), ("d", 3))
        ]
        assert [type(found[1].metadata[key]) for key in METADATA[0]] == [int, str, bool]

    def test_an_empty_store_answers(self, store: TalewardStore, model: WordEmbeddings) -> None:
        """Every method has an answer without documents."""
        assert len(store) == 0
        assert store
        assert store.add_texts([]) == []
        assert store.similarity_search("anything") == []
        assert store.max_marginal_relevance_search("anything") == []
        assert store.search_vectors([model.embed_query("anything")] * 2) == [[], []]
        assert store.get_by_ids(["a"]) == []
        assert store.delete(["a"])

    def test_ids_are_made_where_none_are_given(self, store: TalewardStore) -> None:
        """They differ, and `add_documents` keeps those that documents bring."""
        made = store.add_texts(TEXTS[:2])
        mixed = store.add_documents([Document(page_content=TEXTS[2], id="whale"), Document(page_content=TEXTS[3])])
        assert mixed[0] == "whale"
        assert len({*made, *mixed}) == 4
        assert [d.page_content for d in store.get_by_ids([*made, *mixed])] == TEXTS

    def test_the_same_id_replaces_text_metadata_and_vector(self, full: TalewardStore) -> None:
        """Nothing of the old document is left."""
        full.add_texts(["a whale again"], [{"lang": "de"}], ids=["a"])
        assert len(full) == 4
        assert full.get_by_ids(["a"]) == [Document(id="a", page_content="a whale again", metadata={"lang": "de"})]
        assert full.similarity_search("a whale again", k=1)[0].id == "a"
        assert full.similarity_search("brave rabbit found", k=4, filter={"age": 6}) == []

    def test_deleted_documents_are_gone(self, full: TalewardStore) -> None:
        """From get, search and count; deleting again is no error."""
        full.delete(["a", "c", "nobody"])
        full.delete(["a"])
        assert len(full) == 2
        assert full.get_by_ids(["a"]) == []
        assert {d.id for d in full.similarity_search(TEXTS[0], k=4)} == {"b", "d"}
        full.add_texts([TEXTS[0]], ids=["a"])
        assert full.similarity_search(TEXTS[0], k=1)[0].id == "a"

    def test_all_can_be_deleted_and_added_again(self, full: TalewardStore) -> None:
        """An emptied store goes on."""
        full.delete(list("abcd"))
        assert len(full) == 0
        assert full.similarity_search(TEXTS[0]) == []
        full.add_texts(TEXTS[:1], ids=["a"])
        assert full.similarity_search(TEXTS[0])[0].id == "a"

    def test_a_store_opens_again(self, place: Path, full: TalewardStore, model: WordEmbeddings) -> None:
        """With all its documents, and without embedding them anew."""
        full.close()
        model.asked.clear()
        again = self.open(place, model)
        assert len(again) == 4
        assert model.asked == []
        assert again.similarity_search(TEXTS[2], k=1)[0] == Document(
            id="c", page_content=TEXTS[2], metadata=METADATA[2]
        )
        again.close()

    @pytest.mark.parametrize(
        "text", ["", " ", "привет, мир", "🦔" * 50, "a\x00b", "line\nline\r\n", "word " * 50_000], ids=range(7)
    )
    def test_any_text_comes_back_unchanged(self, store: TalewardStore, text: str) -> None:
        """Empty, in any script, with control characters, huge."""
        store.add_texts([text], [{"ключ": "значение", 'quo"te': "'; --"}], ids=["идентификатор"])
        [found] = store.get_by_ids(["идентификатор"])
        assert found.page_content == text
        assert found.metadata == {"ключ": "значение", 'quo"te': "'; --"}
        assert store.similarity_search(text, k=1, filter={'quo"te': "'; --"})[0].page_content == text

    # Searching ------------------------------------------------------------------------------------------------------

    def test_scores_are_cosines_from_0_to_1_best_first(self, full: TalewardStore) -> None:
        """1 for the same text; every method agrees."""
        found = full.similarity_search_with_score(TEXTS[0], k=4)
        scores = [score for _, score in found]
        assert [d.id for d, _ in found][:2] == ["a", "b"]
        assert scores == sorted(scores, reverse=True)
        assert scores[0] == pytest.approx(1.0, abs=1e-5)
        assert all(0.0 <= score <= 1.0 for score in scores)
        by_method = full.similarity_search_with_relevance_scores(TEXTS[0], k=4)
        assert [s for _, s in by_method] == pytest.approx(scores)

    def test_opposite_vectors_score_0(self, store: TalewardStore, model: WordEmbeddings) -> None:
        """Below 0 there is nothing."""
        store.add_texts(TEXTS[:1])
        [[(_, score)]] = store.search_vectors([[-x for x in model.embed_query(TEXTS[0])]], k=1)
        assert score == 0.0

    def test_a_threshold_cuts_off_what_is_less_alike(self, full: TalewardStore) -> None:
        """On the retriever too."""
        assert [d.id for d, _ in full.similarity_search_with_score(TEXTS[0], score_threshold=0.99)] == ["a"]
        search = {"score_threshold": 0.99, "k": 4}
        retriever = full.as_retriever(search_type="similarity_score_threshold", search_kwargs=search)
        assert [d.id for d in retriever.invoke(TEXTS[0])] == ["a"]
        with pytest.raises(ConfigurationError, match="from 0 to 1"):
            full.similarity_search(TEXTS[0], score_threshold=1.5)

    def test_search_by_vector_takes_any_length(self, full: TalewardStore, model: WordEmbeddings) -> None:
        """Only the direction counts."""
        vector = [3.0 * x for x in model.embed_query(TEXTS[2])]
        assert full.similarity_search_by_vector(vector, k=1)[0].id == "c"

    def test_many_vectors_in_one_search(self, full: TalewardStore, model: WordEmbeddings) -> None:
        """Each gets what it would get alone."""
        vectors = model.embed_documents(TEXTS)
        together = full.search_vectors(vectors, k=3)
        for vector, found in zip(vectors, together, strict=True):
            [alone] = full.search_vectors([vector], k=3)
            assert [d.id for d, _ in found] == [d.id for d, _ in alone]
        assert [found[0][0].id for found in together] == list("abcd")

    def test_k_beyond_the_store_gives_all(self, full: TalewardStore) -> None:
        """And `k` below 1 is an error."""
        assert len(full.similarity_search("rabbit", k=100)) == 4
        with pytest.raises(ConfigurationError, match="k must be 1 or more"):
            full.similarity_search("rabbit", k=0)

    def test_mmr_prefers_what_differs(self, full: TalewardStore) -> None:
        """Two near-duplicates do not both come."""
        query = "the brave rabbit and the whale under the sea with a golden key"
        assert {d.id for d in full.similarity_search(query, k=2)} == {"a", "b"}
        found = full.max_marginal_relevance_search(query, k=2, fetch_k=4, lambda_mult=0.3)
        assert len(found) == 2
        assert {d.id for d in found} != {"a", "b"}
        alike = full.max_marginal_relevance_search(query, k=2, lambda_mult=1.0)
        assert {d.id for d in alike} == {"a", "b"}
        [only] = full.max_marginal_relevance_search(query, k=2, filter={"age": 9})
        assert only.id == "c"

    # Filters --------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("filter", FILTERS, ids=str)
    def test_filters_mean_the_same_everywhere(self, full: TalewardStore, filter: dict[str, Any]) -> None:
        """As `taleward.stores.vector.filters.matches` says."""
        found = full.similarity_search("a story", k=10, filter=filter)
        assert {d.id for d in found} == {
            i for i, metadata in zip("abcd", METADATA, strict=True) if matches(filter, metadata)
        }

    def test_a_rare_document_is_found_behind_many(self, store: TalewardStore) -> None:
        """The filter applies to all, not to the best few."""
        texts = [f"the brave rabbit number {i}" for i in range(300)]
        store.add_texts(texts, [{"i": i} for i in range(300)])
        found = store.similarity_search("the brave rabbit number 1", k=2, filter={"i": {"$gte": 298}})
        assert {d.metadata["i"] for d in found} == {298, 299}

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
    def test_what_is_no_filter_is_an_error(self, full: TalewardStore, filter: dict[str, Any]) -> None:
        """Not an empty answer."""
        with pytest.raises(ConfigurationError):
            full.similarity_search("a story", filter=filter)

    # Refusals -------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("arguments", "said"),
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
    def test_what_cannot_be_kept_is_refused_whole(
        self, store: TalewardStore, model: WordEmbeddings, arguments: dict[str, Any], said: str
    ) -> None:
        """Before anything is embedded or written."""
        with pytest.raises(ConfigurationError, match=said):
            store.add_texts(**arguments)
        assert len(store) == 0
        assert model.asked == []

    def test_another_dimension_is_refused(self, full: TalewardStore) -> None:
        """Naming both, in search and in adding."""
        with pytest.raises(ConfigurationError, match="3 dimensions; this store holds 64, made by 'test:words'"):
            full.similarity_search_by_vector([1.0, 0.0, 0.0])
        with pytest.raises(ConfigurationError, match="3 dimensions"):
            full.add_vectors(["x"], [[1.0, 0.0, 0.0]])
        assert len(full) == 4

    def test_another_model_is_refused(self, place: Path, full: TalewardStore) -> None:
        """Naming both fingerprints."""
        full.close()
        with pytest.raises(ConfigurationError, match=r"'test:words'.*'test:other'"):
            self.open(place, WordEmbeddings(name="test:other"))

    # Time to live ---------------------------------------------------------------------------------------------------

    def test_documents_past_their_time_are_gone(self, place: Path, model: WordEmbeddings) -> None:
        """From every answer, and a later opening without a time to live forgets them too."""
        now = [1000.0]
        store = self.open(place, model, ttl_s=60, clock=lambda: now[0])
        store.add_texts(TEXTS[:2], METADATA[:2], ids=["a", "b"])
        now[0] += 59
        store.add_texts(TEXTS[2:3], ids=["c"])
        assert store.get_by_ids(["a"])[0].metadata == METADATA[0]
        now[0] += 2
        assert [d.id for d in store.similarity_search(TEXTS[0], k=4)] == ["c"]
        assert store.get_by_ids(["a", "c"])[0].id == "c"
        store.close()
        now[0] += 60
        again = self.open(place, model, clock=lambda: now[0])
        assert len(again) == 0
        again.close()

    # Async and the cache --------------------------------------------------------------------------------------------

    async def test_async_gives_the_same(self, store: TalewardStore, model: WordEmbeddings) -> None:
        """Every method with an `a` before its name."""
        assert await store.aadd_texts(TEXTS, METADATA, ids=list("abcd")) == list("abcd")
        query = TEXTS[1]
        assert await store.asimilarity_search(query, k=3) == store.similarity_search(query, k=3)
        scored = await store.asimilarity_search_with_score(query, k=3, filter={"lang": "en"})
        assert [d.id for d, _ in scored] == [
            d.id for d, _ in store.similarity_search_with_score(query, k=3, filter={"lang": "en"})
        ]
        vector = model.embed_query(query)
        assert (await store.asimilarity_search_by_vector(vector))[0].id == "b"
        assert await store.amax_marginal_relevance_search(query) == store.max_marginal_relevance_search(query)
        assert (await store.as_retriever().ainvoke(query))[0].id == "b"
        relevance = await store.asimilarity_search_with_relevance_scores(query, k=1)
        assert relevance[0][1] == pytest.approx(1.0, abs=1e-5)
        assert (await store.aget_by_ids(["c"]))[0].id == "c"
        await store.adelete(["c"])
        assert len(store) == 3

    def test_a_known_text_is_not_embedded_again(self, place: Path, model: WordEmbeddings) -> None:
        """Neither on adding it again, nor on asking for it."""
        store = self.open(place, CachedEmbeddings(model, place / "cache.db"))
        store.add_texts([*TEXTS, TEXTS[0]])
        assert sorted(model.asked) == sorted(TEXTS)
        store.add_texts(TEXTS)
        store.similarity_search(TEXTS[0])
        assert len(model.asked) == len(TEXTS)
        store.close()

    def test_a_store_from_texts(self, place: Path, model: WordEmbeddings) -> None:
        """More than one request takes arrive all."""
        store = self.open(place, model)
        texts = [f"story {i}" for i in range(6000)]
        ids = store.add_texts(texts)
        assert len(store) == 6000
        assert [d.page_content for d in store.get_by_ids([ids[0], ids[5999]])] == ["story 0", "story 5999"]
        store.close()
