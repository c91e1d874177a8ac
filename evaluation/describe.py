"""What a system is made of, in words: the parameters of its run."""

from __future__ import annotations

import hashlib
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumps
from langchain_core.prompts import BasePromptTemplate
from langchain_core.runnables import RunnableSequence

from taleward.chains.classification.chain import LabelChain
from taleward.chains.story import StoryChain
from taleward.chains.summarization.summarizer import Summarizer
from taleward.chains.task import LabelTask, SummaryTask
from taleward.moderation.guard.best_of import BestOf
from taleward.moderation.guard.guard import Guard
from taleward.moderation.judges.base import Judge

_SETTINGS = (
    "precision",
    "temperature",
    "top_p",
    "top_k",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "max_tokens",
    "reasoning_effort",
)


def described(system: Any) -> dict[str, str]:
    """Names to values: what kind of system, and of ours the models, the template, the policy, the seeds."""
    return {"system": getattr(system, "__name__", type(system).__name__), **_parts(system)}


def _parts(system: Any) -> dict[str, str]:
    match system:
        case Guard():
            ranked = {"accept_score", "weights"} if isinstance(system, BestOf) else set()
            more = {name: str(getattr(system, name)) for name in sorted(ranked)}
            judge = {f"judge.{name}": value for name, value in _parts(system.judge).items()}
            writer = {f"writer.{name}": value for name, value in described(system.writer).items()}
            return {"attempts": str(system.attempts), "timeout_s": str(system.timeout_s), **more, **writer, **judge}
        case Judge():
            fitted = {} if system.calibration is None else {"calibration": system.calibration.signature}
            return {"spec": system.spec, "policy": system.policy.id, "band": system.band, **fitted}
        case StoryChain():
            prompt = system.template.prompt
            return {
                **_model(system.model),
                "template": f"{prompt.name}@{prompt.version}",
                "template_sha256": _digest(system.template.text),
                "policy": system.policy.id,
                "band": system.band,
                "seed": str(system.seed),
            }
        case LabelChain():
            return {"spec": system.spec, "task": _task(system.task), "threshold": str(system.threshold)}
        case Summarizer():
            return {"spec": system.spec, "task": _task(system.task), "sentences": str(system.sentences)}
        case BaseChatModel():
            return _model(system)
        case BasePromptTemplate():
            return {"prompt_sha256": _digest(dumps(system))}
        case RunnableSequence():
            return {
                f"step{n}.{name}": value
                for n, step in enumerate(system.steps, 1)
                for name, value in described(step).items()
            }
    return {}


def _model(model: BaseChatModel) -> dict[str, str]:
    """The model, and the settings that somebody gave it."""
    found = model._get_ls_params()
    name = ":".join(str(part) for part in (found.get("ls_provider"), found.get("ls_model_name")) if part)
    given = {setting: getattr(model, setting, None) for setting in _SETTINGS}
    return {"model": name, **{k: str(v) for k, v in given.items() if isinstance(v, (str, int, float))}}


def _task(task: LabelTask | SummaryTask) -> str:
    return f"{task.prompt.name}@{task.prompt.version}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
