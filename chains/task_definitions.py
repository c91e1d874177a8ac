"""Classification and summarization tasks: the labels, questions and instructions, loaded from YAML files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import Field, model_validator

from taleward.core.errors import ConfigurationError, UnknownName
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.core.tale import PromptVersion
from taleward.core.yaml_files import load_yaml
from taleward.stores.example_retriever import LabeledExample

DEFAULT_HYPOTHESIS = "This example is {label}."
"""The default `hypothesis_template` of Hugging Face's zero-shot pipeline, so that scores can be compared."""
_SHIPPED_FOLDER = Path(__file__).parent / "tasks"
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class LabelTask(FrozenModel):
    """A classification task: the labels and how to ask for them.

    Attributes:
        name: The task's name, the same as its file's.
        version: Changes whenever the text of a prompt does.
        description: One sentence for people.
        question: The question that a model answers about the text.
        noun: What the text is, for example `review`.
        answer: What the label is, for example `sentiment`.
        labels: Two or more labels with their descriptions; an empty description counts as none.
        hypothesis: For NLI models: a sentence that contains `{label}` or `{description}`.
        examples: Labeled texts.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    version: str = Field(min_length=1)
    description: str = Field(min_length=1)
    question: str = Field(min_length=1)
    noun: str = Field(default="text", min_length=1)
    answer: str = Field(default="label", min_length=1)
    labels: FrozenMapping[str, str] = Field(min_length=2)
    hypothesis: str = DEFAULT_HYPOTHESIS
    examples: tuple[LabeledExample, ...] = ()

    @model_validator(mode="after")
    def _check_labels(self) -> LabelTask:
        # A label is matched against one line of a model's answer, so it must be exactly that line.
        if malformed := [label for label in self.labels if not label or label != " ".join(label.split())]:
            raise ValueError(f"a label must be one line, without leading, trailing or double spaces; got {malformed}")
        placeholders = set(_PLACEHOLDER.findall(self.hypothesis))
        if not placeholders or not placeholders <= {"label", "description"}:
            raise ValueError(f"the hypothesis needs {{label}} or {{description}}; got {self.hypothesis!r}")
        if unknown := sorted({example.label for example in self.examples} - set(self.labels)):
            raise ValueError(f"examples have unknown labels {unknown}; the task has {list(self.labels)}")
        return self

    @property
    def prompt(self) -> PromptVersion:
        """Name and version, for a result's lineage."""
        return PromptVersion(name=self.name, version=self.version)

    def hypothesis_for(self, label: str) -> str:
        """Fill in the hypothesis for a label; a label without a description describes itself."""
        values = {"label": label, "description": self.labels[label] or label}
        return _PLACEHOLDER.sub(lambda match: values[match[1]], self.hypothesis)


class SummaryTask(FrozenModel):
    """A summarization task: how to ask for a summary.

    Attributes:
        name: The task's name, the same as its file's.
        version: Changes whenever the text of a prompt does.
        description: One sentence for people.
        instruction: The instruction for a chat model.
        cue: The words after the text that make a completion model continue with a summary (`TL;DR:` in the GPT-2
            paper, Radford et al. 2019).
        sentences: Maximum number of sentences, unless the summarizer sets its own.
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
    """List the shipped tasks of a kind, sorted."""
    return tuple(sorted(file.stem for file in (_SHIPPED_FOLDER / _FOLDERS[kind]).glob("*.yaml")))


def load_task(kind: type[T], name: str | Path | T) -> T:
    """Load a task by name or from a file.

    Args:
        kind: `LabelTask` or `SummaryTask`.
        name: A shipped task's name, or the path of a `.yaml` file. A task is returned unchanged.

    Raises:
        UnknownName: If there is no such task; the message lists the shipped ones.
        InvalidFile: If the file is not a valid task of this kind; the message gives the lines.
    """
    if isinstance(name, kind):
        return name
    if isinstance(name, Path) or str(name).endswith((".yaml", ".yml")):
        return load_yaml(Path(str(name)), kind)
    if name not in task_names(kind):
        raise UnknownName("task", str(name), task_names(kind), hint="Or give the path of your own .yaml file.")
    return load_yaml(_SHIPPED_FOLDER / _FOLDERS[kind] / f"{name}.yaml", kind)


def resolve_label_task(
    labels: Sequence[str] | Mapping[str, str] | None,
    task: str | Path | LabelTask | None,
    hypothesis: str | None,
) -> LabelTask:
    """Return the task for a classifier's `labels=` or `task=` argument.

    Args:
        labels: Your own labels, with or without descriptions.
        task: A task, its name or its file; give either this or `labels`.
        hypothesis: Replaces the task's hypothesis.

    Raises:
        ConfigurationError: If both or neither of `labels` and `task` are given, or the labels are invalid.
    """
    if (labels is None) == (task is None):
        shipped = ", ".join(task_names(LabelTask))
        raise ConfigurationError(
            f"a classifier takes either labels or a task; got labels={labels!r} and task={task!r}.",
            hint=f"For example labels=['calm', 'frightening'], or one of the tasks {shipped}.",
        )
    if task is not None:
        loaded_task = load_task(LabelTask, task)
        if not hypothesis:
            return loaded_task
        # Not `model_copy(update=...)`, which would not validate the hypothesis.
        return LabelTask.model_validate({**dict(loaded_task), "hypothesis": hypothesis})
    if isinstance(labels, str):
        raise ConfigurationError(f"labels must be a list of labels, not one text; got {labels!r}.")
    descriptions = labels if isinstance(labels, Mapping) else dict.fromkeys(labels or (), "")
    if len(descriptions) < 2 or len(descriptions) != len(labels or ()):
        raise ConfigurationError(f"a classifier needs two or more different labels; got {list(labels or ())}.")
    try:
        return LabelTask(
            name="labels",
            version="1",
            description="The caller's own labels.",
            question="Which label fits the text?",
            labels=FrozenDict(descriptions),
            hypothesis=hypothesis or DEFAULT_HYPOTHESIS,
        )
    except ValueError as error:
        raise ConfigurationError(f"invalid labels: {error}") from error
