"""Engines, one per file. To add one, write a file with the methods of `BatchEngine`, and add a line to `ENGINES`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from taleward.batch.engines.base import BatchEngine
from taleward.core.errors import ConfigurationError, UnknownName

__all__ = ["ENGINES", "BatchEngine", "make_engine"]

ENGINES: Mapping[str, str] = {
    "inline": "inline.InlineEngine",
    "local": "local.LocalEngine",
    "ray": "ray.RayEngine",
}
"""Names of engines, and the module and class of each."""


def make_engine(name: str, **options: Any) -> BatchEngine:
    """Make an engine.

    Args:
        name: A name in `ENGINES`.
        options: Options of its class.

    Raises:
        UnknownName: If there is no such engine.
        ConfigurationError: If it does not take an option.
        MissingExtra: If its library is not installed.
    """
    if name not in ENGINES:
        raise UnknownName("engine", name, ENGINES)
    module, _, class_name = ENGINES[name].partition(".")
    engine_class = getattr(import_module(f"taleward.batch.engines.{module}"), class_name)
    try:
        engine: BatchEngine = engine_class(**options)
    except TypeError as error:
        raise ConfigurationError(f"the engine {name!r} cannot be made: {error}") from error
    return engine
