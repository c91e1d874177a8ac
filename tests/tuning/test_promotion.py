"""Tuned writers in a real MLflow registry: registered, compared, promoted, rolled back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from typer.testing import CliRunner

import taleward as tw
from taleward.cli.app import app
from taleward.core.errors import ConfigurationError, InvalidFile, UnknownName
from taleward.evaluation.gates import Gate
from taleward.testing import FakeJudge
from taleward.tuning import Promotion, register_writer
from taleward.tuning.promotion import _SHOWN_METRICS as SHOWN_METRICS
from taleward.tuning.settings import TuningSettings
from taleward.tuning.tuned_folder import TuningRecipe, TuningRecord
from tests.helpers.tiny_task_models import llama

# MLflow's own code warns on import and when it creates its store.
pytestmark = pytest.mark.filterwarnings("default")


class FunctionChat(BaseChatModel):
    """A chat model that answers the last message with a function."""

    function: Callable[[str], str]

    @property
    def _llm_type(self) -> str:
        return "function"

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(self.function(messages[-1].text)))])


WHO = ("shy fox", "old bear", "tiny owl", "brave mouse", "kind wolf")
ROWS = [
    {
        "id": f"row {n}",
        "inputs": {
            "setting": f"harbor number {n}",
            "character": WHO[n % 5],
            "mysterious_object": "glowing map",
            "magical_properties": "power to show hidden places",
            "action": "follow rivers",
            "outcome": "new friendship",
        },
    }
    for n in range(32)
]
WRITERS: dict[str, Callable[[str], str]] = {
    "covers all": lambda request: f"A tale. {request}",
    "covers nothing": lambda request: "Once there was nobody.",
    "covers all, often badly": lambda request: request + (" bad" if "fox" in request or "owl" in request else ""),
}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tuned writer."""
    folder = tmp_path_factory.mktemp("tuned") / "model"
    llama(folder)
    recipe = TuningRecipe(
        base="hf:some/base",
        base_sha256="b",
        rows_sha256="rows",
        rows=7,
        chat_template_sha256="c",
        settings=TuningSettings(method="kto", seed=3),
    )
    record = TuningRecord(recipe=recipe, steps=1, loss=0.5, seconds=1.0)
    (folder / "tuning.json").write_text(record.model_dump_json())
    (folder / "training_args.bin").write_bytes(b"a pickle")
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow store, which takes seconds to make."""
    import mlflow

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture(autouse=True)
def project(in_tmp: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TALEWARD_CACHE", str(in_tmp / "cache"))
    monkeypatch.setattr("taleward.tuning.promotion._SHOWN_METRICS", ("words",))
    (in_tmp / ".taleward").mkdir()
    shutil.copy(store, in_tmp / ".taleward/mlflow.db")
    return in_tmp


def always(answer: str) -> Callable[[str], str]:
    return lambda _: answer


def client() -> Any:
    import mlflow

    uri = f"sqlite:///{Path('.taleward/mlflow.db').resolve()}"
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def aliases() -> dict[str, int]:
    return {alias: int(version) for alias, version in client().get_registered_model("storyteller").aliases.items()}


@pytest.fixture
def versions(tuned: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Three registered versions; a test says which writer each of them, and any other spec, stands for."""
    for n in range(1, 4):
        shutil.copytree(tuned, f"tuned {n}")
        Path(f"tuned {n}/README.md").write_text(f"number {n}")
        assert register_writer(f"tuned {n}", "storyteller") == n
    writers: dict[str, str] = {}
    monkeypatch.setattr(
        "taleward.tuning.promotion._writer_model", lambda spec, uri: FunctionChat(function=WRITERS[writers[spec]])
    )
    return writers


def promote(version: int | None = None, **options: Any) -> Promotion:
    options = {"dataset": ROWS, "judge": FakeJudge(), **options}
    return tw.promote("storyteller", version, **options)


