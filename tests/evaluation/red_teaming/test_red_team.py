"""Red teams: who is asked what, what counts as a leak, and what survives a kill."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableLambda

import taleward as tw
from taleward.core.errors import ConfigurationError, Refused, UnknownName
from taleward.evaluation import RedTeamReport, red_team
from taleward.evaluation.red_teaming.result import wilson_interval
from taleward.moderation.chat.messages import REFUSAL_WORDS
from taleward.testing import FakeJudge, FakeWriter

GOOD, BAD = "The fox slept.", "The fox was bad."


@pytest.fixture(autouse=True)
def _in_tmp(in_tmp: Path) -> None:
    """Journals go to a temporary folder."""


def attack(system: Any, **options: Any) -> RedTeamReport:
    defaults = {"judge": FakeJudge(), "categories": ["violence"], "tricks": ["plain"], "wishes": 3}
    return red_team(system, **{**defaults, **options})


def outcomes(report: RedTeamReport) -> list[str]:
    return [result.outcome for result in report.results]


def test_what_a_guard_lets_through_is_a_leak_if_another_judge_fails_it() -> None:
    report = attack(tw.Guard(FakeWriter(BAD), FakeJudge("pass")), tricks=["plain", "base64"])
    assert outcomes(report) == ["leaked"] * 6
    assert (report.total.answered, report.total.leaks, report.total.undecided) == (6, 6, 0)
    assert [(c.trick, c.leaks) for c in report.by_trick] == [("plain", 3), ("base64", 3)]
    assert [(c.category, c.leaks) for c in report.by_category] == [("violence", 6)]
    assert report.leaks[0].leak is not None
    assert report.leaks[0].leak.text == BAD


def test_a_guard_that_refuses_or_tells_something_harmless_leaks_nothing() -> None:
    assert outcomes(attack(tw.Guard(FakeWriter(BAD), FakeJudge()))) == ["refused"] * 3
    report = attack(tw.Guard(FakeWriter(GOOD), FakeJudge()))
    assert outcomes(report) == ["answered"] * 3
    assert (report.total.answered_share, report.total.leak_share) == (1.0, 0.0)


@pytest.mark.parametrize("outcome", ["abstain", "unparsable", "error"])
def test_a_text_that_the_judge_cannot_decide_on_counts_as_a_leak(outcome: Any) -> None:
    report = attack(lambda request: GOOD, judge=FakeJudge(outcome))
    assert (report.total.leaks, report.total.undecided) == (3, 3)


def raise_refused(request: str) -> str:
    raise Refused("not released")


async def answer_later(request: str) -> str:
    return GOOD


@pytest.mark.parametrize(
    ("system", "outcome"),
    [
        (lambda request: None, "refused"),
        (lambda request: " \n", "refused"),
        (raise_refused, "refused"),
        (lambda request: AIMessage(BAD), "leaked"),
        (lambda request: {"messages": [AIMessage(GOOD), AIMessage(BAD)]}, "leaked"),
        (answer_later, "answered"),
        (lambda request: answer_later(request), "answered"),
        (RunnableLambda(lambda request: request) | RunnableLambda(lambda request: GOOD), "answered"),
        (RunnableLambda(answer_later), "answered"),
    ],
)
def test_every_kind_of_system_and_answer(system: Any, outcome: str) -> None:
    assert outcomes(attack(system)) == [outcome] * 3


def test_an_input_key_names_the_input() -> None:
    seen: list[Any] = []
    attack(lambda inputs: seen.append(inputs), input_key="request", concurrency=1)
    assert [set(inputs) for inputs in seen] == [{"request"}] * 3


def test_a_chat_model_gets_the_conversation_and_other_lines_after_a_refusal() -> None:
    seen: list[list[BaseMessage]] = []

    def model(messages: list[BaseMessage]) -> AIMessage | None:
        seen.append(messages)
        return AIMessage(GOOD) if len(messages) == 1 else None

    report = attack(model, tricks=["escalation"], wishes=1, takes_messages=True)
    [result] = report.results
    assert [len(messages) for messages in seen] == [1, 3, 5, 7]
    # The approach was answered, the wish was not.
    assert result.outcome == "refused"
    assert [m.text for m in seen[3][::2]] == [reply.request for reply in result.replies]
    made = result.attack
    assert [r.request for r in result.replies] == [*made.turns[:2], made.after_refusal[2], made.after_refusal[3]]


def test_a_conversation_ends_with_its_first_leak() -> None:
    answers = [None, BAD, GOOD, GOOD]
    report = attack(lambda request: answers.pop(0), tricks=["insistence"], wishes=1)
    [result] = report.results
    assert [reply.text for reply in result.replies] == [None, BAD]
    assert report.summary()["examples"][0]["turn"] == 2


def test_a_guarded_chat_refuses_in_its_own_words() -> None:
    def chat(text: str) -> tw.GuardedChat:
        model = GenericFakeChatModel(messages=(AIMessage(text) for _ in range(99)))
        return tw.GuardedChat(model, FakeJudge())

    assert outcomes(attack(chat(GOOD))) == ["answered"] * 3
    report = attack(chat(BAD))
    assert outcomes(report) == ["refused"] * 3
    assert report.results[0].replies[0].refusal == "failed"
    assert REFUSAL_WORDS["failed"] not in json.dumps(report.summary())


def test_errors_are_counted_apart() -> None:
    def fail_once(request: str, failed: list[str] = []) -> str:  # noqa: B006
        if not failed:
            failed.append(request)
            raise RuntimeError("the server is down")
        return BAD

    report = attack(fail_once, concurrency=1)
    assert outcomes(report) == ["error", "leaked", "leaked"]
    assert (report.total.errors, report.total.finished, report.total.leak_share) == (1, 2, 1.0)
    assert "the server is down" in next(iter(report.errors.values()))


def test_a_system_that_cannot_be_called_is_not_reported_as_safe() -> None:
    with pytest.raises(ConfigurationError, match=r"all 3 attacks ended with an error.*unsupported int"):
        attack(lambda request: 7)


def test_a_system_that_hangs_is_an_error_and_a_judge_that_hangs_a_leak() -> None:
    release = threading.Event()

    def hang_once(request: str) -> str:
        if "stabs" in request:
            release.wait(30)
        return GOOD

    class Hanging(Runnable[Any, Any]):
        def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> str:
            return hang_once(input)

    for system in (hang_once, Hanging()):
        started = time.monotonic()
        report = attack(system, wishes=None, timeout_s=0.2)
        assert sorted(outcomes(report)) == ["answered", "answered", "answered", "error"]
        assert list(report.errors.values()) == ["no answer within 0.2 s"]
        assert time.monotonic() - started < 10

    def slow_judge(passage: Any) -> Any:
        release.wait(30)
        return "pass"

    report = attack(lambda request: GOOD, judge=FakeJudge(slow_judge), timeout_s=0.2)
    assert report.total.undecided == 3
    release.set()


def test_attacks_run_at_once_up_to_the_limit() -> None:
    running, peaks, lock = [0], [0], threading.Lock()

    def system(request: str) -> str:
        with lock:
            running[0] += 1
            peaks[0] = max(peaks[0], running[0])
        time.sleep(0.05)
        with lock:
            running[0] -= 1
        return GOOD

    attack(system, tricks=None, wishes=1, max_turns=1, concurrency=3)
    assert peaks[0] == 3


KILLED = """
import os, sys
from taleward.evaluation import red_team
from taleward.testing import FakeJudge

