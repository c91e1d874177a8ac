"""`taleward keys`: make, list and revoke the API keys of a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taleward.cli.options import AsJson
from taleward.core.errors import ConfigurationError

if TYPE_CHECKING:
    from taleward.serving.operations.api_keys import ApiKey, ApiKeys

keys_app = typer.Typer(name="keys", help="Make, list and revoke the API keys of a server.", no_args_is_help=True)

KeysFile = Annotated[Path, typer.Option("--file", help="The file with the keys; the server's `keys_file`.")]
# The same as the server's own default, which is not imported here to keep the command line fast.
_DEFAULT_FILE = Path(".taleward/keys.db")
_DAY_S = 86_400


@keys_app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, or what for.")],
    scopes: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            help="What the key may call: chat, tales, moderation, embeddings, images, metrics or admin, which is all. "
            "Repeat it for several; by default the first five.",
        ),
    ] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="Requests in a minute.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(min=1, help="Tokens in a minute, read and written.")] = None,
    budget_usd: Annotated[float | None, typer.Option(min=0, help="US dollars in a budget period.")] = None,
    budget_period: Annotated[str, typer.Option(help="When the budget starts anew: day, month or total.")] = "month",
    expires_in_days: Annotated[float | None, typer.Option(help="Days until the key stops working.")] = None,
    file: KeysFile = _DEFAULT_FILE,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, once: only its hash is stored."""
    from taleward.serving.operations.api_keys import ApiKeys, KeyLimits
    from taleward.serving.operations.scopes import DEFAULT_SCOPES

    if budget_period not in ("day", "month", "total"):
        raise ConfigurationError(f"--budget-period must be day, month or total; got {budget_period!r}.")
    limits = KeyLimits(
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        budget_usd=budget_usd,
        budget_period=budget_period,  # type: ignore[arg-type]  # checked above
    )
    ttl_s = None if expires_in_days is None else expires_in_days * _DAY_S
    keys = ApiKeys(file)
    is_first = not len(keys)
    key, secret = keys.create(name, scopes=scopes or DEFAULT_SCOPES, limits=limits, ttl_s=ttl_s)
    if as_json:
        typer.echo(json.dumps({"key": secret.get_secret_value(), **key.model_dump(mode="json")}, indent=2))
        return
    typer.echo(secret.get_secret_value())
    typer.echo(f"Key {key.id} for {name!r} may call: {', '.join(key.scopes)}. It is not shown again.", err=True)
    if is_first:
        typer.echo("Restart servers that run without keys: from now on they ask for one.", err=True)


@keys_app.command(name="list")
def list_(file: KeysFile = _DEFAULT_FILE, as_json: AsJson = False) -> None:
    """List the keys, without the keys themselves."""
    keys = _existing(file)
    listed = keys.list()
    if as_json:
        typer.echo(json.dumps([key.model_dump(mode="json") for key in listed], indent=2))
        return
    from taleward.cli.output.keys import show_keys

    show_keys(listed, now=keys.clock(), spent=_spent(keys, listed))


@keys_app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the key; see `taleward keys list`.")],
    file: KeysFile = _DEFAULT_FILE,
) -> None:
    """Revoke a key; running servers turn it down from now on."""
    key = _existing(file).revoke(key_id)
    typer.echo(f"Key {key.id} for {key.name!r} is revoked.")


def _existing(file: Path) -> ApiKeys:
    from taleward.serving.operations.api_keys import ApiKeys

    if not file.exists():
        raise ConfigurationError(
            f"there is no file of API keys at {file}.", hint="Make the first key with: taleward keys create NAME"
        )
    return ApiKeys(file)


def _spent(keys: ApiKeys, listed: list[ApiKey]) -> dict[str, float]:
    from taleward.serving.operations.key_limits import KeyMeter

    meter = KeyMeter(keys)
    return {key.id: meter.spent_usd(key) for key in listed if key.limits.budget_usd is not None}
