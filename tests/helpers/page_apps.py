"""Apps with the page and fake models, and clients that hold a session of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from taleward.moderation.guard.guard import Recorder
from taleward.moderation.guard.writer import WriterLike
from taleward.moderation.judges import Judge
from taleward.serving import ServeConfig, ServedModel, ServedModelConfig, create_app
from taleward.serving.operations.settings import OperationSettings
from taleward.serving.page.settings import PageSettings
from taleward.testing import FakeJudge, FakeWriter
from tests.helpers.serving_apps import client_of

PIN = "471100"


def page_app(
    *,
    writer: WriterLike | None = None,
    judge: Judge | None = None,
    recorders: Iterable[Recorder] = (),
    bands: tuple[str, ...] = (),
    operations: OperationSettings | None = None,
    **settings: Any,
) -> FastAPI:
    """An app whose page tells stories of a fake writer; `settings` are the page's."""
    config = ServedModelConfig(bands=bands)
    writer = writer or FakeWriter("A fox ran. It slept.")
    model = ServedModel("tales", config, writer=writer, judge=judge or FakeJudge(), recorders=recorders)
    page = PageSettings(**{"pin": SecretStr(PIN), **settings})
    return create_app(
        ServeConfig(models={"tales": config}, embeddings=None, page=page, operations=operations or OperationSettings()),
        models={"tales": model},
        warm=False,
    )


@asynccontextmanager
async def page_client(app: FastAPI, *, is_open: bool = False) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a session, as a browser has that loaded the page; `is_open` opens the grown-ups' side."""
    async with client_of(app) as client:
        client.headers["x-taleward-page"] = "1"
        await client.get("/")
        if is_open:
            (await client.post("/page/gate", json={"pin": PIN})).raise_for_status()
        yield client
