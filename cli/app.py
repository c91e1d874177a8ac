"""The Typer application: the list of commands. They import what is heavy when they run, so that `--help` is fast."""

from __future__ import annotations

from typing import Annotated

import typer

from taleward.cli.commands.arena import arena
from taleward.cli.commands.batch import batch
from taleward.cli.commands.book import book_app
from taleward.cli.commands.chat import chat
from taleward.cli.commands.compare import compare
from taleward.cli.commands.deploy import deploy
from taleward.cli.commands.draw import draw
from taleward.cli.commands.evaluate import evaluate
from taleward.cli.commands.feedback import feedback_app
from taleward.cli.commands.grid import grid
from taleward.cli.commands.judge import judge
from taleward.cli.commands.judge_bench_and_calibrate import calibrate, judge_bench
from taleward.cli.commands.keys import keys_app
from taleward.cli.commands.mlflow_ui import ui
from taleward.cli.commands.models import models
from taleward.cli.commands.policy import policy_app
from taleward.cli.commands.promote import promote, rollback
from taleward.cli.commands.prompt import prompt_app
from taleward.cli.commands.red_team import red_team
from taleward.cli.commands.review import review_app
from taleward.cli.commands.serve import serve
from taleward.cli.commands.store import store_app
from taleward.cli.commands.summarize_classify import classify, summarize
from taleward.cli.commands.tell import tell
from taleward.cli.commands.templates import templates_app
from taleward.cli.commands.tune import tune_app
from taleward.cli.commands.tune_judge import tune_judge
from taleward.cli.suggestions import SuggestingGroup

app = typer.Typer(
    name="taleward",
    cls=SuggestingGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from taleward import __version__

        typer.echo(f"taleward {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Generate stories with language models, and release only what a judge passes."""


# Typer lists commands in this order. Every template has its own variables, so any unknown option of `tell` may be one;
# `check_value_names` and `Template.render` reject those that are not. With such options, the words of a request cannot
# be declared as an argument: Typer would take `--setting` for one of them.
app.command(
    options_metavar="[REQUEST] [OPTIONS]",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(tell)
app.command()(judge)
app.command()(draw)
app.add_typer(book_app)
app.command()(models)
app.add_typer(templates_app)
app.command()(ui)
app.command()(chat)
app.command()(summarize)
app.command()(classify)
app.command("eval")(evaluate)
app.command()(batch)
app.command()(compare)
app.command()(arena)
app.command()(grid)
app.add_typer(feedback_app)
app.add_typer(review_app)
app.command("judge-bench")(judge_bench)
app.command()(calibrate)
app.command("red-team")(red_team)
tune_app.command("judge")(tune_judge)
app.add_typer(tune_app)
app.command()(promote)
app.command()(rollback)
app.command()(deploy)
app.command()(serve)
app.add_typer(keys_app)
app.add_typer(policy_app)
app.add_typer(prompt_app)
app.add_typer(store_app)
