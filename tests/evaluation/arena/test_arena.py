"""The arena: who wins, what the order does, who has no output, and what people choose."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from taleward.core.errors import ConfigurationError, InvalidFile
from taleward.evaluation import (
    ChoiceSheet,
    LLMPreference,
    Preference,
    PreferenceJudge,
    Sample,
    arena,
    evaluate,
    load_evaluation,
    write_choice_sheet,
)
from taleward.evaluation.arena.bradley_terry import strengths, win_probabilities


class Longer(PreferenceJudge):
    """Prefers the longer text; never mind the order."""

    name = "the longer one"

    async def prefer(self, inputs: Mapping[str, Any], first: str, second: str) -> Preference:
        if len(first) == len(second):
            return Preference(preferred="tie")
        return Preference(preferred="first" if len(first) > len(second) else "second", cost_usd=0.01)


class FirstOne(PreferenceJudge):
    name = "the first one"

    async def prefer(self, inputs: Mapping[str, Any], first: str, second: str) -> Preference:
        return Preference(preferred="first")


class Silent(PreferenceJudge):
    name = "nobody"

    async def prefer(self, inputs: Mapping[str, Any], first: str, second: str) -> Preference:
        return Preference(preferred=None, reason="hm")


def texts(*lengths: int) -> list[str]:
    return ["a" * n for n in lengths]


def test_whoever_is_preferred_is_rated_higher() -> None:
    lengths = range(10, 34)
    result = arena(
        {
            "short": texts(*lengths),
            "long": texts(*(n + 5 for n in lengths)),
            "longest": texts(*(n + 9 for n in lengths)),
        },
        Longer(),
    )
    assert [r.name for r in result.ratings] == ["longest", "long", "short"]
    assert result.winner == "longest"
    best = result.ratings[0]
    assert (best.wins, best.ties, best.losses) == (48, 0, 0)
    assert best.low <= best.preferred <= best.high
    assert best.rating > 1000 > result.ratings[-1].rating
    assert result.order_decided == 0.0
    assert result.cost_usd == pytest.approx(24 * 3 * 2 * 0.01)
    assert len(result.table()) == 24 * 3
    assert "significant" in result.html()


def test_an_answer_that_follows_the_order_is_a_tie() -> None:
    result = arena({"a": texts(*range(1, 9)), "b": texts(*range(2, 10))}, FirstOne())
    assert result.winner is None
    assert [(r.wins, r.ties, r.losses) for r in result.ratings] == [(0, 8, 0), (0, 8, 0)]
    assert result.order_decided == 1.0
    assert any("order" in warning for warning in result.warnings)
    assert any("few" in warning for warning in result.warnings)


def test_whoever_has_no_output_loses_or_is_skipped() -> None:
    a = [Sample(id=str(n), output=None if n < 3 else "ab") for n in range(6)]
    b = [Sample(id=str(n), output=None if n == 0 else "ab") for n in range(6)]
    result = arena({"a": a, "b": b}, Longer())
    assert {r.name: (r.wins, r.ties, r.losses) for r in result.ratings} == {"b": (2, 3, 0), "a": (0, 3, 2)}
    skipped = arena({"a": a, "b": b}, Longer(), without_output="skip")
    assert len(skipped.comparisons) == 3


def test_answers_that_cannot_be_used_rate_nobody() -> None:
    with pytest.raises(ConfigurationError, match="none of 2 comparisons has a usable answer; the first: hm"):
        arena({"a": texts(1, 2), "b": texts(3, 4)}, Silent())


@pytest.mark.parametrize(
    ("contestants", "problem"),
    [
        ({"a": ["x"]}, "at least two contestants"),
        ({"a": [Sample(id="1", output="x")], "b": [Sample(id="2", output="x")]}, "no sample with an output in common"),
    ],
)
def test_contestants_that_cannot_meet_are_refused(contestants: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        arena(contestants, Longer())


class Answers(BaseChatModel):
    """Answers with a JSON object about the prompt's id."""

    pattern: str

    @property
    def _llm_type(self) -> str:
        return "answers"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        prompt = messages[-1].text
        number = prompt.rpartition("id ")[2].removesuffix(" now.")
        first = prompt.partition(f"<first-{number}>\n")[2].partition("\n</first")[0]
        better = "first" if "good" in first else "second"
        text = self.pattern.replace("ID", number).replace("BETTER", better)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])


