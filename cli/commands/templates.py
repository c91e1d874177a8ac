"""`taleward templates`: list the story templates, or register one in MLflow."""

from __future__ import annotations

from typing import Annotated

import typer

from taleward.cli.options import TemplateFolder


def templates(
    folder: TemplateFolder = None,
    register: Annotated[
        str | None, typer.Option(help="Register the template of this name in MLflow's prompt registry.")
    ] = None,
    alias: Annotated[str | None, typer.Option(help="With --register: alias of the version, such as champion.")] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow tracking URI; by default the store in .taleward.")
    ] = None,
) -> None:
    """List the story templates with their variables, or register one in MLflow's prompt registry.

    A registered template is used with `taleward eval --template NAME@ALIAS`.
    """
    from taleward.chains.template import load_template, template_names
    from taleward.cli.output.console import print_note, show_templates

    if register is not None:
        from taleward.evaluation.tracking.prompts import register_template

        registered = register_template(load_template(register, folder), alias=alias, tracking_uri=tracking_uri)
        address = f"{registered.name}@{alias or 'latest'}"
        print_note(
            f"registered as version {registered.version} of {registered.name}; "
            f"use it with: taleward eval --template {address}"
        )
    elif alias is not None:
        raise typer.BadParameter("--alias needs --register")
    else:
        show_templates([load_template(name, folder) for name in template_names(folder)])
