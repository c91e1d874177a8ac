"""Tuned models in MLflow's registry: `models:/NAME@ALIAS` and `models:/NAME/VERSION`, each version downloaded once."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from taleward.backends.base.cached_folder import complete_or_absent
from taleward.backends.base.mlflow_store import mlflow_settings, quiet, registry_client
from taleward.backends.onnx.quantized_weights import conversion_cache_folder
from taleward.backends.transformers.hub_files import MODEL_FILES
from taleward.core.errors import BackendError, ConfigurationError, IntegrityError, UnknownName
from taleward.core.redaction import redact

ARTIFACT_FOLDER = "model"
"""The folder of a run's artifacts that holds a registered model."""
SHA256_TAG = "taleward.sha256"
"""The tag of a model version that says what its files must be; see `folder_sha256`."""
_CARD = "*.md"
_REFERENCE = re.compile(r"/(?P<name>[^/:@\s]+)(?:@(?P<alias>[^/:@\s]+)|/(?P<version>[1-9][0-9]{0,8}))")
_FORMS = "'models:/NAME@ALIAS' or 'models:/NAME/VERSION'"
_UNKNOWN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class RegisteredModel(NamedTuple):
    """A version of a registered model.

    Attributes:
        name: The model's name in the registry.
        version: The version's number.
        source: The URI of its files.
        created_ms: When it was registered, in milliseconds since 1970.
        tags: The version's tags.
    """

    name: str
    version: int
    source: str
    created_ms: int
    tags: Mapping[str, str]

    @property
    def spec(self) -> str:
        """The spec of this version, which no alias can move."""
        return f"models:/{self.name}/{self.version}"


def model_files(folder: Path) -> list[Path]:
    """List the files of a model in Hugging Face layout, sorted by name: what a registered model consists of.

    Checkpoints, optimizer states and everything else that may be in the folder of a training are left out, and so are
    weights in any format but safetensors.
    """
    patterns = (*MODEL_FILES, _CARD)
    return sorted({file for pattern in patterns for file in folder.glob(pattern) if file.is_file()})


def folder_sha256(folder: Path) -> str:
    """Return one SHA-256, in hexadecimal, of the names and contents of a model's files."""
    digest = hashlib.sha256()
    for file in model_files(folder):
        with file.open("rb") as content:
            digest.update(json.dumps([file.name, hashlib.file_digest(content, "sha256").hexdigest()]).encode())
    return digest.hexdigest()


def find_registered_model(reference: str, client: Any) -> RegisteredModel:
    """Look up a version in the registry.

    Args:
        reference: What follows `models:` in a spec, `/NAME@ALIAS` or `/NAME/VERSION`.
        client: The `MlflowClient`, see `registry_client`.

    Raises:
        ConfigurationError: If the reference is malformed.
        UnknownName: If there is no such model, alias or version.
        BackendError: If the registry cannot be read.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise ConfigurationError(
            f"'models:{reference}' does not name a version of a registered model; expected {_FORMS}.",
            hint="For example 'models:/storyteller@champion' or 'models:/storyteller/3'.",
        )
    from mlflow.exceptions import MlflowException

    name, alias, version = match["name"], match["alias"], match["version"]
    with registry_errors():
        try:
            found = client.get_model_version_by_alias(name, alias) if alias else client.get_model_version(name, version)
        except MlflowException as error:
            if error.error_code not in _UNKNOWN:
                raise
            raise _unknown(client, name, alias, version) from error
    return as_registered_model(found)


def registered_aliases(name: str, client: Any) -> dict[str, int]:
    """Return the aliases of a registered model, each with the version that it points to.

    Raises:
        UnknownName: If there is no such model.
        BackendError: If the registry cannot be read.
    """
    from mlflow.exceptions import MlflowException

    with registry_errors():
        try:
            aliases = client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code not in _UNKNOWN:
                raise
            names = [model.name for model in client.search_registered_models()]
            hint = f"Register it first: taleward promote {name} --from FOLDER --data FILE"
            raise UnknownName("registered model", name, names, hint=hint) from error
    return {alias: int(version) for alias, version in aliases.items()}


def as_registered_model(found: Any) -> RegisteredModel:
    """Convert MLflow's entity of a model version."""
    created_ms = int(found.creation_timestamp or 0)
    return RegisteredModel(found.name, int(found.version), found.source or "", created_ms, dict(found.tags or {}))


def registered_model_folder(model: RegisteredModel, client: Any) -> Path:
    """Return the folder with a registered model's files, downloading them on first use.

    The folder is in `TALEWARD_CACHE`, by default `~/.cache/taleward`.

    Raises:
        ConfigurationError: If the version was not registered by Taleward.
        BackendError: If the files cannot be downloaded.
        IntegrityError: If they are not the ones that were registered.
    """
    expected = model.tags.get(SHA256_TAG)
    if not expected:
        raise ConfigurationError(
            f"{model.spec} was not registered by Taleward, so that what is in it cannot be known.",
            hint="Register a folder in Hugging Face layout with taleward.tuning.register_writer(folder, name), or pass "
            "the folder itself: 'hf:FOLDER'.",
        )
    # Numbers are used again if a registry is deleted and made anew.
    key = json.dumps([client.tracking_uri, model.source, model.created_ms, expected])
    name = re.sub(r"[^\w.-]", "_", model.name)
    cached = f"{name}-{model.version}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    folder = conversion_cache_folder() / "models" / cached
    if not folder.is_dir():
        with complete_or_absent(folder) as unfinished:
            _download(model, client, unfinished)
            if folder_sha256(unfinished / ARTIFACT_FOLDER) != expected:
                raise IntegrityError(
                    f"the files of {model.spec} are not the ones that were registered.",
                    hint="Register the model again, and find out who changed the artifacts of its run.",
                )
    return folder / ARTIFACT_FOLDER


def load_registered_model(reference: str, tracking_uri: str | None) -> tuple[str, Path]:
    """Return the spec of the version that a reference stands for now, and the folder with its files."""
    with quiet(), mlflow_settings():
        client = registry_client(tracking_uri, f"the model 'models:{reference}'")
        model = find_registered_model(reference, client)
        return model.spec, registered_model_folder(model, client)


@contextmanager
def registry_errors() -> Iterator[None]:
    """Translate MLflow's exceptions.

    Raises:
        BackendError: If MLflow raised one.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise BackendError(
            f"the model registry failed: {redact(str(error)).splitlines()[0]}",
            hint="Check the tracking URI, and that its server can be reached.",
            retryable=True,
        ) from error


def _download(model: RegisteredModel, client: Any, folder: Path) -> None:
    import mlflow

    uri = client.tracking_uri
    try:
        mlflow.artifacts.download_artifacts(artifact_uri=model.source, dst_path=str(folder), tracking_uri=uri)
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise BackendError(
            f"the files of {model.spec} could not be downloaded from {redact(model.source)}: "
            f"{redact(str(error)).splitlines()[0]}",
            hint="The artifacts of its run were deleted, are on another machine, or cannot be reached now.",
        ) from error


def _unknown(client: Any, name: str, alias: str | None, version: str | None) -> UnknownName:
    aliases = registered_aliases(name, client)
    if alias is not None:
        hint = f"Promote a version first: taleward promote {name} --data FILE, or name a version: 'models:/{name}/1'."
        return UnknownName(f"alias of the registered model {name!r}", alias, aliases, hint=hint)
    known = [str(found.version) for found in client.search_model_versions(f"name='{name}'")]
    return UnknownName(f"version of the registered model {name!r}", str(version), known)
