"""An app with one model for each case in which clients differ; tests and `docs/how-to/serve-clients.md` use it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

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


class EndlessWriter(FakeWriter):
    """A writer that goes on until it is stopped."""

    def __init__(self) -> None:
        super().__init__([f"A fox ran {number} miles. " for number in range(10_000)], pause_s=0.01)


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
