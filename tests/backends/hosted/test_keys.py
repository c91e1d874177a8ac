"""No key leaves through an error, what lies behind it, a `repr` or `vars`, even if the server echoes it."""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from langchain_core.callbacks import BaseCallbackHandler

from taleward import chat_model, embeddings, judge
from taleward.backends.hosted.build_chat import echo_likelihood
from taleward.core.errors import BackendError, ConfigurationError
from taleward.core.redaction import redact, redact_data, remember_secret, without_secrets

KEY, ENVIRONMENT_KEY, PASSWORD, HEADER = (
    "argument-key-1234", "environment-key-1234", "pass-word-1234", "header-key-1234",
)  # fmt: skip


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server that answers every request with an error that quotes all of the request's headers."""
    seen: list[dict[str, str]] = []

    class Echo(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append({name.lower(): value for name, value in self.headers.items()})
            quoted = f"these headers are wrong: {dict(self.headers)}"
            error = {"message": quoted, "type": quoted, "param": quoted, "code": "odd", "headers": seen[-1]}
            body = json.dumps({"error": error}).encode()
            self.send_response(401)
            self.send_header("Content-Type", "application/json")
            self.send_header("X-Echo", self.headers.get("Authorization", ""))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Do not log requests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("OPENAI_API_KEY", ENVIRONMENT_KEY)
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    if error is not None:
        yield error
        yield from chain_of(error.__cause__)
        yield from chain_of(error.__context__)


def everything_about(error: BaseException) -> str:
    """All that a traceback, a log, a trace or a debugger can show of an error."""
    texts = ["".join(traceback.format_exception(error))]
    for part in chain_of(error):
        texts += [str(part), repr(part), repr(vars(part))]
        if (response := getattr(part, "response", None)) is not None:
            texts.append(repr(vars(response)))
    return "\n".join(texts)


def failures(url: str, **options: Any) -> dict[str, Callable[[], Any]]:
    model = chat_model("openai:any", base_url=url, max_retries=1, **options)
    vectors = embeddings("openai:any", base_url=url, max_retries=0, **options)
    return {
        "invoke": lambda: model.invoke("hi"),
        "stream": lambda: list(model.stream("hi")),
        "embed": lambda: vectors.embed_query("hi"),
        "score": lambda: echo_likelihood(model, ["hi"]),
    }


@pytest.mark.parametrize("way", ["invoke", "stream", "embed", "score"])
@pytest.mark.parametrize("options", [{}, {"api_key": KEY}], ids=["environment", "argument"])
def test_an_echoed_key_is_in_no_exception(echo: Any, way: str, options: dict[str, Any]) -> None:
    url, seen = echo
    headers = {"X-Api-Key": HEADER}
    with pytest.raises(BackendError) as caught:
        failures(url, default_headers=headers, **options)[way]()
    key = options.get("api_key", ENVIRONMENT_KEY)
    assert seen[-1]["authorization"] == f"Bearer {key}"
    assert seen[-1]["x-api-key"] == HEADER
    shown = everything_about(caught.value)
    assert "these headers are wrong" in shown
    assert key not in shown
    assert HEADER not in shown
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.response.status_code == 401  # type: ignore[attr-defined]


def test_what_langchains_handlers_get_holds_no_key(echo: Any) -> None:
    shown: list[str] = []

    class Handler(BaseCallbackHandler):
        def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
            shown.extend([repr(serialized), repr(kwargs)])

        def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
            shown.append(everything_about(error))

    url = echo[0].replace("//", f"//mia:{PASSWORD}@")
    model = chat_model("openai:any", base_url=url, max_retries=0, api_key=KEY, default_headers={"X-Api-Key": HEADER})
    with pytest.raises(BackendError):
        model.invoke("hi", {"callbacks": [Handler()]})
    assert len(shown) == 3
    for secret in (KEY, HEADER, PASSWORD):
        assert secret not in "".join(shown)


def test_a_password_in_the_url_reaches_the_server_and_nothing_else(echo: Any) -> None:
    url, seen = echo
    with_password = url.replace("//", f"//mia:{PASSWORD}@")
    model = chat_model("openai:any", base_url=with_password, max_retries=0)
    vectors = embeddings("openai:any", base_url=with_password, max_retries=0)
    for call in (lambda: model.invoke("hi"), lambda: vectors.embed_query("hi")):
        with pytest.raises(BackendError) as caught:
            call()
        assert seen[-1]["authorization"].startswith("Basic ")
        assert PASSWORD not in everything_about(caught.value)
    for shown in (repr(model), repr(vars(model)), repr(vectors), repr(vars(vectors))):
        assert PASSWORD not in shown
    import httpx

    with pytest.raises(ConfigurationError, match="cannot be used with http_client") as refused:
        chat_model("openai:any", base_url=with_password, http_client=httpx.Client())
    assert PASSWORD not in everything_about(refused.value)
    with pytest.raises(ConfigurationError) as refused:
        chat_model("openai:any", base_url=f"ftp://mia:{PASSWORD}@host/v1")
    assert PASSWORD not in everything_about(refused.value)


def test_a_header_of_a_model_is_not_in_its_repr() -> None:
    model = chat_model("openai:any", api_key=KEY, default_headers={"Authorization": f"Bearer {HEADER}", "X-Team": "a"})
    assert HEADER not in repr(model)
    assert "'X-Team': 'a'" in repr(model)
    assert HEADER not in str(model)


def test_the_moderation_judge_shows_no_key(echo: Any) -> None:
    moderation = judge("openai-moderation", base_url=echo[0].replace("//", f"//mia:{PASSWORD}@"))
    for shown in (repr(moderation), repr(vars(moderation)), moderation.invoke("hi").detail):
        assert ENVIRONMENT_KEY not in shown
        assert PASSWORD not in shown
    assert moderation.invoke("hi").outcome == "error"


texts = st.text(max_size=20)
data = st.recursive(
    texts | st.binary(max_size=20) | st.none() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=6,
)


class Odd(Exception):
    """An exception whose text is not made of its arguments."""

    def __str__(self) -> str:
        return f"odd: {KEY}"


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(data, st.sampled_from([ValueError, OSError, KeyError, Odd, TimeoutError])), min_size=1,
                max_size=4), texts, texts, st.booleans())  # fmt: skip
