"""Whether a summary says only what its text says; and the guard that judges summaries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from taleward.chains.classification.zero_shot import ZeroShotClassifier
from taleward.chains.summarization.faithfulness import FaithfulnessCheck
from taleward.chains.summarization.guard import JudgedSummary, SummaryGuard
from taleward.chains.summarization.summarizer import Summarizer
from taleward.core.errors import ConfigurationError, Refused
from taleward.moderation.guard.guard import Guard
from tests.helpers.fakes import FakeJudge, Writer
from tests.helpers.scripted_chat import ScriptedChat
from tests.helpers.tiny_task_models import BAD, FOX, nli

TRUE = "Mira the fox lost her red kite in a storm. An old woman gave it back to her with apple cake."


def test_sentences_from_elsewhere_and_new_names_are_found_offline() -> None:
    check = FaithfulnessCheck()
    good = check.invoke((FOX, TRUE))
    assert good.faithful
    assert good.score == 1.0
    source = good.sentences[1].source
    assert source is not None
    assert FOX[source.start : source.end] == source.quote
    assert "apple cake" in source.quote
    named = check.invoke((FOX, TRUE.replace("An old woman", "In 1990 old Bertha")))
    assert [support.supported for support in named.sentences] == [True, False]
    assert named.sentences[1].why == "not in the text: 1990, Bertha"
    strange = check.invoke((FOX, f"{TRUE} {BAD}"))
    assert (strange.faithful, strange.score) == (False, pytest.approx(2 / 3))
    assert "below 0.5" in strange.sentences[2].why
    assert not check.invoke((" ", TRUE)).faithful


async def test_an_nli_model_is_asked_about_every_place(tmp_path: Path) -> None:
    check = FaithfulnessCheck(nli(tmp_path))
    found = check.invoke((FOX, TRUE))
    assert found == await check.ainvoke((FOX, TRUE))
    for support in found.sentences:
        assert support.source is not None
        assert support.supported == (support.score >= 0.5)
        assert FOX[support.source.start : support.source.end] == support.source.quote


class Checker(ScriptedChat):
    """Answers with the question's own number."""

    form: str = '{"id": "%s", "unsupported": [2]}'

    def _chunks(self, messages: Any, **kwargs: Any) -> Any:
        number = messages[-1].text.rpartition("with id ")[2].removesuffix(" now.")
        self.answers[:] = [[self.form % number if "%s" in self.form else self.form]]
        return super()._chunks(messages, **kwargs)


async def test_a_chat_model_names_what_is_unsupported() -> None:
    check = FaithfulnessCheck(Checker(answers=[]))
    found = check.invoke((FOX, TRUE))
    assert [support.supported for support in found.sentences] == [True, False]
    assert (await check.ainvoke((FOX, TRUE))) == found


@pytest.mark.parametrize(
    "form",
    [
        '{"id": "0", "unsupported": []}',
        '{"id": "%s", "unsupported": [3]}',
        '{"id": "%s", "unsupported": ["2"]}',
        '{"id": "%s"}',
        '{"id": "%s", "unsupported": []} The summary is fine.',
        "All sentences are supported.",
    ],
)
def test_an_answer_that_is_none_is_no_support(form: str) -> None:
    found = FaithfulnessCheck(Checker(answers=[], form=form)).invoke((FOX, TRUE))
    assert (found.outcome, found.faithful, found.score) == ("unparsable", False, 0.0)
    assert found.detail


def test_a_summarizer_checks_what_it_wrote() -> None:
    chain = Summarizer(ScriptedChat(answers=[[TRUE], [BAD]]), faithfulness="embedded:minilm")
    first, second = (chain.invoke(FOX).faithfulness for _ in range(2))
    assert first is not None
    assert second is not None
    assert (first.faithful, second.faithful) == (True, False)
    with pytest.raises(ConfigurationError, match="least is from 0 to 1"):
        FaithfulnessCheck(min_score=3)


async def test_a_parents_summary_is_judged_and_says_the_age() -> None:
    ages = ZeroShotClassifier(task="age-band")
    chain = SummaryGuard(Summarizer(task="parents"), FakeJudge(), ages)
    tale = Guard(Writer(FOX).runnable(), FakeJudge()).invoke({})
    found = chain.invoke(tale)
    assert found.released
    assert found.text == Summarizer(task="parents").invoke(FOX).text
    assert found.label is not None
    assert found.label.label in ("3-5", "6-8", "9-12")
    again = await chain.ainvoke(FOX)
    assert (again.summary, again.label, again.verdict.outcome) == (found.summary, found.label, "pass")


def test_a_summary_that_fails_is_held_back() -> None:
    guard = SummaryGuard(Summarizer(ScriptedChat(answers=[["A bad end."]])), FakeJudge())
    found = guard.invoke(FOX)
    assert (found.released, found.summary, found.verdict.outcome) == (False, None, "fail")
    assert "A bad end" not in found.model_dump_json(exclude={"verdict"})
    with pytest.raises(Refused, match="fake said fail"):
        found.text  # noqa: B018
    with pytest.raises(ValidationError, match="exactly where the verdict is a pass"):
        JudgedSummary(summary=Summarizer().invoke(FOX), verdict=found.verdict)
    refused = Guard(Writer("bad").runnable(), FakeJudge(), attempts=1).invoke({})
    with pytest.raises(Refused):
        guard.invoke(refused)
