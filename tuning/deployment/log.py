"""Log a guard as an MLflow model, from its description or from a Python file."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from taleward.backends.base.mlflow_store import mlflow_settings, quiet, registry_client
from taleward.core.errors import BackendError, ConfigurationError, InvalidFile
from taleward.core.redaction import redact
from taleward.evaluation.describe import describe_system
from taleward.evaluation.tracking.runs import check_mlflow
from taleward.evaluation.tracking.tale_recorder import DEFAULT_EXPERIMENT, get_or_create_experiment
from taleward.moderation.guard.guard import Guard
from taleward.moderation.judges.fingerprint import judge_fingerprint
from taleward.tuning.deployment.build import build_guards
from taleward.tuning.deployment.config import GuardConfig
from taleward.tuning.deployment.describe import describe_guard, local_files
from taleward.tuning.deployment.requirements import (
    needed_extras,
    no_deps_packages,
    pinned_requirements,
    vendor_distributions,
)
from taleward.tuning.registry import check_registered_name, ensure_registered

NO_DEPS_KEY = "pip_install_no_deps"
"""Key of a deployed model's metadata with the packages that are installed with `pip install --no-deps`."""

_MODEL_CODE = '''"""A guard of Taleward. What it is made of is in artifacts/guard.json."""

from mlflow.models import set_model

from taleward.tuning.deployment.agent import ConfiguredGuardAgent

set_model(ConfiguredGuardAgent())
'''
_INPUT_EXAMPLE = {"input": [{"role": "user", "content": "a story about a fox who finds a key"}]}
_MAX_PARAM_CHARACTERS = 500


class _Deployment(NamedTuple):
    """What MLflow gets: code, artifacts by name, requirements of pip and packages without dependencies, parameters."""

    code: Path
    artifacts: Mapping[str, str]
    requirements: Sequence[str]
    no_deps: Sequence[str]
    params: Mapping[str, str]


def log_guard(
    guard: Guard | Callable[[], Guard] | str | Path,
    name: str | None = None,
    *,
    bands: Sequence[str] | None = None,
    extras: Iterable[str] = (),
    tracking_uri: str | None = None,
    experiment: str = DEFAULT_EXPERIMENT,
) -> str:
    """Log a guard as an MLflow model that `mlflow models serve` can serve.

    A guard that consists of a `StoryChain` and judges made from specs is described as data, in `guard.json`: model
    specs with their options, the texts of the template and the policy, calibrations, and the guard's settings. The
    server makes it again from that; nothing is pickled. The files of a tuned writer or judge, and of any other writer's
    model in a local folder, are copied into the MLflow model. Any other guard is deployed as a Python file that makes
    it. Keys are not part of a deployment; the server reads them from its environment.

    A recorder is deployed as the name of its experiment: the server records tales in its own MLflow store, which
    `MLFLOW_TRACKING_URI` names.

    Args:
        guard: A `Guard` or `BestOf`; a function that returns one; or the path of a Python file that calls
            `mlflow.models.set_model(GuardAgent(guard))`. MLflow runs the file here, and whenever it loads the model.
            It can import what is installed on the server.
        name: A name in MLflow's model registry, of which the guard becomes the next version. `None` to log it only.
        bands: The age bands that a request may name, besides the guard's own. By default all of the policy, or none if
            a judge is calibrated.
        extras: Further extras of Taleward that the server needs. For a Python file, all but `mlflow`.
        tracking_uri: The MLflow tracking URI. By default it is MLflow's own, as set by `mlflow.set_tracking_uri` or
            `MLFLOW_TRACKING_URI`, and otherwise the store in `.taleward` in the working directory.
        experiment: The name of the MLflow experiment; created if missing.

    Returns:
        The model's URI: `models:/NAME/VERSION`, or `models:/ID` without a name.

    Raises:
        ConfigurationError: If the guard cannot be described, which the message explains, or a name cannot be used.
        InvalidFile: If the Python file fails, or does not set a `GuardAgent`.
        BackendError: If MLflow does not store the model.
        MissingExtra: If MLflow is not installed.
    """
    check_mlflow()
    if name is not None:
        check_registered_name(name)
    with tempfile.TemporaryDirectory() as folder, quiet(), mlflow_settings():
        if isinstance(guard, str | Path):
            if bands is not None:
                raise ConfigurationError(
                    f"a Python file takes no bands; got {list(bands)}.", hint="Its guard has one age band."
                )
            deployment = _from_file(Path(guard), extras)
        else:
            deployment = _from_guard(guard if isinstance(guard, Guard) else guard(), bands, extras, Path(folder))
        model = Path(folder, "model")
        _save(deployment, model)
        return _upload(deployment, model, name, tracking_uri, experiment)


def _from_file(file: Path, extras: Iterable[str]) -> _Deployment:
    if file.suffix != ".py" or not file.is_file():
        raise InvalidFile(
            f"{file} is not a Python file.",
            hint="Pass a guard, or a .py file that calls mlflow.models.set_model(GuardAgent(guard)).",
        )
    return _Deployment(file, {}, pinned_requirements({"mlflow", *extras}), (), {"system": file.name})


