"""The Ray cluster of a batch: a running one, or one of this process's own that ends with it."""

from __future__ import annotations

import logging
import math
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from taleward.core.errors import BackendError, ConfigurationError, MissingExtra
from taleward.core.redaction import redact

_log = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"
_OBJECT_STORE_BYTES = 256 << 20  # holds chunks on their way; larger ones go to disk
# Ray puts sockets there, whose paths may have 107 characters; its own part takes 65.
_MAX_TEMPORARY_PATH = 40
_NO_USAGE_STATISTICS = {"RAY_USAGE_STATS_ENABLED": "0"}
_CONNECT_S = 10.0
# Ray's own limit is minutes.
_FEW_ATTEMPTS = {"RAY_gcs_server_port_wait_time_s": "3"}


def import_ray() -> Any:
    """Import Ray.

    Raises:
        MissingExtra: If it is not installed.
    """
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise MissingExtra("the engine 'ray'", "ray") from error
    return ray


class RayCluster:
    """A connection to a Ray cluster.

    Args:
        address: `HOST:PORT` of a running cluster, `auto` for the one of this machine, or `local` for one of its own;
            `None` for the one that the variable `RAY_ADDRESS` names, or else one of its own. A connection that this
            process has already is used, and left as it is.
        workers: The workers to make room for in a cluster of its own.
        num_cpus: CPUs of a worker.
        num_gpus: GPUs of a worker.

    Attributes:
        is_own: Whether it was started here.

    Raises:
        BackendError: If there is no such cluster, or none can be started.
        ConfigurationError: If the machine has too few GPUs, or the cluster another version of Ray or Python.
        MissingExtra: If Ray is not installed.
    """

    def __init__(self, address: str | None, workers: int, num_cpus: float, num_gpus: float) -> None:
        self.ray = import_ray()
        address = address or os.environ.get("RAY_ADDRESS") or "local"
        self._was_connected = self.ray.is_initialized()
        self.is_own = address == "local" and not self._was_connected
        self._folder: Path | None = None
        if self._was_connected:
            return
        options: dict[str, Any] = {"address": address}
        if self.is_own:
            self._folder = _temporary_folder()
            options |= {
                "num_cpus": max(1, math.ceil(workers * num_cpus)),
                "include_dashboard": False,
                "object_store_memory": _OBJECT_STORE_BYTES,
                "_node_ip_address": _LOOPBACK,
                "_temp_dir": str(self._folder),
            }
        path = os.pathsep.join(entry for entry in sys.path if entry)
        # Functions of the user are found where this process finds them.
        variables = {**_NO_USAGE_STATISTICS, **({"PYTHONPATH": path} if self.is_own else _FEW_ATTEMPTS)}
        try:
            _check_reachable(address)
            with _variables(variables), _quiet():
                self.ray.init(**options, log_to_driver=False, configure_logging=False)
        except Exception as error:
            self.close()
            raise _not_connected(address, error) from error
        self._check_room(workers, num_cpus, num_gpus)

    def close(self) -> None:
        """End the connection, and with it all of this process's actors; end a cluster of its own."""
        if not self._was_connected:
            self.ray.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _check_room(self, workers: int, num_cpus: float, num_gpus: float) -> None:
        if self.is_own:
            gpus = int(self.ray.cluster_resources().get("GPU", 0))
            room = _room(gpus, num_gpus) if num_gpus else workers
            if room < workers:
                self.close()
                raise ConfigurationError(
                    f"this machine has {gpus} GPUs, room for {room} workers with num_gpus={num_gpus:g}; got {workers} "
                    "workers.",
                    hint="Use fewer workers or a smaller share, or the address of a cluster.",
                )
            return
        nodes = [node.get("Resources", {}) for node in self.ray.nodes() if node.get("Alive")]
        if not any(node.get("CPU", 0) >= num_cpus and node.get("GPU", 0) >= num_gpus for node in nodes):
            _log.warning(
                "no machine of the cluster has room for a worker with num_cpus=%g and num_gpus=%g; the batch waits for "
                "one",
                num_cpus,
                num_gpus,
            )


def _check_reachable(address: str) -> None:
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()


def _room(gpus: int, share: float) -> int:
    """Return how many workers have room; a share is on one GPU. 1 / 0.1 must not be 9."""
    return gpus * int(1 / share + 1e-9) if share <= 1 else gpus // int(share)


def _not_connected(address: str, error: Exception) -> BackendError | ConfigurationError:
    detail = redact(str(error)).strip().partition("\n")[0]
    if address == "local":
        return BackendError(f"Ray cannot be started: {detail}", hint="With --engine local a batch needs no Ray.")
    if isinstance(error, RuntimeError) and "ersion mismatch" in str(error):
        return ConfigurationError(
            f"the cluster at {address} has another version of Ray or Python: {redact(str(error)).strip()}",
            hint="Install the same versions on all machines.",
        )
    return BackendError(
        f"the Ray cluster at {address} cannot be reached: {detail}",
        hint="Start one with `ray start --head`, and pass the address that it prints. If the cluster asks for a "
        "token, as by default, set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN unless the token is in ~/.ray/auth_token.",
    )


def _temporary_folder() -> Path:
    folder = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="tw-", dir=folder if len(folder) < _MAX_TEMPORARY_PATH else "/tmp"))  # noqa: S108


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what Ray says about itself when it starts."""
    logger = logging.getLogger("ray")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
