"""Which of a caller's callbacks may see a text before it was judged."""

from __future__ import annotations

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager, Callbacks
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tracers._streaming import _StreamingCallbackHandler
from langchain_core.tracers.base import BaseTracer

_TRACERS = ("mlflow.", "langsmith.")
"""Where tracers come from that are no `BaseTracer`."""


def mute_callbacks(config: RunnableConfig) -> RunnableConfig:
    """The config for a run whose words are not judged yet: tracers stay, whoever passes words on is left out.

    Left out are LangChain's and LangGraph's own streaming handlers (`astream_events`, stream mode `messages`) and every
    handler that is no tracer, even one that hears of a run's end alone: through each of them a text might leave
    unjudged. What a model call used is in the tale's attempts.

    It becomes the surrounding config too, for a bound Runnable (`bind`, `with_config`, `with_retry`) adds the
    surrounding run's callbacks to those that it is given. Call it inside the run, whose context ends with it.
    """
    silent: RunnableConfig = {**config, "callbacks": _kept(config.get("callbacks"))}
    var_child_runnable_config.set(silent)
    return silent


def _kept(callbacks: Callbacks) -> Callbacks:
    if callbacks is None:
        return []  # None would take the surrounding run's
    if isinstance(callbacks, list):
        return [handler for handler in callbacks if may_see(handler)]
    manager: BaseCallbackManager = callbacks.copy()
    manager.handlers = [handler for handler in manager.handlers if may_see(handler)]
    manager.inheritable_handlers = [handler for handler in manager.inheritable_handlers if may_see(handler)]
    return manager


def may_see(handler: BaseCallbackHandler) -> bool:
    """Whether a handler is a tracer: it keeps what it sees for the people who run the app."""
    if isinstance(handler, _StreamingCallbackHandler):
        return False
    return isinstance(handler, BaseTracer) or type(handler).__module__.startswith(_TRACERS)
