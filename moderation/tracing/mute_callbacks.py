"""Mute the callbacks of runs whose output is unmoderated, and cut them off from the graph around them.

The only module that uses private parts of LangChain and LangGraph: `_StreamingCallbackHandler`, `_configure`,
`var_child_runnable_config` and the keys `__pregel_*`. `tests/moderation/tracing/test_langchain_private.py` fails when
one of them moves.
"""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable
from typing import Any, TypeAlias
from uuid import UUID

from langchain_core.callbacks import (
    BaseCallbackHandler,
    BaseCallbackManager,
    CallbackManager,
    Callbacks,
    manager as langchain_manager,
)
from langchain_core.callbacks.manager import BaseRunManager
from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tracers._streaming import _StreamingCallbackHandler
from langchain_core.tracers.base import BaseTracer

# Tracers of these packages are plain callback handlers, not subclasses of `BaseTracer`.
_TRACER_MODULES = ("mlflow.", "langsmith.")
# The handlers of `with_listeners` are tracers that hand a run to functions of the app.
_LISTENER_MODULE = "langchain_core.tracers.root_listeners"
# These handlers keep token counts and costs only.
_COUNTER_MODULES = frozenset(
    {
        "langchain_core.callbacks.usage",
        "langchain_community.callbacks.openai_info",
        "taleward.moderation.guard.call_recorder",
    }
)
_GRAPH_PREFIX, _RUNTIME_KEY = "__pregel_", "__pregel_runtime"
_CHECKPOINT_KEYS = frozenset({"checkpoint_id", "checkpoint_map", "checkpoint_ns"})
_Filter: TypeAlias = Callable[[BaseCallbackHandler], bool]
_hears: contextvars.ContextVar[_Filter | None] = contextvars.ContextVar("taleward_hears", default=None)
"""Which handlers hear the runs of this context; `None` for all."""


def is_tracer(handler: BaseCallbackHandler) -> bool:
    """Whether a handler only records runs for the people who operate the app, and so may see unmoderated text.

    Handlers of your own count as tracers if they subclass LangChain's `BaseTracer`.
    """
    # LangChain's handlers behind `astream_events` and `astream_log`, and LangGraph's behind stream mode `messages`,
    # pass tokens on to the caller. One of them is a `BaseTracer` as well, so this check comes first.
    module = type(handler).__module__
    if isinstance(handler, _StreamingCallbackHandler) or module == _LISTENER_MODULE:
        return False
    return isinstance(handler, BaseTracer) or module.startswith(_TRACER_MODULES)


def _is_tracer_or_counter(handler: BaseCallbackHandler) -> bool:
    return is_tracer(handler) or type(handler).__module__ in _COUNTER_MODULES


def mute_callbacks(config: RunnableConfig, *, in_graph: bool = False) -> RunnableConfig:
    """Return the config for a run whose output is unmoderated: only tracers and token counters hear it, and no graph.

    Removed are LangChain's and LangGraph's own streaming handlers (`astream_events`, stream mode `messages`) and every
    other handler that is not a tracer, even one that only listens to the end of a run: text could leave unmoderated
    through each of them. This holds for the handlers of the config, for those that LangChain takes from context
    variables (`register_configure_hook`), and for those that the run's own Runnables bring along (`callbacks=`,
    `with_config`, `with_listeners`). Token counts of the muted model calls are in the tale's attempts.

    A graph within the run is a root graph: LangGraph's own keys are removed from the config, so that drafts reach
    neither the streams nor the checkpointer of an outer graph, and `get_stream_writer()` gives a writer that discards.

    The returned config also becomes the ambient config of the current context, which stays muted. Call this inside the
    run: its context ends with it.

    Args:
        config: The run's config; it is not changed.
        in_graph: Whether the run may still write to the graph around it, as a tool does that streams judged text.
    """
    callbacks = _filtered(config.get("callbacks"), _is_tracer_or_counter)
    muted: RunnableConfig = {**(config if in_graph else _outside_graphs(config)), "callbacks": callbacks}
    # A bound Runnable (`bind`, `with_config`, `with_retry`) adds the ambient run's callbacks to those of its config.
    var_child_runnable_config.set(muted)
    _let_hear(_is_tracer_or_counter)
    return muted


def muted_run(run: BaseRunManager | None) -> tuple[RunnableConfig, contextvars.Context]:
    """Return a config and a context for child runs whose output is unmoderated; see `mute_callbacks`.

    Unlike `mute_callbacks` this leaves the current context as it is, and mutes token counters as well: they hear the
    parent run, which reports the same tokens.

    Args:
        run: The parent run; `None` for the ambient one.
    """
    config = _outside_graphs(ensure_config())
    ambient_callbacks = config.get("callbacks")
    parent_run_id: UUID | None = None
    if run is not None:
        handlers, parent_run_id = run.inheritable_handlers, run.run_id
    elif isinstance(ambient_callbacks, BaseCallbackManager):
        handlers, parent_run_id = ambient_callbacks.inheritable_handlers, ambient_callbacks.parent_run_id
    else:
        handlers = list(ambient_callbacks or [])
    tracers = list(filter(is_tracer, handlers))
    config["callbacks"] = CallbackManager(tracers, inheritable_handlers=list(tracers), parent_run_id=parent_run_id)
    context = contextvars.copy_context()
    context.run(_mute_child_context)
    return config, context


def _mute_child_context() -> None:
    var_child_runnable_config.set(None)  # for bound Runnables, see `mute_callbacks`
    _let_hear(is_tracer)


def _let_hear(hears: _Filter) -> None:
    """Keep all other handlers out of every run that begins in this context.

    A Runnable may bring handlers of its own at any depth, and LangChain adds them in `_configure` alone, which every
    run calls first. So that function is wrapped, once; outside of muted contexts the wrapper does nothing.
    """
    if not hasattr(langchain_manager._configure, "mutes"):
        langchain_manager._configure = _muting(langchain_manager._configure)
    outer = _hears.get()
    _hears.set(hears if outer is None else lambda handler: outer(handler) and hears(handler))


def _muting(configure: Any) -> Any:
    @functools.wraps(configure)
    def configure_muted(*args: Any, **kwargs: Any) -> Any:
        manager = configure(*args, **kwargs)
        return _filter_manager(manager, hears) if (hears := _hears.get()) else manager

    configure_muted.mutes = True  # type: ignore[attr-defined]
    return configure_muted


def _outside_graphs(config: RunnableConfig) -> RunnableConfig:
    """Return the config without what connects a run with the graph that it runs in."""
    configurable = dict(config.get("configurable") or {})
    runtime = configurable.get(_RUNTIME_KEY)
    for key in list(configurable):
        if key.startswith(_GRAPH_PREFIX) or key in _CHECKPOINT_KEYS:
            del configurable[key]
    if runtime is not None:
        # The context and the store of a graph stay available to its nodes.
        configurable[_RUNTIME_KEY] = runtime.override(stream_writer=_discard)
    return {**config, "configurable": configurable}


def _discard(chunk: Any) -> None:
    """Take the place of a graph's stream writer."""


def _filtered(callbacks: Callbacks, hears: _Filter) -> Callbacks:
    if callbacks is None:
        return []  # with None, LangChain would take the ambient run's callbacks
    if isinstance(callbacks, list):
        return list(filter(hears, callbacks))
    return _filter_manager(callbacks.copy(), hears)


def _filter_manager(manager: BaseCallbackManager, hears: _Filter) -> BaseCallbackManager:
    manager.handlers = list(filter(hears, manager.handlers))
    manager.inheritable_handlers = list(filter(hears, manager.inheritable_handlers))
    return manager
