"""`taleward models`: the models that you can use, and what is missing for the others."""

from __future__ import annotations

from typing import Annotated

import typer


def models(
    spec: Annotated[
        str | None, typer.Argument(help="Show the card of this model on this machine, or describe this GGUF file.")
    ] = None,
) -> None:
    """List the models that you can use, and what is missing for the others."""
    from taleward.backends.discovery import describe_gguf, devices, discover
    from taleward.backends.transformers.gguf_header import find_gguf
    from taleward.cli.judges_and_model_cards import card, judges
    from taleward.cli.output.console import show_card, show_models

    if spec is not None and (gguf := find_gguf(spec.removeprefix("hf:"))) is not None:
        show_models([describe_gguf(gguf)], devices())
        return
    discovered = [*discover(), *judges()]
    if spec is None:
        show_models(discovered, devices())
    else:
        show_card(card(spec, discovered))
