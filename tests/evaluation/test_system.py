"""What a system may be and return, and errors that are raised before a run costs anything."""

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
from taleward.testing import FakeJudge, FakeWriter
from tests.helpers.openai_stub import completion, serving

# MLflow's own code warns on import and when it creates its store.
pytestmark = pytest.mark.filterwarnings("default")

PASSAGES = [{"output": text, "label": label} for text, label in (("bad", "fail"), ("sly", "fail"), ("fine", "pass"))]
STORIES = [{"inputs": {"n": n}, "references": ["a fox"]} for n in range(6)]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('project') / 'mlflow.db'}"


def test_a_judge_is_measured_against_labels(uri: str, tmp_path: Path) -> None:
    names = ["accuracy", "precision", "recall", "f1", "kappa"]
    evaluation = evaluate(FakeJudge(), PASSAGES, names, tracking_uri=uri, spool=tmp_path)
    assert [evaluation.scores[n].value for n in names] == pytest.approx([2 / 3, 1.0, 0.5, 2 / 3, 0.4])
    assert [(r["label"], r["prediction"]) for r in evaluation.rows()] == [
        ("fail", "fail"),
        ("fail", "pass"),
        ("pass", "pass"),
    ]


def test_classifiers_and_models_take_the_only_input_or_the_selected_one(uri: str, tmp_path: Path) -> None:
    rows = [{"inputs": {"text": "The sun shone."}, "label": "a"}, {"inputs": {"text": "It rained."}, "label": "b"}]
    classifier = tw.ZeroShotClassifier(labels={"a": "The weather is fine.", "b": "The weather is wet."})
    evaluation = evaluate(classifier, rows, ["accuracy"], tracking_uri=uri, spool=tmp_path)
    assert (evaluation.scores["accuracy"].n, evaluation.params["task"].partition("@")[0]) == (2, classifier.task.name)
    assert {r["output"] for r in evaluation.rows()} <= {"a", "b"}
    model = FakeListChatModel(responses=[" a "])
    assert evaluate(model, rows, ["accuracy"], tracking_uri=uri, spool=tmp_path).scores["accuracy"].value == 0.5
    two_inputs = [{**row, "inputs": {**row["inputs"], "voice": "calm"}} for row in rows]  # type: ignore[dict-item]
    with pytest.raises(ConfigurationError, match="takes one text, but the samples have these inputs: text, voice"):
        evaluate(model, two_inputs, ["words"], tracking_uri=uri, spool=tmp_path)
    with pytest.raises(ConfigurationError, match="has no input 'txt'; did you mean 'text'"):
        evaluate(model, two_inputs, ["words"], input_key="txt", tracking_uri=uri, spool=tmp_path)
    evaluation = evaluate(model, two_inputs, ["words"], input_key="text", tracking_uri=uri, spool=tmp_path)
    assert evaluation.scores["words"].value == 1


def test_given_outputs_may_be_of_every_type(uri: str, tmp_path: Path) -> None:
    tale = tw.Guard(FakeWriter("A good fox."), FakeJudge()).invoke({})
    refusal = tw.Guard(FakeWriter("bad"), FakeJudge(), attempts=1).invoke({})
    names = ["words", "refusal_rate", "latency"]
    evaluation = evaluate([tale, refusal], STORIES[:2], names, tracking_uri=uri, spool=tmp_path)
    assert (evaluation.scores["words"].value, evaluation.scores["words"].left_out) == (3, 1)
    assert evaluation.scores["refusal_rate"].value == 0.5
    messages = evaluate([AIMessage("a fox"), "a hen"], STORIES[:2], ["rougeL"], tracking_uri=uri, spool=tmp_path)
    assert messages.scores["rougeL"].value == pytest.approx(0.75)
    # A given output has no latency: looking it up in a list is not what anybody wants to measure.
    with pytest.raises(ConfigurationError, match="latency needs `latency_s`"):
        evaluate(["a", "b"], STORIES[:2], ["latency"], tracking_uri=uri, spool=tmp_path)
    with pytest.raises(ConfigurationError, match="sample '1': the system returned an unsupported int; expected a text"):
        evaluate([1, "b"], STORIES[:2], ["words"], tracking_uri=uri, spool=tmp_path)  # type: ignore[list-item]
    with pytest.raises(ConfigurationError, match="a list of outputs; got 'ab'"):
        evaluate("ab", STORIES[:2], ["words"], tracking_uri=uri, spool=tmp_path)


def test_unmet_needs_of_a_metric_are_errors_before_the_system_runs_on_everything(uri: str, tmp_path: Path) -> None:
    calls: list[Any] = []

    def tell(inputs: dict[str, int]) -> str:
        calls.append(inputs)
        return "a fox"

    with pytest.raises(ConfigurationError, match="f1 needs a label; 6 of 6 samples have none"):
        evaluate(tell, STORIES, ["rougeL", "f1"], tracking_uri=uri, spool=tmp_path)
    assert calls == []
    with pytest.raises(ConfigurationError, match="judge_pass_rate needs a verdict"):
        evaluate(tell, STORIES, ["judge_pass_rate"], concurrency=1, tracking_uri=uri, spool=tmp_path)
    assert len(calls) == 1


def test_settings_and_prompts_are_parameters_of_the_run(uri: str, tmp_path: Path) -> None:
    def params(system: Any) -> dict[str, str]:
        rows = [{"inputs": {"who": "fox"}}]
        return dict(evaluate(system, rows, ["words"], tracking_uri=uri, spool=tmp_path).params)

    model = FakeListChatModel(responses=["a fox"])
    first, second = (
        params(ChatPromptTemplate.from_template(f"{word} of {{who}}") | model) for word in ("Tell", "Sing")
    )
    assert first["step1.prompt_sha256"] != second["step1.prompt_sha256"]
    writer = tw.StoryChain("embedded:storyteller-mini", temperature=0.4, max_tokens=8)
    story = tw.evaluate(writer, load_dataset("stories")[:1], ["words"], tracking_uri=uri, spool=tmp_path).params
    assert (story["temperature"], story["max_tokens"], story["template"]) == ("0.4", "8", "adventure@1")


