"""Guards logged in a real MLflow store, and loaded from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mlflow")
import mlflow

import taleward as tw
from taleward.backends.base.shipped_models import embedded_path
from taleward.core.errors import BackendError, ConfigurationError, InvalidFile
from taleward.evaluation.tracking.tale_recorder import MlflowRecorder
from taleward.testing import FakeOpenAI, FakeWriter
from tests.conftest import VALUES

pytestmark = pytest.mark.filterwarnings("default")  # MLflow's own code warns

MINI = "embedded:storyteller-mini"
REQUEST: dict[str, Any] = {"input": [{"role": "user", "content": "a story about a fox"}]}
FILE = """
import mlflow
import taleward as tw
from taleward.testing import FakeJudge, FakeWriter
from taleward.tuning import GuardAgent

class OurAgent(GuardAgent):
    def predict(self, request):
        return super().predict(request)

mlflow.models.set_model(OurAgent(tw.Guard(FakeWriter("A bad fox.", "A good fox."), FakeJudge())))
"""

BARE = """
import mlflow

class Bare(mlflow.pyfunc.PythonModel):
    def predict(self, model_input, params=None):
        return "A draft."

mlflow.models.set_model(Bare())
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@pytest.fixture
def server(store: str) -> Iterator[str]:
    """A process whose MLflow store is the one with the guards, as that of a server is."""
    mlflow.set_tracking_uri(store)
    yield store
    mlflow.set_tracking_uri(None)


def mini(**options: Any) -> tw.StoryChain:
    return tw.StoryChain(MINI, max_tokens=30, **options)


def load(uri: str) -> Any:
    return mlflow.pyfunc.load_model(uri)


def text_of(response: Any) -> str:
    return str(response["output"][0]["content"][0]["text"])


def test_a_logged_guard_tells_the_same_tale(store: str, server: str) -> None:
    guard = tw.Guard(mini(seed=1), tw.judge("lexicon"), attempts=1)
    uri = tw.log_guard(guard, tracking_uri=store)
    assert uri.startswith("models:/m-")
    model = load(uri)
    response = model.predict({"input": [], "custom_inputs": {"values": VALUES}})
    assert text_of(response) == guard.invoke(VALUES).text
    assert response["custom_outputs"]["released"] is True
    custom = {"values": VALUES, "band": "9-12", "seed": 7}
    again = tw.Guard(mini(seed=7, band="9-12"), tw.judge("lexicon", band="9-12"), attempts=1)
    assert text_of(model.predict({"input": [], "custom_inputs": custom})) == again.invoke(VALUES).text
    *deltas, done = model.predict_stream(REQUEST)
    assert "".join(event["delta"] for event in deltas) == text_of({"output": [done["item"]]})


def test_a_name_gets_versions_and_the_process_keeps_its_own_store(store: str, tmp_path: Path) -> None:
    mlflow.set_tracking_uri(own := f"sqlite:///{tmp_path / 'own.db'}")
    try:
        guard = tw.Guard(mini(), tw.judge("lexicon"))
        uris = [tw.log_guard(made, "bedtime", tracking_uri=store) for made in (guard, lambda: guard)]
        assert mlflow.get_tracking_uri() == own
        assert mlflow.active_run() is None
    finally:
        mlflow.set_tracking_uri(None)
    assert uris == ["models:/bedtime/1", "models:/bedtime/2"]
    client = mlflow.MlflowClient(tracking_uri=store, registry_uri=store)
    version = client.get_model_version("bedtime", "1")
    [model] = client.search_logged_models([client.get_run(version.run_id).info.experiment_id], "name = 'bedtime'")[-1:]
    assert (model.params["writer.model"], model.params["judge.spec"]) == (MINI, "lexicon")
    assert model.source_run_id == version.run_id
    folder = Path(model.artifact_location.removeprefix("file://"))
    assert json.loads((folder / "artifacts/guard.json").read_text())["policy"]["name"] == "kids"
    requirements = (folder / "requirements.txt").read_text().splitlines()
    assert requirements[0] == f"taleward[mlflow,onnx]=={tw.__version__}"
    assert not list(folder.rglob("*.pkl"))


def test_a_guard_that_is_logged_writes_nothing(store: str) -> None:
    with FakeOpenAI("A hen.") as vendor:
        tw.log_guard(
            tw.Guard(tw.StoryChain("openai:pen", base_url=vendor.base_url), tw.judge("lexicon")), tracking_uri=store
        )
        assert vendor.requests == []


