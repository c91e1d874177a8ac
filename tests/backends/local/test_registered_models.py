"""Tuned writers by folder and by their name in MLflow's registry, in a real store."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import taleward as tw
from taleward.backends.base.shipped_models import embedded_path
from taleward.backends.local.registered_models import SHA256_TAG, folder_sha256
from taleward.core.errors import BackendError, ConfigurationError, IntegrityError, UnknownName
from tests.helpers.tiny_task_models import llama

# MLflow's own code warns on import and when it creates its store.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(autouse=True)
def cache(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TALEWARD_CACHE", str(in_tmp / "cache"))
    return in_tmp / "cache"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, registered as `tiny`: version 1 with its tag and an alias, version 2 without."""
    import mlflow

    folder = tmp_path_factory.mktemp("project")
    llama(folder / "tuned")
    (folder / "tuned" / "optimizer.pt").write_bytes(b"not a model's file")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    run = client.create_run(client.create_experiment("tuning", (folder / "artifacts").as_uri()))
    client.log_artifacts(run.info.run_id, str(folder / "tuned"), "model")
    client.create_registered_model("tiny")
    source, tags = f"{run.info.artifact_uri}/model", {SHA256_TAG: folder_sha256(folder / "tuned")}
    client.create_model_version("tiny", source, run.info.run_id, tags)
    client.create_model_version("tiny", source, run.info.run_id)
    client.set_registered_model_alias("tiny", "champion", "1")
    return folder


def test_a_registered_model_writes_what_its_folder_writes(
    project: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{project / 'mlflow.db'}"
    options: dict[str, Any] = {"seed": 1, "temperature": 1, "max_tokens": 8}
    registered = tw.chat_model("models:/tiny@champion", tracking_uri=uri, **options)
    assert registered.spec == "models:/tiny/1"  # type: ignore[attr-defined]
    expected = tw.chat_model(f"hf:{project / 'tuned'}", **options).invoke("A fox").text
    assert registered.invoke("A fox").text == expected
    [downloaded] = (cache / "models").iterdir()
    assert (downloaded / "model" / "model.safetensors").is_file()
    # Another process finds the copy, even if the artifacts are gone; MLflow's own setting names the store.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    (project / "artifacts").rename(project / "away")
    try:
        assert tw.chat_model("models:/tiny/1", **options).invoke("A fox").text == expected
        monkeypatch.setenv("TALEWARD_CACHE", str(cache / "other"))
        with pytest.raises(BackendError, match="files of models:/tiny/1 could not be downloaded"):
            tw.chat_model("models:/tiny/1")
        assert list((cache / "other" / "models").iterdir()) == []
    finally:
        (project / "away").rename(project / "artifacts")


def test_changed_files_are_not_loaded(project: Path, cache: Path) -> None:
    [weights] = (project / "artifacts").rglob("model.safetensors")
    content = weights.read_bytes()
    try:
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(IntegrityError, match="are not the ones that were registered"):
            tw.chat_model("models:/tiny/1", tracking_uri=f"sqlite:///{project / 'mlflow.db'}")
    finally:
        weights.write_bytes(content)
    assert list((cache / "models").iterdir()) == []


def test_wrong_references_say_what_there_is(project: Path) -> None:
    uri = f"sqlite:///{project / 'mlflow.db'}"

    def fails(spec: str, error: type[Exception], message: str, **options: Any) -> Any:
        with pytest.raises(error, match=message) as raised:
            tw.chat_model(spec, tracking_uri=uri, **options)
        return raised.value

    fails("models:/tinny@champion", UnknownName, "registered model 'tinny'. Did you mean 'tiny'")
    unknown = fails(
        "models:/tiny@chmpion", UnknownName, "alias of the registered model 'tiny' 'chmpion'. Did you mean 'ch"
    )
    assert "taleward promote tiny" in unknown.hint
    fails("models:/tiny/7", UnknownName, r"version of the registered model 'tiny' '7'.* Known: '1', '2'")
    fails("models:/tiny/2", ConfigurationError, "models:/tiny/2 was not registered by Taleward")
    for spec in ("models:/tiny", "models:tiny@champion", "models:/tiny/latest", "models:/a/b/1", "models:/../x/1"):
        fails(spec, ConfigurationError, "does not name a version of a registered model; expected 'models:/NAME@ALIAS'")
    fails("models:/nothing/1", UnknownName, "option of models:/nothing/1 'temprature'. Did you mean", temprature=1)
    with pytest.raises(ConfigurationError, match=r"there is no \.taleward/mlflow\.db in"):
        tw.chat_model("models:/tiny/1")
    with pytest.raises(BackendError, match="the model registry failed"):
        tw.chat_model("models:/tiny/1", tracking_uri="http://127.0.0.1:9")


def test_a_folder_in_the_embedded_layout_runs_on_onnx(in_tmp: Path) -> None:
    shutil.copytree(embedded_path("storyteller-mini"), in_tmp / "tuned")
    options: dict[str, Any] = {"seed": 1, "max_tokens": 12}
    request = "Tell me about a little fox who finds a golden key."
    expected = tw.chat_model("embedded:storyteller-mini", **options).invoke(request).text
    for spec in (f"embedded:{in_tmp}/tuned", "embedded:./tuned"):
        model = tw.chat_model(spec, **options)
        assert model.engine == "onnx"  # type: ignore[attr-defined]
        assert model.invoke(request).text == expected
    with pytest.raises(ConfigurationError, match=r"embedded:\./tunde: tunde is not a folder"):
        tw.chat_model("embedded:./tunde")
    with pytest.raises(UnknownName, match="unknown embedded model 'tuned'") as raised:
        tw.chat_model("embedded:tuned")
    assert raised.value.hint == "For the folder tuned, write 'embedded:./tuned'."
    with pytest.raises(UnknownName, match=r"option of embedded:\./tuned 'sed'"):
        tw.chat_model("embedded:./tuned", sed=1)
