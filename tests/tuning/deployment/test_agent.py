"""A guard as an agent: what an app gets, and that nothing but judged text ever leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

pytest.importorskip("mlflow")
from mlflow.exceptions import MlflowException

import taleward as tw
from taleward.core.errors import BackendError, ConfigurationError, InvalidInputs
from taleward.testing import FakeJudge, FakeOpenAI, FakeWriter
from taleward.tuning import GuardAgent
from tests.helpers.scripted_chat import SECRET, leaked

pytestmark = pytest.mark.filterwarnings("default")  # MLflow's own code warns


def ask(words: str = "a fox", **custom: Any) -> dict[str, Any]:
    request: dict[str, Any] = {"input": [{"role": "user", "content": words}] if words else []}
    return {**request, "custom_inputs": custom} if custom else request


def answer(agent: GuardAgent, request: Mapping[str, Any]) -> dict[str, Any]:
    response: dict[str, Any] = agent.predict(dict(request)).model_dump(exclude_none=True)
    return response


def text_of(response: Mapping[str, Any]) -> str:
    return str(response["output"][0]["content"][0]["text"])


def stream(agent: GuardAgent, request: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [event.model_dump(exclude_none=True) for event in agent.predict_stream(dict(request))]


def test_an_answer_is_the_released_text() -> None:
    agent = GuardAgent(tw.Guard(FakeWriter("A bad wolf.", "A good wolf."), FakeJudge()))
    response = answer(agent, ask())
    assert response["status"] == "completed"
    assert response["output"][0]["content"] == [{"type": "output_text", "text": "A good wolf.", "annotations": []}]
    assert response["custom_outputs"].pop("tale_id")
    assert response["custom_outputs"] == {"released": True, "outcome": "pass", "reason": "", "categories": []}


def test_a_refusal_is_marked_and_contains_no_word_of_the_draft() -> None:
    agent = GuardAgent(tw.Guard(FakeWriter(SECRET), FakeJudge(), attempts=1))
    response = answer(agent, ask())
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": "content_filter"}
    [content] = response["output"][0]["content"]
    assert content["type"] == "refusal"
    assert content["refusal"]
    outputs = response["custom_outputs"]
    assert (outputs["released"], outputs["outcome"], outputs["reason"]) == (False, "fail", "failed")
    assert outputs["categories"] == ["violence"]
    assert not leaked(response)


@pytest.mark.parametrize("outcome", ["abstain", "unparsable", "error"])
def test_a_draft_without_a_clear_verdict_is_refused(outcome: Any) -> None:
    agent = GuardAgent(tw.Guard(FakeWriter(SECRET), FakeJudge(outcome), judge_inputs=False, attempts=1))
    response = answer(agent, ask())
    assert (response["status"], response["custom_outputs"]["outcome"]) == ("incomplete", outcome)
    assert not leaked(response)
    assert not leaked(stream(agent, ask()))


@pytest.mark.parametrize(
    "error", [ConnectionError(SECRET), BackendError(SECRET, retryable=True), InvalidInputs(None, [SECRET])]
)
def test_a_writer_that_fails_is_an_error_status_and_no_text(error: Exception) -> None:
    agent = GuardAgent(tw.Guard(FakeWriter(["A fox ran. ", "It sat. ", error]), FakeJudge()))
    response = answer(agent, ask())
    assert (response["status"], response["output"]) == ("failed", [])
    assert response["custom_outputs"]["outcome"] == "error"
    assert response["custom_outputs"]["retryable"] is isinstance(error, BackendError)
    assert type(error).__name__ in response["error"]["message"]
    events = stream(agent, ask())
    assert [event["type"] for event in events] == ["response.output_text.delta", "error"]
    assert not leaked([response, events])


def test_a_stream_yields_judged_sentences_only() -> None:
    writer = FakeWriter(["A fox ran. ", SECRET], "It slept.")
    *deltas, done = stream(GuardAgent(tw.Guard(writer, FakeJudge())), ask())
    assert [event["delta"] for event in deltas] == ["A fox ran. ", "It slept."]
    assert {event["item_id"] for event in deltas} == {done["item"]["id"]}
    assert done["type"] == "response.output_item.done"
    assert done["item"]["content"][0]["text"] == "A fox ran. It slept."
    assert done["custom_outputs"]["released"] is True
    assert not leaked(done)


def test_a_stream_withdraws_what_did_not_pass_as_a_whole() -> None:
    judge = FakeJudge(lambda passage: "fail" if "ran. It" in passage.text else "pass")
    writer = FakeWriter(["A fox ran. ", "It slept."])
    *events, done = stream(GuardAgent(tw.Guard(writer, judge, attempts=1)), ask())
    retraction = next(event for event in events if event["type"] == "taleward.retraction")
    shown = "".join(event["delta"] for event in events if "delta" in event)
    assert (retraction["start"], retraction["end"]) == (0, len(shown))
    assert done["item"]["content"][0]["type"] == "refusal"
    assert done["custom_outputs"]["released"] is False


def test_the_last_user_message_is_the_request() -> None:
    seen: list[Any] = []

    def write(request: Any) -> str:
        seen.append(request)
        return "A hen."

    messages = [
        {"role": "user", "content": "a fox"},
        {"role": "assistant", "content": "A fox ran."},
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "a hen,"}, {"type": "input_text", "text": "please"}],
        },
        {"role": "system", "content": "be brief"},
    ]
    GuardAgent(tw.Guard(write, FakeJudge())).predict({"input": messages})
    assert seen == ["a hen,\nplease"]


def test_values_and_a_seed_reach_the_story(values: dict[str, str]) -> None:
    guard = tw.Guard(tw.StoryChain("embedded:storyteller-mini", max_tokens=30, seed=1), FakeJudge())
    agent = GuardAgent(guard)
    texts = [text_of(answer(agent, ask("", values=values, seed=seed))) for seed in (5, 6, 5)]
    assert texts[0] == texts[2] != texts[1]
    assert text_of(answer(agent, ask("", values=values))) == guard.invoke(values).text


@pytest.mark.parametrize(
    ("request_data", "problem"),
    [
        ({"input": []}, "no user message with a request"),
        (ask("  "), "no user message with a request"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "holds input_image"),
        (ask("a fox", values={"setting": "wood"}), "a user message and values"),
        (ask("", values={"setting": "wood"}), "'character' is missing"),
        (ask("", values={"setting": 3}), r"custom_inputs\.values\.setting: Input should be a valid string"),
        (ask("a fox", sede=3), r"custom_inputs\.sede: Extra inputs are not permitted"),
        (ask("a fox", seed=-3), r"custom_inputs\.seed: Input should be greater than or equal to 0"),
        (ask("a fox", band="9-12"), "unknown band of this guard '9-12'"),
    ],
)
def test_a_wrong_request_is_rejected_before_anything_runs(request_data: dict[str, Any], problem: str) -> None:
    judge = FakeJudge()
    agent = GuardAgent(tw.Guard(tw.StoryChain("embedded:storyteller-mini"), judge))
    for call in (lambda: agent.predict(request_data), lambda: list(agent.predict_stream(request_data))):
        with pytest.raises(MlflowException, match=problem) as failure:
            call()
        assert failure.value.get_http_status_code() == 400
    assert judge.judged_texts == []


def test_other_writers_take_no_seed() -> None:
    with pytest.raises(MlflowException, match="the writer, FakeWriter, takes none"):
        GuardAgent(tw.Guard(FakeWriter("A hen."), FakeJudge())).predict(ask("a hen", seed=3))


def test_a_model_that_takes_no_requests_is_the_askers_error() -> None:
    with FakeOpenAI("A hen.") as server:
        writer = tw.StoryChain("openai:pen", base_url=server.base_url)
        object.__setattr__(writer.model, "__dict__", {**writer.model.__dict__, "completion_only": True})
        with pytest.raises(MlflowException, match="takes no request"):
            GuardAgent(tw.Guard(writer, FakeJudge())).predict(ask())


@pytest.mark.parametrize("not_judged", [FakeWriter("A hen."), "A hen.", None])
def test_only_a_guard_can_be_deployed(not_judged: Any) -> None:
    with pytest.raises(ConfigurationError, match="a GuardAgent needs a Guard"):
        GuardAgent(not_judged)
