"""What runs on the machines of a Ray cluster: one actor a worker, which takes and answers text and bytes only."""

from __future__ import annotations

import json
import os


class ChunkActor:
    """Loads the models of a batch once, then runs its chunks, one after the other."""

    def place(self) -> None:
        """Do nothing, on the machine that the worker was given."""

    def load(self, spec: str, cores: int, is_own_machine: bool) -> str:
        """Load the models.

        Args:
            spec: The `WorkerSpec` as JSON.
            cores: The cores that models may use.
            is_own_machine: Whether the driver started this cluster, so that folder, models and versions are its own.

        Returns:
            The answer as JSON.
        """
        from taleward.batch.engines.answers import failure_answer, ready_answer
        from taleward.batch.machines import check_machine
        from taleward.batch.storage import BatchFolder
        from taleward.batch.worker import Worker, WorkerSpec
        from taleward.core.concurrency.cores import CORES_VARIABLE

        for name in (CORES_VARIABLE, "RAYON_NUM_THREADS"):  # Ray sets OMP_NUM_THREADS itself
            os.environ.setdefault(name, str(cores))
        try:
            parsed = WorkerSpec.model_validate_json(spec)
            if not is_own_machine:
                check_machine(parsed)
            # Ray ends this process after the driver's death; until then, no other driver begins.
            self._hold = BatchFolder(parsed.out).hold()
            self._worker = Worker(parsed)
        except Exception as error:  # noqa: BLE001  answered to the driver, which raises it
            return json.dumps(failure_answer(error))
        return json.dumps(ready_answer())

    def chunk(self, number: int, data: bytes, only_errors: bool) -> str:
        """Run a chunk, see `Chunk`, and commit it.

        Returns:
            The answer as JSON.
        """
        from taleward.batch.chunks import Chunk
        from taleward.batch.engines.answers import failure_answer, summary_answer

        try:
            return json.dumps(summary_answer(self._worker.chunk(Chunk(number, data, only_errors))))
        except Exception as error:  # noqa: BLE001  answered to the driver, which raises it
            return json.dumps(failure_answer(error))
