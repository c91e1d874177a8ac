"""Which of a caller's callbacks may see a text before it was judged."""

from __future__ import annotations

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler, BaseCallbackManager, Callbacks
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tracers._streaming import _StreamingCallbackHandler

_WORDS = ("on_llm_new_token", "on_stream_event")
_TRACERS = ("langchain_core.tracers.", "mlflow.", "langsmith.")
"""Where tracers come from: they keep what they see for the people who run the app."""


def without_listeners(config: RunnableConfig) -> RunnableConfig:
    """The config for a run whose words are not judged yet: tracers stay, whoever passes words on is left out.

    Left out are LangChain's and LangGraph's own streaming handlers (`astream_events`, stream mode `messages`) and every
    handler of the user that listens to new tokens and is no tracer: through each of them a text would leave unjudged.

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
        return [handler for handler in callbacks if _may_see(handler)]
    manager: BaseCallbackManager = callbacks.copy()
    manager.handlers = [handler for handler in manager.handlers if _may_see(handler)]
    manager.inheritable_handlers = [handler for handler in manager.inheritable_handlers if _may_see(handler)]
    return manager


def _may_see(handler: BaseCallbackHandler) -> bool:
    if isinstance(handler, _StreamingCallbackHandler):
        return False
    if type(handler).__module__.startswith(_TRACERS):
        return True
    own = (getattr(type(handler), name, None) for name in _WORDS)
    idle = {getattr(base, name, None) for name in _WORDS for base in (BaseCallbackHandler, AsyncCallbackHandler)}
    return all(method in idle for method in own)