def test_no_secret_survives_in_any_chain(
    parts: list[tuple[Any, type[Exception]]], before: str, after: str, is_cause: bool
) -> None:
    remember_secret(KEY)

    def planted(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(planted(item) for item in value)
        if isinstance(value, dict):
            return {key: planted(item) for key, item in value.items()}
        if isinstance(value, bytes):
            return value + KEY.encode()
        return f"{before}{KEY}{after}" if isinstance(value, str) else value

    errors: list[Exception] = []
    for value, kind in parts:
        error = kind(5, f"{before}{KEY}") if kind is OSError else kind(planted(value), f"{before}{KEY}{after}")
        error.body = planted(value)  # type: ignore[attr-defined]
        error.add_note(f"{before}{KEY}")
        if errors:
            error.__context__ = errors[-1]
            if is_cause:
                error.__cause__ = errors[-1]
        errors.append(error)
    errors[0].__context__ = errors[-1]  # a circle, as `raise` can make one
    scrubbed = without_secrets(errors[-1])
    part: BaseException | None = scrubbed
    seen = set[int]()
    while part is not None and id(part) not in seen:
        seen.add(id(part))
        assert KEY not in f"{part} {part!r} {vars(part)} {traceback.format_exception_only(part)}"
        part = part.__context__


@settings(deadline=None, max_examples=100)
@given(st.text(alphabet="abk:/@? ", max_size=30), st.text(alphabet="abk:/@? ", max_size=30))
def test_redaction_is_idempotent_and_leaves_no_part_of_a_key(before: str, after: str) -> None:
    remember_secret(KEY)
    remember_secret(KEY + "-longer")
    once = redact(f"{before}{KEY}-longer {KEY}{after}")
    assert KEY not in once
    assert "-longer" not in once
    assert redact(once) == once


def test_data_is_redacted_by_name_and_by_value() -> None:
    remember_secret(f"Bearer {KEY}")
    assert redact_data({"Authorization": "x", "about": [KEY, ("a", KEY.encode())], "n": 1}) == {
        "Authorization": "[redacted]",
        "about": ["[redacted]", ("a", b"[redacted]")],
        "n": 1,
    }
    assert redact("http://mia:p@ss@host/v1 and mia@example.org") == "http://[redacted]@host/v1 and mia@example.org"