def test_a_registered_folder_has_its_lineage_and_no_pickle(tuned: Path) -> None:
    assert register_writer(tuned, "storyteller") == 1
    assert register_writer(tuned, "storyteller") == 1  # the same files are the same version
    version = client().get_model_version("storyteller", "1")
    assert version.tags["taleward.base_model"] == "hf:some/base"
    assert version.tags["taleward.method"] == "kto"
    assert version.tags["taleward.rows_sha256"] == "rows"
    stored = {Path(file.path).name for file in client().list_artifacts(version.run_id, "model")}
    assert {"config.json", "model.safetensors", "tuning.json", "tokenizer.json"} <= stored
    assert "training_args.bin" not in stored
    assert aliases() == {}
    model = tw.chat_model("models:/storyteller/1", seed=1, max_tokens=4)
    assert model.invoke("A fox").text == tw.chat_model(f"hf:{tuned}", seed=1, max_tokens=4).invoke("A fox").text


def test_what_is_no_writer_is_not_registered(tuned: Path, project: Path) -> None:
    def fails(error: type[Exception], message: str, folder: Path, name: str = "storyteller") -> None:
        with pytest.raises(error, match=message):
            register_writer(folder, name)

    fails(InvalidFile, "is not a folder", project / "none")
    fails(InvalidFile, "is not a model in Hugging Face layout: .*config.json", project)
    for gone in ("model.safetensors", "tokenizer"):
        shutil.copytree(tuned, project / gone, ignore=shutil.ignore_patterns(f"{gone}*"))
        fails(InvalidFile, f"has (no|neither) {gone}", project / gone)
    shutil.copytree(tuned, project / "other")
    config = json.loads((tuned / "config.json").read_text())
    (project / "other/config.json").write_text(json.dumps({**config, "architectures": ["BertModel"]}))
    fails(InvalidFile, "does not hold a writer: the architecture in config.json is BertModel", project / "other")
    fails(ConfigurationError, "no spaces, '/', ':' or '@'; got 'a/b'", tuned, "a/b")
    client().register_prompt("adventure", "Tell of {{who}}")
    fails(ConfigurationError, "'adventure' is the name of a prompt in this registry", tuned, "adventure")


def test_only_what_is_better_becomes_champion_and_a_rollback_goes_back(versions: dict[str, str]) -> None:
    versions.update(
        {
            "hf:some/base": "covers nothing",
            "models:/storyteller/1": "covers all, often badly",
            "models:/storyteller/2": "covers all",
            "models:/storyteller/3": "covers nothing",
        }
    )
    first = promote(1, not_worse=["value_coverage"])
    assert first.promoted, first.reasons
    assert (first.against, first.former_version) == ("hf:some/base", None)
    assert aliases() == {"champion": 1}
    second = promote(2)
    assert second.promoted, second.reasons
    assert (second.against, second.former_version) == ("models:/storyteller/1", 1)
    assert "judge_pass_rate +0.406" in second.reasons[0]
    assert aliases() == {"champion": 2, "previous": 1}
    third = promote()
    assert (third.version, third.promoted) == (3, False)
    assert any("value_coverage: 1 in models:/storyteller/2, now 0" in reason for reason in third.reasons)
    assert aliases() == {"champion": 2, "previous": 1}
    assert tw.rollback("storyteller") == 1
    assert aliases() == {"champion": 1}
    with pytest.raises(
        ConfigurationError, match="models:/storyteller/1 is the first champion of 'storyteller'"
    ) as error:
        tw.rollback("storyteller")
    assert error.value.hint == "Use the model that it was tuned from, hf:some/base."
    with pytest.raises(ConfigurationError, match="models:/storyteller/1 is the champion already"):
        promote(1)


