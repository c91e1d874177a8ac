"""What a system is made of, in words: the parameters of its run."""

from __future__ import annotations

from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableSequence

from taleward.chains.story import StoryChain
from taleward.moderation.guard import Guard
from taleward.moderation.judges.base import Judge


def described(system: Any) -> dict[str, str]:
    """Names to values: what kind of system, and of ours the models, the template, the policy, the seeds."""
    return {"system": getattr(system, "__name__", type(system).__name__), **_parts(system)}


def _parts(system: Any) -> dict[str, str]:
    match system:
        case Guard():
            judge = {f"judge.{name}": value for name, value in _parts(system.judge).items()}
            writer = {f"writer.{name}": value for name, value in described(system.writer).items()}
            return {"attempts": str(system.attempts), "seconds": str(system.seconds), **writer, **judge}
        case Judge():
            fitted = {} if system.calibration is None else {"calibration": system.calibration.signature}
            return {"spec": system.spec, "policy": system.policy.id, "band": system.band, **fitted}
        case StoryChain():
            prompt = system.template.prompt
            return {
                "model": _model(system.model),
                "template": f"{prompt.name}@{prompt.version}",
                "policy": system.policy.id,
                "band": system.band,
                "seed": str(system.seed),
            }
        case BaseChatModel():
            return {"model": _model(system)}
        case RunnableSequence():
            return {
                f"step{n}.{name}": value
                for n, step in enumerate(system.steps, 1)
                for name, value in described(step).items()
            }
    return {}


def _model(model: BaseChatModel) -> str:
    found = model._get_ls_params()
    return ":".join(str(part) for part in (found.get("ls_provider"), found.get("ls_model_name")) if part)
