"""A chat model plans; it never changes a word, and an answer that cannot be used leaves the rules' plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from taleward.backends.chat_models import chat_model
from taleward.books import BookEditor, BookPlan, plan_by_rules, plan_with_model
from taleward.books.book_recorder import record_book
from taleward.moderation.policies.load import load_policy
from taleward.moderation.text.sentences import sentences
from taleward.testing import FakeJudge, FakeOpenAI
from tests.helpers.books import TALE, judge, small_book

LAST = len(sentences(TALE))
PAGE = {"things": [], "cast": ["Pip"], "place": "in the forest", "light": "", "shot": "close"}
ANSWER = {
    "title": "The Lost Lantern",
    "cast": [{"name": "Pip", "kind": "a rabbit", "looks": ["a red hat"]}],
    "places": [{"name": "in the forest", "looks": ["a crooked oak"]}],
    "pages": [
        {**PAGE, "last_sentence": 3, "shows": "Pip walks"},
        {**PAGE, "last_sentence": LAST, "shows": "Pip sleeps"},
    ],
}


def planned(reply: Any) -> BookPlan:
    with FakeOpenAI(answer=reply if isinstance(reply, str) else json.dumps(reply)) as server:
        model = chat_model("openai:gpt-5-mini", base_url=server.base_url, api_key="none")
        return plan_with_model(TALE, model, policy=load_policy("kids"), band="6-8", pages=2)


def test_a_model_chooses_pages_and_pictures() -> None:
    plan = planned(ANSWER)
    assert plan.title == "The Lost Lantern"
    assert " ".join(page.text for page in plan.pages).split() == TALE.split()
    assert plan.prompt(1).details == ("a crooked oak",)
    assert plan.prompt(2).cast[0].looks == ("a red hat",)


@pytest.mark.parametrize(
    "reply",
    [
        "no JSON",
        {**ANSWER, "pages": ANSWER["pages"][:1]},
        {**ANSWER, "pages": list(reversed(ANSWER["pages"]))},
        {**ANSWER, "surprise": 1},
    ],
)
def test_an_answer_that_cannot_be_used_leaves_the_rules_plan(reply: Any) -> None:
    plan = planned(reply)
    by_rules = plan_by_rules(TALE, policy=load_policy("kids"), band="6-8", pages=2)
    assert plan.pages == by_rules.pages
    assert plan.cast == by_rules.cast


def test_another_band_is_told_by_a_writer_and_judged(tmp_path: Path) -> None:
    small_book(tmp_path, pages=2)
    with FakeOpenAI(answer="Pip met Olive. Olive lost a lamp. They found the lamp.") as server:
        model = chat_model("openai:gpt-5-mini", base_url=server.base_url, api_key="none")
        strict = FakeJudge(failing_words={"lamp": "frightening"}, band="3-5")
        with pytest.raises(Exception, match="did not pass"):
            BookEditor(tmp_path, judge=strict).reband("3-5", model)
        book = BookEditor(tmp_path, judge=FakeJudge(band="3-5")).reband("3-5", model)
    assert book.band == "3-5"
    assert book.cast[0].looks == ("gray fur", "a blue scarf")
    assert book.is_complete


def test_a_book_is_an_mlflow_run(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    book = small_book(tmp_path / "book", pages=2)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = mlflow.MlflowClient(tracking_uri=uri)
    run = client.get_run(record_book(book, tmp_path / "book", uri))
    assert run.info.run_name == book.title
    assert run.data.metrics["cast_shown"] == 1.0
    assert run.data.params["images"] == "collage"
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {
        "book.json",
        "pages",
        "pages.json",
        "plan.yaml",
    }


def test_the_judge_has_to_be_for_the_band() -> None:
    with pytest.raises(Exception, match="the judge is for 6-8; the book is for 3-5"):
        small_book(judge=judge(), band="3-5")
