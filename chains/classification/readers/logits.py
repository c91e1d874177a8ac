"""Labels from log-probabilities: which label a model that runs here would write, without any writing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import convert_to_openai_messages
from langchain_core.runnables import RunnableConfig

from taleward.backends.local.decisions import AnswerProbabilities, decide
from taleward.chains.classification.chain import Question, Reading
from taleward.chains.classification.prompts import continued, talked
from taleward.chains.model_kind import loaded
from taleward.chains.task import LabelTask
from taleward.core.concurrency.threads import run_in_thread
from taleward.core.errors import BackendError

if TYPE_CHECKING:
    from taleward.backends.local.language_model import LanguageModel

_WITHOUT_CONTENT = ("N/A", "...", "")
_YES_NO = ("yes", "no")


class LogitsReader:
    """Scores by log-probabilities.

    With one label a text the scores are the labels' probabilities, scaled to sum to 1. With several each label is a
    question of its own, and its score the probability of "yes" against "no". Calibrated, they are divided by the mean
    of what the model says of texts without content ("N/A", "...", nothing), which is its bias towards a label
    (contextual calibration: Zhao et al. 2021, arXiv 2102.09690).

    A prompt that is too long loses the end of its text, down to half of the model's context, then its first examples;
    the reading says so.

    Args:
        model: An `hf:` or `embedded:` chat model.
        spec: What it is called.
        task: What is asked.
        multi_label: Whether each label stands for itself.
        calibrated: Whether the bias is taken out.
    """

    def __init__(
        self, model: BaseChatModel, spec: str, task: LabelTask, *, multi_label: bool = False, calibrated: bool = True
    ) -> None:
        self.model, self.spec, self.task = model, spec, task
        self.multi_label, self.calibrated = multi_label, calibrated
        self._bias: tuple[object, list[list[float]]] | None = None

    def read(self, questions: Sequence[Question], configs: list[RunnableConfig]) -> list[Reading]:
        """Each label's score for each question; examples that questions share are read once."""
        if not questions:
            return []
        local = self._local()
        fitted = [self._fit(local, question) for question in questions]
        found = self._chances(local, [question for question, _ in fitted])
        if self.calibrated:
            found = [
                [_without(p, b) for p, b in zip(mine, self._biases(local, question), strict=True)]
                for mine, (question, _) in zip(found, fitted, strict=True)
            ]
        names = list(self.task.labels)
        return [
            Reading(dict(zip(names, [p[0] for p in mine] if self.multi_label else mine[0], strict=True)), detail=detail)
            for mine, (_, detail) in zip(found, fitted, strict=True)
        ]

    async def aread(self, questions: Sequence[Question], configs: list[RunnableConfig]) -> list[Reading]:
        """As `read`, in a thread."""
        return await run_in_thread(lambda: self.read(questions, configs))

    def _local(self) -> LanguageModel:
        local = loaded(self.model)
        if local is None:
            raise BackendError(f"{self.spec} does not run here, so that its log-probabilities cannot be had.")
        return local

    def _chances(self, local: LanguageModel, questions: Sequence[Question]) -> list[list[list[float]]]:
        """For each question the probabilities of the choices: one row, or with several labels a row a label."""
        columns: list[list[AnswerProbabilities]] = []
        for asked in list(self.task.labels) if self.multi_label else [None]:
            prompts = [self._prompt(local, question, asked) for question in questions]
            columns.append(decide(local, prompts, self._choices(local)))
        return [[list(d.probabilities) for d in row] for row in zip(*columns, strict=True)]

    def _biases(self, local: LanguageModel, question: Question) -> list[list[float]]:
        """The mean of what is said of texts without content behind the same examples."""
        if self._bias is None or self._bias[0] != question.shots:
            empty = [Question(text, question.shots) for text in _WITHOUT_CONTENT]
            rows = self._chances(local, empty)
            means = [[sum(p) / len(p) for p in zip(*asked, strict=True)] for asked in zip(*rows, strict=True)]
            self._bias = question.shots, means
        return self._bias[1]

    def _choices(self, local: LanguageModel) -> list[str]:
        choices = list(_YES_NO if self.multi_label else self.task.labels)
        if not local.follows_instructions:
            return [f" {choice}\n" for choice in choices]
        tokens = [local.encode(choice) for choice in choices]
        apart = all(a is b or b[: len(a)] != a for a in tokens for b in tokens)
        return choices if apart else [f"{choice}\n" for choice in choices]

    def _prompt(self, local: LanguageModel, question: Question, asked: str | None) -> list[int]:
        if asked is not None:
            said = self.task.labels[asked]
            form = f"Does the label {asked!r}{f' ({said})' if said else ''} fit? Answer yes or no."

            def answer(label: str) -> str:
                return "yes" if label == asked else "no"
        else:
            form = "Answer with the label alone."

            def answer(label: str) -> str:
                return label

        if not local.follows_instructions:
            cue = "" if asked is None else f"{self.task.answer} {asked}, yes or no"
            text = continued(self.task, question, asked=cue, answer=answer)
            return local.prompt([{"role": "assistant", "content": text}], continue_final_message=True)
        turns = convert_to_openai_messages(talked(self.task, question, form, answer=answer, system=False))
        return local.prompt(turns, enable_thinking=False)  # the label is the first thing that is said

    def _fit(self, local: LanguageModel, question: Question) -> tuple[Question, str]:
        """The question as it fits the model's context, and what was left out."""
        longest = max(len(local.encode(choice)) for choice in self._choices(local))
        asked = max(self.task.labels, key=len) if self.multi_label else None
        shots, text = question.shots, question.text

        def over() -> int:
            prompt = self._prompt(local, Question(text, shots), asked)
            return len(prompt) + longest - local.context_length

        def shortened(least: int) -> str:
            tokens = local.encode(text)
            kept = max(least, len(tokens) - over())
            return local.decode(tokens[:kept]).rstrip("\ufffd") if kept < len(tokens) else text

        if over() > 0:
            text = shortened(local.context_length // 2)
        while shots and over() > 0:
            shots = shots[1:]
        while text and over() > 0:
            text = shortened(0)
        if over() > 0:
            raise BackendError(
                f"the question alone does not fit: {self.spec} holds {local.context_length} tokens.",
                hint="Give shorter descriptions, or take a model with a longer context.",
            )
        left = [
            f"{len(question.shots) - len(shots)} examples" if len(shots) < len(question.shots) else "",
            f"the last {len(question.text) - len(text)} characters" if text != question.text else "",
        ]
        said = " and ".join(part for part in left if part)
        return Question(text, shots), f"left out, to fit the model's context: {said}" if said else ""


def _without(chances: Sequence[float], bias: Sequence[float]) -> list[float]:
    corrected = [p / max(b, 1e-9) for p, b in zip(chances, bias, strict=True)]
    total = sum(corrected)
    return [p / total for p in corrected]
