"""What a system may be and may answer with, and what a metric lacks: told before it costs anything."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate

import taleward as tw
from taleward.core.errors import BackendError, ConfigurationError
from taleward.evaluation.datasets import load_dataset
from taleward.evaluation.evaluator import evaluate
from taleward.evaluation.journal import journals
from taleward.evaluation.metrics import metric
from tests.helpers.fakes import FakeJudge, Writer
from tests.helpers.openai_stub import completion, serving

# MLflow's own code warns on import and when its store is first made.
pytestmark = pytest.mark.filterwarnings("default")

PASSAGES = [{"output": text, "label": label} for text, label in (("bad", "fail"), ("sly", "fail"), ("fine", "pass"))]
STORIES = [{"inputs": {"n": n}, "references": ["a fox"]} for n in range(6)]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('project') / 'mlflow.db'}"


def test_a_judge_is_measured_against_labels(uri: str, tmp_path: Path) -> None:
    names = ["accuracy", "precision", "recall", "f1", "kappa"]
    found = evaluate(FakeJudge(), PASSAGES, names, tracking_uri=uri, spool=tmp_path)
    assert [found.scores[n].value for n in names] == pytest.approx([2 / 3, 1.0, 0.5, 2 / 3, 0.4])
    assert [(r["label"], r["prediction"]) for r in found.rows()] == [
        ("fail", "fail"),
        ("fail", "pass"),
        ("pass", "pass"),
    ]


def test_classifiers_and_models_take_the_only_text_or_the_one_that_is_named(uri: str, tmp_path: Path) -> None:
    rows = [{"inputs": {"text": "The sun shone."}, "label": "a"}, {"inputs": {"text": "It rained."}, "label": "b"}]
    classifier = tw.ZeroShotClassifier(labels={"a": "The weather is fine.", "b": "The weather is wet."})
    found = evaluate(classifier, rows, ["accuracy"], tracking_uri=uri, spool=tmp_path)
    assert (found.scores["accuracy"].n, found.params["task"].partition("@")[0]) == (2, classifier.task.name)
    assert {r["output"] for r in found.rows()} <= {"a", "b"}
    model = FakeListChatModel(responses=[" a "])
    assert evaluate(model, rows, ["accuracy"], tracking_uri=uri, spool=tmp_path).scores["accuracy"].value == 0.5
    more = [{**row, "inputs": {**row["inputs"], "voice": "calm"}} for row in rows]  # type: ignore[dict-item]
    with pytest.raises(ConfigurationError, match="takes one text; the samples have the inputs text, voice"):
        evaluate(model, more, ["words"], tracking_uri=uri, spool=tmp_path)
    with pytest.raises(ConfigurationError, match="has no input 'txt'; did you mean 'text'"):
        evaluate(model, more, ["words"], input_key="txt", tracking_uri=uri, spool=tmp_path)
    assert (
        evaluate(model, more, ["words"], input_key="text", tracking_uri=uri, spool=tmp_path).scores["words"].value == 1
    )


def test_answers_of_every_kind_may_be_there_already(uri: str, tmp_path: Path) -> None:
    tale = tw.Guard(Writer("A good fox.").runnable(), FakeJudge()).invoke({})
    refused = tw.Guard(Writer("bad").runnable(), FakeJudge(), attempts=1).invoke({})
    names = ["words", "refusal_rate", "latency"]
    found = evaluate([tale, refused], STORIES[:2], names, tracking_uri=uri, spool=tmp_path)
    assert (found.scores["words"].value, found.scores["words"].left_out) == (3, 1)
    assert found.scores["refusal_rate"].value == 0.5
    given = evaluate([AIMessage("a fox"), "a hen"], STORIES[:2], ["rougeL"], tracking_uri=uri, spool=tmp_path)
    assert given.scores["rougeL"].value == pytest.approx(0.75)
    # Reading a text from a list takes no time that anybody asked for.
    with pytest.raises(ConfigurationError, match="latency needs the seconds it took"):
        evaluate(["a", "b"], STORIES[:2], ["latency"], tracking_uri=uri, spool=tmp_path)
    with pytest.raises(ConfigurationError, match=r"sample '1': the system gave a int; taken: text, a message, a Tale"):
        evaluate([1, "b"], STORIES[:2], ["words"], tracking_uri=uri, spool=tmp_path)  # type: ignore[list-item]
    with pytest.raises(ConfigurationError, match="a list of outputs; got 'ab'"):
        evaluate("ab", STORIES[:2], ["words"], tracking_uri=uri, spool=tmp_path)


def test_what_a_metric_lacks_is_told_before_the_system_is_asked_for_all(uri: str, tmp_path: Path) -> None:
    asked: list[Any] = []

    def tell(inputs: dict[str, int]) -> str:
        asked.append(inputs)
        return "a fox"

    with pytest.raises(ConfigurationError, match="f1 needs a label; 6 of 6 samples have none"):
        evaluate(tell, STORIES, ["rougeL", "f1"], tracking_uri=uri, spool=tmp_path)
    assert asked == []
    with pytest.raises(ConfigurationError, match="judge_pass_rate needs a verdict"):
        evaluate(tell, STORIES, ["judge_pass_rate"], concurrency=1, tracking_uri=uri, spool=tmp_path)
    assert len(asked) == 1


def test_settings_and_prompts_tell_evaluations_apart(uri: str, tmp_path: Path) -> None:
    def params(system: Any) -> dict[str, str]:
        rows = [{"inputs": {"who": "fox"}}]
        return dict(evaluate(system, rows, ["words"], tracking_uri=uri, spool=tmp_path).params)

    model = FakeListChatModel(responses=["a fox"])
    first, second = (
        params(ChatPromptTemplate.from_template(f"{word} of {{who}}") | model) for word in ("Tell", "Sing")
    )
    assert first["step1.prompt_sha256"] != second["step1.prompt_sha256"]
    writer = tw.StoryChain("embedded:storyteller", temperature=0.4, max_tokens=8)
    about = tw.evaluate(writer, load_dataset("stories")[:1], ["words"], tracking_uri=uri, spool=tmp_path).params
    assert (about["temperature"], about["max_tokens"], about["template"]) == ("0.4", "8", "adventure@1")


def test_tokens_and_cost_of_any_chain_are_noted(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with serving(lambda *_: completion("a fox")) as address:
        model = tw.chat_model("openai:writer", base_url=address, price_usd=(1.0, 2.0))
        chain = ChatPromptTemplate.from_template("Tell of {n}") | model
        found = evaluate(chain, STORIES[:2], ["tokens", "cost"], tracking_uri=uri, spool=tmp_path)
    assert found.scores["tokens"].value == 10
    assert found.scores["cost"].value == pytest.approx((1000 * 1.0 + 10 * 2.0) / 1e6)


def test_a_data_set_in_mlflow_is_looked_for_where_the_run_goes(uri: str, in_tmp: Path) -> None:
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        held = mlflow.genai.datasets.create_dataset(name="requests")
        held.merge_records([{"inputs": {"n": 1}, "expectations": {"expected_response": "a fox"}}])
    finally:
        mlflow.set_tracking_uri(before)
    found = evaluate(lambda _: "a fox", "mlflow:requests", ["rougeL"], tracking_uri=uri, spool=in_tmp / "spool")
    assert found.scores["rougeL"].value == 1
    with pytest.raises(ConfigurationError, match="no data set called 'requsts' in MLflow at sqlite"):
        load_dataset("mlflow:requsts", tracking_uri=uri)


def test_what_raises_while_measuring_leaves_the_answers_there(uri: str, tmp_path: Path) -> None:
    from mlflow.genai.scorers import scorer

    asked = []

    def tell(inputs: dict[str, int]) -> str:
        asked.append(inputs)
        return "a fox"

    @scorer
    def scores(outputs: str) -> float:
        raise TimeoutError("no judge")

    with pytest.raises(ConfigurationError, match="'scores' raised on 6 of 6 samples; on '1': no judge"):
        evaluate(tell, STORIES, [tw.evaluation.ScorerMetric(scores)], tracking_uri=uri, spool=tmp_path)
    assert len(journals(tmp_path)) == 1
    with pytest.raises(ConfigurationError, match="no judge"):
        evaluate(tell, STORIES, [tw.evaluation.ScorerMetric(scores)], tracking_uri=uri, spool=tmp_path)
    assert len(asked) == 6


def echoes(prompt: str, *, begin: str | None) -> dict[str, Any]:
    """A completion with the prompt's scores as vLLM gives them: a token a word, -1 for the likeliest, -3 for others.

    vLLM counts the token that begins a text into the offsets.
    """
    words = [f" {word}" if n else word for n, word in enumerate(prompt.split(" "))]
    tokens = [*([begin] if begin else []), *words, " written"]
    chances = [None, *(-1.0 if n % 2 else -3.0 for n in range(1, len(tokens)))]
    offsets = [sum(map(len, tokens[:n])) for n in range(len(tokens))]
    top = [None if c is None else {"likeliest": -1.0, token: c} for c, token in zip(chances, tokens, strict=True)]
    told = {"tokens": tokens, "token_logprobs": chances, "top_logprobs": top, "text_offset": offsets}
    choice = {"index": 0, "text": prompt, "finish_reason": "length", "logprobs": told}
    usage = {"prompt_tokens": len(tokens) - 1, "completion_tokens": 1, "total_tokens": len(tokens)}
    return {
        "id": "1", "object": "text_completion", "created": 0, "model": "m", "choices": [choice], "usage": usage,
    }  # fmt: skip


@pytest.mark.parametrize("begin", [None, "<|begin_of_text|>"])
def test_a_servers_model_is_read_by_its_log_probabilities(begin: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    samples = [tw.evaluation.Sample(id="1", output="the fox ran off"), tw.evaluation.Sample(id="2", output="")]
    with serving(lambda _, asked: echoes(asked["prompt"], begin=begin)) as address:
        model = tw.chat_model("openai:m", base_url=address)
        values = {n: metric(n, model=model) for n in ("perplexity", "bits_per_character", "next_token_accuracy")}
        rows = {name: found.measure(samples) for name, found in values.items()}
        found = {name: values[name].sample_value(row[0]) for name, row in rows.items()}
        assert values["perplexity"].sample_value(rows["perplexity"][1]) is None
    # Without a token before the text its first word has no chance, and counts nowhere.
    nats, tokens, characters = (8.0, 4, 15) if begin else (5.0, 3, 12)
    assert found["perplexity"] == pytest.approx(math.exp(nats / tokens))
    assert found["bits_per_character"] == pytest.approx(nats / math.log(2) / characters)
    assert found["next_token_accuracy"] == pytest.approx(2 / tokens)


def test_a_server_without_log_probabilities_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")

    def plain(_: str, asked: dict[str, Any]) -> dict[str, Any]:
        answer = echoes(asked["prompt"], begin=None)
        answer["choices"][0]["logprobs"] = None
        return answer

    with serving(plain) as address:
        found = metric("perplexity", model=tw.chat_model("openai:m", base_url=address))
        with pytest.raises(BackendError, match="m's server gives no log-probabilities of a prompt"):
            found.measure([tw.evaluation.Sample(id="1", output="a fox")])
