"""Tasks as data: what a text is classified into, and what is asked of a summary."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import Field, model_validator

from taleward.core.errors import ConfigurationError, UnknownName
from taleward.core.frozen_model import FrozenDict, FrozenModel
from taleward.core.tale import PromptVersion
from taleward.core.yaml_files import load_yaml
from taleward.stores.example_retriever import LabeledExample

HYPOTHESIS = "This example is {label}."
_SHIPPED = Path(__file__).parent / "tasks"
_SLOTS = re.compile(r"\{([^{}]*)\}")


class LabelTask(FrozenModel):
    """What a text is classified into.

    Attributes:
        name: The task's name, as in its file's name.
        version: Changes whenever the text of a prompt does.
        description: One sentence for people.
        question: What a model is asked about the text.
        noun: What the text is, for example `review`.
        answer: What the label is, for example `sentiment`.
        labels: The labels, two or more, with a description each; an empty one is taken for none.
        hypothesis: For entailment: a sentence with `{label}` or `{description}` in it.
        examples: Labeled texts.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    version: str = Field(min_length=1)
    description: str = Field(min_length=1)
    question: str = Field(min_length=1)
    noun: str = Field(default="text", min_length=1)
    answer: str = Field(default="label", min_length=1)
    labels: FrozenDict[str, str] = Field(min_length=2)
    hypothesis: str = HYPOTHESIS
    examples: tuple[LabeledExample, ...] = ()

    @model_validator(mode="after")
    def _makes_sense(self) -> LabelTask:
        if blank := [label for label in self.labels if not label or label != " ".join(label.split())]:
            raise ValueError(f"a label is one line without spaces around it; got {blank}")
        slots = set(_SLOTS.findall(self.hypothesis))
        if not slots or not slots <= {"label", "description"}:
            raise ValueError(f"the hypothesis needs {{label}} or {{description}}; got {self.hypothesis!r}")
        if unknown := sorted({example.label for example in self.examples} - set(self.labels)):
            raise ValueError(f"examples have the labels {unknown}; there are {list(self.labels)}")
        return self

    @property
    def prompt(self) -> PromptVersion:
        """Name and version, for a result's lineage."""
        return PromptVersion(name=self.name, version=self.version)

    def supposed(self, label: str) -> str:
        """The hypothesis for a label."""
        filled = {"label": label, "description": self.labels[label] or label}
        return _SLOTS.sub(lambda slot: filled[slot[1]], self.hypothesis)


class SummaryTask(FrozenModel):
    """What is asked of a summary.

    Attributes:
        name: The task's name, as in its file's name.
        version: Changes whenever the text of a prompt does.
        description: One sentence for people.
        instruction: What a chat model is told.
        cue: What a completion model continues with the summary, behind the text (`TL;DR:` in the GPT-2 report).
        sentences: Sentences of a summary, unless a summarizer is told otherwise.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    version: str = Field(min_length=1)
    description: str = Field(min_length=1)
    instruction: str = Field(min_length=1)
    cue: str = Field(default="TL;DR:", min_length=1)
    sentences: int = Field(default=3, ge=1)

    @property
    def prompt(self) -> PromptVersion:
        """Name and version, for a result's lineage."""
        return PromptVersion(name=self.name, version=self.version)


T = TypeVar("T", LabelTask, SummaryTask)
_FOLDERS: dict[type[FrozenModel], str] = {LabelTask: "classify", SummaryTask: "summarize"}


def task_names(kind: type[LabelTask] | type[SummaryTask]) -> tuple[str, ...]:
    """The shipped tasks of a kind, sorted."""
    return tuple(sorted(file.stem for file in (_SHIPPED / _FOLDERS[kind]).glob("*.yaml")))


def load_task(kind: type[T], name: str | Path | T) -> T:
    """A task by name or from a file.

    Args:
        kind: `LabelTask` or `SummaryTask`.
        name: A shipped task's name, the path of a `.yaml` file, or a task, which is given back as it is.

    Raises:
        UnknownName: There is no such task; the message lists those there are.
        InvalidFile: The file is no such task; the message names the lines.
    """
    if isinstance(name, kind):
        return name
    if isinstance(name, Path) or str(name).endswith((".yaml", ".yml")):
        return load_yaml(Path(str(name)), kind)
    if name not in task_names(kind):
        raise UnknownName("task", str(name), task_names(kind), hint="Or give the path of a .yaml file of your own.")
    return load_yaml(_SHIPPED / _FOLDERS[kind] / f"{name}.yaml", kind)


def label_task(
    labels: Sequence[str] | Mapping[str, str] | None,
    task: str | Path | LabelTask | None,
    hypothesis: str | None,
) -> LabelTask:
    """The task that a classifier was given: a task, or labels of one's own with or without descriptions.

    Raises:
        ConfigurationError: Both or neither came, or the labels cannot be used.
    """
    if (labels is None) == (task is None):
        known = ", ".join(task_names(LabelTask))
        raise ConfigurationError(
            f"a classifier takes either labels or a task; got labels={labels!r} and task={task!r}.",
            hint=f"For example labels=['calm', 'frightening'], or one of the tasks {known}.",
        )
    if task is not None:
        found = load_task(LabelTask, task)
        return LabelTask.model_validate({**dict(found), "hypothesis": hypothesis}) if hypothesis else found
    if isinstance(labels, str):
        raise ConfigurationError(f"labels is a list of labels, not one text; got {labels!r}.")
    given = labels if isinstance(labels, Mapping) else dict.fromkeys(labels or (), "")
    if len(given) < 2 or len(given) != len(labels or ()):
        raise ConfigurationError(f"a classifier needs two labels or more, each once; got {list(labels or ())}.")
    try:
        return LabelTask(
            name="labels",
            version="1",
            description="Labels of one's own.",
            question="Which label fits the text?",
            labels=FrozenDict(given),
            hypothesis=hypothesis or HYPOTHESIS,
        )
    except ValueError as error:
        raise ConfigurationError(f"these labels cannot be used: {error}") from error