def test_tokens_and_cost_of_any_chain_are_measured(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with serving(lambda *_: completion("a fox")) as address:
        model = tw.chat_model("openai:writer", base_url=address, price_usd=(1.0, 2.0))
        chain = ChatPromptTemplate.from_template("Tell of {n}") | model
        evaluation = evaluate(chain, STORIES[:2], ["tokens", "cost"], tracking_uri=uri, spool=tmp_path)
    assert evaluation.scores["tokens"].value == 10
    assert evaluation.scores["cost"].value == pytest.approx((1000 * 1.0 + 10 * 2.0) / 1e6)


def test_an_mlflow_dataset_is_looked_up_in_the_store_that_records_the_run(uri: str, in_tmp: Path) -> None:
    import mlflow

    mlflow.set_tracking_uri(uri)
    try:
        dataset = mlflow.genai.datasets.create_dataset(name="requests")
        dataset.merge_records([{"inputs": {"n": 1}, "expectations": {"expected_response": "a fox"}}])
    finally:
        mlflow.set_tracking_uri(None)
    evaluation = evaluate(lambda _: "a fox", "mlflow:requests", ["rougeL"], tracking_uri=uri, spool=in_tmp / "spool")
    assert evaluation.scores["rougeL"].value == 1
    with pytest.raises(ConfigurationError, match="there is no dataset named 'requsts' in MLflow at sqlite"):
        load_dataset("mlflow:requsts", tracking_uri=uri)


def test_an_error_while_measuring_keeps_the_outputs(uri: str, tmp_path: Path) -> None:
    from mlflow.genai.scorers import scorer

    calls = []

    def tell(inputs: dict[str, int]) -> str:
        calls.append(inputs)
        return "a fox"

    def scores(outputs: str) -> float:
        raise TimeoutError("no judge")

    metric = tw.evaluation.ScorerMetric(scorer(scores))

    with pytest.raises(ConfigurationError, match="'scores' raised on 6 of 6 samples; on '1': no judge"):
        evaluate(tell, STORIES, [metric], tracking_uri=uri, spool=tmp_path)
    assert len(journals(tmp_path)) == 1
    with pytest.raises(ConfigurationError, match="no judge"):
        evaluate(tell, STORIES, [metric], tracking_uri=uri, spool=tmp_path)
    assert len(calls) == 6


def echo_completion(prompt: str, *, bos_token: str | None) -> dict[str, Any]:
    """A completion with the prompt's log-probabilities as vLLM returns them.

    Every word is a token; it is the most likely one with -1, or another one with -3. vLLM counts the token that begins
    a text into the offsets.
    """
    words = [f" {word}" if n else word for n, word in enumerate(prompt.split(" "))]
    tokens = [*([bos_token] if bos_token else []), *words, " written"]
    logprobs = [None, *(-1.0 if n % 2 else -3.0 for n in range(1, len(tokens)))]
    offsets = [sum(map(len, tokens[:n])) for n in range(len(tokens))]
    top = [None if p is None else {"likeliest": -1.0, token: p} for p, token in zip(logprobs, tokens, strict=True)]
    details = {"tokens": tokens, "token_logprobs": logprobs, "top_logprobs": top, "text_offset": offsets}
    choice = {"index": 0, "text": prompt, "finish_reason": "length", "logprobs": details}
    usage = {"prompt_tokens": len(tokens) - 1, "completion_tokens": 1, "total_tokens": len(tokens)}
    return {
        "id": "1", "object": "text_completion", "created": 0, "model": "m", "choices": [choice], "usage": usage,
    }  # fmt: skip


@pytest.mark.parametrize("bos_token", [None, "<|begin_of_text|>"])
def test_a_hosted_model_scores_texts_by_log_probabilities(
    bos_token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    samples = [tw.evaluation.Sample(id="1", output="the fox ran off"), tw.evaluation.Sample(id="2", output="")]
    with serving(lambda _, request: echo_completion(request["prompt"], bos_token=bos_token)) as address:
        model = tw.chat_model("openai:m", base_url=address)
        metrics = {n: metric(n, model=model) for n in ("perplexity", "bits_per_character", "next_token_accuracy")}
        rows = {name: m.measure(samples) for name, m in metrics.items()}
        values = {name: metrics[name].sample_value(row[0]) for name, row in rows.items()}
        assert metrics["perplexity"].sample_value(rows["perplexity"][1]) is None
    # Without a token before the text its first word has no probability, and is not counted.
    nats, tokens, characters = (8.0, 4, 15) if bos_token else (5.0, 3, 12)
    assert values["perplexity"] == pytest.approx(math.exp(nats / tokens))
    assert values["bits_per_character"] == pytest.approx(nats / math.log(2) / characters)
    assert values["next_token_accuracy"] == pytest.approx(2 / tokens)


def test_a_server_without_prompt_log_probabilities_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")

    def complete(_: str, request: dict[str, Any]) -> dict[str, Any]:
        completion = echo_completion(request["prompt"], bos_token=None)
        completion["choices"][0]["logprobs"] = None
        return completion

    with serving(complete) as address:
        perplexity = metric("perplexity", model=tw.chat_model("openai:m", base_url=address))
        with pytest.raises(BackendError, match="m's server gives no log-probabilities of a prompt"):
            perplexity.measure([tw.evaluation.Sample(id="1", output="a fox")])
