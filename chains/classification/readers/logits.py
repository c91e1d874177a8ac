"""Classify by log-probabilities: how likely a local model is to write each label, without generating text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import convert_to_openai_messages
from langchain_core.runnables import RunnableConfig

from taleward.backends.local.decisions import AnswerProbabilities, decide_each
from taleward.backends.local.underlying_model import loaded_model
from taleward.chains.classification.label_chain import ClassificationQuery, LabelPrediction
from taleward.chains.classification.prompts import completion_prompt, one_turn_prompt
from taleward.chains.task_definitions import LabelTask
from taleward.core.concurrency.sync_async import run_in_thread
from taleward.core.errors import BackendError
from taleward.core.frozen_model import FrozenDict

if TYPE_CHECKING:
    from taleward.backends.local.language_model import LanguageModel

_CONTENT_FREE_TEXTS = ("N/A", "...", "")
_YES_NO = ("yes", "no")


class LogitsLabelReader:
    """Scores labels by the log-probabilities of a model that runs in this process.

    With one label per text the scores are the labels' probabilities, scaled to sum to 1. In a multi-label task each
    label is a question of its own, and its score is the probability of "yes" against "no".

    Examples are shown in one plain text even to a model that follows instructions, since turns of a conversation
    mislead small ones; without examples, such a model gets a conversation in which its answer has begun with `Label:`,
    since it would otherwise begin with other words.

    Calibrated scores are free of two biases. Towards some labels: they are divided by the mean of the model's
    probabilities for texts without content ("N/A", "...", an empty one; contextual calibration: Zhao et al. 2021, arXiv
    2102.09690). Towards what stands last: each question is asked twice, with the examples, or without any the labels,
    in either order (Lu et al. 2022, arXiv 2104.08786), and the scores are the geometric mean, scaled to sum to 1.

    If a prompt is too long, its text is cut at the end, down to half of the model's context, then the first examples
    are dropped; the prediction's `detail` says what is missing.

    Args:
        model: An `hf:` or `embedded:` chat model.
        spec: Its name for results.
        task: The labels and the question.
        multi_label: Whether each label is scored on its own.
        calibrated: Whether to remove the bias.
    """

    def __init__(
        self, model: BaseChatModel, spec: str, task: LabelTask, *, multi_label: bool = False, calibrated: bool = True
    ) -> None:
        self.model, self.spec, self.task = model, spec, task
        self.multi_label, self.calibrated = multi_label, calibrated
        self._bias: tuple[object, list[list[float]]] | None = None
        """The examples that the bias was measured with, and the bias, as in `_probabilities`."""
        self._takes_system_turn = True
        self._text_start: list[int] | None = None

    def read(self, queries: Sequence[ClassificationQuery], configs: list[RunnableConfig]) -> list[LabelPrediction]:
        """Return each label's score for each query; the prefix that prompts share is read once."""
        if not queries:
            return []
        local_model = self._load_model()
        fitted = [self._fit_to_context(local_model, query) for query in queries]
        results = self._probabilities(local_model, [query for query, _ in fitted])
        if self.calibrated:
            results = [
                [_remove_bias(p, b) for p, b in zip(rows, self._measure_bias(local_model, query), strict=True)]
                for rows, (query, _) in zip(results, fitted, strict=True)
            ]
        return [
            LabelPrediction(self._scores_by_label(rows), detail=detail)
            for rows, (_, detail) in zip(results, fitted, strict=True)
        ]

    async def aread(
        self, queries: Sequence[ClassificationQuery], configs: list[RunnableConfig]
    ) -> list[LabelPrediction]:
        """Run `read` in a thread."""
        return await run_in_thread(lambda: self.read(queries, configs))

    def _load_model(self) -> LanguageModel:
        local_model = loaded_model(self.model)
        if local_model is None:
            raise BackendError(
                f"{self.spec} does not run in this process, so its log-probabilities are not available.",
                hint="Use an hf: or embedded: model, or by='constrained'.",
            )
        return local_model

    def _scores_by_label(self, rows: Sequence[Sequence[float]]) -> dict[str, float]:
        scores = [yes for yes, _ in rows] if self.multi_label else rows[0]
        return dict(zip(self.task.labels, scores, strict=True))

    def _probabilities(
        self, local_model: LanguageModel, queries: Sequence[ClassificationQuery]
    ) -> list[list[list[float]]]:
        """Return the probabilities of the answers for each query.

        Shape (queries, 1, labels), or in a multi-label task (queries, labels, 2) for "yes" and "no".
        """
        columns: list[list[list[float]]] = []
        by_kind = {shown: self._answers(local_model, shown) for shown in {bool(query.examples) for query in queries}}
        answers = [by_kind[bool(query.examples)] for query in queries]
        for label in list(self.task.labels) if self.multi_label else [None]:
            orders: list[list[AnswerProbabilities]] = []
            for is_reversed in (False, True) if self.calibrated else (False,):
                prompts = [self._prompt(local_model, query, label, is_reversed) for query in queries]
                orders.append(decide_each(local_model, prompts, answers))
            columns.append([_geometric_mean([each.probabilities for each in row]) for row in zip(*orders, strict=True)])
        return [list(row) for row in zip(*columns, strict=True)]

    def _measure_bias(self, local_model: LanguageModel, query: ClassificationQuery) -> list[list[float]]:
        """Return the mean probabilities for texts without content, after the same examples."""
        if self._bias is None or self._bias[0] != query.examples:
            content_free = [ClassificationQuery(text, query.examples) for text in _CONTENT_FREE_TEXTS]
            rows = self._probabilities(local_model, content_free)
            means = [[sum(p) / len(p) for p in zip(*column, strict=True)] for column in zip(*rows, strict=True)]
            self._bias = query.examples, means
        return self._bias[1]

    def _answers(self, local_model: LanguageModel, has_examples: bool) -> list[str]:
        """Return the answers to compare, so that none begins with another: "yes" would include "yes indeed"."""
        # As in the prompts: a space after the cue, and a line break that ends the label.
        answers = [f" {answer}" for answer in (_YES_NO if self.multi_label else self.task.labels)]
        if has_examples or not local_model.follows_instructions:
            return [f"{answer}\n" for answer in answers]
        tokens = [local_model.encode(answer) for answer in answers]
        distinct = all(a is b or b[: len(a)] != a for a in tokens for b in tokens)
        return answers if distinct else [f"{answer}\n" for answer in answers]

    def _prompt(
        self, local_model: LanguageModel, query: ClassificationQuery, label: str | None, is_reversed: bool = False
    ) -> list[int]:
        """Return the prompt's tokens.

        Args:
            local_model: The model.
            query: The text and the examples.
            label: Ask whether this label fits; `None` asks which one does.
            is_reversed: Show the examples, or if there are none the labels, in reverse order.
        """
        task = self.task
        if is_reversed and query.examples:
            query = query._replace(examples=query.examples[::-1])
        elif is_reversed:
            task = task.model_copy(update={"labels": FrozenDict(dict(reversed(list(task.labels.items()))))})

        def answer(example_label: str) -> str:
            if label is None:
                return example_label
            return "yes" if example_label == label else "no"

        if query.examples or not local_model.follows_instructions:
            cue = "" if label is None else f'Is the {task.answer} "{label}"? Yes or no'
            text = completion_prompt(task, query, cue=cue, answer=answer)
            if self._text_start is None:
                self._text_start = _text_start(local_model)
            return [*self._text_start, *local_model.encode(text)]
        if label is None:
            answer_format = ""
        else:
            description = task.labels[label]
            explained = f"{label!r} ({description})" if description else repr(label)
            answer_format = f"Does the label {explained} fit? Answer yes or no."
        return self._conversation(local_model, task, query.text, answer_format)

    def _conversation(self, local_model: LanguageModel, task: LabelTask, text: str, answer_format: str) -> list[int]:
        cue = {"role": "assistant", "content": f"{task.answer.capitalize()}:"}
        while True:
            messages = one_turn_prompt(task, text, answer_format, system=self._takes_system_turn)
            turns = [*convert_to_openai_messages(messages), cue]
            try:
                # A model that thinks first would not begin with the label.
                return local_model.prompt(turns, continue_final_message=True, enable_thinking=False)
            except BackendError:
                # Gemma's template, for one, accepts no system turn.
                if not self._takes_system_turn:
                    raise
                self._takes_system_turn = False

    def _fit_to_context(
        self, local_model: LanguageModel, query: ClassificationQuery
    ) -> tuple[ClassificationQuery, str]:
        """Shorten the query until its prompt fits into the context, and describe what was left out."""
        longest_answer = max(
            len(local_model.encode(answer)) for answer in self._answers(local_model, bool(query.examples))
        )
        label = max(self.task.labels, key=len) if self.multi_label else None
        examples, text = query.examples, query.text

        def excess_tokens() -> int:
            prompt = self._prompt(local_model, ClassificationQuery(text, examples), label)
            return len(prompt) + longest_answer - local_model.context_length

        def shortened(min_tokens: int) -> str:
            tokens = local_model.encode(text)
            length = max(min_tokens, len(tokens) - excess_tokens())
            # Cutting between the tokens of one character leaves a replacement character at the end.
            return local_model.decode(tokens[:length]).rstrip("\ufffd") if length < len(tokens) else text

        if excess_tokens() > 0:
            text = shortened(local_model.context_length // 2)
        while examples and excess_tokens() > 0:
            examples = examples[1:]
        while text and excess_tokens() > 0:
            text = shortened(0)
        if excess_tokens() > 0:
            raise BackendError(
                f"the question alone does not fit into the {local_model.context_length} tokens of {self.spec}.",
                hint="Give shorter descriptions, or use a model with a longer context.",
            )
        omissions = []
        if len(examples) < len(query.examples):
            omissions.append(f"{len(query.examples) - len(examples)} examples")
        if text != query.text:
            omissions.append(f"the last {len(query.text) - len(text)} characters")
        detail = f"left out, to fit the model's context: {' and '.join(omissions)}" if omissions else ""
        return ClassificationQuery(text, examples), detail


def _text_start(local_model: LanguageModel) -> list[int]:
    """Return the token that begins a plain text for this model, if there is one."""
    if not local_model.chat_template:
        return local_model.prompt([{"role": "assistant", "content": ""}])
    conversation = local_model.prompt([{"role": "user", "content": "x"}])
    # In some models, such as SmolLM2, it also begins every turn, and a plain text is none.
    return conversation[:1] if conversation[0] == local_model.start and conversation.count(conversation[0]) == 1 else []


def _geometric_mean(rows: Sequence[Sequence[float]]) -> list[float]:
    products = [math.prod(column) ** (1 / len(rows)) for column in zip(*rows, strict=True)]
    total = sum(products) or 1.0
    return [product / total for product in products]


def _remove_bias(probabilities: Sequence[float], bias: Sequence[float]) -> list[float]:
    corrected = [p / max(b, 1e-9) for p, b in zip(probabilities, bias, strict=True)]
    total = sum(corrected)
    return [p / total for p in corrected]
