"""FaithfulnessCheck, and the guard that judges summaries."""

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
from taleward.testing import FakeJudge, FakeWriter
from tests.helpers.scripted_chat import ScriptedChat
from tests.helpers.tiny_task_models import BAD, FOX, nli

FAITHFUL = "Mira the fox lost her red kite in a storm. An old woman gave it back to her with apple cake."


def test_embeddings_find_unrelated_sentences_and_new_names_offline() -> None:
    check = FaithfulnessCheck()
    faithful = check.invoke((FOX, FAITHFUL))
    assert faithful.faithful
    assert faithful.score == 1.0
    source = faithful.sentences[1].source
    assert source is not None
    assert FOX[source.start : source.end] == source.quote
    assert "apple cake" in source.quote
    new_names = check.invoke((FOX, FAITHFUL.replace("An old woman", "In 1990 old Bertha")))
    assert [support.supported for support in new_names.sentences] == [True, False]
    assert new_names.sentences[1].why == "not in the text: 1990, Bertha"
    unrelated = check.invoke((FOX, f"{FAITHFUL} {BAD}"))
    assert (unrelated.faithful, unrelated.score) == (False, pytest.approx(2 / 3))
    assert "below 0.5" in unrelated.sentences[2].why
    assert not check.invoke((" ", FAITHFUL)).faithful


async def test_an_nli_model_finds_the_passage_that_supports_a_sentence(tmp_path: Path) -> None:
    check = FaithfulnessCheck(nli(tmp_path))
    result = check.invoke((FOX, FAITHFUL))
    assert result == await check.ainvoke((FOX, FAITHFUL))
    for support in result.sentences:
        assert support.source is not None
        assert support.supported == (support.score >= 0.5)
        assert FOX[support.source.start : support.source.end] == support.source.quote


class CheckingChat(ScriptedChat):
    """Answers with the prompt's own id."""

    answer_format: str = '{"id": "%s", "unsupported": [2]}'

    def _chunks(self, messages: Any, **kwargs: Any) -> Any:
        prompt_id = messages[-1].text.rpartition("with id ")[2].removesuffix(" now.")
        self.answers[:] = [[self.answer_format % prompt_id if "%s" in self.answer_format else self.answer_format]]
        return super()._chunks(messages, **kwargs)


async def test_a_chat_model_lists_unsupported_sentences() -> None:
    check = FaithfulnessCheck(CheckingChat(answers=[]))
    result = check.invoke((FOX, FAITHFUL))
    assert [support.supported for support in result.sentences] == [True, False]
    assert (await check.ainvoke((FOX, FAITHFUL))) == result


@pytest.mark.parametrize(
    "answer_format",
    [
        '{"id": "0", "unsupported": []}',
        '{"id": "%s", "unsupported": [3]}',
        '{"id": "%s", "unsupported": ["2"]}',
        '{"id": "%s"}',
        '{"id": "%s", "unsupported": []} The summary is fine.',
        "All sentences are supported.",
    ],
)
def test_an_unparsable_answer_supports_nothing(answer_format: str) -> None:
    result = FaithfulnessCheck(CheckingChat(answers=[], answer_format=answer_format)).invoke((FOX, FAITHFUL))
    assert (result.outcome, result.faithful, result.score) == ("unparsable", False, 0.0)
    assert result.detail


def test_a_summarizer_checks_its_summaries() -> None:
    chain = Summarizer(ScriptedChat(answers=[[FAITHFUL], [BAD]]), faithfulness="embedded:minilm")
    first, second = (chain.invoke(FOX).faithfulness for _ in range(2))
    assert first is not None
    assert second is not None
    assert (first.faithful, second.faithful) == (True, False)
    with pytest.raises(ConfigurationError, match="min_score must be from 0 to 1"):
        FaithfulnessCheck(min_score=3)


async def test_a_summary_for_parents_is_judged_and_gives_the_age_band() -> None:
    age_bands = ZeroShotClassifier(task="age-band")
    chain = SummaryGuard(Summarizer(task="parents"), FakeJudge(), age_bands)
    tale = Guard(FakeWriter(FOX), FakeJudge()).invoke({})
    result = chain.invoke(tale)
    assert result.released
    assert result.text == Summarizer(task="parents").invoke(FOX).text
    assert result.label is not None
    assert result.label.label in ("3-5", "6-8", "9-12")
    from_text = await chain.ainvoke(FOX)
    assert (from_text.summary, from_text.label, from_text.verdict.outcome) == (result.summary, result.label, "pass")


def test_a_summary_that_fails_is_withheld() -> None:
    guard = SummaryGuard(Summarizer(ScriptedChat(answers=[["A bad end."]])), FakeJudge())
    result = guard.invoke(FOX)
    assert (result.released, result.summary, result.verdict.outcome) == (False, None, "fail")
    assert "A bad end" not in result.model_dump_json(exclude={"verdict"})
    with pytest.raises(Refused, match="the verdict of fake is fail"):
        result.text  # noqa: B018
    with pytest.raises(ValidationError, match="exactly if its verdict is a pass"):
        JudgedSummary(summary=Summarizer().invoke(FOX), verdict=result.verdict)
    refused = Guard(FakeWriter("bad"), FakeJudge(), attempts=1).invoke({})
    with pytest.raises(Refused):
        guard.invoke(refused)
