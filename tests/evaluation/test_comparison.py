"""Comparisons, gates, MLflow scorers, and MLflow's prompt registry."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from taleward.chains.template import load_template
from taleward.cli.app import app
from taleward.core.errors import ConfigurationError, InvalidFile, UnknownName
from taleward.evaluation.comparison import compare
from taleward.evaluation.evaluator import evaluate
from taleward.evaluation.gates import check_gates, load_gates
from taleward.evaluation.result import Evaluation
from taleward.evaluation.sample import Sample
from taleward.evaluation.tracking.prompts import load_registered_template, register_template
from taleward.evaluation.tracking.scorers import ScorerMetric, as_scorer
from tests.helpers.mean_metric import MeanOf, size

# MLflow's own code warns on import and when it creates its store.
pytestmark = pytest.mark.filterwarnings("default")

ROWS = [{"id": f"row {n}", "inputs": {"n": n}} for n in range(40)]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('project') / 'mlflow.db'}"


@pytest.fixture(scope="module")
def three(uri: str, tmp_path_factory: pytest.TempPathFactory) -> list[Evaluation]:
    """`long` is longer than both others on every sample; `other` differs from `short` only by noise."""
    spool = tmp_path_factory.mktemp("spool")
    lengths: dict[str, Callable[[int], int]] = {
        "short": lambda n: 20 + n % 7,
        "other": lambda n: 20 + (n + 3) % 7,
        "long": lambda n: 24 + n % 7,
    }
    return [
        evaluate(["x" * length(n) for n in range(40)], ROWS, [size()], name=name, tracking_uri=uri, spool=spool)
        for name, length in lengths.items()
    ]


def test_the_better_one_wins_and_noise_is_no_difference(three: list[Evaluation], uri: str) -> None:
    short, other, long = three
    comparison = compare([e.run_id for e in three if e.run_id], tracking_uri=uri)
    assert comparison == compare(three)
    assert comparison.metrics["size"].winner == "long"
    assert compare([short, other]).metrics["size"].conclusion == "no significant difference"
    table = comparison.table().set_index("evaluation")
    assert table.loc["long", "winner"]
    assert table.loc["long", "low"] < table.loc["long", "value"] < table.loc["long", "high"]
    assert set(comparison.pairs()["significant"]) == {"significant", "no significant difference"}
    page = comparison.html()
    assert "data:image/png;base64," in page
    assert "no significant difference" in page
    assert "corrected for 3 pairs (Bonferroni)" in page
    result = CliRunner().invoke(app, ["compare", str(short.run_id), str(long.run_id), "--tracking-uri", uri])
    assert result.exit_code == 0, result.output
    assert "long" in result.output.splitlines()[5]
    assert "size: long minus short 4 [4, 4], p = 0.0001, significant" in result.output
    assert "paired sign-flip tests give both p and the 95 % interval" in result.output
    assert "warning" not in result.output
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=uri)
    run = client.get_run(comparison.record(tracking_uri=uri))
    assert (run.data.params, run.info.status) == ({"size": "long"}, "FINISHED")
    assert {a.path for a in client.list_artifacts(run.info.run_id)} == {"comparison.html", "comparison.png"}


def test_four_samples_have_no_winner_however_large_the_difference(uri: str, tmp_path: Path) -> None:
    long, short = (
        evaluate(
            ["x" * (length + n) for n in range(4)], ROWS[:4], [size()], name=name, tracking_uri=uri, spool=tmp_path
        )
        for name, length in (("long", 1000), ("short", 1))
    )
    comparison = compare([long, short])
    [pair] = comparison.metrics["size"].pairs
    assert (pair.test.p, pair.test.low, pair.test.high) == (0.125, None, None)
    assert (comparison.metrics["size"].winner, comparison.metrics["size"].conclusion) == (None, "too few samples")
    few, none_possible = comparison.warnings
    assert few == "4 common samples are few: below 20, only large differences can be told from chance"
    assert none_possible.endswith("any difference at the level 0.05: the smallest possible p is 0.125")
    assert escape(few) in comparison.html()
    assert compare([long, short], level=0.2).metrics["size"].winner == "long"
    result = CliRunner().invoke(app, ["compare", str(long.run_id), str(short.run_id), "--tracking-uri", uri])
    assert "size: long minus short 999, p = 0.12, too few samples" in result.output
    assert "warning: 4 common samples are few" in result.output


def test_the_winner_is_better_on_the_common_samples_too(uri: str, tmp_path: Path) -> None:
    # On its own samples `a` is better, thanks to those that `b` has no value for; on the common ones it is worse.
    def measured(name: str, values: list[float]) -> Evaluation:
        metric = MeanOf("size", lambda sample: float(sample.text))
        outputs = [str(value) for value in values]
        return evaluate(outputs, ROWS[: len(values)], [metric], name=name, tracking_uri=uri, spool=tmp_path)

    a = measured("a", [1.0 + n / 10 for n in range(8)] + [100.0] * 8)
    b = measured("b", [2.0 + n / 10 for n in range(8)] + [float("nan")] * 8)
    comparison = compare([a, b])
    [pair] = comparison.metrics["size"].pairs
    assert pair.significant
    assert pair.test.n == 8
    assert comparison.metrics["size"].winner is None


def test_a_metric_without_values_is_no_value_and_no_regression(uri: str, tmp_path: Path) -> None:
    rows = [{"id": f"row {n}", "inputs": {"n": n}} for n in range(4)]
    with_cost = [{**row, "output": "x", "cost_usd": 0.5} for row in rows]
    unpriced, other, priced = (
        evaluate(["x"] * 4, data, ["cost", "words"], name=name, tracking_uri=uri, spool=tmp_path)
        for name, data in (("unpriced", rows), ("other", rows), ("priced", with_cost))
    )
    comparison = compare([unpriced, other])
    cost = comparison.metrics["cost"]
    assert (cost.conclusion, cost.pairs[0].test.p) == ("no value", None)
    assert "no value" in comparison.html()
    result = CliRunner().invoke(app, ["compare", str(unpriced.run_id), str(other.run_id), "--tracking-uri", uri])
    assert "cost: unpriced minus other: no value" in result.output, result.output
    # Only `cost` is checked: `words` has no better direction.
    assert [gate.passed for gate in check_gates(unpriced, (), other)] == [True]
    same_dataset = priced.model_copy(update={"data": unpriced.data})
    assert [gate.passed for gate in check_gates(same_dataset, (), unpriced)] == [True]
    [lost] = check_gates(unpriced, (), same_dataset)
    assert (lost.passed, lost.message) == (False, "0.5 in priced, now -: no sample has a value in both")


def test_evaluations_that_cannot_be_compared_are_errors(three: list[Evaluation], uri: str, tmp_path: Path) -> None:
    elsewhere = evaluate(["a", "b"], ROWS[:2], [size()], tracking_uri=uri, spool=tmp_path)
    with pytest.raises(ConfigurationError, match="have 2 datasets, 2 common samples and 1 common metrics"):
        compare([three[0], elsewhere])
    second_edition = MeanOf("size", lambda _: 1.0, edition="2")
    other_settings = evaluate(["x"] * 40, ROWS, [second_edition], tracking_uri=uri, spool=tmp_path)
    with pytest.raises(ConfigurationError, match="'size' was measured with different settings"):
        compare([three[0], other_settings])
    with pytest.raises(UnknownName, match="unknown evaluation run 'nonsense'"):
        compare(["nonsense", three[0]], tracking_uri=uri)


def test_gates_pass_or_say_what_fails(three: list[Evaluation], tmp_path: Path) -> None:
    short, other, long = three
    file = tmp_path / "taleward.toml"
    file.write_text("[gates]\nsize = {at_least = 20, at_most = 23.4, sure = true}\nbleu = {at_least = 10}\n")
    size_line, bleu_line = check_gates(short, load_gates(file))
    assert not size_line.passed
    assert "required: at least 20 and at most 23.4, by the whole interval" in size_line.message
    assert not bleu_line.passed
    assert bleu_line.message == "was not measured; measured: size"
    assert [gate.passed for gate in check_gates(other, (), short)] == [True]
    assert [gate.passed for gate in check_gates(long, (), short)] == [True]
    [regression] = check_gates(short, (), long)
    assert not regression.passed
    assert "now 22.88: significantly worse" in regression.message
    file.write_text("[gates]\nsize = {atleast = 2}\nbleu = 3\n")
    with pytest.raises(InvalidFile, match=r"size.*at_least(.|\n)*bleu: got 3; expected a table"):
        load_gates(file)


def test_metrics_as_scorers_and_scorers_as_metrics(uri: str, tmp_path: Path) -> None:
    import mlflow
    from mlflow.entities import Feedback
    from mlflow.genai.scorers import scorer

    size_scorer = as_scorer(size())
    assert size_scorer.name == "size"
    assert size_scorer.run(inputs={}, outputs="four") == 4

    def exact_match(outputs: str, expectations: dict[str, Any]) -> Feedback:
        return Feedback(value="yes" if outputs == expectations["expected_response"] else "no")

    rows = [{"id": "1", "inputs": {}, "references": ["a"]}, {"id": "2", "inputs": {}, "references": ["b"]}]
    evaluation = evaluate(["a", "a"], rows, [ScorerMetric(scorer(exact_match))], tracking_uri=uri, spool=tmp_path)
    assert evaluation.scores["exact_match"].value == 0.5
    assert mlflow.__version__ in evaluation.scores["exact_match"].signature
    with pytest.raises(ConfigurationError, match="gave 'maybe' for sample '1'"):
        ScorerMetric(scorer(lambda: "maybe", name="odd")).measure([Sample(id="1", output="a")])


def test_templates_in_the_prompt_registry(uri: str, values: dict[str, str]) -> None:
    import mlflow

    shipped = load_template("adventure")
    first = register_template("adventure", alias="champion", tracking_uri=uri)
    assert load_registered_template("adventure@champion", tracking_uri=uri) == first
    assert first.render(values) == shipped.render(values)
    changed = register_template(shipped.model_copy(update={"text": f"{shipped.text} The end."}), tracking_uri=uri)
    assert (first.version, changed.version) == ("1", "2")
    assert load_registered_template("adventure@champion", tracking_uri=uri).version == "1"
    assert (
        load_registered_template("adventure", tracking_uri=uri)
        == changed
        == load_registered_template("adventure/2", tracking_uri=uri)
    )
    with pytest.raises(UnknownName, match="unknown registered template 'adventure@loser'"):
        load_registered_template("adventure@loser", tracking_uri=uri)
    result = CliRunner().invoke(app, ["templates", "register", "adventure", "--alias", "cli", "--tracking-uri", uri])
    assert "registered as version 3 of adventure" in " ".join(result.output.split()), result.output
    assert load_registered_template("adventure@cli", tracking_uri=uri).text == shipped.text
    mystery = register_template("mystery", tracking_uri=uri)
    assert load_registered_template("mystery", tracking_uri=uri) == mystery
    assert mystery.bands == load_template("mystery").bands
    # A prompt from MLflow's own UI may hold Jinja, which is an error; Jinja in a value is only text.
    client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.register_prompt("by-hand", "A {{ animal }} ran.")
    by_hand = load_registered_template("by-hand", tracking_uri=uri)
    assert by_hand.render({"animal": "{{ 7 * 7 }}"}) == "A {{ 7 * 7 }} ran."
    client.register_prompt("by-hand", "{% for x in y %}A {{ animal }}{% endfor %}")
    with pytest.raises(ConfigurationError, match="cannot be used as a template"):
        load_registered_template("by-hand", tracking_uri=uri)
