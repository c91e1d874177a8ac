"""Which MLflow store to use, and a client of it that is quiet and fails quickly."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from taleward.core.errors import ConfigurationError, MissingExtra

DEFAULT_STORE = Path(".taleward/mlflow.db")
"""The store of everything that is recorded without a tracking URI; see `default_tracking_uri`."""

# By default MLflow retries a server that is away for minutes, and prints progress bars and links.
_MLFLOW_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def registry_client(tracking_uri: str | None, what: str, *, create: bool = False) -> Any:
    """Create an `MlflowClient` of the model registry.

    Args:
        tracking_uri: The MLflow tracking URI. By default it is what `mlflow.set_tracking_uri`, `MLFLOW_TRACKING_URI`
            and `MLFLOW_REGISTRY_URI` say, and otherwise the store in `.taleward` in the working directory.
        what: What needs the registry, as a noun phrase for errors.
        create: Whether the store in `.taleward` is created if it is missing.

    Raises:
        ConfigurationError: If there is no store, and none is to be created.
        MissingExtra: If MLflow is not installed.
    """
    try:
        import mlflow
    except ImportError as error:
        raise MissingExtra(what, "mlflow") from error
    if tracking_uri is not None:
        return mlflow.MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
    if mlflow.is_tracking_uri_set():
        return mlflow.MlflowClient(tracking_uri=mlflow.get_tracking_uri(), registry_uri=mlflow.get_registry_uri())
    if create:
        DEFAULT_STORE.parent.mkdir(exist_ok=True)
    elif not DEFAULT_STORE.is_file():
        raise ConfigurationError(
            f"{what} needs an MLflow store, but none is set, and there is no {DEFAULT_STORE} in {Path.cwd()}.",
            hint="Set MLFLOW_TRACKING_URI, pass tracking_uri=..., or run in the folder with the store.",
        )
    uri = f"sqlite:///{DEFAULT_STORE.resolve()}"
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI", uri))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the log messages below warnings of MLflow and Alembic, which report every table they create."""
    # Importing MLflow sets its loggers up again; if it is missing, the caller says so.
    with contextlib.suppress(ImportError):
        importlib.import_module("mlflow")
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def mlflow_settings() -> Iterator[None]:
    """Let MLflow fail quickly and print nothing, except where the user has set it otherwise."""
    added = {name: value for name, value in _MLFLOW_SETTINGS.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
