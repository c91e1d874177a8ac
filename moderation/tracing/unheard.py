"""Runs that nobody listens to: what a model says in them is not judged yet."""

from __future__ import annotations

import contextvars
from uuid import UUID

from langchain_core.callbacks import BaseCallbackManager, CallbackManager
from langchain_core.callbacks.manager import BaseRunManager
from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tracers.context import _configure_hooks

from taleward.moderation.tracing.langchain_callbacks import may_see


def muted_run(run: BaseRunManager | None) -> tuple[RunnableConfig, contextvars.Context]:
    """The config and the context for runs whose words are not judged yet.

    Tracers stay, since they keep what they see for the people who run the app. Every other callback is left out, even
    one that hears of a run's end alone, and so are those that LangChain takes from context variables.

    Args:
        run: The run that they belong to; `None` takes the surrounding one.
    """
    config = ensure_config()
    around = config.get("callbacks")
    parent: UUID | None = None
    if run is not None:
        handlers, parent = run.inheritable_handlers, run.run_id
    elif isinstance(around, BaseCallbackManager):
        handlers, parent = around.inheritable_handlers, around.parent_run_id
    else:
        handlers = list(around or [])
    tracers = [handler for handler in handlers if may_see(handler)]
    config["callbacks"] = CallbackManager(tracers, inheritable_handlers=list(tracers), parent_run_id=parent)
    context = contextvars.copy_context()
    context.run(_mute)
    return config, context


def _mute() -> None:
    var_child_runnable_config.set(None)  # a bound model adds the surrounding run's callbacks to those that it is given
    for variable, *_ in _configure_hooks:
        handler = variable.get()
        if handler is not None and not may_see(handler):
            variable.set(None)
