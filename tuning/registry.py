"""Tuned writers in MLflow's model registry: their versions, and the alias `champion` with its history."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from taleward.backends.base.mlflow_store import mlflow_settings, quiet, registry_client
from taleward.backends.local.registered_models import (
    ARTIFACT_FOLDER,
    SHA256_TAG,
    RegisteredModel,
    as_registered_model,
    find_registered_model,
    folder_sha256,
    model_files,
    registered_aliases,
    registry_errors,
)
from taleward.backends.onnx.quantized_weights import weight_files
from taleward.core.errors import BackendError, ConfigurationError, InvalidFile, UnknownName
from taleward.evaluation.tracking.tale_recorder import DEFAULT_EXPERIMENT, get_or_create_experiment
from taleward.tuning.tuned_folder import RECORD_FILE, read_record

CHAMPION = "champion"
"""The alias of the version that is deployed."""
PREVIOUS = "previous"
"""The alias of the version that was champion before."""
BASE_TAG = "taleward.base_model"
"""The tag with the spec of the model that a version was tuned from."""
_FORMER_TAG = "taleward.former_champions"
_NEXT_STEP = "`taleward tune writer ... --out FOLDER` leaves such a folder."


def register_writer(
    folder: str | Path, name: str, *, tracking_uri: str | None = None, experiment: str = DEFAULT_EXPERIMENT
) -> int:
    """Register a tuned writer as the next version of a model in MLflow's registry.

    The version can be used as `models:/NAME/VERSION`; nothing is deployed by it, see `promote`. A folder that is
    registered already keeps its version. The tags of the version say what it was tuned from, how and on what.

    Args:
        folder: A folder in Hugging Face layout, as `tune_writer` leaves it: `config.json`, weights in safetensors files
            and the tokenizer. What it was made of is read from `tuning.json`, if there is one.
        name: The name in the registry.
        tracking_uri: The MLflow tracking URI. By default it is MLflow's own, as set by `mlflow.set_tracking_uri` or
            `MLFLOW_TRACKING_URI`, and otherwise the store in `.taleward` in the working directory.
        experiment: The name of the MLflow experiment whose run gets the files.

    Returns:
        The version.

    Raises:
        InvalidFile: If the folder is not a model in this layout.
        ConfigurationError: If the name cannot be used.
        BackendError: If MLflow does not store it.
        MissingExtra: If MLflow is not installed.
    """
    path = Path(folder).expanduser()
    _check_folder(path)
    digest = folder_sha256(path)
    with quiet(), mlflow_settings(), registry_errors():
        client = registry_client(tracking_uri, "the model registry", create=True)
        ensure_registered(name, client)
        for known in registered_versions(name, client):
            if known.tags.get(SHA256_TAG) == digest:
                return known.version
        tags = {SHA256_TAG: digest, **_lineage_tags(path)}
        experiment_id = get_or_create_experiment(client, client.tracking_uri, experiment)
        run = client.create_run(experiment_id, run_name=f"register {name}", tags={"taleward.kind": "tuned writer"})
        _upload(path, run.info.run_id, client)
        found = client.create_model_version(
            name, f"{run.info.artifact_uri}/{ARTIFACT_FOLDER}", run.info.run_id, tags=tags
        )
        client.set_terminated(run.info.run_id)
    return int(found.version)


def registered_versions(name: str, client: Any) -> list[RegisteredModel]:
    """List the versions of a registered model, newest first."""
    with registry_errors():
        found = client.search_model_versions(f"name='{name}'", max_results=10_000)
    return sorted(map(as_registered_model, found), key=lambda model: -model.version)


def find_candidate(name: str, version: int | None, client: Any) -> RegisteredModel:
    """Return a version of a registered model; by default the newest one.

    Raises:
        UnknownName: If there is no such model or version.
        BackendError: If the registry cannot be read.
    """
    registered_aliases(name, client)  # raises if there is no such model
    if version is not None:
        return find_registered_model(f"/{name}/{version}", client)
    versions = registered_versions(name, client)
    if not versions:
        raise UnknownName(f"version of the registered model {name!r}", "newest", [])
    return versions[0]


def find_champion(name: str, client: Any) -> RegisteredModel | None:
    """Return the version that is champion now; `None` if there is none.

    Raises:
        UnknownName: If there is no such model.
        BackendError: If the registry cannot be read.
    """
    number = registered_aliases(name, client).get(CHAMPION)
    return None if number is None else find_registered_model(f"/{name}/{number}", client)


def set_champion(candidate: RegisteredModel, former: RegisteredModel | None, client: Any) -> None:
    """Make a version the champion, and remember the former one, on which a rollback rests.

    Raises:
        ConfigurationError: If another version has become champion in the meantime.
        BackendError: If the registry cannot be written.
    """
    name, now = candidate.name, find_champion(candidate.name, client)
    if (now and now.version) != (former and former.version):
        raise ConfigurationError(
            f"the champion of {name!r} has changed while {candidate.spec} was compared: it was "
            f"{former.spec if former else 'none'}, and is {now.spec if now else 'none'}.",
            hint="Promote again, to compare with the champion of now.",
        )
    with registry_errors():
        history = _former_champions(name, now, client) + ([] if now is None else [now.version])
        # The history first: if this is interrupted, the champion has not moved.
        client.set_registered_model_tag(name, _FORMER_TAG, json.dumps(history))
        client.set_registered_model_alias(name, CHAMPION, str(candidate.version))
        _point_previous(name, history, client)


def rollback(name: str, *, tracking_uri: str | None = None) -> int:
    """Make the version champion again that was champion before.

    Args:
        name: The name in the registry.
        tracking_uri: See `register_writer`.

    Returns:
        The version that is champion now. A further rollback goes one more back.

    Raises:
        UnknownName: If there is no such model, or the former champion was deleted.
        ConfigurationError: If there is no champion, or none before it.
        BackendError: If the registry cannot be read or written.
        MissingExtra: If MLflow is not installed.
    """
    with quiet(), mlflow_settings():
        client = registry_client(tracking_uri, "the model registry")
        champion = find_champion(name, client)
        if champion is None:
            raise ConfigurationError(
                f"{name!r} has no champion to roll back from.", hint=f"Promote one: taleward promote {name} --data FILE"
            )
        history = _former_champions(name, champion, client)
        if not history:
            base = champion.tags.get(BASE_TAG)
            raise ConfigurationError(
                f"{champion.spec} is the first champion of {name!r}: there is nothing to roll back to.",
                hint=f"Use the model that it was tuned from, {base}." if base else "Promote another version.",
            )
        former = find_registered_model(f"/{name}/{history.pop()}", client)
        with registry_errors():
            # The alias first: the end of the history that is the champion itself does not count.
            client.set_registered_model_alias(name, CHAMPION, str(former.version))
            client.set_registered_model_tag(name, _FORMER_TAG, json.dumps(history))
            _point_previous(name, history, client)
    return former.version


def _check_folder(folder: Path) -> None:
    """Check that a folder has what the engines need.

    Raises:
        InvalidFile: If something is missing or cannot be read.
    """
    if not folder.is_dir():
        raise InvalidFile(f"{folder} is not a folder.", hint=_NEXT_STEP)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weight_files(folder)
    except (OSError, ValueError, BackendError) as error:
        raise InvalidFile(f"{folder} is not a model in Hugging Face layout: {error}", hint=_NEXT_STEP) from error
    architectures = config.get("architectures") or ["none"] if isinstance(config, dict) else ["none"]
    if not any(str(architecture).endswith(("ForCausalLM", "LMHeadModel")) for architecture in architectures):
        raise InvalidFile(
            f"{folder} does not hold a writer: the architecture in config.json is "
            f"{', '.join(map(str, architectures))}; expected one of a causal language model, ...ForCausalLM.",
            hint=_NEXT_STEP,
        )
    if not any((folder / file).is_file() for file in ("tokenizer.json", "tokenizer_config.json")):
        raise InvalidFile(
            f"{folder} has no tokenizer: neither tokenizer.json nor tokenizer_config.json.", hint=_NEXT_STEP
        )


def _lineage_tags(folder: Path) -> dict[str, str]:
    if not (folder / RECORD_FILE).exists():
        return {}
    record = read_record(folder)
    recipe = record.recipe
    return {
        BASE_TAG: recipe.base,
        "taleward.method": recipe.settings.method,
        "taleward.rows_sha256": recipe.rows_sha256,
        "taleward.rows": str(recipe.rows),
        "taleward.seed": str(recipe.settings.seed),
        "taleward.tuning_run": record.run_id or "not recorded",
    }


def check_registered_name(name: str) -> None:
    """Check that a name can stand in the registry and in a spec.

    Raises:
        ConfigurationError: If it cannot.
    """
    if not name or any(c.isspace() or c in "/:@" for c in name):
        raise ConfigurationError(
            f"a name in the registry has no spaces, '/', ':' or '@'; got {name!r}.", hint="For example 'storyteller'."
        )


def ensure_registered(name: str, client: Any) -> None:
    """Create a registered model unless it exists.

    Raises:
        ConfigurationError: If the name cannot be used.
    """
    from mlflow.exceptions import MlflowException

    check_registered_name(name)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        try:
            registered_aliases(name, client)
        except UnknownName:  # prompts share the names of models, but are hidden among them
            raise ConfigurationError(
                f"{name!r} is the name of a prompt in this registry.", hint="Choose another name for the model."
            ) from error


def _upload(folder: Path, run_id: str, client: Any) -> None:
    """Store a model's files as artifacts of a run, and read back that they are there.

    Raises:
        BackendError: If one is missing or not complete.
    """
    files = model_files(folder)
    for file in files:
        client.log_artifact(run_id, str(file), ARTIFACT_FOLDER)
    stored = {Path(found.path).name: found.file_size for found in client.list_artifacts(run_id, ARTIFACT_FOLDER)}
    for file in files:
        if stored.get(file.name) != file.stat().st_size:
            raise BackendError(f"MLflow did not store {file.name} of run {run_id}.", retryable=True)


def _former_champions(name: str, champion: RegisteredModel | None, client: Any) -> list[int]:
    """Return the versions that were champion before the present one, oldest first."""
    with registry_errors():
        tags = client.get_registered_model(name).tags or {}
    history = [int(version) for version in json.loads(tags.get(_FORMER_TAG, "[]"))]
    while history and champion is not None and history[-1] == champion.version:  # an interrupted change
        history.pop()
    return history


def _point_previous(name: str, history: list[int], client: Any) -> None:
    if history:
        client.set_registered_model_alias(name, PREVIOUS, str(history[-1]))
    else:
        client.delete_registered_model_alias(name, PREVIOUS)
