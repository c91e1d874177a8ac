"""Questions about a text that a model answers with the probability of each answer, without generating text.

The prompt is that of the System One API (`transformers serve`, `pipeline("decision")`): the text, the question, and the
answers with their labels.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence

from langchain_core.messages import MessageLikeRepresentation, convert_to_messages
from pydantic import Field, field_validator

from taleward.backends.local.decisions import decide_each
from taleward.backends.local.language_model import LanguageModel
from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel

_LETTERS = string.ascii_uppercase


class YesNo(FrozenModel):
    """A yes-no question.

    Attributes:
        question: The question.
        yes: What yes means, if the question leaves room.
        no: What no means.
    """

    question: str = Field(min_length=1)
    yes: str = ""
    no: str = ""


class MultipleChoice(FrozenModel):
    """A question with 2 to 26 named options.

    Attributes:
        question: The question.
        options: The options' names, each with its meaning or "". A list of names is accepted too.
    """

    question: str = Field(min_length=1)
    options: dict[str, str] = Field(min_length=2, max_length=len(_LETTERS))

    @field_validator("options", mode="before")
    @classmethod
    def _options_from_names(cls, options: object) -> object:
        return dict.fromkeys(options, "") if isinstance(options, list | tuple) else options


class Scale(FrozenModel):
    """A question that is answered with one of 2 to 26 levels.

    Attributes:
        question: The question.
        levels: The meaning of each level, the lowest first.
    """

    question: str = Field(min_length=1)
    levels: tuple[str, ...] = Field(min_length=2, max_length=len(_LETTERS))


Question = YesNo | MultipleChoice | Scale


class QuestionResult(FrozenModel):
    """A model's answer to a question.

    Attributes:
        probabilities: The probability of each answer; their sum is 1. Answers are `yes` and `no`, the options' names,
            or the levels' numbers as strings, from "0".
        mass: The total probability of the answers among all texts, 0..1. Near 0, the model would have said something
            else, and the probabilities mean little.
    """

    probabilities: dict[str, float]
    mass: float

    @property
    def best(self) -> str:
        """The most likely answer."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def yes(self) -> float:
        """The probability of yes, for a `YesNo`."""
        return self.probabilities["yes"]

    @property
    def score(self) -> float:
        """The expected level, for a `Scale`; it may lie between levels."""
        return sum(int(level) * probability for level, probability in self.probabilities.items())


def answer_questions(
    model: LanguageModel, text: str | Sequence[MessageLikeRepresentation], questions: Mapping[str, Question | str]
) -> dict[str, QuestionResult]:
    """Answer questions about a text, which the model reads once.

    Args:
        model: A loaded model.
        text: A text, or messages.
        questions: By names of your choice; a string is a `YesNo`.

    Raises:
        ConfigurationError: If there are no questions.
        ContextTooLong: If text and question are longer than the model's context.
    """
    if not questions:
        raise ConfigurationError("decide needs at least one question.", hint="For example {'scary': 'Is it scary?'}.")
    passage = text if isinstance(text, str) else _text_from_messages(text)
    typed = {name: YesNo(question=q) if isinstance(q, str) else q for name, q in questions.items()}
    choices: list[Sequence[str]] = [_labels(question) for question in typed.values()]
    if not model.follows_instructions:
        # The prompt ends in "Answer:", so the label comes after a space.
        choices = [[f" {label}" for label in labels] for labels in choices]
    decisions = decide_each(model, [_prompt_tokens(model, passage, question) for question in typed.values()], choices)
    return {
        name: QuestionResult(
            probabilities=dict(zip(_answer_names(question), decision.probabilities, strict=True)), mass=decision.mass
        )
        for (name, question), decision in zip(typed.items(), decisions, strict=True)
    }


def _text_from_messages(messages: Sequence[MessageLikeRepresentation]) -> str:
    return "\n".join(f"{turn.type}: {turn.text}" for turn in convert_to_messages(messages))


def _prompt_tokens(model: LanguageModel, text: str, question: Question) -> list[int]:
    labels = _labels(question)
    lines = [question.question, *_labeled_answers(question, labels)]
    if isinstance(question, YesNo):
        lines.append("Answer Yes or No only.")
    else:
        noun = "option" if isinstance(question, MultipleChoice) else "level"
        lines.append(f"Answer with the letter of the {noun} that fits best ({labels[0]} to {labels[-1]}) only.")
    prompt = f"{text}\n\n" + "\n".join(lines)
    if not model.follows_instructions:
        return model.prompt([{"role": "assistant", "content": f"{prompt}\nAnswer:"}], continue_final_message=True)
    # The answer is read at the first token; a reasoning model would put its thinking there.
    return model.prompt([{"role": "user", "content": prompt}], enable_thinking=False)


def _labeled_answers(question: Question, labels: Sequence[str]) -> list[str]:
    if isinstance(question, YesNo):
        meanings = zip(labels, (question.yes, question.no), strict=True)
        return [f"{label}: {meaning}" for label, meaning in meanings if meaning]
    if isinstance(question, MultipleChoice):
        answers = [f"{name}: {meaning}" if meaning else name for name, meaning in question.options.items()]
    else:
        answers = list(question.levels)
    return [f"{label}. {answer}" for label, answer in zip(labels, answers, strict=True)]


def _answer_names(question: Question) -> list[str]:
    if isinstance(question, YesNo):
        return ["yes", "no"]
    if isinstance(question, MultipleChoice):
        return list(question.options)
    return [str(level) for level in range(len(question.levels))]


def _labels(question: Question) -> tuple[str, ...]:
    return ("Yes", "No") if isinstance(question, YesNo) else tuple(_LETTERS[: len(_answer_names(question))])