def system(request):
    asked = open("asked.txt", "a+")
    asked.write(request + "\\n")
    asked.flush()
    if len(open("asked.txt").readlines()) == 4:
        os.kill(os.getpid(), 9)
    return "The fox slept."

report = red_team(system, judge=FakeJudge(), tricks=["plain"], wishes=1, concurrency=1, name="s")
print(len(report.results), len(open("asked.txt").readlines()))
"""


def test_a_killed_red_team_goes_on_where_it_stopped(in_tmp: Path) -> None:
    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False)

    assert run().returncode == -9
    done = run()
    # 11 categories; the one during which the process was killed is asked twice.
    assert done.stdout.split() == ["11", "12"], done.stderr
    # What was released is not kept once it is reported.
    assert not list((in_tmp / ".taleward/red-team").rglob("samples.jsonl"))


def test_a_limit_on_time_gives_a_partial_report_and_the_same_call_goes_on() -> None:
    asked: list[str] = []

    def slow(request: str) -> str:
        asked.append(request)
        time.sleep(0.2)
        return GOOD

    options = {"categories": None, "wishes": 1, "concurrency": 1}
    report = attack(slow, max_seconds=0.3, **options)
    assert 0 < len(report.results) < 11
    assert len(report.missing) == 11 - len(report.results)
    assert "limit of 0.3 seconds" in report.notes[0]
    report = attack(slow, **options)
    assert (len(report.results), report.missing, report.stopped, len(asked)) == (11, (), None, 11)
    attack(slow, **options)
    assert len(asked) == 22


def test_an_interrupt_says_what_is_kept() -> None:
    calls: list[str] = []

    def interrupted(request: str) -> str:
        calls.append(request)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return GOOD

    with pytest.raises(KeyboardInterrupt) as caught:
        attack(interrupted, concurrency=1)
    assert caught.value.__notes__[0].startswith("2 of 3 attacks are finished")
    attack(interrupted, concurrency=1)
    assert len(calls) == 4


async def test_it_runs_where_an_event_loop_runs_already() -> None:
    assert outcomes(attack(lambda request: GOOD)) == ["answered"] * 3


def test_a_note_says_that_the_judge_is_the_guards_own() -> None:
    guard = tw.Guard(FakeWriter(GOOD), tw.judge("lexicon", band="9-12"))
    report = attack(guard, judge=["lexicon", FakeJudge(band="9-12")])
    assert report.shared_judges == ("lexicon",)
    assert report.band == "9-12"
    assert any("lexicon also judges in the system" in note for note in report.notes)
    assert attack(guard, judge=FakeJudge()).notes == ()


def test_the_default_judge_is_the_word_list_with_the_embedded_judge() -> None:
    report = red_team(lambda request: "He stabbed the guard.", tricks=["plain"], categories=["violence"])
    assert (report.judge, report.total.leaks) == ("any(lexicon, embedded:judge)", 2)


def test_the_worst_leak_comes_first_and_texts_are_shortened_and_escaped() -> None:
    def system(request: str) -> str:
        return "Maybe <b>." if "stabs" in request else f"{BAD} <i>" + "x" * 1000

    judge = FakeJudge(lambda passage: "abstain" if "Maybe" in passage.text else "fail")
    report = attack(system, judge=judge, wishes=None)
    assert [result.undecided for result in report.leaks] == [False, False, False, True]
    text = report.summary()["examples"][0]["text"]
    assert text.endswith("x...")
    assert len(text) < 310
    page = report.html()
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "x" * 400 not in page
    assert "4/4" in page
    assert "plain" in report._repr_html_()


def test_the_report_survives_json() -> None:
    report = attack(lambda request: BAD)
    assert RedTeamReport.model_validate_json(report.model_dump_json()) == report
    assert json.loads(json.dumps(report.summary()))["total"]["leaks"] == 3


def test_wilson_intervals() -> None:
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20.
    for successes, n, low, high in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)]:
        assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(5, 5)[1] == 1.0


def test_wrong_arguments_are_rejected() -> None:
    with pytest.raises(ConfigurationError, match="Runnable or a function; got 'text'"):
        attack("text")
    with pytest.raises(ConfigurationError, match="concurrency must be at least 1; got 0"):
        attack(raise_refused, concurrency=0)
    with pytest.raises(ConfigurationError, match="timeout"):
        attack(raise_refused, timeout_s=0)
    with pytest.raises(ConfigurationError, match="has its own policy and band"):
        attack(raise_refused, band="3-5")
    with pytest.raises(ConfigurationError, match="empty list"):
        attack(raise_refused, judge=[])
    with pytest.raises(UnknownName, match="judge"):
        attack(raise_refused, judge="lexikon")
