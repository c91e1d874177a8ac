"""The process of a local worker: reads messages from standard input, and dies with its parent."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading

from taleward.batch.engines.frames import FrameReader, frame

_READ_BYTES = 1 << 20
_SET_PARENT_DEATH_SIGNAL = 1


def main(parent: int) -> None:
    """Run chunks until standard input ends.

    Args:
        parent: The process that started this one.
    """
    _die_with(parent)
    # What libraries print must not come between messages.
    output = os.dup(1)
    os.dup2(2, 1)
    # Ctrl-C goes to all processes of the terminal; the parent says what is kept, and ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    messages: queue.Queue[tuple[dict[str, object], bytes]] = queue.Queue()
    threading.Thread(target=_read, args=(messages,), daemon=True, name="taleward-parent").start()
    header, _ = messages.get()

    from taleward.batch.chunks import Chunk
    from taleward.batch.engines.answers import failure_answer, ready_answer, summary_answer
    from taleward.batch.worker import Worker, WorkerSpec

    def send(answer: dict[str, object]) -> None:
        content = frame(answer, b"")
        while content:
            content = content[os.write(output, content) :]

    try:
        worker = Worker(WorkerSpec.model_validate(header))
        send(ready_answer())
        while True:
            header, data = messages.get()
            chunk = Chunk(int(str(header["number"])), data, bool(header["only_errors"]))
            send(summary_answer(worker.chunk(chunk)))
    except Exception as error:  # noqa: BLE001  reported to the parent, which raises it
        send(failure_answer(error))


def _die_with(parent: int) -> None:
    """Have the kernel end this process when its parent dies, where it can; elsewhere the end of the input does."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it died before
            os._exit(1)


def _read(messages: queue.Queue[tuple[dict[str, object], bytes]]) -> None:
    reader = FrameReader()
    while content := os.read(0, _READ_BYTES):
        for message in reader.feed(content):
            messages.put(message)
    # The parent is dead or wants no more. A chunk that is not committed does not count, so nothing is lost.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
