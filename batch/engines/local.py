"""The engine `local`: processes of this machine, which die with this one.

They are programs of their own, not forks: models that run here have threads, which a fork does not copy. Messages are
a header of JSON and bytes of Arrow, never pickles.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from taleward.batch.chunks import Chunk
from taleward.batch.engines.answers import report_of
from taleward.batch.engines.base import EngineReport, WorkerLost
from taleward.batch.engines.frames import FrameReader, frame
from taleward.batch.worker import WorkerSpec
from taleward.core.concurrency.cores import CORES_VARIABLE

_THREAD_VARIABLES = (CORES_VARIABLE, "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
_READ_BYTES = 1 << 16


class LocalEngine:
    """Runs chunks in processes of this machine.

    Args:
        lock: A file descriptor that the workers inherit, so that they hold the lock of the folder as long as they live.
    """

    def __init__(self, lock: int | None = None) -> None:
        self._lock = lock
        self._selector = selectors.DefaultSelector()
        self._workers: list[_Process] = []
        self._spec: WorkerSpec | None = None

    @property
    def process_ids(self) -> list[int]:
        """The ids of the workers' processes, by the workers' numbers."""
        return [worker.process.pid for worker in self._workers]

    def start(self, spec: WorkerSpec, workers: int) -> None:
        """Start the processes."""
        self._spec = spec
        # Functions of the user are found where this process finds them.
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self._environment = {**os.environ, **_thread_variables(workers), "PYTHONPATH": path}
        for number in range(workers):
            self._workers.append(self._started(number))

    def submit(self, worker: int, chunk: Chunk) -> None:
        """Send a chunk as far as the pipe takes it; `wait` sends the rest."""
        header = {"number": chunk.number, "only_errors": chunk.only_errors}
        self._workers[worker].unsent.append(frame(header, chunk.data))
        self._send(self._workers[worker])

    def wait(self, timeout_s: float) -> Sequence[EngineReport]:
        """Wait for reports."""
        reports: list[EngineReport] = []
        for key, events in self._selector.select(timeout_s):
            worker: _Process = key.data
            if events & selectors.EVENT_WRITE:
                self._send(worker)
            if events & selectors.EVENT_READ:
                reports += self._read(worker)
        return reports

    def restart(self, worker: int) -> None:
        """Kill a process and start another one."""
        self._end(self._workers[worker])
        self._workers[worker] = self._started(worker)

    def close(self) -> None:
        """Kill all processes: what they have not committed is not lost, because it does not count yet."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            self._end(worker)
        self._workers = []
        self._selector.close()

    def _started(self, number: int) -> _Process:
        assert self._spec is not None  # noqa: S101  `start` comes first
        process = subprocess.Popen(
            [sys.executable, "-m", "taleward.batch.engines.local_worker", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment,
            pass_fds=() if self._lock is None else (self._lock,),
        )
        worker = _Process(number, process)
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        os.set_blocking(process.stdin.fileno(), False)
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)
        worker.unsent.append(frame(self._spec.model_dump(mode="json"), b""))
        self._send(worker)
        return worker

    def _send(self, worker: _Process) -> None:
        stdin: Any = worker.process.stdin
        try:
            while worker.unsent:
                written = os.write(stdin.fileno(), worker.unsent[0])
                worker.unsent[0] = worker.unsent[0][written:]
                if not worker.unsent[0]:
                    worker.unsent.pop(0)
        except BlockingIOError:
            pass
        except BrokenPipeError:  # it is dead, as the end of its output will say
            worker.unsent.clear()
        waiting = bool(worker.unsent)
        if waiting != worker.is_sending:
            worker.is_sending = waiting
            if waiting:
                self._selector.register(stdin, selectors.EVENT_WRITE, worker)
            else:
                self._selector.unregister(stdin)

    def _read(self, worker: _Process) -> list[EngineReport]:
        stdout: Any = worker.process.stdout
        try:
            content = os.read(stdout.fileno(), _READ_BYTES)
        except BlockingIOError:
            return []
        if not content:
            self._selector.unregister(stdout)
            worker.is_read = False
            return [WorkerLost(worker.number, _death(worker.process))]
        return [report_of(worker.number, header) for header, _ in worker.reader.feed(content)]

    def _end(self, worker: _Process) -> None:
        process = worker.process
        process.kill()
        process.wait()
        if worker.is_sending:
            self._selector.unregister(process.stdin)  # type: ignore[arg-type]
        if worker.is_read:
            self._selector.unregister(process.stdout)  # type: ignore[arg-type]
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


class _Process:
    """A worker's process, and what has not yet been sent to it."""

    def __init__(self, number: int, process: subprocess.Popen[bytes]) -> None:
        self.number, self.process = number, process
        self.unsent: list[bytes] = []
        self.reader = FrameReader()
        self.is_sending, self.is_read = False, True


def _thread_variables(workers: int) -> dict[str, str]:
    """Return the variables that give each worker its share of the cores, except those that the user has set."""
    share = max(1, (os.cpu_count() or 1) // workers)
    shares = {name: str(share) for name in _THREAD_VARIABLES}
    return {name: value for name, value in shares.items() if name not in os.environ}


def _death(process: subprocess.Popen[bytes]) -> str:
    try:
        code = process.wait(5)
    except subprocess.TimeoutExpired:
        return "closed its output"
    return f"ended by signal {-code}" if code < 0 else f"ended with code {code}"
