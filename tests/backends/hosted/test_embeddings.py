"""Embeddings of an OpenAI-compatible server."""

from __future__ import annotations

import asyncio

import pytest
from langchain_openai import OpenAIEmbeddings
from pydantic import SecretStr

from taleward import embeddings
from taleward.core.errors import BackendError, MissingKey
from taleward.stores.embedding_fingerprint import fingerprint
from taleward.testing import FakeOpenAI


def test_embeddings_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with FakeOpenAI() as server:
        model = embeddings("openai:any", base_url=server.base_url)
        assert isinstance(model, OpenAIEmbeddings)
        [fox, key] = model.embed_documents(["a fox", "a key"])
        assert server.requests[0]["input"] == ["a fox", "a key"]  # texts, not OpenAI's token ids
        assert model.embed_query("a fox") == fox != key
        for _ in range(2):  # on any event loop; OpenAIEmbeddings itself fails on the second
            assert asyncio.run(model.aembed_query("a fox")) == fox
    plain = OpenAIEmbeddings(
        model="any", base_url=server.base_url, api_key=SecretStr("x"), check_embedding_ctx_length=False
    )
    assert fingerprint(model) == fingerprint(plain)
    with FakeOpenAI(faults=["401"]) as server, pytest.raises(BackendError, match="rejected the API key") as caught:
        embeddings("openai:any", base_url=server.base_url).embed_query("a fox")
    assert "sk-abc" not in str(caught.value)
    with pytest.raises(MissingKey, match="OPENAI_API_KEY is not set"):
        embeddings("openai:text-embedding-3-small")
