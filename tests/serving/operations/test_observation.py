"""Logs, metrics and traces: complete, and without anybody's words."""

from __future__ import annotations

import io
import json
import logging
import logging.config
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from taleward.core.verdict import Finding
from taleward.moderation.judges.base import Assessment
from taleward.serving.operations.json_logs import JsonFormatter, PlainFormatter, logging_config
from taleward.testing import FakeJudge, FakeWriter
from tests.helpers.asgi_calls import AsgiCall
from tests.helpers.serving_apps import fake_app

SECRET = "xylophonist"
VALUES = {
    "setting": "enchanted forest",
    "character": "brave adventurer",
    "mysterious_object": "glowing map",
    "magical_properties": "hidden places",
    "action": "follow the map",
    "outcome": "a new friendship",
}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the server's handler writes, at the level of debugging."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return exporter


async def post(app: FastAPI, path: str = "/v1/tales", headers: Any = None, **body: Any) -> AsgiCall:
    return await AsgiCall(app, path, body=[json.dumps(body).encode()], headers=headers).done()


async def metrics_of(app: FastAPI) -> str:
    return (await AsgiCall(app, "/metrics", method="GET").done()).body.decode()


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


class Talkative(FakeJudge):
    """A judge whose category, quote, rationale and detail are the child's own words."""

    def __init__(self) -> None:
        finding = Finding(category=SECRET, severity="severe", quote=SECRET, start=0, end=len(SECRET), rationale=SECRET)
        super().__init__(lambda _: Assessment(findings=(finding,), outcome="fail", detail=SECRET))


async def test_no_words_in_logs_metrics_or_traces(log: io.StringIO, spans: InMemorySpanExporter) -> None:
    """Words in every field, with writers and judges that repeat them in texts and exceptions."""
    secret_values = {name: f"{SECRET} {value}" for name, value in VALUES.items()}
    names = ("x-request-id", "user-agent", "referer", "cookie", "x-forwarded-for", "tracestate", "baggage")
    headers = dict.fromkeys(names, SECRET) | {
        "traceparent": f"00-{'a' * 32}-{'b' * 16}-01-{SECRET}",
        "authorization": f"Bearer {SECRET}",
    }
    apps = [
        fake_app(writer=FakeWriter(f"A {SECRET} ran. It slept.")),
        fake_app(writer=FakeWriter([f"A {SECRET} ran. ", RuntimeError(f"cannot go on: {SECRET}")])),
        fake_app(writer=FakeWriter(f"A {SECRET} ran."), judge=Talkative()),
        fake_app(writer=FakeWriter("A fox ran."), judge=FakeJudge(ValueError(f"no answer to {SECRET}"))),
    ]
    for app in apps:
        for stream in (False, True):
            await post(app, values=secret_values, stream=stream, headers=headers)
            await post(app, request=SECRET, stream=stream, headers=headers)
        await post(app, model=SECRET, band=SECRET, template=SECRET, values=secret_values, headers=headers)
        await post(app, **{SECRET: SECRET})
        await post(app, f"/v1/tales/{SECRET}", headers=headers)
        await AsgiCall(app, f"/v1/templates/{SECRET}", method=SECRET.upper()).done()
        await AsgiCall(app, "/v1/tales", body=[SECRET.encode()]).done()
        assert SECRET not in (await metrics_of(app)).lower()
    recorded = "\n".join(span.to_json() for span in spans.get_finished_spans())
    assert len(spans.get_finished_spans()) >= 40
    assert SECRET not in recorded.lower()
    assert len(lines(log)) >= 40
    assert SECRET not in log.getvalue().lower()


async def test_a_line_for_each_request_says_what_became_of_it(log: io.StringIO, spans: InMemorySpanExporter) -> None:
    app = fake_app(writer=FakeWriter(["A fox ran. ", "It was bad. "], "It slept."))
    call = await post(app, values=VALUES, stream=True)
    [line] = [line for line in lines(log) if line["logger"] == "taleward.access"]
    assert line["request_id"] == call.headers["x-request-id"]
    assert (line["route"], line["status"], line["model"]) == ("/v1/tales", 200, "tales")
    assert (line["results"], line["categories"]) == (["released"], ["violence"])
    assert line["first_sentence_s"] > 0
    [span] = spans.get_finished_spans()
    assert span.name == "POST /v1/tales"
    assert f"{span.get_span_context().trace_id:032x}" == line["trace_id"]
    assert span.attributes is not None
    assert list(span.attributes["taleward.tale_ids"]) == line["tale_ids"]
    assert {event.attributes["outcome"] for event in span.events if event.attributes} == {"pass", "fail"}


async def test_a_span_continues_the_clients_trace(spans: InMemorySpanExporter) -> None:
    await AsgiCall(fake_app(), "/health", method="GET", headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}).done()
    [span] = spans.get_finished_spans()
    assert f"{span.get_span_context().trace_id:032x}" == "a" * 32


async def test_metrics_count_requests_tales_verdicts_and_times() -> None:
    app = fake_app(writer=FakeWriter(["A fox ran. ", "It was bad. "], "It slept."))
    await post(app, values=VALUES, stream=True)
    await post(fake_app(), values=VALUES)
    await post(app, request="")
    text = await metrics_of(app)
    for line in (
        'taleward_requests_total{method="POST",route="/v1/tales",status="200"} 1.0',
        'taleward_tales_total{model="tales",result="released"} 1.0',
        'taleward_verdicts_total{outcome="fail"} 1.0',
        'taleward_findings_total{category="violence",outcome="fail"} 1.0',
        "taleward_first_sentence_seconds_count 1.0",
        "taleward_running_requests 0.0",
        "taleward_waiting_requests 0.0",
    ):
        assert line in text, line
    assert "taleward_held_seconds_bucket" in text


async def test_a_failure_is_answered_without_its_message(log: io.StringIO) -> None:
    app = fake_app()

    @app.get("/v1/failing")
    async def fails() -> None:
        raise RuntimeError(SECRET)

    call = await AsgiCall(app, "/v1/failing", method="GET").done()
    assert call.status == 500
    assert SECRET not in call.body.decode() + log.getvalue()
    assert "RuntimeError" in log.getvalue()


def test_other_libraries_messages_are_withheld() -> None:
    record = logging.LogRecord("asyncio", logging.ERROR, __file__, 7, "never retrieved: %s", (SECRET,), None)
    for formatter in (JsonFormatter(), PlainFormatter()):
        line = formatter.format(record)
        assert SECRET not in line
        assert f"{__file__}:7" in line
    logging.config.dictConfig({**logging_config(), "root": {}, "loggers": {}})
