"""`taleward serve`: a server whose answers are judged before they leave."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taleward.cli.options import (
    DEFAULT_FOLDER,
    BaseUrl,
    JudgeSpecs,
    PolicyName,
    TemplateFolder,
    TrackingUri,
    WriterSpec,
)
from taleward.core.errors import ConfigurationError

if TYPE_CHECKING:
    from taleward.serving.config import ServeConfig

_RELEASES = ("whole", "sentences")
_REFUSAL_FORMS = ("refusal", "content")
_EMBEDDINGS = "embedded:minilm"
_IMAGES = "collage"


def serve(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file with named models and all settings; it takes the place of the options below."),
    ] = None,
    model: WriterSpec = "embedded:storyteller",
    base_url: BaseUrl = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Hold conversations, with a model that follows instructions.")
    ] = False,
    template: Annotated[
        str, typer.Option(help="Template of the stories that the model tells; see `taleward templates`.")
    ] = "adventure",
    templates: TemplateFolder = None,
    judge: JudgeSpecs = None,
    policy: PolicyName = "kids",
    band: Annotated[
        str | None, typer.Option("--band", help="Serve this age band only. By default, one model for each band.")
    ] = None,
    attempts: Annotated[int, typer.Option(min=1, max=20, help="Maximum number of drafts to write and judge.")] = 3,
    release: Annotated[
        str,
        typer.Option(
            help="When streamed text leaves on OpenAI's routes: whole, once all of it has passed; or sentences, each "
            "after its own verdict, for clients that can withdraw a text that fails in the end."
        ),
    ] = "whole",
    refusal_as: Annotated[
        str,
        typer.Option(
            help="Where the words for the child are if nothing is released: refusal, OpenAI's own field; or content, "
            "for user interfaces that show nothing else."
        ),
    ] = "refusal",
    embeddings: Annotated[
        str, typer.Option(help="Spec of the model behind /v1/embeddings; none for no such model.")
    ] = _EMBEDDINGS,
    embeddings_cache: Annotated[Path | None, typer.Option(help="File in which vectors are kept.")] = None,
    images: Annotated[
        str,
        typer.Option(help="Spec of the image model behind /v1/images, such as collage:svg; none for no such model."),
    ] = _IMAGES,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. By default 127.0.0.1, which only this machine reaches.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; by default 8000.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=256, help="Server processes; by default 1.")] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Record stories in MLflow, in .taleward; feedback on the page needs it.")
    ] = False,
    tracking_uri: TrackingUri = None,
) -> None:
    """Serve judged stories and chats over HTTP, with OpenAI's API: put an app behind it by changing one URL.

    Without options it serves the embedded models, as `tales` and as one model for each age band, such as kids-3-5.

    Exit codes: 0 stopped, 1 the server failed, 2 wrong use.
    """
    from taleward.cli.output.console import print_note
    from taleward.evaluation.tracking.tale_recorder import default_tracking_uri
    from taleward.serving.app import check_extra
    from taleward.serving.config import default_config, load_config
    from taleward.serving.operations.server import run_server

    check_extra()
    _check_choice("--release", release, _RELEASES)
    _check_choice("--refusal-as", refusal_as, _REFUSAL_FORMS)
    if config is not None:
        _check_no_other_options(context)
        serve_config = load_config(config)
    else:
        serve_config = default_config(
            model=model,
            base_url=base_url,
            template=None if chat else template,
            templates=templates,
            judge=tuple(judge or ["embedded:judge"]),
            policy=policy,
            band=band,
            attempts=attempts,
            release=release,
            refusal_as=refusal_as,
            embeddings=None if embeddings == "none" else embeddings,
            images=None if images == "none" else images,
        )
        if record and tracking_uri is None:
            tracking_uri = default_tracking_uri(DEFAULT_FOLDER)
        serve_config = _with(serve_config, embeddings_cache=embeddings_cache, tracking_uri=tracking_uri)
    given = {name: value for name, value in (("host", host), ("port", port), ("workers", workers)) if value is not None}
    if config is None and sys.stderr.isatty():
        given["json_logs"] = False  # for people
    serve_config = _with(serve_config, operations=_with(serve_config.operations, **given))
    operations = serve_config.operations
    url = f"http://{operations.host}:{operations.port}"
    print_note(f"serving {', '.join(serve_config.models)} at {url}/v1 once the models are loaded; stop with Ctrl-C")
    run_server(_with_page(serve_config, url))


def _with_page(config: ServeConfig, url: str) -> Any:
    """Return a configuration whose page has a PIN, and say where the page is, or why there is none."""
    from taleward.cli.output.console import print_note
    from taleward.serving.page.settings import PIN_VARIABLE, why_no_page

    reason = why_no_page(config.page, config.operations)
    if config.page is None or reason:
        print_note(f"no page for children: {reason}")
        return config
    page = config.page.with_pin()
    is_drawn = config.page.pin is None and PIN_VARIABLE not in os.environ
    # Printed once, for whoever starts the server; the server's own log never has it.
    pin = f"the PIN {page.pin.get_secret_value()}" if is_drawn and page.pin is not None else "your PIN"
    print_note(f"the page for children is at {url}/; its side for grown-ups opens with {pin}")
    return _with(config, page=page)


def _with(config: Any, **changes: Any) -> Any:
    """Return a configuration with changed fields, validated."""
    return type(config).model_validate({**dict(config), **changes})


def _check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigurationError(f"{option} must be {' or '.join(choices)}; got {value!r}.")


def _check_no_other_options(context: typer.Context) -> None:
    """Reject options that the configuration file would silently override."""
    allowed = {"config", "host", "port", "workers"}
    given = [
        f"--{name.replace('_', '-')}"
        for name in context.params
        if name not in allowed and context.get_parameter_source(name).name == "COMMANDLINE"  # type: ignore[union-attr]
    ]
    if given:
        raise ConfigurationError(
            f"--config takes the place of {', '.join(given)}.",
            hint="Set it for a model in the file; only --host, --port and --workers go with a file.",
        )
