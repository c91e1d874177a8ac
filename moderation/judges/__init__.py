"""The judges, one small file each. A new judge is one file and one line in `JUDGES`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel

from taleward.backends.chat_models import PROVIDERS
from taleward.core.errors import ConfigurationError, UnknownName
from taleward.core.policy import Policy
from taleward.moderation.calibration.calibration import Calibration
from taleward.moderation.judges.base import Assessment, Judge

__all__ = ["JUDGES", "Assessment", "Judge", "judge"]

JUDGES = {
    "lexicon": "lexicon.LexiconJudge",
    "embedded:judge": "embedded.judge.EmbeddedJudge",
    "reading-level": "reading_level.ReadingLevel",
    "personal-data": "personal_data.PersonalData",
    "openai-moderation": "openai_moderation.OpenAIModeration",
    "encoder": "sequence_classifier.SequenceClassifierJudge",
    "llama-guard": "guard_models.llama_guard.LlamaGuard",
    "shieldgemma": "guard_models.shieldgemma.ShieldGemma",
    "granite-guardian": "guard_models.granite_guardian.GraniteGuardian",
    "qwen3guard": "guard_models.qwen3guard.Qwen3Guard",
    "wildguard": "guard_models.wildguard.WildGuard",
    "gpt-oss-safeguard": "guard_models.gpt_oss_safeguard.Safeguard",
    "nemotron": "guard_models.nemotron.Nemotron",
}
"""Judges by name, with file and class; every other spec is a chat model that judges by the policy's words.

A family of guard models goes before the model's own spec: `llama-guard:hf:meta-llama/Llama-Guard-3-1B`.
"""

_WITHOUT_MODEL = frozenset({"lexicon", "embedded:judge", "reading-level", "personal-data"})
_ALONE = _WITHOUT_MODEL | {"openai-moderation"}


def judge(
    spec: str | BaseChatModel | Sequence[str | BaseChatModel | Judge],
    *,
    policy: Policy | str = "kids",
    band: str = "6-8",
    combine: str = "any",
    calibration: Calibration | str | Path | None = None,
    **options: Any,
) -> Judge:
    """A judge: a Runnable from a text to a verdict.

    Args:
        spec: A name such as `embedded:judge`, `lexicon` or `reading-level`; a guard model's family before its spec,
            such as `qwen3guard:hf:Qwen/Qwen3Guard-Gen-0.6B`; the spec of any chat model, such as `openai:gpt-5-mini`;
            or a LangChain chat model; or several of them, or of judges, that are to be combined. `JUDGES` lists the
            names and families.
        policy: A policy, or the name or path of one.
        band: A band of the policy.
        combine: How several are combined: `cascade` asks from the first on until one is sure, see `Cascade`; `any`,
            `all`, `majority` and `weighted` ask all at once, see `Ensemble`.
        calibration: Fitted scores and thresholds, or the path of their file; see `fit_calibration`.
        options: For the judge; those of a chat model go to `chat_model`, those of several to `Cascade` or `Ensemble`.

    Raises:
        ConfigurationError: Spec, policy or band cannot be used, or the calibration was fitted for others.
    """
    if calibration is not None:
        return judge(spec, policy=policy, band=band, combine=combine, **options).calibrated(calibration)
    if isinstance(spec, Sequence) and not isinstance(spec, str):
        made = [part if isinstance(part, Judge) else judge(part, policy=policy, band=band) for part in spec]
        return _combined(made, combine, **options)
    if isinstance(spec, str):
        name, _, model = (spec, "", "") if spec in JUDGES else spec.partition(":")
        if name in JUDGES:
            return _made(name, model, policy=policy, band=band, **options)
        if not model:
            raise UnknownName("judge", spec, JUDGES, hint="A chat model as judge is 'provider:model'.")
    from taleward.moderation.judges.llm import LLMJudge

    try:
        return LLMJudge(spec, policy=policy, band=band, **options)
    except UnknownName as error:
        if isinstance(spec, str) and str(error).startswith("unknown provider"):
            hint = "Or any provider of LangChain's init_chat_model, with its package."
            raise UnknownName("judge", spec.partition(":")[0], [*JUDGES, *PROVIDERS], hint=hint) from error
        raise


def _made(name: str, model: str, **options: Any) -> Judge:
    if model and name in _WITHOUT_MODEL:
        raise ConfigurationError(f"the judge {name!r} takes no model; got {model!r}.", hint=f"Write {name!r}.")
    if not model and name not in _ALONE:
        raise ConfigurationError(
            f"the judge {name!r} needs a model behind its name.",
            hint=f"For example '{name}:hf:REPOSITORY or FOLDER', or '{name}:openai:NAME' with base_url=.",
        )
    file, _, kind = JUDGES[name].rpartition(".")
    make = getattr(import_module(f"taleward.moderation.judges.{file}"), kind)
    made: Judge = make(model, **options) if model else make(**options)
    return made


def _combined(judges: Sequence[Judge], how: str, **options: Any) -> Judge:
    from taleward.moderation.judges.cascade import Cascade
    from taleward.moderation.judges.ensemble import RULES, Ensemble

    if how == "cascade":
        return Cascade(judges, **options)
    if how not in RULES:
        raise UnknownName("way to combine judges", how, ["cascade", *RULES])
    return Ensemble(judges, how, **options)
