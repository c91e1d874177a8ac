"""`taleward chat`: a conversation in the terminal."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taleward.core.errors import ConfigurationError, UnknownName

if TYPE_CHECKING:
    from taleward.agents.chat import Chat
    from taleward.agents.result import RouterResult, TurnEvent
    from taleward.agents.threads.checkpointer import Threads

_FOLDER = Path(".taleward")
_HELP = "Say what you want, for example: tell me a story about a fox. /cast shows who is in the story, /quit ends."
_SHOWN = 6


def chat(
    model: Annotated[
        str | None, typer.Option(help="A model that calls tools, as openai:gpt-5-mini; none by itself.")
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="Server of an openai: model.")] = None,
    thread: Annotated[str, typer.Option(help="The conversation to begin or go on with.")] = "chat",
    role: Annotated[str, typer.Option(help="Whose tools may be called: child, parent or staff.")] = "parent",
    judge: Annotated[str, typer.Option(help="embedded:judge, lexicon, or a chat model's spec.")] = "embedded:judge",
    policy: Annotated[str, typer.Option(help="A policy's name, or its .yaml file.")] = "kids",
    band: Annotated[str, typer.Option(help="Age band of the policy.")] = "6-8",
    seed: Annotated[int | None, typer.Option(help="The same seed tells the same tales.")] = None,
    folder: Annotated[Path, typer.Option(help="Where threads, tales and records are kept.")] = _FOLDER,
    keep_days: Annotated[float | None, typer.Option(help="Delete threads that nobody used for so many days.")] = None,
    threads: Annotated[bool, typer.Option("--threads", help="List the threads that are kept, and end.")] = False,
    delete: Annotated[str | None, typer.Option(help="Delete a thread with all that was said in it, and end.")] = None,
) -> None:
    """Talk with the storyteller: tell, go on, judge, search; everything that is shown was judged.

    Ctrl-C stops an answer and keeps the thread; at the prompt it ends the conversation, as Ctrl-D and /quit do.
    """
    if threads or delete is not None:
        return _manage(folder, delete)
    from taleward.agents.chat import Chat
    from taleward.cli.output.console import working
    from taleward.evaluation.tracking.recorded_counts import guard_counts

    options: dict[str, Any] = {"base_url": base_url} if base_url else {}
    with working("loading the models"):
        toolbox_options = {"seed": seed, "memory": _memory(folder), "statistics": lambda: guard_counts(folder)}
        talk = Chat(
            model,
            judge=judge,
            policy=policy,
            band=band,
            role=role,
            folder=folder,
            ttl_s=None if keep_days is None else keep_days * 86400,
            thread=thread,
            toolbox_options=toolbox_options,
            **options,
        )
    return _talk(talk)


def _talk(talk: Chat) -> None:
    from taleward.agents.chat import origin
    from taleward.cli.output.console import say, show_turn

    say(f"thread {talk.thread!r}, tools of a {talk.router.role}. {_HELP}")
    for who, said in talk.history()[-_SHOWN:]:
        say(f"{who}: {said if len(said) < 300 else said[:300].rsplit(' ', 1)[0] + ' ...'}")
    with asyncio.Runner() as runner:
        if talk.router.is_unfinished(talk.thread):
            say("[the last turn was cut off; going on with it]")
            _answer(runner, show_turn, talk.router.aresume(talk.thread, approve=_approved(talk)), talk)
        while (words := _asked()) is not None:
            if words in {"/help", "/?"}:
                say(_HELP)
            elif words == "/cast":
                say(talk.cast().prose() or "no story has been told here yet")
            elif words:
                result = _answer(runner, show_turn, talk.router.astream(words, thread=talk.thread), talk)
                while result is not None and result.outcome == "approval":
                    again = talk.router.aresume(talk.thread, approve=_approved(talk))
                    result = _answer(runner, show_turn, again, talk)
                if result is not None:
                    say(f"[{origin(result)}]")


def _answer(runner: asyncio.Runner, show: Any, events: AsyncIterator[TurnEvent], talk: Chat) -> RouterResult | None:
    """What became of a turn; `None` where it was stopped, or failed: the thread stays."""
    from taleward.cli.output.console import say, say_error

    async def listen() -> RouterResult | None:
        result = None
        async with aclosing(events) as running:  # type: ignore[type-var]
            async for event in running:
                result = show(event) or result
        return result

    try:
        return runner.run(listen())
    except KeyboardInterrupt:
        talk.router.end_turn(talk.thread)
        say("\n[stopped; the thread is kept]")
    except Exception as error:  # noqa: BLE001  one turn failed; the conversation goes on
        say_error(error)
    return None


def _approved(talk: Chat) -> bool | None:
    """Whether the calls that wait may be made; `None` where none waits."""
    from taleward.cli.output.console import say

    pending = talk.router.pending_approvals(talk.thread)
    if not pending:
        return None
    for call in pending:
        say(f"[{call.tool} wants to run with {dict(call.args)}]")
    return (_asked("may it? y/n > ") or "n").lower().startswith("y")


def _asked(prompt: str = "> ") -> str | None:
    """A line from the reader, `None` at the end."""
    if sys.stdin.isatty():
        import readline  # noqa: F401  the arrow keys bring back earlier lines
    try:
        words = input(prompt if sys.stdin.isatty() else "").strip()
    except (EOFError, KeyboardInterrupt):
        return None
    return None if words == "/quit" else words


def _manage(folder: Path, delete: str | None) -> None:
    from taleward.cli.output.console import say

    kept = _threads(folder)
    if delete is None:
        for thread in kept.threads():
            last_used = time.strftime("%Y-%m-%d %H:%M", time.localtime(thread.last_used_at))
            typer.echo(f"{thread.name}\tlast used {last_used}")
        return
    if delete not in (names := [thread.name for thread in kept.threads()]):
        raise UnknownName("thread", delete, names)
    kept.delete_thread(delete)
    say(f"deleted thread {delete!r}")


def _threads(folder: Path) -> Threads:
    from taleward.agents.threads.checkpointer import Threads

    if not (folder / "threads.db").is_file():
        raise ConfigurationError(f"there are no threads in {folder}.", hint="`taleward chat` begins one.")
    return Threads(folder / "threads.db")


def _memory(folder: Path) -> Any:
    """The tales of this folder; none where the extra `stores` is not installed."""
    from importlib.util import find_spec

    if find_spec("faiss") is None:
        return None
    from taleward.stores.tale_memory import TaleMemory
    from taleward.stores.vector.faiss_store import FaissStore

    return TaleMemory(FaissStore("embedded:minilm", folder / "tales"))
