"""The fingerprint of a job: all that decides its results, so that no other job goes on in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from pydantic import Field

from taleward.batch.tasks.base import BatchTask
from taleward.core.errors import ConfigurationError, IntegrityError
from taleward.core.frozen_model import FrozenMapping, FrozenModel

_SHOWN = 100


class Manifest(FrozenModel):
    """What a folder's batch is; written before its first chunk.

    Attributes:
        job_id: Identifies the batch, for its MLflow run.
        fingerprint: What decides the results, by name.
        task: The name of the task.
        settings: Its settings.
        source: The path or URI of the rows.
        source_format: How the rows are read, see `RowFormat`.
        signature: Paths, sizes and times of the source's files, see `BatchSource.signature`.
        rows: The number of rows.
        chunk: Rows in a chunk.
        extra_columns: The task's own columns in the results, with their types.
        created_at: When the batch began, in ISO format.
    """

    job_id: str
    fingerprint: FrozenMapping[str, str]
    task: str
    settings: FrozenMapping[str, Any]
    source: str
    source_format: str
    signature: tuple[tuple[Any, ...], ...] = ()
    rows: int = Field(ge=1)
    chunk: int = Field(ge=1)
    extra_columns: FrozenMapping[str, str]
    created_at: str

    @property
    def chunks(self) -> int:
        """The number of chunks."""
        return -(-self.rows // self.chunk)

    @property
    def seed(self) -> int | None:
        """The seed of the batch, `None` if none was given."""
        written = self.fingerprint["seed"]
        return None if written == str(None) else int(written)

    @classmethod
    def read(cls, content: bytes, place: str) -> Manifest:
        """Parse a manifest.

        Raises:
            IntegrityError: If it is damaged.
        """
        try:
            return cls.model_validate_json(content)
        except ValueError as error:
            raise IntegrityError(
                f"{place} is damaged, or of another version: {str(error).splitlines()[0]}",
                hint="Choose another folder with --out, or delete this one.",
            ) from error


def job_fingerprint(task: BatchTask, *, seed: int | None, id_column: str, source_format: str) -> dict[str, str]:
    """Return what decides the results of a job, by name, but for the data and the size of a chunk.

    Args:
        task: The task, resolved.
        seed: The seed of the batch.
        id_column: The column of the ids.
        source_format: How the rows are read.
    """
    return {
        **task.fingerprint(),
        "seed": str(seed),
        "id column": id_column,
        "format": source_format,
        "taleward": taleward_version(),
    }


def taleward_version() -> str:
    """Return the version of Taleward, which is part of the fingerprint."""
    return version("taleward")


def describe_differences(before: Mapping[str, str], now: Mapping[str, str], where: tuple[str, str]) -> str:
    """Return a line for each value that differs; empty if none does.

    Args:
        before: The values of the batch.
        now: The values to compare.
        where: Words for either.
    """
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return "".join(
        f"\n  - {name}: {_shown(before.get(name))} {where[0]}, {_shown(now.get(name))} {where[1]}" for name in names
    )


def check_same_job(folder: str, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Check that a folder's batch is the one that is to run.

    Raises:
        ConfigurationError: If it is another one; the message names everything that differs.
    """
    differences = describe_differences(before, now, ("there", "now"))
    if not differences:
        return
    raise ConfigurationError(
        f"{folder} holds another batch:{differences}",
        hint="To go on with it, run it with the settings that it has there; for another batch choose another folder.",
    )


def _shown(value: str | None) -> str:
    if value is None:
        return "nothing"
    return json.dumps(value if len(value) <= _SHOWN else f"{value[:_SHOWN]}...", ensure_ascii=False)
