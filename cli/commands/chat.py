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

from taleward.cli.options import DEFAULT_FOLDER, BandName, BaseUrl, JudgeSpecs, PolicyName
from taleward.core.errors import ConfigurationError, UnknownName

if TYPE_CHECKING:
    from taleward.agents.chat_session import Chat
    from taleward.agents.result import RouterResult, TurnEvent
    from taleward.agents.router_agent import Router
    from taleward.agents.threads.checkpointer import Threads

_HELP = "Type a request, for example: tell me a story about a fox. /cast lists the characters, /quit ends the chat."
_REWRITING_HINT = (
    "To change a story, the writer must follow instructions; start with: taleward chat --model openai:gpt-5-mini"
)
_SHOWN_MESSAGES = 6
_SHOWN_CHARACTERS = 300
_SECONDS_PER_DAY = 86400


def chat(
    model: Annotated[
        str | None,
        typer.Option(
            help="Spec of a chat model with tool calling, such as openai:gpt-5-mini. "
            "By default the embedded models alone."
        ),
    ] = None,
    base_url: BaseUrl = None,
    thread: Annotated[str, typer.Option(help="Name of the conversation to start or continue.")] = "chat",
    role: Annotated[str, typer.Option(help="Whose tools may be called: child, parent or staff.")] = "parent",
    judge: JudgeSpecs = None,
    policy: PolicyName = "kids",
    band: BandName = "6-8",
    seed: Annotated[int | None, typer.Option(help="Random seed; the same seed gives the same stories.")] = None,
    folder: Annotated[
        Path, typer.Option("--folder", help="Folder of threads, tales and the MLflow store.")
    ] = DEFAULT_FOLDER,
    ttl_days: Annotated[
        float | None, typer.Option(help="Delete threads that have not been used for this many days.")
    ] = None,
    threads: Annotated[bool, typer.Option("--threads", help="List the stored threads and exit.")] = False,
    delete: Annotated[str | None, typer.Option(help="Delete this thread with all its messages and exit.")] = None,
) -> None:
    """Chat with the storyteller; every answer is judged before it is shown.

    It tells and continues stories, judges texts, and searches earlier tales. With a model that follows instructions, it
    also changes the story told last: "make it funnier and shorter".

    Ctrl-C during an answer stops it and keeps the thread; at the prompt it ends the chat, as Ctrl-D and /quit do.
    """
    if threads or delete is not None:
        return _manage_threads(folder, delete)
    from taleward.agents.chat_session import Chat
    from taleward.cli.judge_specs import make_judge
    from taleward.cli.output.console import spinner
    from taleward.evaluation.tracking.total_outcome_counts import guard_counts

    options: dict[str, Any] = {"base_url": base_url} if base_url else {}
    with spinner("loading the models"):
        toolbox_options = {"seed": seed, "memory": _tale_memory(folder), "statistics": lambda: guard_counts(folder)}
        conversation = Chat(
            model,
            judge=make_judge(judge, policy=policy, band=band),
            policy=policy,
            band=band,
            role=role,
            folder=folder,
            ttl_s=None if ttl_days is None else ttl_days * _SECONDS_PER_DAY,
            thread=thread,
            toolbox_options=toolbox_options,
            **options,
        )
    return _run(conversation)


def _run(conversation: Chat) -> None:
    from taleward.agents.chat_session import origin
    from taleward.cli.output.console import print_note

    router, thread = conversation.router, conversation.thread
    print_note(f"thread {thread!r}, tools of a {router.role}. {_HELP}")
    for author, text in conversation.history()[-_SHOWN_MESSAGES:]:
        print_note(f"{author}: {_shorten(text)}")
    # One event loop for all turns, because a model's open connections belong to the loop that opened them. The runner
    # turns Ctrl-C into a cancellation of the running turn.
    with asyncio.Runner() as runner:
        if router.is_unfinished(thread):
            print_note("[continuing the last turn, which was cut off]")
            _show_answer(runner, router.aresume(thread, approve=_approval(conversation)), conversation)
        while (words := _read_line()) is not None:
            if words in {"/help", "/?"}:
                print_note(_HELP)
            elif words == "/cast":
                print_note(conversation.cast().prose() or "no story has been told in this thread yet")
            elif words:
                result = _show_answer(runner, router.astream(words, thread=thread), conversation)
                while result is not None and result.outcome == "approval":
                    events = router.aresume(thread, approve=_approval(conversation))
                    result = _show_answer(runner, events, conversation)
                if result is not None:
                    print_note(f"[{origin(result)}]")
                    if _lacks_rewriting_model(result, router):
                        print_note(_REWRITING_HINT)


