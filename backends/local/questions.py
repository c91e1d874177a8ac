"""Questions about a text that a model answers without writing: with the probability of each answer.

The prompt is that of the System One API (`transformers serve`, `pipeline("decision")`): the text, the question, the
answers by their labels.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence

from langchain_core.messages import BaseMessage, convert_to_messages
from pydantic import Field, field_validator

from taleward.backends.local.decisions import decide_each
from taleward.backends.local.language_model import LanguageModel
from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel

_LETTERS = string.ascii_uppercase


class YesNo(FrozenModel):
    """A question that is answered with yes or no.

    Attributes:
        question: The question.
        yes: What yes means, where the question leaves room.
        no: What no means.
    """

    question: str = Field(min_length=1)
    yes: str = ""
    no: str = ""


class MultipleChoice(FrozenModel):
    """A question that is answered with one of several names, up to 26.

    Attributes:
        question: The question.
        options: The names, each with what it means, or "".
    """

    question: str = Field(min_length=1)
    options: dict[str, str] = Field(min_length=2, max_length=len(_LETTERS))

    @field_validator("options", mode="before")
    @classmethod
    def _named(cls, given: object) -> object:
        return dict.fromkeys(given, "") if isinstance(given, list | tuple) else given


class Scale(FrozenModel):
    """A question that is answered with a level, up to 26.

    Attributes:
        question: The question.
        levels: What the levels mean, the lowest first.
    """

    question: str = Field(min_length=1)
    levels: tuple[str, ...] = Field(min_length=2, max_length=len(_LETTERS))


Question = YesNo | MultipleChoice | Scale


class QuestionResult(FrozenModel):
    """How a model answers a question.

    Attributes:
        probabilities: Of each answer; together 1. The answers are `yes` and `no`, the names, or the levels' numbers
            from "0" on.
        mass: What the answers have together of the probability of all texts, 0..1. Near 0 the model would have said
            something else, and the probabilities say little.
    """

    probabilities: dict[str, float]
    mass: float

    @property
    def best(self) -> str:
        """The likeliest answer."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def yes(self) -> float:
        """The probability of yes, of a `YesNo`."""
        return self.probabilities["yes"]

    @property
    def score(self) -> float:
        """The expected level, of a `Scale`; it lies between levels."""
        return sum(int(level) * chance for level, chance in self.probabilities.items())


def answered(
    model: LanguageModel, text: str | Sequence[object], questions: Mapping[str, Question | str]
) -> dict[str, QuestionResult]:
    """The answers to questions about a text, which is read once.

    Args:
        model: A loaded model.
        text: A text, or messages.
        questions: By names of one's own; a text is a `YesNo`.

    Raises:
        ConfigurationError: There are no questions.
    """
    if not questions:
        raise ConfigurationError(
            "a decision needs a question; got none.", hint="For example {'scary': 'Is it scary?'}."
        )
    said = text if isinstance(text, str) else _told(text)
    typed = {name: YesNo(question=q) if isinstance(q, str) else q for name, q in questions.items()}
    labels = [_labels(question) for question in typed.values()]
    choices = labels if model.follows_instructions else [[f" {label}" for label in some] for some in labels]
    decisions = decide_each(model, [_prompt(model, said, question) for question in typed.values()], choices)
    return {
        name: QuestionResult(
            probabilities=dict(zip(_answers(question), decision.probabilities, strict=True)), mass=decision.mass
        )
        for (name, question), decision in zip(typed.items(), decisions, strict=True)
    }


def _told(messages: Sequence[object]) -> str:
    turns: list[BaseMessage] = convert_to_messages(messages)  # type: ignore[arg-type]
    return "\n".join(f"{turn.type}: {turn.text}" for turn in turns)


def _prompt(model: LanguageModel, text: str, question: Question) -> list[int]:
    labels = _labels(question)
    lines = [question.question, *_meanings(question, labels)]
    if isinstance(question, YesNo):
        lines.append("Answer Yes or No only.")
    else:
        noun = "option" if isinstance(question, MultipleChoice) else "level"
        lines.append(f"Answer with the letter of the {noun} that fits best ({labels[0]} to {labels[-1]}) only.")
    said = f"{text}\n\n" + "\n".join(lines)
    if not model.follows_instructions:
        return model.prompt([{"role": "assistant", "content": f"{said}\nAnswer:"}], continue_final_message=True)
    return model.prompt([{"role": "user", "content": said}], enable_thinking=False)


def _meanings(question: Question, labels: Sequence[str]) -> list[str]:
    if isinstance(question, YesNo):
        return [f"{label}: {text}" for label, text in zip(labels, (question.yes, question.no), strict=True) if text]
    if isinstance(question, MultipleChoice):
        told = [f"{name}: {text}" if text else name for name, text in question.options.items()]
    else:
        told = list(question.levels)
    return [f"{label}. {text}" for label, text in zip(labels, told, strict=True)]


def _answers(question: Question) -> list[str]:
    if isinstance(question, YesNo):
        return ["yes", "no"]
    return (
        list(question.options)
        if isinstance(question, MultipleChoice)
        else [str(n) for n in range(len(question.levels))]
    )


def _labels(question: Question) -> tuple[str, ...]:
    return ("Yes", "No") if isinstance(question, YesNo) else tuple(_LETTERS[: len(_answers(question))])
