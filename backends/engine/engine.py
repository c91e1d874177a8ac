"""Continuous batching for local language models: requests join a running batch and leave it token by token."""

from __future__ import annotations

import asyncio
import atexit
import threading
import weakref
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol, TypeVar

from taleward.backends.engine.grammar import Vocabulary
from taleward.backends.engine.request import AsyncTokenSequence, GenerationRequest, SyncTokenSequence, TokenSequence
from taleward.backends.engine.sampling import Sampler
from taleward.core.errors import BackendError

MAX_WAITING = 10_000
"""Maximum number of requests in the queue; further ones are rejected."""

_MAX_PREFILL_TOKENS = 1024
"""Maximum number of prompt tokens read at once, padding included: the running sequences stall meanwhile."""

_GATHER_S = 0.001
"""How long an idle replica waits for one more request before it starts a batch."""
_SHUTDOWN_TIMEOUT_S = 5.0
"""How long interpreter shutdown waits for each replica's running step."""


class DecodingBatch(Protocol):
    """The sequences being decoded by one copy of a network, one per row; see `LlamaBatch` and `TorchBatch`.

    Rows are numbered from 0 without gaps. A batch is used by one thread only.
    """

    @property
    def max_batch(self) -> int: ...  # noqa: D102
    @property
    def token_capacity(self) -> int:
        """Maximum number of rows times the length of the longest; a single row may exceed it."""

    def advance(self, first: int, tokens: Sequence[Sequence[int]], lengths: Sequence[int]) -> Any:
        """Read new tokens into the rows from `first` on; a row number that is not in use yet begins a row.

        Args:
            first: Number of the first of these rows.
            tokens: Each row's new tokens, at least one; more than one only for a row that begins.
            lengths: Each row's total number of tokens, the new ones included.

        Returns:
            The logits after each row's last token, shape (rows, vocabulary).
        """

    def move(self, row: int, to: int, length: int) -> None:
        """Copy a row that holds `length` tokens over another row."""

    def release(self) -> None:
        """Free memory that is worth freeing; called when there are no rows."""


T = TypeVar("T", bound=TokenSequence)


class Engine:
    """A continuous-batching engine (Yu et al. 2022, Orca): each replica's thread decodes all its sequences together.

    Requests start in the order in which they arrive. A sequence does not depend on the others in its batch, except
    for the rounding of sums in batches of different sizes. The threads end when the engine is garbage-collected.

    Args:
        replicas: Copies of the network; each runs in a daemon thread of its own, started by the first request.
        eos_token_ids: Tokens that end a sequence.
        vocabulary: Builds the vocabulary for grammars, on first use; `None` if the model cannot follow grammars.
    """

    def __init__(
        self,
        replicas: Sequence[DecodingBatch],
        *,
        eos_token_ids: Collection[int],
        vocabulary: Callable[[], Vocabulary] | None = None,
    ) -> None:
        self._scheduler = _Scheduler(eos_token_ids, len(replicas))
        self._replicas, self._started = replicas, False
        self._build_vocabulary = vocabulary
        self._vocabulary: Vocabulary | None = None
        self._lock = threading.Lock()
        weakref.finalize(self, self._scheduler.close)

    def open(self, request: GenerationRequest) -> SyncTokenSequence:
        """Start a request and return its sequence, which yields each token as soon as it is generated.

        Raises:
            BackendError: If the queue is full, or the grammar needs more tokens than the request allows.
        """
        return self._submit(SyncTokenSequence(request, self._sampler(request), per_token=True))

    async def aopen(self, request: GenerationRequest) -> AsyncTokenSequence:
        """Async version of `open`."""
        return self._submit(AsyncTokenSequence(request, await self._asampler(request), per_token=True))

    def write(self, request: GenerationRequest) -> TokenSequence:
        """Run a request to its end; cheaper than `open`, because the caller's thread wakes up only once.

        Raises:
            BackendError: As for `open`, or if generation fails.
            DeadlineExceeded: If the request's deadline passes.
        """
        with self._submit(SyncTokenSequence(request, self._sampler(request), per_token=False)) as sequence:
            for _ in sequence:
                pass
        return sequence

    async def awrite(self, request: GenerationRequest) -> TokenSequence:
        """Async version of `write`."""
        async with self._submit(
            AsyncTokenSequence(request, await self._asampler(request), per_token=False)
        ) as sequence:
            async for _ in sequence:
                pass
        return sequence

    def _sampler(self, request: GenerationRequest) -> Sampler:
        matcher = None
        if request.grammar is not None:
            # Building the vocabulary decodes every token of it, so it is built once, and only if a grammar is used.
            with self._lock:
                if self._vocabulary is None:
                    if self._build_vocabulary is None:
                        raise BackendError("this model cannot follow a grammar: the engine has no vocabulary for it.")
                    self._vocabulary = self._build_vocabulary()
                vocabulary = self._vocabulary
            matcher = vocabulary.matcher(request.grammar, request.max_tokens)
        return Sampler(request.sampling, request.seed, request.prompt, matcher, request.logprobs)

    async def _asampler(self, request: GenerationRequest) -> Sampler:
        # A grammar takes long enough to compile to hold up the event loop; any other sampler does not.
        return await asyncio.to_thread(self._sampler, request) if request.grammar else self._sampler(request)

    def _submit(self, sequence: T) -> T:
        with self._lock:
            if not self._started:
                self._started = True
                for number, rows in enumerate(self._replicas):
                    name = f"taleward-engine-{number}"
                    self._scheduler.start(
                        threading.Thread(target=self._scheduler.run_replica, args=(rows,), daemon=True, name=name)
                    )
                atexit.register(self._scheduler.shutdown)
        self._scheduler.put(sequence)
        return sequence