def _lacks_rewriting_model(result: RouterResult, router: Router) -> bool:
    """Return whether the reader asked for a change that the role allows, but the writer cannot make."""
    from taleward.agents.tools import ROLES

    asked = result.outcome == "unavailable" and any(a.tool == "revise_text" for a in result.selection.attempts)
    allowed = (
        router.role is None or ROLES[router.role].tools is None or "revise_text" in (ROLES[router.role].tools or ())
    )
    return asked and allowed and all(tool.name != "revise_text" for tool in router.tools)


def _shorten(text: str) -> str:
    if len(text) < _SHOWN_CHARACTERS:
        return text
    return text[:_SHOWN_CHARACTERS].rsplit(" ", 1)[0] + " ..."


def _show_answer(runner: asyncio.Runner, events: AsyncIterator[TurnEvent], conversation: Chat) -> RouterResult | None:
    """Print the events of a turn; return its result, or `None` if it was stopped or failed, which keeps the thread."""
    from taleward.cli.output.console import print_error, print_note, show_turn

    async def show_events() -> RouterResult | None:
        result = None
        async with aclosing(events) as open_events:  # type: ignore[type-var]
            async for event in open_events:
                result = show_turn(event) or result
        return result

    try:
        return runner.run(show_events())
    except KeyboardInterrupt:
        # Otherwise the router would continue the turn when the thread is used again.
        conversation.router.end_turn(conversation.thread)
        print_note("\n[stopped; the thread is kept]")
    except Exception as error:  # noqa: BLE001  a failed turn does not end the conversation
        print_error(error)
    return None


def _approval(conversation: Chat) -> bool | None:
    """Ask whether pending tool calls may run; `None` if there are none."""
    from taleward.cli.output.console import print_note

    pending = conversation.router.pending_approvals(conversation.thread)
    if not pending:
        return None
    for call in pending:
        print_note(f"[{call.tool} asks to run with {dict(call.args)}]")
    return (_read_line("allow? y/n > ") or "n").lower().startswith("y")


def _read_line(prompt: str = "> ") -> str | None:
    """Read a line from standard input; `None` at its end, on Ctrl-C and for /quit."""
    if sys.stdin.isatty():
        import readline  # noqa: F401  enables line editing and history in `input`
    try:
        words = input(prompt if sys.stdin.isatty() else "").strip()
    except (EOFError, KeyboardInterrupt):
        return None
    return None if words == "/quit" else words


def _manage_threads(folder: Path, delete: str | None) -> None:
    from taleward.cli.output.console import print_note

    store = _open_threads(folder)
    if delete is None:
        for thread in store.threads():
            last_used = time.strftime("%Y-%m-%d %H:%M", time.localtime(thread.last_used_at))
            typer.echo(f"{thread.name}\tlast used {last_used}")
        return
    if delete not in (names := [thread.name for thread in store.threads()]):
        raise UnknownName("thread", delete, names)
    store.delete_thread(delete)
    print_note(f"deleted thread {delete!r}")


def _open_threads(folder: Path) -> Threads:
    from taleward.agents.threads.checkpointer import Threads

    # Opening a database that does not exist would create it.
    if not (folder / "threads.db").is_file():
        raise ConfigurationError(f"there are no threads in {folder}.", hint="Start one with: taleward chat")
    return Threads(folder / "threads.db")


def _tale_memory(folder: Path) -> Any:
    """Open the tale memory of a folder; `None` if the extra `stores` is not installed."""
    from importlib.util import find_spec

    if find_spec("faiss") is None:
        return None
    from taleward.stores.tale_memory import TaleMemory
    from taleward.stores.vector.faiss_store import FaissStore

    return TaleMemory(FaissStore("embedded:minilm", folder / "tales"))
