"""A worker on another machine: the check that its results are those of the batch, and a call that runs a chunk."""

from __future__ import annotations

import socket
from functools import lru_cache

from taleward.batch.chunks import Chunk
from taleward.batch.fingerprint import Manifest, describe_differences, taleward_version
from taleward.batch.ledger import MANIFEST
from taleward.batch.storage import BatchFolder
from taleward.batch.tasks import task_from
from taleward.batch.worker import Worker, WorkerSpec
from taleward.core.errors import ConfigurationError

_WEIGHTS = " weights"


def check_machine(spec: WorkerSpec) -> None:
    """Check that this machine has the batch's folder, its models, and the same Taleward.

    Raises:
        ConfigurationError: If it does not; the message names what differs.
        MissingExtra: If a library is not installed.
    """
    name = socket.gethostname()
    folder = BatchFolder(spec.out)
    content = folder.read(MANIFEST)
    manifest = None if content is None else Manifest.read(content, f"{folder}/{MANIFEST}")
    if manifest is None or manifest.job_id != spec.job_id:
        found = "no batch" if manifest is None else "another batch"
        raise ConfigurationError(
            f"the machine {name} has {found} in {folder}, so that its results would be lost.",
            hint="Choose a folder that all machines share, or an object store such as s3://bucket/folder.",
        )
    now = {**task_from(spec.task, spec.settings).fingerprint(), "taleward": taleward_version()}
    before = {key: value for key, value in manifest.fingerprint.items() if key in now or key.endswith(_WEIGHTS)}
    if differences := describe_differences(before, now, ("in the batch", f"on {name}")):
        raise ConfigurationError(
            f"the machine {name} would give other results than the batch has:{differences}",
            hint="Install the same version of Taleward and the same models on all machines.",
        )


def run_chunk(spec: str, number: int, data: bytes, only_errors: bool = False) -> str:
    """Run a chunk in this process, for a scheduler of your own; the models stay loaded for the next one.

    The arguments are plain data, so that any scheduler can send them. Call it from one thread at a time.

    Args:
        spec: `BatchPlan.spec` as JSON.
        number: The chunk's number.
        data: Its rows, see `Chunk`.
        only_errors: Whether only its rows with an error are run.

    Returns:
        The `ChunkSummary` as JSON; the chunk is committed.

    Raises:
        ConfigurationError: If this machine would give other results, see `check_machine`.
        TalewardError: If the models cannot be loaded.
    """
    return _worker(spec).chunk(Chunk(number, data, only_errors)).model_dump_json()


@lru_cache(maxsize=1)
def _worker(spec: str) -> Worker:
    parsed = WorkerSpec.model_validate_json(spec)
    check_machine(parsed)
    return Worker(parsed)
