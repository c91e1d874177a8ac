"""Run a server with uvicorn: one process, or several workers that share keys, limits and metrics."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from taleward.serving.app import check_extra, create_app
from taleward.serving.config import ServeConfig
from taleward.serving.operations.authentication import keys_for
from taleward.serving.operations.json_logs import logging_config
from taleward.serving.operations.metrics import MULTIPROCESS_FOLDER
from taleward.serving.operations.settings import OperationSettings
from taleward.serving.page.settings import PIN_VARIABLE

if TYPE_CHECKING:
    from fastapi import FastAPI

    from taleward.moderation.guard.guard import Recorder

_CONFIG_VARIABLE = "TALEWARD_SERVE_CONFIG"


def run_server(config: ServeConfig) -> None:
    """Serve until the process is told to end, and let running answers end first.

    Args:
        config: The configuration.

    Raises:
        MissingExtra: If FastAPI or uvicorn is not installed.
        ConfigurationError: If there are no API keys and other machines could reach the server, or a model cannot be
            made.
    """
    check_extra()
    import uvicorn

    settings = config.operations
    keys_for(settings.keys_file, settings.host)
    if settings.workers > 1:
        # Workers that fail at their start are started again and again; this fails once, here.
        create_app(config, recorders=_recorders(settings))
    with _environment(config):
        uvicorn.run(f"{__name__}:worker_app", factory=True, workers=settings.workers, **uvicorn_options(settings))


def worker_app() -> FastAPI:
    """Create the app of one process from the configuration in its environment."""
    from taleward.serving.operations.http_protocol import HttpProtocol

    config = ServeConfig.model_validate_json(os.environ[_CONFIG_VARIABLE])
    HttpProtocol.header_timeout_s = config.operations.header_timeout_s
    return create_app(config, recorders=_recorders(config.operations))


def _recorders(settings: OperationSettings) -> list[Recorder]:
    if settings.tracking_uri is None:
        return []
    from taleward.evaluation.tracking.tale_recorder import MlflowRecorder

    return [MlflowRecorder(settings.tracking_uri, settings.experiment)]


def uvicorn_options(settings: OperationSettings) -> dict[str, Any]:
    """Return uvicorn's options for the settings, except the app and the number of workers."""
    return {
        "host": settings.host,
        "port": settings.port,
        "http": "taleward.serving.operations.http_protocol:HttpProtocol",
        "ws": "none",
        "lifespan": "on",
        "timeout_keep_alive": settings.keep_alive_timeout_s,
        "timeout_graceful_shutdown": settings.shutdown_timeout_s,
        "backlog": 2048,
        "server_header": False,
        "access_log": False,
        "log_config": logging_config(as_json=settings.json_logs),
        # Loading the models of a worker takes longer than the five seconds that uvicorn waits by default.
        "timeout_worker_healthcheck": 120,
    }


@contextmanager
def _environment(config: ServeConfig) -> Iterator[None]:
    """Pass the configuration on to the workers, and give several of them a folder for common metrics."""
    before = dict(os.environ)
    with ExitStack() as stack:
        stack.callback(os.environ.update, before)
        stack.callback(os.environ.clear)
        os.environ[_CONFIG_VARIABLE] = config.model_dump_json()
        if config.page is not None and config.page.pin is not None:
            os.environ[PIN_VARIABLE] = config.page.pin.get_secret_value()
        if config.operations.workers > 1 and MULTIPROCESS_FOLDER not in os.environ:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="taleward-metrics-"))
            os.environ[MULTIPROCESS_FOLDER] = folder
        yield
