"""`taleward red-team`: attack a guard as children and attackers do."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from taleward.cli.options import (
    DEFAULT_FOLDER,
    AsJson,
    Attempts,
    BandName,
    BaseUrl,
    JudgeSpecs,
    PolicyName,
    ReportFile,
    WriterSpec,
)
from taleward.core.errors import ConfigurationError

TOO_MANY_LEAKS = 3
"""Exit code if more leaked than `--max-leaks` allows."""


def red_team(
    context: typer.Context,
    system: Annotated[
        str | None,
        typer.Argument(
            metavar="MODULE:NAME",
            help="Your own guard, chain, agent or function, imported from the working directory, such as my_app:guard. "
            "By default a guard around --model.",
        ),
    ] = None,
    model: WriterSpec = "embedded:storyteller",
    chat: Annotated[
        bool, typer.Option("--chat", help="Attack a GuardedChat around --model instead of a guarded storyteller.")
    ] = False,
    messages: Annotated[
        bool, typer.Option("--messages", help="MODULE:NAME takes a list of messages, not only the last request.")
    ] = False,
    input_key: Annotated[
        str | None, typer.Option(help="Name of the input, if MODULE:NAME takes a mapping; messages for an agent.")
    ] = None,
    base_url: BaseUrl = None,
    judge: JudgeSpecs = None,
    policy: PolicyName = "kids",
    band: BandName = "6-8",
    attempts: Attempts = 3,
    checker: Annotated[
        list[str] | None,
        typer.Option(
            help="Spec of a judge of what is released, by default lexicon and embedded:judge. Take another than the "
            "guard's own. If it is repeated, a text must pass all of them.",
        ),
    ] = None,
    category: Annotated[
        list[str] | None, typer.Option(help="Only this category of the policy; may be repeated.")
    ] = None,
    trick: Annotated[
        list[str] | None, typer.Option(help="Only this trick, such as plain or base64; may be repeated.")
    ] = None,
    wishes: Annotated[int, typer.Option(min=1, help="Number of wishes for each category and trick.")] = 2,
    max_turns: Annotated[int, typer.Option(min=1, help="Maximum number of turns of a conversation.")] = 4,
    attacks: Annotated[Path | None, typer.Option(help="YAML file with attacks of your own.")] = None,
    timeout: Annotated[float, typer.Option(min=1.0, help="Time limit in seconds for each answer.")] = 120.0,
    max_seconds: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Start no more attacks after so many seconds.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Number of attacks to run at once.")] = 4,
    resume: Annotated[bool, typer.Option(help="Continue the same red team if it was killed.")] = True,
    seed: Annotated[int, typer.Option(help="Random seed of the attacks.")] = 0,
    max_leaks: Annotated[
        int | None, typer.Option(min=0, help="Exit with code 3 if there are more leaks than this, for CI.")
    ] = None,
    report: ReportFile = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--out", dir_okay=False, writable=True, help="Write the result as JSON to this file."),
    ] = None,
    as_json: AsJson = False,
    folder: Annotated[Path, typer.Option("--folder", help="Folder of the journal of a red team.")] = DEFAULT_FOLDER,
) -> None:
    """Ask a guard for what its policy does not allow, with the tricks of children and attackers, and count the leaks.

    A leak is a released text that an independent judge, the checker, does not pass.

    Attacks that are finished are kept: if the command is killed or interrupted, run it again to go on.

    Exit codes: 0 done, 1 partial or an attack ended with an error, 2 wrong use or data, 3 more leaks than --max-leaks,
    130 interrupted.
    """
    from taleward.cli.output.console import print_note, print_warning, spinner
    from taleward.cli.output.red_team import show_red_team
    from taleward.evaluation.red_teaming.run import DEFAULT_JUDGES, red_team as run_red_team

    if system is not None and chat:
        raise typer.BadParameter(
            "--chat is for --model; a MODULE:NAME is attacked as it is, with --messages if it chats"
        )
    if messages and system is None:
        raise typer.BadParameter("--messages is for MODULE:NAME; a chat model gets messages by itself")
    for file in (report, json_file):
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
    with spinner("loading the models"):
        attacked = (
            _import_system(system) if system else _make_system(model, chat, base_url, judge, policy, band, attempts)
        )
    try:
        result = run_red_team(
            attacked,
            judge=checker or DEFAULT_JUDGES,
            # By default the answers are judged by the policy and the band of the system's own judge.
            policy=policy if _is_given(context, "policy") else None,
            band=band if _is_given(context, "band") else None,
            categories=category,
            tricks=trick,
            wishes=wishes,
            max_turns=max_turns,
            attacks=attacks,
            takes_messages=True if messages else None,
            input_key=input_key,
            name=system or model,
            timeout_s=timeout,
            max_seconds=max_seconds,
            concurrency=concurrency,
            resume=resume,
            seed=seed,
            folder=folder / "red-team",
        )
    except KeyboardInterrupt as interrupt:
        for note in getattr(interrupt, "__notes__", ()):
            kept = note.partition(";")[0]
            print_warning(f"interrupted: {kept}; run the same command to go on, or add --no-resume to start again")
        raise
    summary = json.dumps(result.summary(), ensure_ascii=False, indent=2) + "\n"
    if as_json:
        sys.stdout.write(summary)
    else:
        show_red_team(result)
    if report is not None:
        report.write_text(result.html(), encoding="utf-8")
        print_note(f"report written to {report}")
    if json_file is not None:
        json_file.write_text(summary, encoding="utf-8")
        print_note(f"result written to {json_file}")
    if max_leaks is not None and result.total.leaks > max_leaks:
        print_warning(f"{result.total.leaks} leaks; at most {max_leaks} are allowed")
        raise typer.Exit(TOO_MANY_LEAKS)
    if result.missing:
        print_warning("partial; run the same command to go on")
    if result.missing or result.errors:
        raise typer.Exit(1)


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _make_system(
    model: str,
    chat: bool,
    base_url: str | None,
    judge: list[str] | None,
    policy: str,
    band: str,
    attempts: int,
) -> Any:
    from taleward.backends.chat_models import chat_model
    from taleward.chains.story import StoryChain
    from taleward.cli.judge_specs import make_judge
    from taleward.moderation.chat.guarded_chat import GuardedChat
    from taleward.moderation.guard.guard import Guard

    options: dict[str, Any] = {"base_url": base_url} if base_url else {}
    own_judge = make_judge(judge, policy=policy, band=band)
    if chat:
        return GuardedChat(chat_model(model, **options), own_judge)
    return Guard(StoryChain(model, policy=policy, band=band, **options), own_judge, attempts=attempts)


def _import_system(spec: str) -> Any:
    """Import a system from a module in the working directory or of an installed package.

    Raises:
        ConfigurationError: If the spec has another form, or there is no such module or name.
    """
    module_name, _, name = spec.partition(":")
    if not module_name or not name:
        raise ConfigurationError(
            f"the system to attack is {spec!r}; expected MODULE:NAME.",
            hint="For example: taleward red-team my_app:guard",
        )
    if "" not in sys.path:
        sys.path.insert(0, "")  # the entry point of an installed command leaves the working directory out
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # an import inside the module
        raise ConfigurationError(
            f"there is no module {module_name!r} here.", hint="Run the command in the folder of your module."
        ) from error
    if not hasattr(module, name):
        public = ", ".join(key for key in vars(module) if not key.startswith("_"))
        raise ConfigurationError(f"the module {module_name!r} has no {name!r}; it has: {public}.")
    return getattr(module, name)
