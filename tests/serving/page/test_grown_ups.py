"""The grown-ups' side: the gate, the verdicts on what was told, feedback in MLflow, and deletion."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from taleward.core.verdict import Finding
from taleward.evaluation.feedback.mlflow_store import FeedbackStore
from taleward.evaluation.tracking.tale_recorder import MlflowRecorder, default_tracking_uri
from taleward.moderation.judges.base import Assessment
from taleward.serving.errors import ApiError
from taleward.serving.page.gate import GrownUpGate
from taleward.serving.page.settings import PageSettings
from taleward.testing import FakeJudge, FakeWriter
from tests.helpers.page_apps import PIN, page_app, page_client


class Notebook:
    """A recorder that cannot delete."""

    def record(self, tale: Any, inputs: Any) -> None:
        pass


async def tell(client: httpx.AsyncClient, sentence: str = "a fox") -> None:
    (await client.post("/page/tales", json={"sentence": sentence})).raise_for_status()


async def first_tale(client: httpx.AsyncClient) -> dict[str, Any]:
    tale: dict[str, Any] = (await client.get("/page/grown-ups")).json()["tales"][0]
    return tale


async def test_the_gate_opens_with_the_pin_and_closes_again() -> None:
    async with page_client(page_app()) as client:
        assert (await client.get("/page/grown-ups")).json() == {"open": False}
        closed = await client.post("/page/grown-ups/band", json={"band": "6-8"})
        assert (closed.status_code, closed.json()["error"]["code"]) == (403, "gate_closed")
        before = client.cookies["taleward_page"]
        assert (await client.post("/page/gate", json={"pin": PIN})).status_code == 200
        assert client.cookies["taleward_page"] != before
        assert (await client.get("/page/grown-ups")).json()["open"] is True
        await client.delete("/page/gate")
        assert (await client.get("/page/grown-ups")).json() == {"open": False}


async def test_wrong_pins_are_counted_for_the_whole_server_and_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    app = page_app()
    with caplog.at_level(logging.DEBUG):
        for left in (4, 3, 2, 1):
            async with page_client(app) as client:  # with a new cookie each time
                error = (await client.post("/page/gate", json={"pin": "123456"})).json()["error"]
                assert (error["code"], error["attempts_left"]) == ("wrong_pin", left)
        async with page_client(app) as client:
            locked = await client.post("/page/gate", json={"pin": "123456"})
            right = await client.post("/page/gate", json={"pin": PIN})
    assert (locked.status_code, locked.headers["retry-after"]) == (429, "30")
    assert right.status_code == 429
    assert "123456" not in caplog.text
    assert PIN not in caplog.text


def test_the_gate_stays_locked_longer_each_time() -> None:
    now, waits = 0.0, []
    gate = GrownUpGate(SecretStr(PIN), clock=lambda: now)
    for _ in range(8):
        for _ in range(5):
            with pytest.raises(ApiError) as caught:
                gate.check("000000")
        waits.append(int(caught.value.headers["retry-after"]))
        now += waits[-1] + 1
    assert waits == [30, 60, 120, 240, 480, 900, 900, 900]
    gate.check(PIN)


def test_a_pin_is_digits_and_a_secret_or_random() -> None:
    with pytest.raises(ValidationError, match="must be 4 to 12 digits") as caught:
        PageSettings(pin=SecretStr("abcd"))
    assert "abcd" not in str(caught.value)
    drawn = {PageSettings().with_pin().pin for _ in range(20)}
    assert len(drawn) > 15
    assert all(pin and len(pin.get_secret_value()) == 6 for pin in drawn)
    assert PIN not in repr(PageSettings(pin=SecretStr(PIN)))


async def test_grown_ups_see_the_verdict_with_the_marked_words_of_what_was_released() -> None:
    finding = Finding(category="frightening", severity="mild", quote="dark", start=7, end=11, rationale="a little")
    judge = FakeJudge(lambda passage: Assessment(findings=(finding,) if "dark" in passage.text else ()))
    async with page_client(
        page_app(writer=FakeWriter("It was dark. 🦊 It slept."), judge=judge), is_open=True
    ) as client:
        await tell(client)
        tale = await first_tale(client)
    assert tale["text"] == [
        {"text": "It was ", "mark": ""},
        {"text": "dark", "mark": "Frightening (mild)"},
        {"text": ". 🦊 It slept.", "mark": ""},
    ]
    assert tale["verdict"]["outcome"] == "pass"
    assert tale["asked"] == [{"name": "request", "text": "a fox"}]
    assert tale["recorded"] is False


async def test_words_that_did_not_pass_are_not_kept() -> None:
    async with page_client(page_app(writer=FakeWriter("It was bad, said the hedgehog.")), is_open=True) as client:
        await tell(client)
        page = await client.get("/page/grown-ups")
    tale = page.json()["tales"][0]
    assert tale["text"] is None
    assert tale["refusal"]["categories"] == ["Violence"]
    assert "hedgehog" not in page.text


async def test_another_browser_sees_none_of_it() -> None:
    app = page_app()
    async with page_client(app, is_open=True) as client:
        await tell(client)
        tale = await first_tale(client)
    async with page_client(app, is_open=True) as other:
        assert (await other.get("/page/grown-ups")).json()["tales"] == []
        assert (await other.delete(f"/page/grown-ups/tales/{tale['id']}")).status_code == 404


async def test_grown_ups_choose_the_ages_of_the_next_tales() -> None:
    app = page_app(bands=("3-5",))
    async with page_client(app, is_open=True) as client:
        assert [band["name"] for band in (await client.get("/page/grown-ups")).json()["rules"]["bands"]] == [
            "3-5",
            "6-8",
        ]
        assert (await client.post("/page/grown-ups/band", json={"band": "9-12"})).status_code == 400
        await client.post("/page/grown-ups/band", json={"band": "3-5"})
        assert (await client.get("/page/grown-ups")).json()["rules"]["band"] == "3-5"


async def test_feedback_without_mlflow_says_where_it_would_be_kept() -> None:
    async with page_client(page_app(), is_open=True) as client:
        await tell(client)
        tale = await first_tale(client)
        answer = await client.post(f"/page/grown-ups/tales/{tale['id']}/feedback", json={"kid_friendly": True})
    assert answer.status_code == 409
    assert "MLflow" in answer.json()["error"]["message"]


async def test_a_tale_that_cannot_be_deleted_everywhere_stays_in_the_list() -> None:
    async with page_client(page_app(recorders=[Notebook()]), is_open=True) as client:
        await tell(client)
        tale = await first_tale(client)
        answer = await client.delete(f"/page/grown-ups/tales/{tale['id']}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "cannot_delete")
        assert await first_tale(client) == tale


async def test_feedback_is_kept_in_mlflow_and_deleting_a_tale_deletes_its_trace(tmp_path: Path) -> None:
    uri = default_tracking_uri(tmp_path)
    async with page_client(page_app(recorders=[MlflowRecorder(uri)]), is_open=True) as client:
        await tell(client)
        tale = await first_tale(client)
        assert tale["recorded"] is True
        said = {"kid_friendly": False, "categories": ["frightening"], "comment": "too dark", "for_training": True}
        answer = await client.post(f"/page/grown-ups/tales/{tale['id']}/feedback", json=said)
        assert answer.json() == {"feedback": said}
        store = FeedbackStore(uri)
        (feedback,) = store.read(tale["id"])
        assert (feedback.person, feedback.kid_friendly, feedback.comment) == ("grown-up", False, "too dark")
        assert feedback.categories == ("frightening",)
        assert (feedback.for_training, feedback.requested_by_child, feedback.guardian_consent) == (True, True, True)
        assert (await first_tale(client))["feedback"] == said

        assert (await client.delete(f"/page/grown-ups/tales/{tale['id']}")).status_code == 200
        assert (await client.get("/page/grown-ups")).json()["tales"] == []
    assert list(store.tales()) == []
    assert store.delete_tale(tale["id"]) is False