class _Scheduler:
    """The queue of sequences and the threads that decode them.

    It holds no reference to its engine: the threads would otherwise keep the engine, and its model, alive forever.
    """

    def __init__(self, eos_token_ids: Collection[int], replicas: int) -> None:
        self._eos_token_ids, self._replicas = eos_token_ids, replicas
        self._waiting: deque[TokenSequence] = deque()
        self._changed = threading.Condition()
        self._running_count = 0
        self._closed = self._stopped = False
        self._threads: list[threading.Thread] = []

    def start(self, thread: threading.Thread) -> None:
        self._threads.append(thread)
        thread.start()

    def shutdown(self) -> None:
        """Stop after the running steps; a thread killed inside native code at exit crashes the interpreter."""
        self._stopped = True
        self.close()
        for thread in self._threads:
            thread.join(_SHUTDOWN_TIMEOUT_S)

    def put(self, sequence: TokenSequence) -> None:
        with self._changed:
            # A sequence that its caller closed stays queued until its turn; drop those before rejecting a new one.
            if len(self._waiting) >= MAX_WAITING:
                self._waiting = deque(each for each in self._waiting if not each.closed)
            if len(self._waiting) >= MAX_WAITING:
                raise BackendError(
                    f"the queue for this model is full: {MAX_WAITING} requests are waiting.",
                    hint="Try again later, or limit concurrency: batch(..., config={'max_concurrency': 64}).",
                    retryable=True,
                )
            self._waiting.append(sequence)
            self._changed.notify()

    def close(self) -> None:
        """Let the threads end once there is nothing left to decode."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def run_replica(self, rows: DecodingBatch) -> None:
        running: list[TokenSequence] = []
        while not self._stopped and (admitted := self._admit(rows, running)) is not None:
            count_before = len(running) + len(admitted)
            try:
                # Decoding comes before the prefill, so that a stream of new requests cannot starve running ones.
                if running:
                    self._step(rows, running, 0, running, [each.tokens[-1:] for each in running])
                if admitted:
                    self._step(rows, running, len(running), admitted, [each.tokens for each in admitted])
            except Exception as error:  # noqa: BLE001  every caller in the batch receives it
                # A step that broke off leaves the caches in an unknown state, so no row can go on.
                for sequence in (*running, *(each for each in admitted if each not in running)):
                    sequence.fail(error)
                running.clear()
            with self._changed:
                self._running_count -= count_before - len(running)

    def _admit(self, rows: DecodingBatch, running: Sequence[TokenSequence]) -> list[TokenSequence] | None:
        """Take the sequences from the queue that join the batch now; block while there is nothing to do.

        Returns:
            The sequences, possibly none; `None` if the replica's thread should end.
        """
        with self._changed:
            if not running and not self._waiting:
                rows.release()
            while not running and not self._waiting:
                if self._closed:
                    return None
                self._changed.wait()
            if not running:
                self._gather(rows.max_batch)
            # Without an equal share per replica, the first to wake up would take the queue and leave the others idle.
            share = min(rows.max_batch, -(-(self._running_count + len(self._waiting)) // self._replicas))
            admitted: list[TokenSequence] = []
            # Memory is checked against the lengths that sequences may reach: none is evicted once it has started.
            final_length = max((_max_length(each) for each in running), default=0)
            longest_prompt = 0
            while self._waiting and len(running) + len(admitted) < share:
                first = self._waiting[0]
                if first.closed:
                    self._waiting.popleft()
                    continue
                longest_prompt = max(longest_prompt, len(first.tokens))
                final_length = max(final_length, _max_length(first))
                count = len(running) + len(admitted)
                if count and final_length * (count + 1) > rows.token_capacity:
                    break
                if admitted and longest_prompt * (len(admitted) + 1) > _MAX_PREFILL_TOKENS:
                    break
                admitted.append(self._waiting.popleft())
            self._running_count += len(admitted)
            return admitted

    def _gather(self, max_batch: int) -> None:
        """Wait until requests stop arriving: concurrent callers come within moments, and one prefill beats many."""
        count_before = 0
        while count_before < len(self._waiting) < max_batch * self._replicas:
            count_before = len(self._waiting)
            self._changed.wait(_GATHER_S)

    def _step(
        self,
        rows: DecodingBatch,
        running: list[TokenSequence],
        first: int,
        sequences: Sequence[TokenSequence],
        new_tokens: Sequence[Sequence[int]],
    ) -> None:
        """Generate one token for each sequence; admitted ones become rows, and finished ones give up theirs."""
        logits = rows.advance(first, new_tokens, [len(each.tokens) for each in sequences])
        if first == len(running):
            running.extend(sequences)
        for sequence, row in zip(list(sequences), logits, strict=True):
            if not sequence.closed:
                sequence.sample(row, self._eos_token_ids)
        # The last row fills each gap. Going backwards, it has been checked already when it moves.
        for number in reversed(range(len(running))):
            sequence = running[number]
            if not sequence.closed:
                continue
            sequence.finish()
            last = running.pop()
            if last is not sequence:
                rows.move(len(running), number, len(last.tokens))
                running[number] = last


def _max_length(sequence: TokenSequence) -> int:
    return len(sequence.request.prompt) + sequence.request.max_tokens
