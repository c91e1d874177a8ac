"""Story templates in MLflow's prompt registry: register versions, load them by alias.

Only the template is registered, with its examples and its variants for age bands, never the values that readers enter.
MLflow accepts Jinja in prompts, but its rendering is not used: values stay inert, as in every template.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

from taleward.backends.base.mlflow_store import quiet
from taleward.chains.template import Template, Variable, load_template
from taleward.core.errors import ConfigurationError, MissingExtra, UnknownName
from taleward.core.frozen_model import FrozenDict
from taleward.core.redaction import redact
from taleward.evaluation.tracking.tale_recorder import default_tracking_uri

_TALEWARD_VARIABLE = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_MLFLOW_VARIABLE = re.compile(r"\{\{\s*([a-z][a-z0-9_]*)\s*\}\}")
_VARIABLES_TAG = "taleward.variables"
_DESCRIPTION_TAG = "taleward.description"
_VERSION_TAG = "taleward.version"
# What MLflow has no field for: the request, the examples and the variants for age bands, as JSON.
_MORE_TAG = "taleward.more"
_MORE_FIELDS = ("request", "examples", "bands")


def register_template(
    template: str | Template, *, alias: str | None = None, tracking_uri: str | None = None
) -> Template:
    """Register a template as the next version of its name in MLflow's prompt registry.

    Args:
        template: A template, or the name of one.
        alias: An alias for this version, such as `champion`; it is moved here from any other version.
        tracking_uri: The MLflow tracking URI; by default the store in `.taleward` in the working directory.

    Returns:
        The template with the version number that the registry gave it.

    Raises:
        MissingExtra: If MLflow is not installed.
        UnknownName: If there is no template of that name.
    """
    loaded = load_template(template)
    client = _registry_client(tracking_uri)
    variables = {name: variable.model_dump() for name, variable in loaded.variables.items()}
    with quiet():
        prompt = client.register_prompt(
            loaded.name,
            _TALEWARD_VARIABLE.sub(r"{{\1}}", loaded.text),
            commit_message=loaded.description,
            # MLflow knows only the names of variables; descriptions, examples and limits travel in tags.
            tags={
                _VARIABLES_TAG: json.dumps(variables),
                _DESCRIPTION_TAG: loaded.description,
                _VERSION_TAG: loaded.version,
                _MORE_TAG: loaded.model_dump_json(include=set(_MORE_FIELDS)),
            },
        )
        if alias is not None:
            client.set_prompt_alias(loaded.name, alias, int(prompt.version))
    return loaded.model_copy(update={"version": str(prompt.version)})


def load_registered_template(name: str, *, tracking_uri: str | None = None) -> Template:
    """Load a template from MLflow's prompt registry.

    Args:
        name: `name@alias`, `name/version`, or `name` for the latest version.
        tracking_uri: The MLflow tracking URI; by default the store in `.taleward` in the working directory.

    Raises:
        UnknownName: If there is no such template, version or alias.
        ConfigurationError: If the prompt was written in MLflow and is not a valid template: it is a chat, its name is
            not a template name, or it contains more than `{{variable}}`.
        MissingExtra: If MLflow is not installed.
    """
    client = _registry_client(tracking_uri)
    # MLflow itself requires a version or an alias; `latest` is an alias that it maintains.
    prompt_uri = f"prompts:/{name}" if "@" in name or "/" in name else f"prompts:/{name}@latest"
    try:
        with quiet():
            prompt = client.load_prompt(prompt_uri)
    except Exception as error:
        reason = redact(str(error)).splitlines()[0]
        known_names: list[str] | None = None
        with quiet(), suppress(Exception):  # if listing fails too, only the first error is reported
            known_names = [known.name for known in client.search_prompts()]
        raise UnknownName(
            "registered template",
            name,
            known_names,
            hint=f"Register it first, with register_template. MLflow says: {reason}",
        ) from error
    if not isinstance(prompt.template, str):
        raise ConfigurationError(
            f"prompt {name!r} is a list of chat messages and cannot be a template.", hint="Register a text prompt."
        )
    used_names = dict.fromkeys(_MLFLOW_VARIABLE.findall(prompt.template))
    tags = prompt.tags or {}
    declared = {n: Variable.model_validate(v) for n, v in json.loads(tags.get(_VARIABLES_TAG, "{}")).items()}
    # A prompt that was written in MLflow's UI has no tags, so its variables describe themselves.
    variables = {n: declared.get(n) or Variable(description=n, example=n) for n in used_names}
    more = json.loads(tags.get(_MORE_TAG, "{}"))
    try:
        return Template(
            name=prompt.name,
            version=str(prompt.version),
            description=tags.get(_DESCRIPTION_TAG) or prompt.commit_message or prompt.name,
            text=_MLFLOW_VARIABLE.sub(r"{\1}", prompt.template),
            variables=FrozenDict(variables),
            **{field: more[field] for field in _MORE_FIELDS if field in more},
        )
    except ValueError as error:
        raise ConfigurationError(f"prompt {name!r} cannot be used as a template: {error}") from error


def _registry_client(tracking_uri: str | None) -> Any:
    try:
        import mlflow
    except ImportError as error:
        raise MissingExtra("the prompt registry", "mlflow") from error
    uri = tracking_uri or default_tracking_uri()
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
