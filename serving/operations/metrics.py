"""Prometheus metrics of a server: counts and times only, with labels from fixed lists."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from taleward.core.errors import MissingExtra
from taleward.serving.operations.request_record import OTHER, RequestRecord

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MULTIPROCESS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the folder in which workers add up their figures; set before the workers start."""

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class ServerMetrics:
    """The metrics of a server.

    With `MULTIPROCESS_FOLDER` in the environment, each worker writes its figures there, and any of them shows the sums.

    Raises:
        MissingExtra: If `prometheus_client` is not installed.
    """

    def __init__(self) -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        except ModuleNotFoundError as error:
            raise MissingExtra("a server's metrics", "serve") from error
        self._registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Any:
            return Counter(f"taleward_{name}", text, labels, registry=self._registry)

        def histogram(name: str, text: str, *labels: str) -> Any:
            return Histogram(f"taleward_{name}", text, labels, registry=self._registry, buckets=_SECONDS)

        def gauge(name: str, text: str) -> Any:
            return Gauge(f"taleward_{name}", text, registry=self._registry, multiprocess_mode="livesum")

        self._requests = counter("requests_total", "Requests.", "method", "route", "status")
        self._rejections = counter("rejections_total", "Requests turned down before a model ran, by reason.", "reason")
        self._left = counter("clients_left_total", "Requests whose client left before the answer was complete.")
        self._tokens = counter("tokens_total", "Tokens.", "model", "direction")
        self._cost = counter("cost_usd_total", "Cost in US dollars, as far as it is known.", "model")
        self._tales = counter("tales_total", "Tales, by what became of them.", "model", "result")
        self._pictures = counter("pictures_total", "Pictures, by what became of them.", "model", "result")
        self._verdicts = counter("verdicts_total", "Verdicts on passages and whole texts.", "outcome")
        self._findings = counter("findings_total", "Verdicts with findings, by category.", "category", "outcome")
        self._duration = histogram("request_seconds", "Time of requests.", "route")
        self._first = histogram("first_sentence_seconds", "Time until the first sentence leaves.")
        self._held = histogram("held_seconds", "Time that a passage waits for its verdict.")
        self._queued = histogram("queued_seconds", "Time that requests wait for a place.")
        self._running = gauge("running_requests", "Requests to models that run.")
        self._waiting = gauge("waiting_requests", "Requests to models that wait for a place.")

    def watch_queue(self, running: Callable[[], int], waiting: Callable[[], int]) -> None:
        """Show the queue's state whenever a request has ended or the metrics are read."""
        self._queue_state = (running, waiting)

    def observe(self, record: RequestRecord, method: str, route: str) -> None:
        """Count a request that has ended.

        Args:
            record: What is known about it.
            method: Its HTTP method.
            route: The path of its route, without values.
        """
        model = record.model or OTHER
        self._requests.labels(method, route, str(record.status)).inc()
        self._duration.labels(route).observe(record.elapsed_s)
        if record.rejection is not None:
            self._rejections.labels(record.rejection).inc()
        if record.client_left:
            self._left.inc()
        if route.startswith("/v1/") and method == "POST" and record.rejection is None:
            self._queued.observe(record.queued_s)
        for direction, count in (("input", record.input_tokens), ("output", record.output_tokens)):
            if count:
                self._tokens.labels(model, direction).inc(count)
        if record.cost_usd:
            self._cost.labels(model).inc(record.cost_usd)
        for result in record.results:
            self._tales.labels(model, result).inc()
        for result in record.pictures:
            self._pictures.labels(model, result).inc()
        for verdict in record.verdicts:
            self._verdicts.labels(verdict.outcome).inc()
            for category in verdict.categories:
                self._findings.labels(category, verdict.outcome).inc()
            if verdict.held_s is not None:
                self._held.observe(verdict.held_s)
        if record.first_sentence_s is not None:
            self._first.observe(record.first_sentence_s)
        self._read_queue()

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format, those of all workers if there are several."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        self._read_queue()
        folder = os.environ.get(MULTIPROCESS_FOLDER)
        if not folder:
            return bytes(generate_latest(self._registry))
        _forget_dead_workers(Path(folder))
        registry = CollectorRegistry()
        MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
        return bytes(generate_latest(registry))

    def _read_queue(self) -> None:
        running, waiting = self._queue_state
        self._running.set(running())
        self._waiting.set(waiting())

    _queue_state: tuple[Callable[[], int], Callable[[], int]] = (lambda: 0, lambda: 0)


def _forget_dead_workers(folder: Path) -> None:
    """Remove the gauges of workers that died; their counts stay."""
    from prometheus_client.multiprocess import mark_process_dead

    for file in folder.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
        except PermissionError:
            pass  # alive, and somebody else's
