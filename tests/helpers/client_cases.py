"""An app with one model for each case in which clients differ; tests and `docs/how-to/serve-clients.md` use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from langchain_core.runnables import Runnable, RunnableConfig

from taleward.serving import ServeConfig, ServedModel, ServedModelConfig, create_app
from taleward.serving.embedder import Embedder
from taleward.testing import FakeJudge, FakeWriter, WordEmbeddings

STORY = "A fox ran. It slept."
CASES: dict[str, list[str]] = {
    "story": ["A fox ran. ", "It slept."],
    "blocked": ["It was bad."],
    "blocked-as-content": ["It was bad."],
    "judge-away": ["A fox ran. ", "A storm came."],
    "withdrawn": ["A fox ran. ", "Another fox ran."],
}
"""The models, and what each one's writer writes."""


class EndlessWriter(Runnable[Any, str]):
    """A writer that goes on for minutes unless it is stopped, also if it is not streamed.

    Attributes:
        pieces: The pieces that it has written.
    """

    def __init__(self) -> None:
        self.pieces = 0

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        """Not used by a server."""
        raise NotImplementedError

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        """Write the whole text."""
        return "".join([piece async for piece in self.astream(input)])

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[str]:
        """Write piece by piece."""
        for number in range(10_000):
            await asyncio.sleep(0.02)
            self.pieces += 1
            yield f"A fox ran {number} miles. "


def judge() -> FakeJudge:
    """A judge that fails `bad` and texts with two foxes that ran, and breaks down over a storm."""

    def outcome(passage: Any) -> Any:
        if "storm" in passage.text:
            return "error"
        return "fail" if "bad" in passage.text or passage.text.count("fox ran") > 1 else "pass"

    return FakeJudge(outcome)


def client_app(*, helper_url: str | None = None) -> FastAPI:
    """The app.

    Args:
        helper_url: A server with OpenAI's API, behind the model `helper` that holds conversations.
    """
    models: dict[str, ServedModel] = {}
    for name, chunks in CASES.items():
        form: Any = "content" if name == "blocked-as-content" else "refusal"
        config = ServedModelConfig(attempts=1, refusal_as=form)
        models[name] = ServedModel(name, config, writer=FakeWriter(chunks, continues=False), judge=judge())
    endless = ServedModel("endless", ServedModelConfig(release="sentences"), writer=EndlessWriter(), judge=FakeJudge())
    models["endless"] = endless
    if helper_url is not None:
        helper = ServedModelConfig(model="openai:any", base_url=helper_url, template=None)
        models["helper"] = ServedModel("helper", helper, judge=judge())
    configs = {name: model.config for name, model in models.items()}
    app = create_app(ServeConfig(models=configs, embeddings=None), models=models, warm=False)
    app.state.served_models.embedder = Embedder("fake:words", WordEmbeddings())
    return app
