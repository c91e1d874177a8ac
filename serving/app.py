"""The app of a server: OpenAI's routes and Taleward's own, all behind guards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from taleward.core.errors import MissingExtra
from taleward.serving.config import ServeConfig, default_config

if TYPE_CHECKING:
    from fastapi import FastAPI

    from taleward.images.guard.image_guard import ImageGuard
    from taleward.moderation.guard.guard import Recorder
    from taleward.serving.served_images import ServedImages
    from taleward.serving.served_models import ServedModel, ServedModels

# FastAPI's own spans and logs hold paths, queries and the messages of exceptions, which may be a child's words.
_NO_TELEMETRY: Any = dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False)


def create_app(
    config: ServeConfig | None = None,
    *,
    models: Mapping[str, ServedModel] | None = None,
    images: ImageGuard | None = None,
    recorders: Iterable[Recorder] = (),
    warm: bool = True,
) -> FastAPI:
    """Create the app; any ASGI server runs it, and `taleward serve` runs it with uvicorn.

    Args:
        config: The configuration; by default the embedded models, see `default_config`.
        models: Models of your own by name, in place of the configuration's.
        images: An image guard of your own, in place of the configuration's.
        recorders: Where finished tales are recorded, besides the configuration's `tracking_uri`.
        warm: Whether to load the models that run in this process before the first request is accepted.

    Raises:
        MissingExtra: If FastAPI, or MLflow for a `tracking_uri`, is not installed.
        ConfigurationError: If a model cannot be made, or there are no API keys and other machines could reach the
            server.
    """
    check_extra()
    from fastapi import FastAPI

    from taleward import __version__
    from taleward.core.concurrency.sync_async import run_in_thread
    from taleward.evaluation.feedback.mlflow_store import FeedbackStore
    from taleward.evaluation.tracking.tale_recorder import MlflowRecorder
    from taleward.serving.app_state import set_served_images, set_served_models
    from taleward.serving.errors import install_error_handlers
    from taleward.serving.json_response import SafeJSONResponse
    from taleward.serving.openai_api import (
        chat_completions,
        embeddings,
        images as images_api,
        models as models_api,
        moderations,
        responses,
    )
    from taleward.serving.operations.authentication import keys_for
    from taleward.serving.operations.install import install
    from taleward.serving.page.router import page_router
    from taleward.serving.page.settings import why_no_page
    from taleward.serving.served_models import ServedModels
    from taleward.serving.taleward_api import tales, templates

    config = config or default_config()
    if config.tracking_uri is not None:
        recorders = [*recorders, MlflowRecorder(config.tracking_uri, config.experiment)]
    served = ServedModels(config, models, recorders)
    served_images, why_no_images = _images(config, served, images)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if warm:
            await served.warm()
            if served_images is not None:
                await served_images.warm()
            if config.tracking_uri is not None:
                # The first use of MLflow takes seconds, and of a new store more; the first reader need not wait for it.
                await run_in_thread(partial(FeedbackStore, config.tracking_uri, config.experiment))
        yield

    app = FastAPI(
        title="Taleward",
        version=__version__,
        lifespan=lifespan,
        default_response_class=SafeJSONResponse,
        # FastAPI's pages of documentation load scripts from a CDN.
        docs_url=None,
        redoc_url=None,
        telemetry=_NO_TELEMETRY,
    )
    set_served_models(app, served)
    set_served_images(app, served_images, why_no_images)
    install_error_handlers(app)
    for module in (chat_completions, responses, models_api, moderations, embeddings, images_api, tales, templates):
        app.include_router(module.router)
    if config.page is not None and not why_no_page(config.page, config.operations):
        app.include_router(page_router(served, config.page.with_pin()))
    judges = {f"judge of {model.name}, {band}": judge for model in served for band, judge in model.judges.items()}
    names, body_limits = [model.name for model in served], {}
    if served_images is not None:
        names.append(served_images.name)
        known = {id(judge) for judge in judges.values()}
        for band, guard in served_images.guards.items():
            if id(guard.prompt_judge) not in known:
                judges[f"judge of {served_images.name}, {band}"] = guard.prompt_judge
        if served_images.changes_pictures:
            body_limits["/v1/images/edits"] = served_images.config.max_upload_bytes
    install(
        app,
        config.operations,
        keys=keys_for(config.operations.keys_file, config.operations.host),
        judges=judges,
        models=names,
        body_limits=body_limits,
    )
    return app


def _images(config: ServeConfig, served: ServedModels, own: ImageGuard | None) -> tuple[ServedImages | None, str]:
    """Return the image guards, or `None` and why there are none."""
    from taleward.images.guard.picture_recorder import MlflowPictureRecorder
    from taleward.serving.images_config import ServedImagesConfig
    from taleward.serving.served_images import ServedImages, make_images

    if own is not None:
        return ServedImages(config.images or ServedImagesConfig(), {own.prompt_judge.band: own}), ""
    if config.images is None:
        return None, "The configuration has none (images)."
    stores = dict.fromkeys((each.tracking_uri, each.experiment) for each in (config, config.operations))
    recorders = [MlflowPictureRecorder(uri, experiment) for uri, experiment in stores if uri is not None]
    try:
        return make_images(config, served.get(), recorders), ""
    except MissingExtra as error:
        # Who asked for pictures learns it at the start; the others can do without.
        if config.images != ServedImagesConfig():
            raise
        return None, f"{error} {error.hint}"


def check_extra() -> None:
    """Check that the libraries of a server are installed.

    Raises:
        MissingExtra: If one is not.
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingExtra("a server", "serve") from error
