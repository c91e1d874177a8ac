"""The summarizer: from a text of any length to its summary."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableConfig

from taleward.backends.chat_models import chat_model
from taleward.backends.embedding_models import embeddings
from taleward.chains.model_kind import family, name_of
from taleward.chains.summarization.extractive import central_sentences
from taleward.chains.summarization.faithfulness import FaithfulnessCheck
from taleward.chains.summarization.map_reduce import Reduction
from taleward.chains.summarization.models import ChatSummaryModel, Count, Seq2SeqSummaryModel, SummaryModel
from taleward.chains.summarization.result import SourceSpan, Summary
from taleward.chains.task import SummaryTask, load_task
from taleward.core.concurrency.threads import run_in_thread
from taleward.core.errors import ConfigurationError


class Summarizer(Runnable[str, Summary]):
    """A Runnable from a text to its summary.

    The model's family says how. Embeddings pick sentences of the text itself. A chat model is told the task; a
    completion model continues a cue behind the text; an encoder-decoder model (T5, BART) does what it was trained for.
    A text that does not fit the model is summarised in parts, and their summaries again, counted in its own tokens.

    Args:
        model: A spec such as `embedded:minilm`, `hf:facebook/bart-large-cnn` or `openai:gpt-5-mini`; or a LangChain
            chat model or embeddings.
        task: `summary`, `parents`, the path of a `.yaml` file, or a `SummaryTask`.
        sentences: Sentences at most; `None` goes by the task. An encoder-decoder model goes by its options.
        faithfulness: Check each summary against its text: a `FaithfulnessCheck`, or the spec of one.
        context_tokens: Tokens that the model holds; `None` asks it.
        count_tokens: Tokens of a text for a chat model; `None` asks it.
        options: For the model: those of `chat_model`; for an encoder-decoder model those of `seq2seq_model` and of
            transformers' `generate`: `num_beams`, `min_length`, `max_length`, `length_penalty` and so on.

    Raises:
        ConfigurationError: The model, its family or the task cannot be used.
    """

    def __init__(
        self,
        model: str | BaseChatModel | Embeddings = "embedded:minilm",
        task: str | Path | SummaryTask = "summary",
        *,
        sentences: int | None = None,
        faithfulness: str | BaseChatModel | Embeddings | FaithfulnessCheck | None = None,
        context_tokens: int | None = None,
        count_tokens: Count | None = None,
        **options: Any,
    ) -> None:
        if sentences is not None and sentences < 1:
            raise ConfigurationError(f"sentences must be 1 or more, or None; got {sentences}.")
        if context_tokens is not None and context_tokens < 1:
            raise ConfigurationError(f"context_tokens must be 1 or more, or None; got {context_tokens}.")
        self.task = load_task(SummaryTask, task)
        self.sentences = sentences or self.task.sentences
        self.spec = name_of(model)
        self.check = _check(faithfulness)
        self._pen: SummaryModel | None = None
        self._embeddings: Embeddings | None = None
        kind = family(model)
        if kind == "encoder-decoder" and isinstance(model, str):
            self._pen = Seq2SeqSummaryModel(model, context_tokens=context_tokens, **options)
        elif kind == "embeddings" and not isinstance(model, BaseChatModel):
            self._embeddings = embeddings(model, **options)
        elif kind == "chat" and not isinstance(model, Embeddings):
            chat = chat_model(model, **options)
            bounds = {"context_tokens": context_tokens, "count_tokens": count_tokens}
            self._pen = ChatSummaryModel(chat, self.spec, self.task, self.sentences, **bounds)  # type: ignore[arg-type]
        else:
            raise ConfigurationError(
                f"{self.spec} is a classifier; it neither writes nor gives vectors of sentences.",
                hint="Take embeddings, an encoder-decoder model such as BART, or a chat model.",
            )

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> Summary:
        """The text's summary; that of a blank text is empty.

        Raises:
            BackendError: The model gave no words, or its summaries do not get shorter.
        """
        return self._call_with_config(self._summarize, input, self._named(config), run_type="chain")

    async def ainvoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> Summary:
        """As `invoke`, without blocking the event loop."""
        return await self._acall_with_config(self._asummarize, input, self._named(config), run_type="chain")

    def stream_text(self, input: str, config: RunnableConfig | None = None) -> Iterator[str]:
        """The summary's words as they come; of a long text, those of the last round. Nothing is checked here."""
        if not _worded(input):
            return
        config = self._named(config)
        if self._pen is None:
            yield self._extracted(input).text
            return
        under_way = self._begun(self._pen, input)
        while len(under_way.texts) > 1:
            under_way.take(self._pen.write(under_way.texts, config))
        yield from self._pen.stream(under_way.texts[0], config)

    async def astream_text(self, input: str, config: RunnableConfig | None = None) -> AsyncIterator[str]:
        """As `stream_text`, without blocking the event loop."""
        if not _worded(input):
            return
        config = self._named(config)
        if self._pen is None:
            yield (await run_in_thread(partial(self._extracted, input))).text
            return
        under_way = await run_in_thread(partial(self._begun, self._pen, input))
        while len(under_way.texts) > 1:
            told = await self._pen.awrite(under_way.texts, config)
            await run_in_thread(partial(under_way.take, told))
        pieces: Any = self._pen.astream(under_way.texts[0], config)
        async with aclosing(pieces) as running:
            async for piece in running:
                yield piece

    def _named(self, config: RunnableConfig | None) -> RunnableConfig:
        metadata = {"prompt_name": self.task.name, "prompt_version": self.task.version}
        config = config or {}
        return {**config, "metadata": {**(config.get("metadata") or {}), **metadata}}

    def _summarize(self, input: str, run_manager: CallbackManagerForChainRun, config: RunnableConfig) -> Summary:
        if not _worded(input):
            return self._blank()
        if self._pen is None:
            made = self._extracted(input)
        else:
            under_way = self._begun(self._pen, input)
            while under_way.texts:
                under_way.take(self._pen.write(under_way.texts, config))
            made = self._written(input, under_way)
        if self.check is None:
            return made
        return made.model_copy(update={"faithfulness": self.check.invoke((input, made.text), config)})

    async def _asummarize(
        self, input: str, run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig
    ) -> Summary:
        if not _worded(input):
            return self._blank()
        if self._pen is None:
            made = await run_in_thread(partial(self._extracted, input))
        else:
            under_way = await run_in_thread(partial(self._begun, self._pen, input))
            while under_way.texts:
                told = await self._pen.awrite(under_way.texts, config)
                await run_in_thread(partial(under_way.take, told))
            made = self._written(input, under_way)
        if self.check is None:
            return made
        return made.model_copy(update={"faithfulness": await self.check.ainvoke((input, made.text), config)})

    def _begun(self, pen: SummaryModel, text: str) -> Reduction:
        return Reduction(text, pen.size(), self.spec)

    def _extracted(self, text: str) -> Summary:
        if self._embeddings is None:
            raise TypeError("a summarizer that writes extracts nothing")
        spans = central_sentences(text, self._embeddings, self.sentences)
        return self._made(text, " ".join(span.quote for span in spans), spans=tuple(spans))

    def _written(self, text: str, done: Reduction) -> Summary:
        return self._made(text, done.summary, parts=done.parts, rounds=done.rounds)

    def _made(
        self, text: str, summary: str, *, spans: tuple[SourceSpan, ...] = (), parts: int = 1, rounds: int = 0
    ) -> Summary:
        words = len(text.split())
        return Summary(
            text=summary,
            method=self._pen.method if self._pen else "extractive",
            spans=spans,
            compression=len(summary.split()) / words if words else 0.0,
            parts=parts,
            rounds=rounds,
            model=self.spec,
            prompt=self.task.prompt,
        )

    def _blank(self) -> Summary:
        return self._made("", "", parts=0)


def _worded(text: str) -> bool:
    if not isinstance(text, str):
        raise TypeError(f"a summarizer takes a text (str); got {type(text).__name__}")
    return bool(text.strip())


def _check(given: str | BaseChatModel | Embeddings | FaithfulnessCheck | None) -> FaithfulnessCheck | None:
    return given if given is None or isinstance(given, FaithfulnessCheck) else FaithfulnessCheck(given)
