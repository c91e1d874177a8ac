"""The child's routes: nothing but words that passed, one session a browser, and few stories a minute."""

from __future__ import annotations

import logging

import pytest

from taleward.testing import FakeJudge, FakeWriter
from tests.helpers.page_apps import page_app, page_client
from tests.helpers.serving_apps import client_of, events_of

VERDICT_WORDS = ("verdict", "judge", "score", "categor", "violence", "attempt", "fail")


async def test_a_tale_comes_sentence_by_sentence_without_a_word_about_verdicts(values: dict[str, str]) -> None:
    writer = FakeWriter(["A fox ran. ", "It was bad. "], "It slept.")
    async with page_client(page_app(writer=writer)) as client:
        response = await client.post("/page/tales", json={"kind": "adventure", "values": values})
    assert events_of(response.text) == [
        ("title", {"title": "The brave adventurer"}),
        ("text", {"text": "A fox ran. ", "start": 0}),
        ("pause", {}),
        ("text", {"text": "It slept.", "start": 11}),
        ("done", {"released": True}),
    ]
    sent = "".join(line for line in response.text.splitlines() if not line.startswith(":"))
    assert not [word for word in VERDICT_WORDS if word in sent]


async def test_a_sentence_is_a_wish_too() -> None:
    writer = FakeWriter("A fox ran.")
    async with page_client(page_app(writer=writer)) as client:
        response = await client.post("/page/tales", json={"sentence": "a story about a fox who finds a key."})
    assert events_of(response.text)[0] == ("title", {"title": "A fox who finds a key"})
    assert writer.inputs == ["a story about a fox who finds a key."]


async def test_a_wish_that_does_not_pass_is_refused_gently_and_never_repeated() -> None:
    async with page_client(page_app()) as client:
        response = await client.post("/page/tales", json={"sentence": "a bad wolf"})
    (kind, refusal), done = events_of(response.text)
    assert kind == "refusal"
    assert refusal == {"message": "I would rather not tell a story about that. Shall we think of something else?"}
    assert done == ("done", {"released": False})
    assert "wolf" not in response.text.lower()


async def test_what_does_not_pass_as_a_whole_is_taken_back() -> None:
    judge = FakeJudge(lambda passage: "fail" if passage.text.count("fox") > 1 else "pass")
    writer = FakeWriter(["A fox ran. ", "A fox hid. "])
    async with page_client(page_app(writer=writer, judge=judge)) as client:
        response = await client.post("/page/tales", json={"sentence": "animals"})
    assert [kind for kind, _ in events_of(response.text)][-3:] == ["retraction", "refusal", "done"]


async def test_a_writer_that_breaks_takes_back_what_was_never_judged_as_a_whole(
    caplog: pytest.LogCaptureFixture,
) -> None:
    writer = FakeWriter(["A fox ran. ", "It met ", RuntimeError("a secret hedgehog")])
    with caplog.at_level(logging.DEBUG):
        async with page_client(page_app(writer=writer)) as client:
            response = await client.post("/page/tales", json={"sentence": "a child's own words"})
    assert events_of(response.text)[-2:] == [("retraction", {"start": 0}), ("trouble", {})]
    assert "hedgehog" not in response.text
    assert "RuntimeError" in caplog.text
    assert "hedgehog" not in caplog.text
    assert "own words" not in caplog.text


async def test_the_page_says_what_it_asks_with_ideas_and_pictures() -> None:
    async with page_client(page_app()) as client:
        start = (await client.get("/page/start")).json()
    adventure = start["kinds"][0]
    assert (adventure["name"], len(adventure["fields"]), len(start["kinds"])) == ("adventure", 6, 8)
    assert adventure["fields"][1] == {
        "name": "character",
        "question": "Who is it about?",
        "max_length": 100,
        "ideas": [
            {"text": "brave adventurer", "picture": "compass"},
            {"text": "shy dragon", "picture": "dragon"},
            {"text": "fisher girl", "picture": "girl"},
        ],
    }


async def test_the_cookie_is_for_the_browser_alone() -> None:
    async with client_of(page_app()) as client:
        cookie = (await client.get("/")).headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "set-cookie" not in (await client.get("/")).headers


async def test_without_a_session_or_from_another_site_nothing_is_told() -> None:
    wish = {"sentence": "a fox"}
    app = page_app()
    async with client_of(app) as stranger:
        response = await stranger.post("/page/tales", json=wish, headers={"x-taleward-page": "1"})
        assert (response.status_code, response.json()["error"]["code"]) == (401, "no_session")
    async with page_client(app) as client:
        response = await client.post("/page/tales", json=wish, headers={"sec-fetch-site": "cross-site"})
        assert response.status_code == 403
        del client.headers["x-taleward-page"]
        assert (await client.post("/page/tales", json=wish)).status_code == 403


async def test_a_browser_may_ask_for_so_many_stories_a_minute_and_another_one_too() -> None:
    app = page_app(tales_per_minute=2)
    async with page_client(app) as client:
        codes = [(await client.post("/page/tales", json={"sentence": "a fox"})).status_code for _ in range(3)]
        last = await client.post("/page/tales", json={"sentence": "a fox"})
    assert codes == [200, 200, 429]
    assert 50 <= int(last.headers["retry-after"]) <= 60
    async with page_client(app) as other:
        assert (await other.post("/page/tales", json={"sentence": "a fox"})).status_code == 200


@pytest.mark.parametrize(
    "wish", [{}, {"sentence": " "}, {"sentence": "x" * 201}, {"kind": "none", "values": {}}, {"values": {"who": "x"}}]
)
async def test_a_wrong_wish_is_turned_down_before_the_stream(wish: dict[str, object]) -> None:
    async with page_client(page_app()) as client:
        assert (await client.post("/page/tales", json=wish)).status_code == 400


async def test_the_page_lets_the_browser_load_nothing_from_elsewhere() -> None:
    async with client_of(page_app()) as client:
        page = await client.get("/")
        script = await client.get("/page/static/app.js")
        again = await client.get("/page/static/app.js", headers={"if-none-match": script.headers["etag"]})
        missing = await client.get("/page/static/..%2fsessions.py")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert script.headers["content-type"].startswith("text/javascript")
    assert again.status_code == 304
    assert missing.status_code == 404


async def test_a_server_can_have_no_page() -> None:
    from taleward.serving import ServeConfig, ServedModelConfig, create_app

    config = ServeConfig(models={"tales": ServedModelConfig()}, embeddings=None, page=None)
    async with client_of(create_app(config, warm=False)) as client:
        assert (await client.get("/")).status_code == 404
