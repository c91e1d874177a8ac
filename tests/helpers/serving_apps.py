"""Apps with fake models, and clients that talk to them without a socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
from fastapi import FastAPI
from langchain_core.language_models import BaseChatModel

from taleward.moderation.guard.writer import WriterLike
from taleward.moderation.judges import Judge
from taleward.serving import ServeConfig, ServedModel, ServedModelConfig, create_app
from taleward.testing import FakeJudge, FakeWriter


def fake_app(
    *,
    writer: WriterLike | None = None,
    judge: Judge | None = None,
    chat: BaseChatModel | None = None,
    keep_alive_s: float = 5.0,
    **settings: Any,
) -> FastAPI:
    """An app with one model, `tales`, that writes with a fake writer, or chats if there is a chat model."""
    if chat is not None:
        settings.setdefault("template", None)
    config = ServedModelConfig(**settings)
    writer = writer or (None if chat else FakeWriter("A fox ran. It slept."))
    model = ServedModel("tales", config, writer=writer, judge=judge or FakeJudge(), chat=chat)
    serve = ServeConfig(models={"tales": config}, keep_alive_s=keep_alive_s, embeddings=None, images=None)
    return create_app(serve, models={"tales": model}, warm=False)


def client_of(app: FastAPI) -> httpx.AsyncClient:
    """A client whose requests go straight to the app."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


def events_of(text: str) -> list[tuple[str | None, Any]]:
    """The events of a stream: type and data; comments are left out."""
    return list(_events(text))


def _events(text: str) -> Iterator[tuple[str | None, Any]]:
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            data = fields["data"]
            yield fields.get("event"), data if data == "[DONE]" else json.loads(data)
