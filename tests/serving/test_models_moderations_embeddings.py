"""`/v1/models`, `/v1/moderations` and `/v1/embeddings`."""

from __future__ import annotations

import base64
import struct
from pathlib import Path
from typing import Any

from openai.types import CreateEmbeddingResponse, Model, ModerationCreateResponse

from taleward.serving import ServeConfig, ServedModel, ServedModelConfig, create_app
from taleward.serving.embedder import Embedder
from taleward.stores import CachedEmbeddings
from taleward.testing import FakeJudge, FakeWriter, WordEmbeddings
from tests.helpers.serving_apps import client_of, fake_app


async def test_models_are_listed_and_described() -> None:
    async with client_of(fake_app(description="For bedtime.")) as client:
        listing = (await client.get("/v1/models")).json()
        one = (await client.get("/v1/models/tales")).json()
        unknown = await client.get("/v1/models/nobody")
    assert [Model.model_validate(model).id for model in listing["data"]] == ["tales"]
    assert one == listing["data"][0]
    assert one["taleward"]["band"] == "6-8"
    assert unknown.status_code == 404
    assert unknown.json()["error"]["code"] == "model_not_found"


async def test_moderation_has_openais_shape_and_our_categories_beside() -> None:
    judge = FakeJudge(failing_words={"ghoul": "frightening", "stab": "violence"})
    async with client_of(fake_app(judge=judge)) as client:
        body = {"input": ["a ghoul", "a stab", "a fox"], "model": "omni-moderation-latest"}
        response = (await client.post("/v1/moderations", json=body)).json()
    ModerationCreateResponse.model_validate(response)
    ghoul, stab, fox = response["results"]
    assert [ghoul["flagged"], stab["flagged"], fox["flagged"]] == [True, True, False]
    assert not any(ghoul["categories"].values())
    assert ghoul["taleward"]["categories"]["frightening"] is True
    assert ghoul["taleward"]["findings"][0]["quote"] == "ghoul"
    assert stab["categories"]["violence"] is True
    assert stab["category_scores"]["violence"] == 1.0
    assert stab["categories"]["violence/graphic"] is False


async def test_moderation_reads_parts_of_text_only() -> None:
    async with client_of(fake_app()) as client:
        parts: list[Any] = [{"type": "text", "text": "a bad"}, {"type": "text", "text": "fox"}]
        both = await client.post("/v1/moderations", json={"input": parts})
        image = await client.post("/v1/moderations", json={"input": [*parts, {"type": "image_url", "image_url": {}}]})
    assert [result["flagged"] for result in both.json()["results"]] == [True]
    assert image.json()["error"]["param"] == "input[2]"


async def test_moderation_without_a_judge_is_an_error() -> None:
    async with client_of(fake_app(judge=FakeJudge("unparsable"))) as client:
        response = await client.post("/v1/moderations", json={"input": "a fox"})
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "judge_unavailable"


def app_with_embeddings(model: Any) -> Any:
    config = ServedModelConfig()
    served = ServedModel("tales", config, writer=FakeWriter("A fox."), judge=FakeJudge())
    app = create_app(ServeConfig(models={"tales": config}, embeddings=None), models={"tales": served}, warm=False)
    app.state.served_models.embedder = Embedder("fake:words", model)
    return app


async def test_embeddings_come_as_numbers_and_as_base64(tmp_path: Path) -> None:
    model = CachedEmbeddings(WordEmbeddings(), tmp_path / "vectors.db", model="words")
    async with client_of(app_with_embeddings(model)) as client:
        body = {"model": "fake:words", "input": ["a fox", "a hen"]}
        numbers = (await client.post("/v1/embeddings", json=body)).json()
        coded = (await client.post("/v1/embeddings", json={**body, "encoding_format": "base64"})).json()
    CreateEmbeddingResponse.model_validate(numbers)
    for plain, packed in zip(numbers["data"], coded["data"], strict=True):
        data = base64.b64decode(packed["embedding"])
        assert list(struct.unpack(f"<{len(data) // 4}f", data)) == [
            struct.unpack("f", struct.pack("f", number))[0] for number in plain["embedding"]
        ]
    assert model.stats().hits == 2


async def test_embeddings_of_another_length_are_refused() -> None:
    async with client_of(app_with_embeddings(WordEmbeddings())) as client:
        length = await client.post("/v1/embeddings", json={"model": "fake:words", "input": "a", "dimensions": 7})
        tokens = await client.post("/v1/embeddings", json={"model": "fake:words", "input": [[1, 2]]})
        model = await client.post("/v1/embeddings", json={"model": "text-embedding-3-small", "input": "a"})
    assert length.json()["error"]["param"] == "dimensions"
    assert tokens.json()["error"]["param"] == "input"
    assert model.status_code == 404
