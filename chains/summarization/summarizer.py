"""Summarizer: summarize a text of any length."""

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
from taleward.chains.model_kind import model_kind, model_name
from taleward.chains.summarization.extractive import central_sentences
from taleward.chains.summarization.faithfulness import FaithfulnessCheck
from taleward.chains.summarization.map_reduce import SummaryReduction
from taleward.chains.summarization.models import ChatSummaryModel, Seq2SeqSummaryModel, SummaryModel, TokenCounter
from taleward.chains.summarization.result import SourceSpan, Summary
from taleward.chains.task_definitions import SummaryTask, load_task
from taleward.core.concurrency.sync_async import run_in_thread
from taleward.core.errors import ConfigurationError


class Summarizer(Runnable[str, Summary]):
    """A Runnable that summarizes a text.

    How depends on the kind of model: embeddings select sentences of the text; a chat model follows the task's
    instruction; a completion model continues a cue after the text; an encoder-decoder model (T5, BART) does what it was
    trained for. A text that exceeds the model's context is summarized in parts, and then the summaries are.

    Args:
        model: A spec such as `embedded:minilm`, `hf:facebook/bart-large-cnn` or `openai:gpt-5-mini`, or a LangChain
            chat model or embeddings.
        task: `summary`, `parents`, the path of a `.yaml` file, or a `SummaryTask`.
        sentences: Maximum number of sentences; `None` uses the task's. An encoder-decoder model ignores it: use
            `max_length` and its other options.
        faithfulness: Check each summary against its text: a `FaithfulnessCheck`, or the model for one.
        context_tokens: The model's context length in tokens; `None` uses what the model reports.
        count_tokens: Counts the tokens of a text for a chat model; `None` uses the model's own tokenizer.
        options: Options for the model: those of `chat_model`, or for an encoder-decoder model those of `seq2seq_model`
            and of transformers' `generate`: `num_beams`, `min_length`, `max_length`, `length_penalty` and so on.

    Raises:
        ConfigurationError: If the task or an option is invalid, or this kind of model cannot summarize.
    """

    def __init__(
        self,
        model: str | BaseChatModel | Embeddings = "embedded:minilm",
        task: str | Path | SummaryTask = "summary",
        *,
        sentences: int | None = None,
        faithfulness: str | BaseChatModel | Embeddings | FaithfulnessCheck | None = None,
        context_tokens: int | None = None,
        count_tokens: TokenCounter | None = None,
        **options: Any,
    ) -> None:
        if sentences is not None and sentences < 1:
            raise ConfigurationError(f"sentences must be 1 or more, or None; got {sentences}.")
        if context_tokens is not None and context_tokens < 1:
            raise ConfigurationError(f"context_tokens must be 1 or more, or None; got {context_tokens}.")
        self.task = load_task(SummaryTask, task)
        self.sentences = sentences or self.task.sentences
        self.spec = model_name(model)
        self.faithfulness_check = _faithfulness_check(faithfulness)
        self._summary_model: SummaryModel | None = None
        self._embeddings: Embeddings | None = None
        kind = model_kind(model)
        if kind == "encoder-decoder" and isinstance(model, str):
            self._summary_model = Seq2SeqSummaryModel(model, context_tokens=context_tokens, **options)
        elif kind == "embeddings" and not isinstance(model, BaseChatModel):
            self._embeddings = embeddings(model, **options)
        elif kind == "chat" and not isinstance(model, Embeddings):
            self._summary_model = ChatSummaryModel(
                chat_model(model, **options),
                self.spec,
                self.task,
                self.sentences,
                context_tokens=context_tokens,
                count_tokens=count_tokens,
            )
        else:
            raise ConfigurationError(
                f"{self.spec} is a classifier, which can neither write a summary nor select sentences.",
                hint="Use embeddings, an encoder-decoder model such as BART, or a chat model.",
            )

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> Summary:
        """Summarize a text; the summary of a blank text is empty.

        Raises:
            BackendError: If the model returns an empty summary, or the summaries of the parts do not get shorter.
        """
        return self._call_with_config(self._summarize, input, self._with_metadata(config), run_type="chain")

    async def ainvoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> Summary:
        """Async version of `invoke`."""
        return await self._acall_with_config(self._asummarize, input, self._with_metadata(config), run_type="chain")

    def stream_text(self, input: str, config: RunnableConfig | None = None) -> Iterator[str]:
        """Stream the summary's text, for a long text that of the last round. Faithfulness is not checked."""
        if _is_blank(input):
            return
        config = self._with_metadata(config)
        if self._summary_model is None:
            yield self._extract(input).text
            return
        reduction = self._start_reduction(self._summary_model, input)
        while len(reduction.texts) > 1:
            reduction.add(self._summary_model.write(reduction.texts, config))
        yield from self._summary_model.stream(reduction.texts[0], config)

    async def astream_text(self, input: str, config: RunnableConfig | None = None) -> AsyncIterator[str]:
        """Async version of `stream_text`."""
        if _is_blank(input):
            return
        config = self._with_metadata(config)
        if self._summary_model is None:
            yield (await run_in_thread(partial(self._extract, input))).text
            return
        # Counting tokens can load a model and takes time on long texts, so all of it runs in threads.
        reduction = await run_in_thread(partial(self._start_reduction, self._summary_model, input))
        while len(reduction.texts) > 1:
            summaries = await self._summary_model.awrite(reduction.texts, config)
            await run_in_thread(partial(reduction.add, summaries))
        stream: Any = self._summary_model.astream(reduction.texts[0], config)
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                yield piece

    def _with_metadata(self, config: RunnableConfig | None) -> RunnableConfig:
        metadata = {"prompt_name": self.task.name, "prompt_version": self.task.version}
        config = config or {}
        return {**config, "metadata": {**(config.get("metadata") or {}), **metadata}}

    def _summarize(self, input: str, run_manager: CallbackManagerForChainRun, config: RunnableConfig) -> Summary:
        if _is_blank(input):
            return self._blank_summary()
        if self._summary_model is None:
            summary = self._extract(input)
        else:
            reduction = self._start_reduction(self._summary_model, input)
            while reduction.texts:
                reduction.add(self._summary_model.write(reduction.texts, config))
            summary = self._summary_from(input, reduction)
        if self.faithfulness_check is None:
            return summary
        faithfulness = self.faithfulness_check.invoke((input, summary.text), config)
        return summary.model_copy(update={"faithfulness": faithfulness})

    async def _asummarize(
        self, input: str, run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig
    ) -> Summary:
        if _is_blank(input):
            return self._blank_summary()
        if self._summary_model is None:
            summary = await run_in_thread(partial(self._extract, input))
        else:
            reduction = await run_in_thread(partial(self._start_reduction, self._summary_model, input))
            while reduction.texts:
                summaries = await self._summary_model.awrite(reduction.texts, config)
                await run_in_thread(partial(reduction.add, summaries))
            summary = self._summary_from(input, reduction)
        if self.faithfulness_check is None:
            return summary
        faithfulness = await self.faithfulness_check.ainvoke((input, summary.text), config)
        return summary.model_copy(update={"faithfulness": faithfulness})

    def _start_reduction(self, summary_model: SummaryModel, text: str) -> SummaryReduction:
        return SummaryReduction(text, summary_model.budget(), self.spec)

    def _extract(self, text: str) -> Summary:
        if self._embeddings is None:
            raise TypeError("an extractive summary needs embeddings")
        spans = central_sentences(text, self._embeddings, self.sentences)
        return self._summary(text, " ".join(span.quote for span in spans), spans=tuple(spans))

    def _summary_from(self, text: str, reduction: SummaryReduction) -> Summary:
        return self._summary(text, reduction.summary, parts=reduction.parts, rounds=reduction.rounds)

    def _summary(
        self, text: str, summary: str, *, spans: tuple[SourceSpan, ...] = (), parts: int = 1, rounds: int = 0
    ) -> Summary:
        word_count = len(text.split())
        return Summary(
            text=summary,
            method=self._summary_model.method if self._summary_model else "extractive",
            spans=spans,
            compression=len(summary.split()) / word_count if word_count else 0.0,
            parts=parts,
            rounds=rounds,
            model=self.spec,
            prompt=self.task.prompt,
        )

    def _blank_summary(self) -> Summary:
        return self._summary("", "", parts=0)


def _is_blank(text: str) -> bool:
    if not isinstance(text, str):
        raise TypeError(f"a summarizer takes a text (str); got {type(text).__name__}")
    return not text.strip()


def _faithfulness_check(
    check: str | BaseChatModel | Embeddings | FaithfulnessCheck | None,
) -> FaithfulnessCheck | None:
    return check if check is None or isinstance(check, FaithfulnessCheck) else FaithfulnessCheck(check)
