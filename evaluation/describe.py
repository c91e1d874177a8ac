"""Describe an evaluated system as the parameters of its run: models, prompts, policy, seeds."""

from __future__ import annotations

import hashlib
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumps
from langchain_core.prompts import BasePromptTemplate
from langchain_core.runnables import RunnableSequence

from taleward.chains.classification.label_chain import LabelChain
from taleward.chains.story import StoryChain
from taleward.chains.summarization.summarizer import Summarizer
from taleward.chains.task_definitions import LabelTask, SummaryTask
from taleward.moderation.guard.best_of import BestOf
from taleward.moderation.guard.guard import Guard
from taleward.moderation.judges.base import Judge

_MODEL_SETTINGS = (
    "precision",
    "temperature",
    "top_p",
    "top_k",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "max_tokens",
    "reasoning_effort",
)


def describe_system(system: Any) -> dict[str, str]:
    """Return the parameters of a system by name.

    The parameter `system` is the name of the function or of the Runnable's type. Guards, judges, chains, chat models
    and prompts also have their settings.
    """
    return {"system": getattr(system, "__name__", type(system).__name__), **_settings(system)}


def _settings(system: Any) -> dict[str, str]:
    match system:
        case Guard():
            best_of = ("accept_score", "weights", "brevity") if isinstance(system, BestOf) else ()
            best_of_settings = {name: str(getattr(system, name)) for name in best_of}
            judge = {f"judge.{name}": value for name, value in _settings(system.judge).items()}
            writer = {f"writer.{name}": value for name, value in describe_system(system.writer).items()}
            budget = {"attempts": str(system.attempts), "timeout_s": str(system.timeout_s)}
            return {**budget, **best_of_settings, **writer, **judge}
        case Judge():
            calibration = {} if system.calibration is None else {"calibration": system.calibration.signature}
            return {"spec": system.spec, "policy": system.policy.id, "band": system.band, **calibration}
        case StoryChain():
            prompt = system.template.prompt
            return {
                **_model_settings(system.model),
                "template": f"{prompt.name}@{prompt.version}",
                "template_sha256": _short_sha256(system.template.model_dump_json()),
                "policy": system.policy.id,
                "band": system.band,
                "seed": str(system.seed),
            }
        case LabelChain():
            return {"spec": system.spec, "task": _task_version(system.task), "threshold": str(system.threshold)}
        case Summarizer():
            return {"spec": system.spec, "task": _task_version(system.task), "sentences": str(system.sentences)}
        case BaseChatModel():
            return _model_settings(system)
        case BasePromptTemplate():
            return {"prompt_sha256": _short_sha256(dumps(system))}
        case RunnableSequence():
            return {
                f"step{number}.{name}": value
                for number, step in enumerate(system.steps, 1)
                for name, value in describe_system(step).items()
            }
    return {}


def _model_settings(model: BaseChatModel) -> dict[str, str]:
    """Return the model's name and those of its settings that have a value."""
    # LangChain has no public way to ask any chat model for its provider and model name.
    tracing_params = model._get_ls_params()
    name = ":".join(
        str(part) for part in (tracing_params.get("ls_provider"), tracing_params.get("ls_model_name")) if part
    )
    settings = {setting: getattr(model, setting, None) for setting in _MODEL_SETTINGS}
    return {"model": name, **{k: str(v) for k, v in settings.items() if isinstance(v, (str, int, float))}}


def _task_version(task: LabelTask | SummaryTask) -> str:
    return f"{task.prompt.name}@{task.prompt.version}"


def _short_sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