def test_a_chat_model_is_read_strictly() -> None:
    contestants = {"good": ["a good story", "good"], "bad": ["a bad one", "bad"]}
    judge = LLMPreference(Answers(pattern='{"id": "ID", "reason": "it is", "better": "BETTER"}'))
    result = arena(contestants, judge)
    assert result.ratings[0].name == "good"
    assert result.comparisons[0].preferences[0].reason == "it is"
    for pattern in (
        'Sure! {"id": "ID", "reason": "r", "better": "BETTER"}',
        '{"id": "0", "reason": "r", "better": "BETTER"}',
        '{"id": "ID", "reason": "r", "better": "good"}',
        '{"id": "ID", "better": "BETTER"}',
    ):
        with pytest.raises(ConfigurationError, match="usable"):
            arena(contestants, LLMPreference(Answers(pattern=pattern)))


def test_people_choose_in_a_sheet_without_names(tmp_path: Path) -> None:
    contestants = {"fox": ["=1+1 fox", "the fox"], "owl": ["an owl", "the owl"]}
    sheet = tmp_path / "choices.csv"
    assert write_choice_sheet(contestants, sheet) == 2
    with pytest.raises(ConfigurationError, match="exists"):
        write_choice_sheet(contestants, sheet)
    with sheet.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert not any(cell.startswith("=") for row in rows for cell in row.values())
    for row in rows:
        row["better"] = "1" if "owl" in row["first"] else "Second"
    with sheet.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    result = arena(contestants, ChoiceSheet(sheet))
    assert {r.name: r.wins for r in result.ratings} == {"owl": 2, "fox": 0}
    assert result.order_decided is None
    assert result.judge == "choices"
    sheet.write_text(sheet.read_text(encoding="utf-8-sig").replace("Second", "maybe").replace(",1,", ",maybe,"))
    with pytest.raises(InvalidFile, match=r"line .*maybe"):
        ChoiceSheet(sheet)


def test_recorded_evaluations_meet(tmp_path: Path) -> None:
    uri, rows = f"sqlite:///{tmp_path}/m.db", [{"id": str(n), "inputs": {"n": n}} for n in range(3)]
    options: dict[str, Any] = {"tracking_uri": uri, "spool": tmp_path / "spool", "progress": False}

    def write(more: int, values: Mapping[str, Any]) -> str:
        return "x" * (more + int(values["n"]))

    runs = [evaluate(partial(write, k), rows, ["words"], name=f"system {k}", **options) for k in (1, 4)]
    with pytest.raises(ConfigurationError, match="samples=True"):
        arena([load_evaluation(str(run.run_id), uri) for run in runs], Longer())
    loaded = [load_evaluation(str(run.run_id), uri, samples=True) for run in runs]
    result = arena(loaded, Longer())
    assert result.ratings[0].name == "system 4"
    assert result.record(tracking_uri=uri)


def test_strengths_recover_those_that_made_the_wins() -> None:
    true = np.array([1.0, 0.2, -1.2])
    chance = 1 / (1 + np.exp(true[None, :] - true[:, None]))
    wins = 20_000 * chance * (1 - np.eye(3))
    assert strengths(wins) == pytest.approx(true, abs=0.01)
    assert win_probabilities(true)[0] == pytest.approx((chance[0, 1] + chance[0, 2]) / 2)
    one_sided = strengths(np.array([[0.0, 5.0], [0.0, 0.0]]))
    assert one_sided[0] - one_sided[1] == pytest.approx(np.log(11))
