"""Mute the callbacks of runs whose output is unmoderated.

The only module that uses private parts of LangChain: `_StreamingCallbackHandler`, `_configure_hooks` and
`var_child_runnable_config`. `tests/moderation/tracing/test_langchain_private.py` fails when LangChain moves one.
"""

from __future__ import annotations

import contextvars
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager, CallbackManager, Callbacks
from langchain_core.callbacks.manager import BaseRunManager
from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tracers._streaming import _StreamingCallbackHandler
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.context import _configure_hooks

# Tracers of these packages are plain callback handlers, not subclasses of `BaseTracer`.
_TRACER_MODULES = ("mlflow.", "langsmith.")


def is_tracer(handler: BaseCallbackHandler) -> bool:
    """Whether a handler only records runs for the people who operate the app, and so may see unmoderated text."""
    # LangChain's handlers behind `astream_events` and `astream_log`, and LangGraph's behind stream mode `messages`,
    # pass tokens on to the caller. One of them is a `BaseTracer` as well, so this check comes first.
    if isinstance(handler, _StreamingCallbackHandler):
        return False
    return isinstance(handler, BaseTracer) or type(handler).__module__.startswith(_TRACER_MODULES)


def mute_callbacks(config: RunnableConfig) -> RunnableConfig:
    """Return the config for a run whose output is unmoderated: only tracers stay among its callbacks.

    Removed are LangChain's and LangGraph's own streaming handlers (`astream_events`, stream mode `messages`) and every
    other handler that is not a tracer, even one that only listens to the end of a run: text could leave unmoderated
    through each of them. Token counts of the muted model calls are in the tale's attempts.

    The returned config also becomes the ambient config of the current context. Call this inside the run: its context
    ends with it.

    Args:
        config: The run's config; it is not changed.
    """
    muted: RunnableConfig = {**config, "callbacks": _only_tracers(config.get("callbacks"))}
    # A bound Runnable (`bind`, `with_config`, `with_retry`) adds the ambient run's callbacks to those of its config.
    var_child_runnable_config.set(muted)
    return muted


def muted_run(run: BaseRunManager | None) -> tuple[RunnableConfig, contextvars.Context]:
    """Return a config and a context for child runs whose output is unmoderated: only tracers hear them.

    Unlike `mute_callbacks` this also covers handlers that LangChain takes from context variables
    (`register_configure_hook`), and leaves the current context as it is.

    Args:
        run: The parent run; `None` for the ambient one.
    """
    config = ensure_config()
    ambient_callbacks = config.get("callbacks")
    parent_run_id: UUID | None = None
    if run is not None:
        handlers, parent_run_id = run.inheritable_handlers, run.run_id
    elif isinstance(ambient_callbacks, BaseCallbackManager):
        handlers, parent_run_id = ambient_callbacks.inheritable_handlers, ambient_callbacks.parent_run_id
    else:
        handlers = list(ambient_callbacks or [])
    tracers = _tracers_of(handlers)
    config["callbacks"] = CallbackManager(tracers, inheritable_handlers=list(tracers), parent_run_id=parent_run_id)
    context = contextvars.copy_context()
    context.run(_mute_context)
    return config, context


def _mute_context() -> None:
    var_child_runnable_config.set(None)  # for bound Runnables, see `mute_callbacks`
    for variable, *_ in _configure_hooks:
        handler = variable.get()
        if handler is not None and not is_tracer(handler):
            variable.set(None)


def _only_tracers(callbacks: Callbacks) -> Callbacks:
    if callbacks is None:
        return []  # with None, LangChain would take the ambient run's callbacks
    if isinstance(callbacks, list):
        return _tracers_of(callbacks)
    manager: BaseCallbackManager = callbacks.copy()
    manager.handlers = _tracers_of(manager.handlers)
    manager.inheritable_handlers = _tracers_of(manager.inheritable_handlers)
    return manager


def _tracers_of(handlers: list[BaseCallbackHandler]) -> list[BaseCallbackHandler]:
    return [handler for handler in handlers if is_tracer(handler)]
