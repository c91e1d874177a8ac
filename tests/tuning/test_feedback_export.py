"""From a recorded tale to a file of rows: the prompt is what the writer was sent, and nothing goes without consent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.output_parsers import StrOutputParser
from typer.testing import CliRunner

import taleward as tw
from taleward.cli.app import app
from taleward.core.errors import ConfigurationError, InvalidFile, UnknownName
from taleward.evaluation.feedback.mlflow_store import FeedbackStore
from taleward.testing import FakeJudge
from taleward.tuning import KtoRow, read_tuning_rows, rows_from_feedback
from tests.helpers.scripted_chat import ScriptedChat

# MLflow's own code warns on import and when it creates its store.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('project') / 'mlflow.db'}"


@pytest.fixture
def store(uri: str, request: pytest.FixtureRequest) -> FeedbackStore:
    return FeedbackStore(uri, request.node.name)


def export(store: FeedbackStore, experiment: str, file: Path, *options: str) -> Any:
    place = ["--tracking-uri", store.tracking_uri, "--experiment", experiment]
    return CliRunner().invoke(app, ["feedback", "export", str(file), *options, *place])


@pytest.mark.parametrize("streamed", [False, True])
def test_the_rows_of_a_revised_tale_have_the_prompt_of_its_first_draft(
    store: FeedbackStore, request: pytest.FixtureRequest, values: dict[str, str], streamed: bool
) -> None:
    chat = ScriptedChat(answers=[["A bad fox. "], ["A kind ", "fox."]])
    recorder = tw.MlflowRecorder(store.tracking_uri, request.node.name)
    guard = tw.Guard(tw.StoryChain(chat), FakeJudge(), recorder=recorder)
    tale = list(guard.stream(values))[-1].tale if streamed else guard.invoke(values)  # type: ignore[union-attr]
    assert all(not attempt.messages for attempt in tale.attempts)  # a tale does not carry the reader's words around
    store.record(tale.id, person="anna", kid_friendly=True, for_training=True, requested_by_child=False)
    [good, bad] = rows_from_feedback(store, "kto")
    assert isinstance(good, KtoRow)
    assert isinstance(bad, KtoRow)
    assert [(row.completion.strip(), row.label) for row in (good, bad)] == [
        ("A kind fox.", True),
        ("A bad fox.", False),
    ]
    first, second = (call["messages"] for call in chat.requests)
    assert [turn.content for turn in good.prompt] == [message.text for message in first]
    assert [turn.role for turn in good.prompt] == ["system", "user"]
    assert "An earlier draft was turned down" in second[-1].text
    assert good.source.template == "adventure"
    assert not good.source.rendered


def test_the_prompt_of_a_writer_with_several_different_calls_is_not_known(
    store: FeedbackStore, request: pytest.FixtureRequest
) -> None:
    chat = ScriptedChat(answers=[["An outline."], ["A kind fox."]])
    guard = tw.Guard(
        chat | StrOutputParser() | chat, FakeJudge(), recorder=tw.MlflowRecorder(store.tracking_uri, request.node.name)
    )
    tale = guard.invoke("a story about a fox")
    store.record(tale.id, person="anna", kid_friendly=True, for_training=True, requested_by_child=False)
    assert rows_from_feedback(store, "sft").skipped == {"prompt_unknown": 1}


def test_the_command_writes_what_was_given_for_training_and_says_what_it_left_out(
    store: FeedbackStore, request: pytest.FixtureRequest, tmp_path: Path, values: dict[str, str]
) -> None:
    experiment, file = request.node.name, tmp_path / "rows.jsonl"
    recorder = tw.MlflowRecorder(store.tracking_uri, experiment)
    guard = tw.Guard(tw.StoryChain(ScriptedChat(answers=[["A kind fox."]])), FakeJudge(), recorder=recorder)
    given, childs, private = (guard.invoke(values) for _ in range(3))
    store.record(private.id, person="anna", rating=5)
    store.record(childs.id, person="anna", rating=5, for_training=True, requested_by_child=True)
    result = export(store, experiment, file, "--format", "kto")
    assert isinstance(result.exception, ConfigurationError)
    assert not file.exists()
    store.record(given.id, person="anna", rating=5, for_training=True, requested_by_child=False)
    result = export(store, experiment, file, "--format", "kto")
    assert result.exit_code == 0, result.output
    [row] = read_tuning_rows(file, "kto")
    assert row.source.tale_id == given.id
    output = " ".join(result.output.split())
    assert "1 of 3 tales skipped: nobody gave their feedback for training" in output
    assert "1 of 3 tales skipped: the request may be a child's, and no guardian consents" in output
    # The terminal's width decides where the line is broken, in the middle of a path, too.
    assert f"taleward tune writer --method kto --rows {file}".replace(" ", "") in output.replace(" ", "")
    # Whoever takes it back is not in the next export.
    store.record(given.id, person="anna", for_training=False)
    assert len(rows_from_feedback(store, "kto")) == 0


def test_a_wrong_format_or_file_is_refused_before_the_store_is_opened(tmp_path: Path) -> None:
    for options, error in (
        (["rows.jsonl", "--format", "pairs"], UnknownName),
        (["rows.parquet", "--format", "dpo"], InvalidFile),
    ):
        place = ["--folder", str(tmp_path / "none")]
        result = CliRunner().invoke(app, ["feedback", "export", *options, *place])
        assert isinstance(result.exception, error)
    assert not (tmp_path / "none").exists()