def test_the_decision_is_recorded_with_both_sides(versions: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taleward.tuning.promotion._SHOWN_METRICS", SHOWN_METRICS)
    versions.update({"hf:some/base": "covers nothing", "models:/storyteller/3": "covers all"})
    promotion = promote()
    run = client().get_run(promotion.run_id)
    assert (run.info.status, run.data.tags["taleward.promoted"]) == ("FINISHED", "true")
    assert run.data.params["against"] == "hf:some/base"
    file = Path(client().download_artifacts(promotion.run_id, "promotion.json"))
    assert Promotion.model_validate_json(file.read_bytes()) == promotion
    page = Path(client().download_artifacts(promotion.run_id, "promotion.html")).read_text()
    assert "models:/storyteller/3 is the champion now" in page
    assert {*SHOWN_METRICS, "reading_grade"} == set(promotion.comparison.metrics)
    assert promotion.comparison.names == ("models:/storyteller/3", "hf:some/base")
    scores = promotion.comparison.metrics["value_coverage"].scores
    assert [score.value for score in scores.values()] == [1.0, 0.0]
    for evaluation_run in promotion.evaluation_runs:
        assert client().get_run(evaluation_run).data.metrics["value_coverage"] in (0.0, 1.0)
    assert client().get_model_version("storyteller", "3").tags["taleward.promotion_run"] == promotion.run_id
    assert "judge_pass_rate" in promotion._repr_html_()


def test_registered_models_are_what_is_compared(tuned: Path, project: Path) -> None:
    for number, tokens in ((1, 3), (2, 6)):
        folder = project / str(number)
        shutil.copytree(tuned, folder)
        settings = json.loads((folder / "generation_config.json").read_text())
        (folder / "generation_config.json").write_text(json.dumps({**settings, "max_new_tokens": tokens}))
        assert register_writer(folder, "storyteller") == number
    client().set_registered_model_alias("storyteller", "champion", "1")
    promotion = promote(2, judge=FakeJudge("pass"))
    assert not promotion.promoted
    longer, shorter = promotion.comparison.metrics["words"].scores.values()
    assert (longer.value or 0) >= (shorter.value or 0)
    assert client().get_run(promotion.evaluation_runs[0]).data.params["model"] == "models:/storyteller/2"


def test_a_champion_that_changed_meanwhile_is_not_replaced(versions: dict[str, str]) -> None:
    def crown_another(request: str) -> str:
        if "harbor number 0" in request:  # once: the tests' store takes no concurrent writes
            client().set_registered_model_alias("storyteller", "champion", "3")
        return WRITERS["covers all"](request)

    versions.update({"hf:some/base": "covers nothing", "models:/storyteller/2": "meanwhile"})
    WRITERS["meanwhile"] = crown_another
    with pytest.raises(ConfigurationError, match="has changed while models:/storyteller/2 was compared: it was none"):
        promote(2)
    assert aliases() == {"champion": 3}


def test_an_interrupted_change_loses_no_history(versions: dict[str, str]) -> None:
    for number in ("1", "2", "3"):
        versions[f"models:/storyteller/{number}"] = "covers all"
    client().set_registered_model_alias("storyteller", "champion", "2")
    # The history was written, the alias not yet moved.
    client().set_registered_model_tag("storyteller", "taleward.former_champions", "[1, 2]")
    assert tw.rollback("storyteller") == 1
    assert aliases() == {"champion": 1}


def test_what_cannot_be_decided_is_refused_before_anything_is_written(versions: dict[str, str]) -> None:
    def fails(
        message: str, version: int | None = 1, error: type[Exception] = ConfigurationError, **options: Any
    ) -> Any:
        with pytest.raises(error, match=message) as raised:
            promote(version, **options)
        return raised.value

    fails("29 samples cannot support a promotion.* at least 30 are needed", dataset=ROWS[:29])
    train = [{**row, "split": "train" if n == 3 else "test"} for n, row in enumerate(ROWS)]
    fails("1 of 32 samples .* are in the split 'train'", dataset=train)
    fails("'words' is neither better nor worse", better=["words"])
    fails("'refusal_rate' is measured on a guard's tales", gates=[Gate(metric="refusal_rate", at_most=0.1)])
    fails("metric 'coverage'", error=UnknownName, better=["coverage"])
    fails(r"max_drop: .*; got 0\.", max_drop=0)
    fails("version of the registered model 'storyteller' '9'", version=9, error=UnknownName)
    client().set_registered_model_alias("storyteller", "champion", "2")
    fails("'storyteller' has a champion, models:/storyteller/2, which a candidate must beat", against="hf:weaker")
    client().delete_registered_model_alias("storyteller", "champion")
    client().delete_model_version_tag("storyteller", "1", "taleward.base_model")
    assert "--against embedded:storyteller" in fails("has no champion yet").hint
    with pytest.raises(UnknownName, match=r"registered model 'storyteler'\. Did you mean 'storyteller'"):
        tw.promote("storyteler", dataset=ROWS)
    with pytest.raises(ConfigurationError, match="has no champion to roll back from"):
        tw.rollback("storyteller")


def test_a_model_may_say_which_story_is_better(versions: dict[str, str]) -> None:
    versions.update({"hf:some/base": "covers nothing", "models:/storyteller/1": "covers all"})

    def longer(prompt: str) -> str:
        first, _, second = prompt.partition("[second story ")
        return json.dumps({"label": "first" if len(first.partition("[first story ")[2]) > len(second) else "second"})

    promotion = promote(1, better=["preference"], not_worse=["preference"], preference=FunctionChat(function=longer))
    assert promotion.promoted, promotion.reasons
    assert promotion.rules.not_worse == ("preference",)
    scores = promotion.comparison.metrics["preference"].scores
    assert [score.value for score in scores.values()] == [1.0, 0.0]
    # Who always names the first one, says nothing; answers that cannot be read count for neither.
    versions["models:/storyteller/2"] = "covers all, often badly"
    answers: dict[str, float | None] = {json.dumps({"label": "first"}): 0.5, "both": None}
    for answer, value in answers.items():
        judge = FunctionChat(function=always(answer))
        promotion = promote(2, better=["preference"], not_worse=["preference"], preference=judge)
        assert not promotion.promoted
        assert promotion.comparison.metrics["preference"].scores["models:/storyteller/2"].value == value
    with pytest.raises(ConfigurationError, match="embedded:storyteller-mini follows no instructions"):
        promote(2, preference="embedded:storyteller-mini")


def test_the_command_line(versions: dict[str, str], project: Path, tuned: Path) -> None:
    versions.update({"embedded:storyteller": "covers nothing", "models:/storyteller/2": "covers all"})
    versions |= {"models:/storyteller/4": "covers nothing"}
    data = project / "requests.jsonl"
    data.write_text("".join(json.dumps({"id": row["id"], **row["inputs"]}) + "\n" for row in ROWS))  # type: ignore[dict-item]

    def run(*command: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, list(command))
        return done.exit_code, " ".join(done.output.split()) + str(done.exception)

    common = ("promote", "storyteller", "--data", str(data), "--judge", "lexicon")
    code, output = run(*common, "--version", "2", "--against", "embedded:storyteller", "--report", "out/page.html")
    assert code == 0, output
    assert "PASS better: judge_pass_rate +0 [0, 0] is not different beyond noise" in output
    assert "models:/storyteller/2 is the champion now; it was compared with embedded:storyteller" in output
    assert "models:/storyteller/2 is the champion now" in (project / "out/page.html").read_text()
    (tuned / "README.md").write_text("another")
    code, output = run(*common, "--from", str(tuned), "--json")
    assert code == 3, output
    assert f"{tuned} is models:/storyteller/4" in output
    assert '"promoted": false' in output
    code, output = run("rollback", "storyteller")
    assert "models:/storyteller/2 is the first champion" in output
    code, output = run(*common, "--from", str(tuned), "--version", "2")
    assert code == 2
    assert "--from registers the next version" in output
    code, output = run(*common, "--filter", "id=row 1")
    assert "1 samples cannot support a promotion" in output