def test_a_file_is_the_guard(store: str, server: str, tmp_path: Path) -> None:
    file = tmp_path / "ours.py"
    file.write_text(FILE)
    uri = tw.log_guard(file, "ours", tracking_uri=store)
    file.unlink()
    response = load(uri).predict(REQUEST)
    assert text_of(response) == "A good fox."
    mlflow.flush_trace_async_logging()
    client = mlflow.MlflowClient(tracking_uri=store)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    assert client.search_traces(experiments) == []  # no request is traced, not even of a subclass


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import no_such_module", "No module named 'no_such_module'"),
        ("x = 1", "mlflow.models.set_model"),
        (BARE, "is no GuardAgent: it may answer with text that was not judged"),
    ],
)
def test_a_file_without_a_guard_is_not_logged(code: str, problem: str, in_tmp: Path) -> None:
    file = in_tmp / "ours.py"
    file.write_text(code)
    with pytest.raises(InvalidFile, match=problem):
        tw.log_guard(file, tracking_uri="sqlite:///never.db")
    assert not Path("never.db").exists()


def test_a_tuned_folder_goes_along(store: str, server: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(embedded_path("storyteller-mini"), tmp_path / "tuned"))
    writer = tw.StoryChain(f"hf:{folder}", engine="onnx", max_tokens=20, seed=3)
    guard = tw.Guard(writer, tw.judge("lexicon"), attempts=1)
    text = guard.invoke(VALUES).text
    uri = tw.log_guard(guard, tracking_uri=store)
    shutil.rmtree(folder)
    agent = load(uri).get_raw_model()
    assert text_of(agent.predict({"input": [], "custom_inputs": {"values": VALUES}}).model_dump()) == text
    assert agent._guard_for(None).writer.model.spec == f"hf:{folder}"  # the name in the tale's lineage


def test_a_tuned_judge_goes_along_under_its_own_name(store: str, server: str, tmp_path: Path) -> None:
    judge_folder = Path(shutil.copytree(embedded_path("judge"), tmp_path / "judge/tuned"))
    writer_folder = Path(shutil.copytree(embedded_path("storyteller-mini"), tmp_path / "writer/tuned"))
    judge = tw.judge(["lexicon", f"embedded:{judge_folder}"], combine="cascade")
    guard = tw.Guard(tw.StoryChain(f"embedded:{writer_folder}", max_tokens=20, seed=3), judge, attempts=1)
    tale = guard.invoke(VALUES)
    uri = tw.log_guard(guard, tracking_uri=store)
    shutil.rmtree(judge_folder)
    shutil.rmtree(writer_folder)
    agent = load(uri).get_raw_model()
    response = agent.predict({"input": [], "custom_inputs": {"values": VALUES}}).model_dump()
    assert text_of(response) == tale.text
    assert agent._guard_for(None).judge.spec == judge.spec


def test_a_recorder_records_in_the_servers_store(store: str, server: str, tmp_path: Path) -> None:
    recorder = MlflowRecorder(f"sqlite:///{tmp_path / 'here.db'}", "tales of the server")
    guard = tw.Guard(mini(seed=1), tw.judge("lexicon"), attempts=1, recorder=recorder)
    response = load(tw.log_guard(guard, tracking_uri=store)).predict({"input": [], "custom_inputs": {"values": VALUES}})
    client = mlflow.MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("tales of the server")
    [trace] = client.search_traces([experiment.experiment_id])
    assert trace.info.tags["tale_id"] == response["custom_outputs"]["tale_id"]
    assert not (tmp_path / "here.db").exists()


def test_what_cannot_be_logged_is_refused_first(in_tmp: Path) -> None:
    guard = tw.Guard(mini(), tw.judge("lexicon"))
    changed = tw.judge("lexicon")
    changed.judged_categories = ()  # type: ignore[attr-defined]
    cases: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (guard, {"name": "a/b"}, ConfigurationError, "a name in the registry"),
        (lambda: FakeWriter("A hen."), {}, ConfigurationError, "log_guard needs a Guard"),
        (tw.Guard(FakeWriter("A hen."), tw.judge("lexicon")), {}, ConfigurationError, "the writer, FakeWriter"),
        (tw.Guard(mini(), changed), {}, ConfigurationError, "the description of this guard makes another one"),
        ("missing.py", {}, InvalidFile, "missing.py is not a Python file"),
        (guard, {"bands": ["5-7"]}, ConfigurationError, "5-7"),
        (guard, {"extras": ["lokal"]}, ConfigurationError, "unknown extra of taleward"),
    ]
    for made, options, error, problem in cases:
        with pytest.raises(error, match=problem):
            tw.log_guard(made, tracking_uri="sqlite:///never.db", **options)
    assert not Path("never.db").exists()


def test_a_store_that_is_away_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(BackendError, match="MLflow did not store the guard"):
        tw.log_guard(tw.Guard(mini(), tw.judge("lexicon")), tracking_uri="http://127.0.0.1:9")
