"""The private parts of LangChain and LangGraph that `moderation/tracing/mute_callbacks.py` rests on."""

from __future__ import annotations

import importlib
from contextvars import ContextVar
from typing import Any

import pytest

PARTS = [
    ("langchain_core.runnables.config", "var_child_runnable_config"),
    ("langchain_core.tracers._streaming", "_StreamingCallbackHandler"),
    ("langchain_core.tracers.context", "_configure_hooks"),
    ("langchain_core.tracers.context", "run_collector_var"),
    ("langchain_core.tracers.event_stream", "_AstreamEventsCallbackHandler"),
    ("langchain_core.tracers.log_stream", "LogStreamCallbackHandler"),
    ("langgraph.pregel._messages", "StreamMessagesHandler"),
    ("langgraph.pregel._tools", "StreamToolCallHandler"),
]


def part(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        pytest.fail(moved(f"{module}.{name} is gone ({error})"))


def moved(what: str) -> str:
    return (
        f"LangChain moved a private part: {what}. Adapt moderation/tracing/mute_callbacks.py before you raise the "
        "pinned version: with this part gone, callbacks can see text that no judge has passed."
    )


def test_langchain_still_has_its_private_parts() -> None:
    """Imports nothing of ours, so that it can report even when the package no longer imports."""
    ambient, streaming, hooks, run_collector, *handlers = (part(module, name) for module, name in PARTS)

    assert isinstance(ambient, ContextVar), moved(f"var_child_runnable_config is a {type(ambient).__name__}")
    from langchain_core.runnables import ensure_config

    token = ambient.set({"tags": ["ambient"]})
    try:
        assert ensure_config()["tags"] == ["ambient"], moved("ensure_config does not read var_child_runnable_config")
    finally:
        ambient.reset(token)

    assert isinstance(hooks, list), moved(f"_configure_hooks is a {type(hooks).__name__}")
    variables = []
    for hook in hooks:
        assert isinstance(hook, tuple), moved(f"a hook is a {type(hook).__name__}, no longer a tuple")
        assert isinstance(hook[0], ContextVar), moved("a hook no longer begins with its context variable")
        variables.append(hook[0])
    assert run_collector in variables, moved("register_configure_hook does not fill _configure_hooks")

    for handler in handlers:
        assert streaming in handler.__mro__, moved(f"{handler.__name__} is no _StreamingCallbackHandler")

    from langchain_core.callbacks import CallbackManager
    from langchain_core.callbacks.manager import CallbackManagerForChainRun

    manager = CallbackManager([], inheritable_handlers=[], parent_run_id=None)
    for attribute in ("handlers", "inheritable_handlers", "parent_run_id", "copy"):
        assert hasattr(manager, attribute), moved(f"CallbackManager.{attribute} is gone")
    run = manager.on_chain_start(None, {})
    assert isinstance(run, CallbackManagerForChainRun), moved("on_chain_start gives no run manager")
    for attribute in ("inheritable_handlers", "run_id"):
        assert hasattr(run, attribute), moved(f"{type(run).__name__}.{attribute} is gone")


def test_every_run_still_takes_its_handlers_from_configure() -> None:
    """`CallbackManager.configure` calls the module's `_configure`, which `mute_callbacks` wraps."""
    manager: Any = importlib.import_module("langchain_core.callbacks.manager")
    original, called = part("langchain_core.callbacks.manager", "_configure"), list[Any]()

    def configure(*args: Any, **kwargs: Any) -> Any:
        called.append(args[0])
        return original(*args, **kwargs)

    manager._configure = configure
    try:
        manager.CallbackManager.configure()
        manager.AsyncCallbackManager.configure()
    finally:
        manager._configure = original
    expected = [manager.CallbackManager, manager.AsyncCallbackManager]
    assert called == expected, moved("CallbackManager.configure does not call _configure")


def test_listeners_are_where_they_were() -> None:
    assert part("langchain_core.tracers.root_listeners", "RootListenersTracer")
    assert part("langchain_core.tracers.root_listeners", "AsyncRootListenersTracer")
    for module in ("langchain_core.callbacks.usage",):
        assert part(module, "UsageMetadataCallbackHandler").__module__ == module


def test_langgraphs_keys_still_begin_as_they_did() -> None:
    for name in ("CONFIG_KEY_STREAM", "CONFIG_KEY_CHECKPOINTER", "CONFIG_KEY_SEND", "CONFIG_KEY_RUNTIME"):
        key = part("langgraph._internal._constants", name)
        assert key.startswith("__pregel_"), moved(f"{name} is {key!r}")
    assert part("langgraph._internal._constants", "CONFIG_KEY_RUNTIME") == "__pregel_runtime"
    assert hasattr(part("langgraph.runtime", "Runtime"), "override"), moved("Runtime.override is gone")
