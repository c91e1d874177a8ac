"""`taleward templates`: list, show, start and check story templates, or register one in MLflow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taleward.cli.options import AsJson, PolicyName, TemplateFolder, TrackingUri
from taleward.core.errors import ConfigurationError, InvalidFile

ADVICE = 1
"""Exit code of `check` if the template can be used, but something in it should be changed."""

templates_app = typer.Typer(name="templates", help="List, show, write and check story templates.")

TemplateName = Annotated[str, typer.Argument(help="Name of a template; see `taleward templates`.")]


@templates_app.callback(invoke_without_command=True)
def list_templates(context: typer.Context, folder: TemplateFolder = None) -> None:
    """List the story templates, or show, write, check or register one."""
    from taleward.chains.template import Template, load_template, template_names
    from taleward.cli.output.templates import list_templates as print_list

    if context.invoked_subcommand is not None:
        if folder is not None:
            raise typer.BadParameter(f"give --templates after the command: templates {context.invoked_subcommand} ...")
        return
    # One file with a mistake must not hide the other templates.
    loaded: dict[str, Template | InvalidFile] = {}
    for name in template_names(folder):
        try:
            loaded[name] = load_template(name, folder)
        except InvalidFile as error:
            loaded[name] = error
    print_list(loaded)


@templates_app.command()
def show(
    name: TemplateName,
    band: Annotated[str | None, typer.Option(help="Show only this age band, and its opening filled in.")] = None,
    folder: TemplateFolder = None,
    as_json: AsJson = False,
) -> None:
    """Show a template: its variables, examples and variants for age bands."""
    from taleward.chains.template import load_template
    from taleward.cli.output.templates import show_template
    from taleward.core.errors import UnknownName

    template = load_template(name, folder)
    if band is not None and template.bands and band not in template.bands:
        raise UnknownName(f"band of template {template.name!r}", band, template.bands)
    if as_json:
        sys.stdout.write(template.model_dump_json(indent=2) + "\n")
    else:
        show_template(template, band)


@templates_app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the new template: lowercase letters, digits, _ and -.")],
    folder: Annotated[
        Path, typer.Option("--templates", help="Folder to write NAME.yaml to; created if it does not exist.")
    ] = Path("templates"),
) -> None:
    """Write a commented file to start a template of your own from."""
    from taleward.chains.template import TEMPLATE_NAME
    from taleward.chains.template_check import STARTER
    from taleward.cli.output.console import print_note

    if not TEMPLATE_NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot be the name of a template.",
            hint="Use lowercase letters, digits, _ and -, beginning with a letter, such as sea_journey.",
        )
    path = folder / f"{name}.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(STARTER.format(name=name, path=path))
    except FileExistsError as error:
        raise ConfigurationError(
            f"{path} already exists and is not overwritten.", hint="Choose another name, or another --templates folder."
        ) from error
    print_note(
        f"wrote {path}; edit it, then: taleward templates check {path}\n"
        f"tell a story with it: taleward tell --templates {folder} --template {name}"
    )


@templates_app.command()
def check(
    file: Annotated[Path, typer.Argument(help="Path of a .yaml file.")],
    policy: PolicyName = "kids",
) -> None:
    """Check a template file, and say what to change and in which line.

    Exit codes: 0 all is well, 1 the template can be used but should be changed, 2 it cannot be used.
    """
    from taleward.chains.template_check import check_template
    from taleward.cli.output.templates import show_check
    from taleward.moderation.policies.load import load_policy

    template, advice = check_template(file, load_policy(policy))
    show_check(file, template, advice)
    raise typer.Exit(ADVICE if advice else 0)


@templates_app.command()
def register(
    name: TemplateName,
    alias: Annotated[str | None, typer.Option(help="Alias of the version, such as champion.")] = None,
    folder: TemplateFolder = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Register a template in MLflow's prompt registry, as the next version of its name.

    A registered template is used with `taleward eval --template NAME@ALIAS`.
    """
    from taleward.chains.template import load_template
    from taleward.cli.output.console import print_note
    from taleward.evaluation.tracking.prompts import register_template

    registered = register_template(load_template(name, folder), alias=alias, tracking_uri=tracking_uri)
    print_note(
        f"registered as version {registered.version} of {registered.name}; "
        f"use it with: taleward eval --template {registered.name}@{alias or 'latest'}"
    )
