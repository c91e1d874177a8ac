"""The default configuration with the models that ship: a first run without options."""

from __future__ import annotations

import httpx

from taleward.serving import create_app, default_config
from tests.helpers.serving_apps import client_of


async def test_the_embedded_models_answer() -> None:
    app = create_app(default_config(model="embedded:storyteller-mini", embeddings=None), warm=False)
    ask = {"messages": [{"role": "user", "content": "a story about a hen"}], "max_tokens": 24, "seed": 1}
    async with client_of(app) as client:
        client.timeout = httpx.Timeout(60)
        body = (await client.post("/v1/chat/completions", json={"model": "kids-3-5", **ask})).json()
        flagged = (await client.post("/v1/moderations", json={"input": "He stabbed the guard."})).json()
    choice = body["choices"][0]
    assert choice["message"]["content"] or choice["message"]["refusal"]
    assert body["usage"]["completion_tokens"] > 0
    assert body["moderation"]["output"]["results"][0]["taleward"]["policy"] == "kids@1"
    assert flagged["results"][0]["categories"]["violence"] is True
