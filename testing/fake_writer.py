"""A fake writer for tests: scripted drafts, whole or in chunks, without a model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, TypeAlias

from langchain_core.runnables import Runnable, RunnableConfig

from taleward.core.errors import ConfigurationError
from taleward.moderation.guard.revision_context import Revision, revision_of

ScriptedDraft: TypeAlias = str | Sequence[str | Exception] | Exception


class FakeWriter(Runnable[Any, str]):
    """A writer with scripted drafts that records what it was asked to write.

    Each run writes the next draft; the last one is repeated.

    Example:
        ```python
        def test_the_rest_of_a_story_is_rewritten():
            writer = FakeWriter(["A fox ran. ", "It was bad. "], "It slept.")
            *_, done = tw.Guard(writer, FakeJudge()).stream({"hero": "fox"})
            assert done.tale.text == "A fox ran. It slept."
            assert writer.inputs[0] == {"hero": "fox"}
            assert writer.revisions[1].released == "A fox ran. "
        ```

    Args:
        drafts: The drafts: a text, a list of chunks to stream, or an exception to raise. An exception in a list of
            chunks is raised after the chunks before it, as when a connection breaks.
        continues: Whether the writer continues the text that a streaming guard has released, as `StoryChain` does; if
            so, a draft is only the text that comes after it.
        pause_s: Seconds to wait before each chunk, streamed or not; a text is one chunk.

    Attributes:
        continues: Whether the writer continues released text.
        inputs: The input of each run, in order.
        revisions: The `Revision` of each run by a guard, in order.
        chunks_yielded: The number of chunks that it has yielded in all streams.
        streams_stopped: The number of streams that were closed before their end.

    Raises:
        ConfigurationError: If there are no drafts, or `pause_s` is negative.
    """

    def __init__(self, *drafts: ScriptedDraft, continues: bool = True, pause_s: float = 0.0) -> None:
        if not drafts:
            raise ConfigurationError("a fake writer needs at least one draft; got none.")
        if pause_s < 0:
            raise ConfigurationError(f"pause_s must be 0 or more; got {pause_s}.")
        self._drafts = drafts
        self.continues = continues
        self._pause_s = pause_s
        self.inputs: list[Any] = []
        self.revisions: list[Revision] = []
        self.chunks_yielded = self.streams_stopped = 0

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        """Return the next draft."""
        chunks = []
        for chunk in self._next_draft(input, config):
            time.sleep(self._pause_s)
            chunks.append(_text_of(chunk))
        return "".join(chunks)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> str:
        """Async version of `invoke`."""
        chunks = []
        for chunk in self._next_draft(input, config):
            await asyncio.sleep(self._pause_s)
            chunks.append(_text_of(chunk))
        return "".join(chunks)

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[str]:
        """Yield the chunks of the next draft."""
        try:
            for chunk in self._next_draft(input, config):
                time.sleep(self._pause_s)
                text = _text_of(chunk)
                self.chunks_yielded += 1
                yield text
        except GeneratorExit:
            self.streams_stopped += 1
            raise

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[str]:
        """Async version of `stream`."""
        try:
            for chunk in self._next_draft(input, config):
                await asyncio.sleep(self._pause_s)
                text = _text_of(chunk)
                self.chunks_yielded += 1
                yield text
        except (GeneratorExit, asyncio.CancelledError):
            self.streams_stopped += 1
            raise

    def _next_draft(self, inputs: Any, config: RunnableConfig | None) -> Sequence[str | Exception]:
        self.inputs.append(inputs)
        if (revision := revision_of(config or {})) is not None:
            self.revisions.append(revision)
        draft = self._drafts[min(len(self.inputs), len(self._drafts)) - 1]
        if isinstance(draft, Exception):
            raise draft
        return [draft] if isinstance(draft, str) else draft


def _text_of(chunk: str | Exception) -> str:
    if isinstance(chunk, Exception):
        raise chunk
    return chunk
