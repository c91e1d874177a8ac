"""Settings of how a server is run: keys, limits, timeouts, logs and metrics."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from taleward.core.frozen_model import FrozenModel

DEFAULT_KEYS_FILE = Path(".taleward/keys.db")


class OperationSettings(FrozenModel):
    """How a server is run.

    The limits of keys are shared by all workers, through the keys file. The queue is each worker's own: with
    `--workers 4`, up to four times `max_concurrent` requests run.

    Attributes:
        host: The address on which the server listens.
        port: The port.
        workers: Processes that answer requests; each loads its own models.
        keys_file: The SQLite file with the API keys; see `taleward keys`.
        max_concurrent: Requests to models that run at the same time, in each worker.
        max_waiting: Requests that wait for a place; beyond, the answer is 429.
        queue_timeout_s: Seconds that a request waits for a place before the answer is 429.
        max_body_bytes: Bytes in a request's body; beyond, the answer is 413.
        header_timeout_s: Seconds that a client has for the head of a request.
        body_timeout_s: Seconds that a client has for the body of a request.
        keep_alive_timeout_s: Seconds that an idle connection stays open.
        request_timeout_s: Seconds that an answer may take, streams included. The models' own `timeout_s` should be
            shorter, since a guard that runs out of time refuses in its own words.
        shutdown_timeout_s: Seconds that running answers may go on for when the server is stopped.
        cors_origins: Origins whose pages may call the server from a browser, such as `https://app.example`; none by
            default.
        allowed_hosts: Names in the header `Host` that a server without keys accepts; others are turned down, so that
            a web page elsewhere cannot make a browser call it under a name of its own.
        ready_interval_s: Seconds for which `/ready` repeats its last answer before it asks the judges again.
        tracking_uri: MLflow's tracking URI, if tales are to be recorded there: requests, drafts and verdicts, so only
            for those who run the server. `null` records nothing.
        experiment: The name of the MLflow experiment.
        json_logs: Whether logs are JSON, one object a line.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, le=256)
    keys_file: Path = DEFAULT_KEYS_FILE
    max_concurrent: int = Field(default=64, ge=1)
    max_waiting: int = Field(default=256, ge=0)
    queue_timeout_s: float = Field(default=30.0, gt=0)
    max_body_bytes: int = Field(default=1_048_576, ge=1)
    header_timeout_s: float = Field(default=10.0, gt=0)
    body_timeout_s: float = Field(default=30.0, gt=0)
    keep_alive_timeout_s: int = Field(default=15, ge=1)
    request_timeout_s: float = Field(default=300.0, gt=0)
    shutdown_timeout_s: int = Field(default=60, ge=1)
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    ready_interval_s: float = Field(default=15.0, ge=0)
    tracking_uri: str | None = None
    experiment: str = "taleward"
    json_logs: bool = True

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            scheme, _, host = origin.partition("://")
            if scheme not in ("http", "https") or not host or "/" in host or "*" in host:
                msg = (
                    f"an origin is a scheme and a host, such as 'https://app.example', and nothing else; got {origin!r}"
                )
                raise ValueError(msg)
        return origins
