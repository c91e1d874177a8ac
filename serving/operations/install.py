"""Make an app one that people can run: put all layers around it, and add its routes for operations."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware

from taleward.moderation.judges.base import Judge
from taleward.serving.operations.api_keys import ApiKeys
from taleward.serving.operations.authentication import AuthenticationMiddleware
from taleward.serving.operations.client_connection import ConnectionMiddleware
from taleward.serving.operations.generation_queue import GenerationQueue, QueueMiddleware
from taleward.serving.operations.metrics import ServerMetrics
from taleward.serving.operations.observation import ObservationMiddleware
from taleward.serving.operations.readiness import Readiness, judge_check, operation_routes
from taleward.serving.operations.settings import OperationSettings
from taleward.serving.operations.time_limit import TimeLimitMiddleware

_EXPOSED_HEADERS = (
    "x-request-id",
    "retry-after",
    *(f"x-ratelimit-{what}-{kind}" for what in ("limit", "remaining", "reset") for kind in ("requests", "tokens")),
)


@dataclass(frozen=True)
class Operations:
    """What runs around an app.

    Attributes:
        settings: The settings.
        keys: The API keys; `None` if the server is open to everybody on this machine.
        queue: The queue.
        metrics: The metrics.
        readiness: The checks behind `/ready`.
    """

    settings: OperationSettings
    keys: ApiKeys | None
    queue: GenerationQueue
    metrics: ServerMetrics
    readiness: Readiness


def install(
    app: Starlette,
    settings: OperationSettings,
    *,
    keys: ApiKeys | None,
    judges: Mapping[str, Judge] | None = None,
    models: Collection[str] = (),
    body_limits: Mapping[str, int] | None = None,
) -> Operations:
    """Put keys, limits, queue, logs, metrics and traces around an app. Call it once, after all other middlewares.

    Args:
        app: The app.
        settings: The settings.
        keys: The API keys, see `keys_for`; `None` lets everybody in who can reach the server.
        judges: Judges that must answer before the server is ready, each with a name for `/ready`. The categories of
            their policies are the labels in metrics.
        models: The names of the served models, the labels in metrics.
        body_limits: Bytes in a body, for paths that take more than the settings allow.
    """
    judges = judges or {}
    queue = GenerationQueue(settings.max_concurrent, settings.max_waiting, settings.queue_timeout_s)
    metrics = ServerMetrics()
    metrics.watch_queue(lambda: queue.running, lambda: queue.waiting)
    readiness = Readiness(queue, settings.ready_interval_s)
    for name, judge in judges.items():
        readiness.add(name, judge_check(judge))
    app.router.routes.extend(operation_routes(readiness, metrics))
    categories = {category for judge in judges.values() for category in judge.policy.categories}
    # The last one added is the outermost.
    app.add_middleware(TimeLimitMiddleware, timeout_s=settings.request_timeout_s)
    app.add_middleware(QueueMiddleware, queue=queue)
    app.add_middleware(
        ConnectionMiddleware,
        max_body_bytes=settings.max_body_bytes,
        body_timeout_s=settings.body_timeout_s,
        body_limits=body_limits,
    )
    app.add_middleware(AuthenticationMiddleware, keys=keys, allowed_hosts=settings.allowed_hosts)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-request-id"],
            expose_headers=_EXPOSED_HEADERS,
            max_age=600,
        )
    app.add_middleware(ObservationMiddleware, metrics=metrics, models=frozenset(models), categories=categories)
    operations = Operations(settings, keys, queue, metrics, readiness)
    app.state.operations = operations
    return operations
