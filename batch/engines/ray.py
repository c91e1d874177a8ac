"""The engine `ray`: actors of a Ray cluster, on as many machines as it has.

Ray places the actors, starts machines for them if it can, and ends them when the driver is dead. The rest is the
scheduler's, as with all engines: no actor is restarted and no call repeated by Ray. Between processes go the worker's
spec as JSON, bytes of Arrow, and answers as JSON.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

from taleward.batch.chunks import Chunk
from taleward.batch.engines.answers import report_of
from taleward.batch.engines.base import EngineReport, WorkerFailed, WorkerLost, WorkerWaiting
from taleward.batch.engines.ray_cluster import RayCluster
from taleward.batch.worker import WorkerSpec
from taleward.core.errors import BackendError, ConfigurationError, MissingExtra
from taleward.core.redaction import redact


class RayEngine:
    """Runs chunks in actors of a Ray cluster, each with models of its own.

    Args:
        address: `HOST:PORT` of a running cluster, or `auto` for the one of this machine. By default the cluster that
            `RAY_ADDRESS` names, or else one that is started on this machine and ends with the batch.
        num_cpus: CPUs of a worker, a fraction or a whole number; models use so many threads. By default 1, and in a
            cluster of its own the workers share the cores.
        num_gpus: GPUs of a worker; with 0.25, four workers share one.
        runtime_env: Ray's runtime environment for the workers, such as `{"pip": [...]}` or `{"working_dir": "."}`, if
            not all machines of the cluster have Taleward and your modules. What is in its `env_vars` can be read by
            everybody in the cluster: give keys in the environment in which `ray start` runs.

    Raises:
        ConfigurationError: If an option is wrong.
        MissingExtra: If Ray is not installed.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        num_cpus: float | None = None,
        num_gpus: float = 0.0,
        runtime_env: Mapping[str, Any] | None = None,
    ) -> None:
        if find_spec("ray") is None:
            raise MissingExtra("the engine 'ray'", "ray")
        if address is not None and "://" in address:
            raise ConfigurationError(
                f"the address of a cluster is HOST:PORT or auto; got {redact(address)!r}. Ray Client is not used: its "
                "actors live on for a while after the driver.",
                hint="Run the command on a machine of the cluster, for example with `ray job submit`.",
            )
        for name, share in {"num_cpus": num_cpus, "num_gpus": num_gpus}.items():
            if share is not None and not (share >= 0 and math.isfinite(share) and (share <= 1 or share == int(share))):
                raise ConfigurationError(f"{name} must be a fraction of 1 or a whole number; got {share}.")
        self._address, self._runtime_env = address, None if runtime_env is None else dict(runtime_env)
        self._num_cpus, self._num_gpus = num_cpus, num_gpus
        self._cluster: RayCluster | None = None
        self._seats: list[_Actor] = []

    def start(self, spec: WorkerSpec, workers: int) -> None:
        """Connect to the cluster, or start one, and create the actors."""
        num_cpus = 1.0 if self._num_cpus is None else self._num_cpus
        self._cluster = RayCluster(self._address, workers, num_cpus, self._num_gpus)
        is_sharing = self._cluster.is_own and self._num_cpus is None
        cores = max(1, (os.cpu_count() or 1) // workers if is_sharing else int(num_cpus))
        self._load_arguments = (spec.model_dump_json(), cores, self._cluster.is_own)
        from taleward.batch.engines.ray_actor import ChunkActor

        self._actor_class = self._cluster.ray.remote(ChunkActor).options(
            num_cpus=num_cpus,
            num_gpus=self._num_gpus,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=1,
            # Many machines rather than few: less is lost with one.
            scheduling_strategy="SPREAD",
            runtime_env=self._runtime_env,
        )
        self._seats = [self._started() for _ in range(workers)]

    def submit(self, worker: int, chunk: Chunk) -> None:
        """Send a chunk to an actor."""
        seat = self._seats[worker]
        seat.calls.append(seat.actor.chunk.remote(chunk.number, chunk.data, chunk.only_errors))

    def wait(self, timeout_s: float) -> Sequence[EngineReport]:
        """Wait for reports."""
        ray = self._ray
        # Actors answer in the order of the calls, so that the first call of each is enough.
        first = {seat.calls[0]: number for number, seat in enumerate(self._seats) if seat.calls}
        if not first:
            time.sleep(timeout_s)
            return []
        try:
            if ray.wait(list(first), num_returns=1, timeout=timeout_s)[0]:
                done = ray.wait(list(first), num_returns=len(first), timeout=0)[0]
            else:
                done = []
        except ray.exceptions.RayError as error:
            raise _connection_lost(error) from error
        reports = [report for call in done for report in self._take(first[call])]
        return reports + [WorkerWaiting(number) for number, seat in enumerate(self._seats) if not seat.is_placed]

    def restart(self, worker: int) -> None:
        """Kill an actor and create another one, perhaps on another machine."""
        self._kill(self._seats[worker])
        self._seats[worker] = self._started()

    def close(self) -> None:
        """Kill all actors, and end the connection."""
        if self._cluster is None:
            return
        try:
            for seat in self._seats:
                self._kill(seat)
        finally:
            self._seats = []
            self._cluster.close()
            self._cluster = None

    @property
    def _ray(self) -> Any:
        assert self._cluster is not None  # noqa: S101  `start` comes first
        return self._cluster.ray

    def _started(self) -> _Actor:
        actor = self._actor_class.remote()
        return _Actor(actor, deque([actor.place.remote()]))

    def _kill(self, seat: _Actor) -> None:
        try:
            self._ray.kill(seat.actor)
        except (self._ray.exceptions.RayError, ValueError):  # the cluster is gone, and the actor with it
            return

    def _take(self, worker: int) -> list[EngineReport]:
        """Take the answer to a worker's first call."""
        seat = self._seats[worker]
        try:
            answer = self._ray.get(seat.calls.popleft())
        except self._ray.exceptions.RayError as error:
            return [self._failure(worker, error)]
        if answer is None:  # it has a machine
            self._seats[worker] = seat._replace(is_placed=True)
            seat.calls.append(seat.actor.load.remote(*self._load_arguments))
            return []
        report = report_of(worker, json.loads(answer))
        return [report]

    def _failure(self, worker: int, error: Exception) -> EngineReport:
        errors = self._ray.exceptions
        if isinstance(error, errors.RayActorError) and not error.actor_init_failed:
            return WorkerLost(worker, _reason(error))
        if isinstance(error, errors.WorkerCrashedError | errors.OutOfMemoryError | errors.ObjectLostError):
            return WorkerLost(worker, _reason(error))
        if isinstance(error, errors.LocalRayletDiedError):
            raise _connection_lost(error)
        return WorkerFailed(
            worker,
            "ConfigurationError",
            f"the cluster cannot run it: {redact(str(error)).strip()}",
            "Install the same version of taleward[ray] on all machines, or pass the engine's option runtime_env.",
        )


class _Actor(NamedTuple):
    """An actor, its calls that are not answered, and whether it has a machine."""

    actor: Any
    calls: deque[Any]
    is_placed: bool = False


def _reason(error: Exception) -> str:
    """Return what Ray says about a death, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("\t")]
    return f"died: {redact(' '.join(lines))[:300]}"


def _connection_lost(error: Exception) -> BackendError:
    return BackendError(
        f"the connection to the Ray cluster is lost: {redact(str(error)).strip().partition(chr(10))[0]}",
        hint="What is finished is kept; the same call goes on.",
        retryable=True,
    )