def _from_guard(guard: object, bands: Sequence[str] | None, extras: Iterable[str], folder: Path) -> _Deployment:
    if not isinstance(guard, Guard):
        raise ConfigurationError(
            f"log_guard needs a Guard, a function that returns one, or a Python file; got {type(guard).__name__}.",
            hint="Text that was not judged cannot be deployed: put taleward.Guard(writer, judge) around it.",
        )
    config, files = describe_guard(guard, bands), local_files(guard)
    _check_description(guard, config, files)
    code, file = folder / "served_guard.py", folder / "guard.json"
    code.write_text(_MODEL_CODE, encoding="utf-8")
    file.write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    no_deps = no_deps_packages(config)
    requirements = pinned_requirements(
        {*needed_extras(config), *extras}, without=no_deps, vendors=vendor_distributions(guard)
    )
    params = {name: value[:_MAX_PARAM_CHARACTERS] for name, value in describe_system(guard).items()}
    artifacts = {"guard": str(file), **{part: str(path) for part, path in files.items()}}
    return _Deployment(code, artifacts, requirements, no_deps, params)


def _check_description(guard: Guard, config: GuardConfig, files: Mapping[str, Path]) -> None:
    """Make the guard again for each age band, and compare it with the original.

    Raises:
        ConfigurationError: If it cannot be made, or is another one.
    """
    again = build_guards(GuardConfig.model_validate_json(config.model_dump_json()), files)[config.band]
    before, after = describe_system(guard), describe_system(again)
    different = [
        f"{name} is {before.get(name)!r} and would be {after.get(name)!r}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
    if not different and judge_fingerprint(guard.judge) != judge_fingerprint(again.judge):
        different = [f"the judge {guard.judge.spec} has settings that its spec and options do not give"]
    if different:
        raise ConfigurationError(
            f"the description of this guard makes another one: {'; '.join(different)}.",
            hint="Make models and judges with the settings that they are to have, instead of changing them afterwards.",
        )


def _save(deployment: _Deployment, folder: Path) -> None:
    """Save the model in a folder, and load it again.

    Raises:
        InvalidFile: If the code fails or sets another model than a `GuardAgent`.
    """
    # First, because it silences what MLflow's modules warn about while they are imported.
    from taleward.tuning.deployment.agent import GuardAgent, no_tales

    import mlflow.models  # isort: skip
    import mlflow.pyfunc  # isort: skip
    from mlflow.exceptions import MlflowException  # isort: skip

    # MLflow keeps the model that was set last: a file that sets none would be logged as the one before.
    mlflow.models.model.__mlflow_model__ = None
    try:
        with no_tales():
            mlflow.pyfunc.save_model(
                path=folder,
                python_model=str(deployment.code),
                artifacts=dict(deployment.artifacts),
                pip_requirements=list(deployment.requirements),
                input_example=_INPUT_EXAMPLE,
                metadata={NO_DEPS_KEY: list(deployment.no_deps)},
            )
            loaded = mlflow.pyfunc.load_model(str(folder))
            with contextlib.suppress(NotImplementedError):  # by models of other kinds
                loaded = loaded.get_raw_model()
    except MlflowException as error:
        raise InvalidFile(
            f"MLflow cannot make a model of {deployment.code.name}: {redact(str(error))}",
            hint="The file must run by itself and end with mlflow.models.set_model(GuardAgent(guard)).",
        ) from error
    if not isinstance(loaded, GuardAgent):
        raise InvalidFile(
            f"the model of {deployment.code.name} is no GuardAgent: it may answer with text that was not judged.",
            hint="End the file with mlflow.models.set_model(GuardAgent(guard)), with GuardAgent from taleward.tuning.",
        )


@contextlib.contextmanager
def _finished(run_id: str, client: Any) -> Iterator[None]:
    """Finish a run, also if an exception leaves it."""
    try:
        yield
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)


def _upload(deployment: _Deployment, folder: Path, name: str | None, tracking_uri: str | None, experiment: str) -> str:
    """Store a saved model, and register it if it has a name. Returns its URI."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.exceptions import MlflowException

    # A client of its own: MLflow's fluent functions would change the app's tracking URI and active run.
    client = registry_client(tracking_uri, "the deployment of a guard", create=True)
    try:
        experiment_id = get_or_create_experiment(client, client.tracking_uri, experiment)
        run = client.create_run(
            experiment_id, run_name=f"deploy {name or 'guard'}", tags={"taleward.kind": "deployment"}
        )
        run_id = run.info.run_id
        with _finished(run_id, client):
            logged = client.create_logged_model(
                experiment_id, name or "guard", source_run_id=run_id, params=dict(deployment.params), model_type="agent"
            )
            client.log_model_artifacts(logged.model_id, str(folder))
            client.finalize_logged_model(logged.model_id, "READY")
            client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
            if name is None:
                return f"models:/{logged.model_id}"
            ensure_registered(name, client)
            # With a model's URI instead of its folder, MLflow would look the model up in the process's own store.
            version = client.create_model_version(name, logged.artifact_location, run_id, model_id=logged.model_id)
            return f"models:/{name}/{version.version}"
    except (MlflowException, OSError) as error:
        raise BackendError(f"MLflow did not store the guard: {redact(str(error))}") from error
