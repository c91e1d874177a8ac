"""Templates in MLflow's prompt registry: registered, named by an alias, loaded by `name@alias`.

What is registered is the template, never a reader's values: MLflow takes Jinja in a prompt, and its own rendering is
not used here. A value stays inert, as in every template.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

from taleward.chains.template import Template, Variable, load_template
from taleward.core.errors import ConfigurationError, MissingExtra, UnknownName
from taleward.core.frozen_model import FrozenDict
from taleward.core.redaction import redact
from taleward.evaluation.tracking.recorder import default_tracking_uri, quiet

_OURS = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_THEIRS = re.compile(r"\{\{\s*([a-z][a-z0-9_]*)\s*\}\}")
_VARIABLES = "taleward.variables"
_DESCRIPTION = "taleward.description"
_VERSION = "taleward.version"


def register_template(
    template: str | Template, *, alias: str | None = None, tracking_uri: str | None = None
) -> Template:
    """Make a template the next version of its name in the registry.

    Args:
        template: A template, or the name of one.
        alias: A name for this version, for example `champion`; it moves here from wherever it was.
        tracking_uri: An MLflow tracking URI; by default that of `.taleward` in this folder.

    Returns:
        The template with the registry's version.

    Raises:
        MissingExtra: MLflow is not installed.
    """
    made = load_template(template)
    client = _client(tracking_uri)
    variables = {name: variable.model_dump() for name, variable in made.variables.items()}
    with quiet():
        kept = client.register_prompt(
            made.name,
            _OURS.sub(r"{{\1}}", made.text),
            commit_message=made.description,
            tags={_VARIABLES: json.dumps(variables), _DESCRIPTION: made.description, _VERSION: made.version},
        )
        if alias is not None:
            client.set_prompt_alias(made.name, alias, int(kept.version))
    return made.model_copy(update={"version": str(kept.version)})


def load_registered_template(name: str, *, tracking_uri: str | None = None) -> Template:
    """A template of the registry.

    Args:
        name: `name@alias`, `name/version`, or `name` for the latest version.
        tracking_uri: An MLflow tracking URI; by default that of `.taleward` in this folder.

    Raises:
        UnknownName: There is no such template, version or alias.
        ConfigurationError: It was typed in MLflow's own pages and has no name of ours, or more than `{{variable}}`.
        MissingExtra: MLflow is not installed.
    """
    client = _client(tracking_uri)
    address = f"prompts:/{name}" if "@" in name or "/" in name else f"prompts:/{name}@latest"
    try:
        with quiet():
            kept = client.load_prompt(address)
    except Exception as error:
        said = redact(str(error)).splitlines()[0]
        there: list[str] | None = None
        with quiet(), suppress(Exception):  # what went wrong first is told
            there = [prompt.name for prompt in client.search_prompts()]
        raise UnknownName(
            "registered template", name, there, hint=f"Register it first, with register_template. MLflow says: {said}"
        ) from error
    if not isinstance(kept.template, str):
        raise ConfigurationError(f"prompt {name!r} is a chat, not a text; a template is a text.")
    used = dict.fromkeys(_THEIRS.findall(kept.template))
    tags = kept.tags or {}
    said_of = {n: Variable.model_validate(v) for n, v in json.loads(tags.get(_VARIABLES, "{}")).items()}
    variables = {n: said_of.get(n) or Variable(description=n, example=n) for n in used}
    try:
        return Template(
            name=kept.name,
            version=str(kept.version),
            description=tags.get(_DESCRIPTION) or kept.commit_message or kept.name,
            text=_THEIRS.sub(r"{\1}", kept.template),
            variables=FrozenDict(variables),
        )
    except ValueError as error:
        raise ConfigurationError(f"prompt {name!r} cannot be used as a template: {error}") from error


def _client(tracking_uri: str | None) -> Any:
    try:
        import mlflow
    except ImportError as error:
        raise MissingExtra("the prompt registry", "mlflow") from error
    place = tracking_uri or default_tracking_uri()
    return mlflow.MlflowClient(tracking_uri=place, registry_uri=place)
