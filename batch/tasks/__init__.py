"""Tasks, one per file, and `task_from`, which makes one from its name and configuration.

To add a task, write a file and add a line to `TASKS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from taleward.batch.tasks.base import BatchTask, RowResult, RowSeeds, TaskRunner
from taleward.core.errors import ConfigurationError, UnknownName
from taleward.core.yaml_files import did_you_mean

__all__ = ["TASKS", "BatchTask", "RowResult", "RowSeeds", "TaskRunner", "task_class", "task_from"]

TASKS: Mapping[str, str] = {
    "tell": "tell.TellTask",
    "judge": "judge.JudgeTask",
    "evaluate": "evaluate.EvaluateTask",
    "embed": "embed.EmbedTask",
    "summarize": "summarize.SummarizeTask",
    "classify": "classify.ClassifyTask",
    "function": "function.FunctionTask",
}
"""Names of tasks, and the module and class of each."""


def task_class(name: str) -> type[BatchTask]:
    """Return the class of a task.

    Raises:
        UnknownName: If there is no such task.
    """
    if name not in TASKS:
        raise UnknownName("task", name, TASKS)
    module, _, class_name = TASKS[name].partition(".")
    found: type[BatchTask] = getattr(import_module(f"taleward.batch.tasks.{module}"), class_name)
    return found


def task_from(name: str, settings: Mapping[str, Any]) -> BatchTask:
    """Make a task.

    Args:
        name: The task's name.
        settings: Its fields.

    Raises:
        UnknownName: If there is no such task.
        ConfigurationError: If a setting is unknown or invalid.
    """
    found = task_class(name)
    fields = list(found.model_fields)
    for setting in settings:
        if setting not in fields:
            raise ConfigurationError(
                f"the task {name!r} has no setting {setting!r};{did_you_mean(setting, fields)} known: "
                f"{', '.join(fields)}."
            )
    try:
        return found.model_validate(settings)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise ConfigurationError(f"task {name!r}, {place}: {problem['msg']}; got {problem['input']!r:.80}.") from error
