"""Rows for training made of feedback: whose votes count, which texts are good examples, and what is skipped and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import pytest

from taleward.chains.story import StoryChain
from taleward.chains.template import load_template
from taleward.core.errors import UnknownName
from taleward.core.tale import ChatTurn, Lineage, ModelCall, PromptVersion
from taleward.core.verdict import Verdict
from taleward.evaluation.feedback.feedback import Feedback
from taleward.evaluation.feedback.mlflow_store import RecordedTale
from taleward.tuning import DpoRow, KtoRow, SftRow, rows_from_feedback
from taleward.tuning.feedback_rows import SKIP_REASONS

PROMPT = (ChatTurn(role="system", content="Be kind."), ChatTurn(role="user", content="A story about a fox."))
CALL = ModelCall(model="hf:writer", duration_s=1.0)
VALUES = dict(load_template("adventure").example_values[0])
ADVENTURE = load_template("adventure").prompt


@dataclass
class Store:
    """Recorded tales with their feedback, without MLflow."""

    recorded: list[tuple[RecordedTale, list[Feedback]]]

    def tales(self) -> Iterator[tuple[RecordedTale, list[Feedback]]]:
        yield from self.recorded


def verdict(outcome: Literal["pass", "fail", "error"]) -> Verdict:
    return Verdict(outcome=outcome, judge="fake", policy="kids@1", band="6-8")


def tale(
    text: str,
    *failed_drafts: str,
    name: str = "tale",
    released: bool = True,
    closed_by: Literal["writer", "policy"] | None = None,
    prompt: PromptVersion | None = ADVENTURE,
    **fields: Any,
) -> RecordedTale:
    lineage = Lineage(
        taleward="0", prompt=prompt, judge="fake", policy="kids@1", band="6-8", started_at=datetime.now(UTC),
        duration_s=1.0, closed_by=closed_by,
    )  # fmt: skip
    drafts = tuple((draft, verdict("fail")) for draft in failed_drafts)
    recorded: dict[str, Any] = {
        "id": name, "trace_id": f"tr-{name}", "text": text, "released": released, "band": "6-8", "policy": "kids@1",
        "inputs": VALUES, "messages": PROMPT, "calls": (CALL,), "lineage": lineage,
        "drafts": (*drafts, (text, verdict("pass" if released else "fail"))), "started_at": datetime.now(UTC),
    }  # fmt: skip
    return RecordedTale(verdict=drafts[-1][1] if drafts else None, **{**recorded, **fields})


def said(person: str = "anna", *, for_training: bool | None = True, **answers: Any) -> Feedback:
    answers = {"requested_by_child": False, **answers}
    return Feedback(tale_id="tale", person=person, at=datetime.now(UTC), for_training=for_training, **answers)


def rows_of(method: Any, *recorded: tuple[RecordedTale, list[Feedback]]) -> Any:
    return rows_from_feedback(Store(list(recorded)), method)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answers", "label"),
    [
        ({"kid_friendly": True}, True),
        ({"rating": 4}, True),
        ({"rating": 5, "makes_sense": True}, True),
        ({"rating": 3, "kid_friendly": True}, True),
        ({"rating": 3}, None),
        ({"makes_sense": True}, None),
        ({"comment": "hm"}, None),
        ({"rating": 2}, False),
        ({"rating": 2, "kid_friendly": True}, False),
        ({"kid_friendly": False, "rating": 5}, False),
        ({"makes_sense": False, "kid_friendly": True}, False),
    ],
)
def test_one_persons_answers_are_a_vote(answers: dict[str, Any], label: bool | None) -> None:
    rated = (tale("A fox slept."), [said(**answers)])
    kto, sft = rows_of("kto", rated), rows_of("sft", rated)
    assert [(row.completion, row.label) for row in kto] == ([] if label is None else [("A fox slept.", label)])
    assert [row.completion for row in sft] == (["A fox slept."] if label else [])
    assert kto.skipped == ({"no_answer": 1} if label is None else {})
    assert sft.skipped == {None: {"no_answer": 1}, True: {}, False: {"disliked": 1}}[label]


def test_the_majority_of_people_decides_and_a_tie_decides_nothing() -> None:
    good, bad = {"kid_friendly": True}, {"kid_friendly": False}
    liked = (tale("A.", name="a"), [said("anna", **good), said("ben", **good), said("cy", **bad)])
    tied = (tale("B.", name="b"), [said("anna", **good), said("ben", **bad)])
    rows = rows_of("kto", liked, tied)
    assert [(row.source.tale_id, row.label) for row in rows] == [("a", True)]
    assert (rows.tales, rows.skipped) == (2, {"disputed": 1})
    # Ben's answers are not given for training, so only Anna's count.
    rows = rows_of("kto", (tied[0], [tied[1][0], said("ben", for_training=None, **bad)]))
    assert [row.label for row in rows] == [True]


def test_a_row_has_the_recorded_prompt_and_says_where_it_comes_from() -> None:
    [row] = rows_of("kto", (tale("A fox slept."), [said(rating=5)]))
    assert row.prompt == PROMPT
    assert row.source.model_dump() == {
        "tale_id": "tale", "template": "adventure", "template_version": ADVENTURE.version, "model": "hf:writer",
        "by": "people", "rejected_tale_id": "", "rendered": False,
    }  # fmt: skip


def test_drafts_that_the_judge_failed_are_bad_examples_if_people_agree_with_the_release() -> None:
    recorded = tale("A kind fox.", "A cruel fox.", "A bad fox.")
    rows = rows_of("kto", (recorded, [said(kid_friendly=True)]))
    assert [(row.completion, row.label, row.source.by) for row in rows] == [
        ("A kind fox.", True, "people"),
        ("A cruel fox.", False, "judge"),
        ("A bad fox.", False, "judge"),
    ]
    pairs = rows_of("dpo", (recorded, [said(kid_friendly=True)]))
    assert [(p.chosen, p.rejected, p.source.by) for p in pairs] == [
        ("A kind fox.", "A cruel fox.", "judge"),
        ("A kind fox.", "A bad fox.", "judge"),
    ]
    # Who only rates it does not say that the judge was right.
    assert [row.label for row in rows_of("kto", (recorded, [said(rating=5)]))] == [True]
    assert [row.label for row in rows_of("kto", (recorded, [said(kid_friendly=False)]))] == [False]
    # People agree that it suits children, but it is no tale to prefer.
    dull = [said(kid_friendly=True, rating=1)]
    assert len(rows_of("dpo", (recorded, dull))) == 0
    # A draft without a verdict is not a bad one.
    unjudged = tale("A fox.", drafts=(("A draft.", verdict("error")), ("A fox.", verdict("pass"))))
    assert [row.completion for row in rows_of("kto", (unjudged, [said(kid_friendly=True)]))] == ["A fox."]


def test_pairs_are_tales_with_the_same_prompt_that_people_like_differently() -> None:
    best = (tale("Best.", name="best"), [said(rating=5, kid_friendly=True)])
    good = (tale("Good.", name="good"), [said(rating=4, kid_friendly=True)])
    unfit = (tale("Unfit.", name="unfit"), [said(rating=5, kid_friendly=False)])
    other = (tale("Other.", name="other", messages=PROMPT[1:]), [said(rating=1)])
    older = (tale("Older.", name="older", band="9-12"), [said(rating=1)])
    rows = rows_of("dpo", unfit, best, good, other, older)
    assert [(row.chosen, row.rejected, row.source.tale_id, row.source.rejected_tale_id) for row in rows] == [
        ("Best.", "Unfit.", "best", "unfit"),
        ("Good.", "Unfit.", "good", "unfit"),
        ("Best.", "Good.", "best", "good"),
    ]
    assert rows.skipped == {"no_pair": 2}


def test_only_answers_to_the_same_question_are_compared() -> None:
    rated = (tale("Rated.", name="rated"), [said(rating=5)])
    friendly = (tale("Friendly.", name="friendly"), [said(kid_friendly=True)])
    assert len(rows_of("dpo", rated, friendly)) == 0
    # Of two bad tales none is an example.
    assert len(rows_of("dpo", (tale("A.", name="a"), [said(rating=1)]), (tale("B.", name="b"), [said(rating=2)]))) == 0


def test_a_refused_tale_is_never_a_good_example() -> None:
    refused = tale("A fox slept.", released=False)
    for method in ("sft", "kto", "dpo"):
        rows = rows_of(method, (refused, [said(kid_friendly=True, rating=5)]))
        assert (len(rows), rows.skipped) == (0, {"not_released": 1})
    assert [row.label for row in rows_of("kto", (refused, [said(rating=1)]))] == [False]


def test_a_corrected_text_is_an_answer_to_learn_and_better_than_the_original() -> None:
    rated = (
        tale("A fox growled."),
        [said(rating=2, correction="A fox smiled."), said("ben", correction="A fox growled.")],
    )
    [row] = rows_of("sft", rated)
    assert (row.completion, row.source.model, row.source.by) == ("A fox smiled.", "", "people")
    [pair] = rows_of("dpo", rated)
    assert (pair.chosen, pair.rejected) == ("A fox smiled.", "A fox growled.")
    assert [(row.completion, row.label) for row in rows_of("kto", rated)] == [("A fox growled.", False)]


def test_a_completion_models_answer_is_what_follows_its_prompt() -> None:
    opening = (ChatTurn(role="assistant", content="Once upon a time,"),)
    [row] = rows_of("sft", (tale("Once upon a time, a fox slept.", messages=opening), [said(rating=5)]))
    assert (row.prompt, row.completion) == (opening, " a fox slept.")


def test_what_is_skipped_is_counted_by_reason() -> None:
    good = [said(rating=5)]
    recorded = [
        (tale("", released=False), good),
        (tale("A fox."), []),
        (tale("A fox."), [said(for_training=None, rating=5)]),
        (tale("A fox."), [said(for_training=False, rating=5)]),
        (tale("A fox."), [said(requested_by_child=True, rating=5)]),
        (tale("A fox. The end.", closed_by="policy"), good),
        (tale("A fox.", messages=(), lineage=None), good),
        (tale("A fox.", messages=(), prompt=None), good),
        (tale("A fox.", messages=(), calls=(CALL, CALL)), good),
        (tale("A fox.", messages=(), prompt=PromptVersion(name="adventure", version="0")), good),
        (tale("A fox.", messages=(), prompt=PromptVersion(name="nonsense", version="1")), good),
        (tale("A fox.", messages=(), policy="kids@0"), good),
        (tale("A fox.", messages=(), policy=StoryChain("embedded:storyteller-mini").policy.id), good),
        (tale("A good fox."), good),
    ]
    rows = rows_of("sft", *recorded)
    assert [row.completion for row in rows] == ["A good fox."]
    assert rows.tales == len(recorded) == len(rows) + sum(rows.skipped.values())
    assert rows.skipped == {
        "no_text": 1, "no_answer": 1, "no_consent": 2, "no_guardian_consent": 1, "closed_by_policy": 1,
        "prompt_unknown": 3, "version_missing": 3, "model_missing": 1,
    }  # fmt: skip
    assert set(rows.skipped) < set(SKIP_REASONS)


def test_a_prompt_that_was_not_recorded_is_rendered_as_the_writer_rendered_it() -> None:
    writer = StoryChain("embedded:storyteller-mini", band="3-5")
    call = ModelCall(model="embedded:storyteller-mini", duration_s=1.0)
    recorded = tale("A fox.", messages=(), calls=(call,), policy=writer.policy.id, band="3-5")
    [row] = rows_of("sft", (recorded, [said(rating=5)]))
    [message] = writer.messages_for(VALUES)
    assert row.prompt == (ChatTurn(role="user", content=message.text),)
    assert "brave adventurer" in message.text
    assert row.source.rendered


def test_rows_are_of_the_methods_class_and_other_methods_are_refused() -> None:
    recorded = (tale("A kind fox.", "A cruel fox."), [said(kid_friendly=True)])
    for method, row_class in (("sft", SftRow), ("dpo", DpoRow), ("kto", KtoRow)):
        rows = rows_of(method, recorded)
        assert rows
        assert all(isinstance(row, row_class) for row in rows)
    with pytest.raises(UnknownName, match="kto"):
        rows_of("ppo", recorded)
