"""Judges, one per file, and `judge()`, which makes one from a spec.

To add a judge, write a file and add a line to `JUDGES`.
"""

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
    "reading-level": "reading_level.ReadingLevelJudge",
    "personal-data": "personal_data.PersonalDataJudge",
    "openai-moderation": "openai_moderation.OpenAIModerationJudge",
    "sequence-classifier": "sequence_classifier.SequenceClassifierJudge",
    "llama-guard": "guard_models.llama_guard.LlamaGuard",
    "shieldgemma": "guard_models.shieldgemma.ShieldGemma",
    "granite-guardian": "guard_models.granite_guardian.GraniteGuardian",
    "qwen3guard": "guard_models.qwen3guard.Qwen3Guard",
    "wildguard": "guard_models.wildguard.WildGuard",
    "gpt-oss-safeguard": "guard_models.gpt_oss_safeguard.GptOssSafeguard",
    "nemotron": "guard_models.nemotron.Nemotron",
}
"""Judge names and the module and class of each. Any other spec is a chat model that judges by the policy's own words.

Put a guard model's family before its model spec: `llama-guard:hf:meta-llama/Llama-Guard-3-1B`.
"""

_FOLDER_OF_JUDGE = ("embedded:/", "embedded:./", "embedded:../", "embedded:~")
_TAKES_NO_MODEL = frozenset({"lexicon", "embedded:judge", "reading-level", "personal-data"})
_MODEL_OPTIONAL = _TAKES_NO_MODEL | {"openai-moderation"}
# Spelled too differently for the did-you-mean of `UnknownName`, which compares letters.
_FORMER_NAMES = {"encoder": "sequence-classifier"}


def judge(
    spec: str | BaseChatModel | Sequence[str | BaseChatModel | Judge],
    *,
    policy: Policy | str = "kids",
    band: str = "6-8",
    combine: str = "any",
    calibration: Calibration | str | Path | None = None,
    **options: Any,
) -> Judge:
    """Make a judge: a Runnable from text to verdict.

    Args:
        spec: One of

            * a name, such as `embedded:judge`, `lexicon` or `reading-level` (see `JUDGES`),
            * the folder of a tuned judge, such as `embedded:./tuned` (see `taleward.tuning.tune_judge`),
            * a guard model's family before its model spec, such as `qwen3guard:hf:Qwen/Qwen3Guard-Gen-0.6B`,
            * the spec of any chat model, such as `openai:gpt-5-mini`, or a LangChain chat model,
            * a list of these, or of judges, to combine.
        policy: A policy, or the name or path of one.
        band: An age band of the policy.
        combine: How to combine a list: `cascade` asks one judge after another until one is certain (see `Cascade`);
            `any`, `all`, `majority` and `weighted` ask all at once (see `Ensemble`).
        calibration: Fitted scores and thresholds, or the path of their file; see `fit_calibration`.
        options: Options of the judge. For a chat model they go to `chat_model`, for a list to `Cascade` or `Ensemble`.

    Raises:
        ConfigurationError: If the spec, policy, band or an option is invalid, or if the calibration was fitted for
            another judge, policy or band.
    """
    if calibration is not None:
        return judge(spec, policy=policy, band=band, combine=combine, **options).calibrated(calibration)
    if isinstance(spec, Sequence) and not isinstance(spec, str):
        judges = [part if isinstance(part, Judge) else judge(part, policy=policy, band=band) for part in spec]
        return _combine_judges(judges, combine, **options)
    if isinstance(spec, str) and spec.startswith(_FOLDER_OF_JUDGE):
        from taleward.moderation.judges.embedded.judge import EmbeddedJudge

        return EmbeddedJudge(spec.partition(":")[2], policy=policy, band=band, **options)
    if isinstance(spec, str):
        name, _, model = (spec, "", "") if spec in JUDGES else spec.partition(":")
        if name in JUDGES:
            return _named_judge(name, model, policy=policy, band=band, **options)
        if name in _FORMER_NAMES:
            current = ":".join(filter(None, [_FORMER_NAMES[name], model]))
            raise UnknownName("judge", name, JUDGES, hint=f"Did you mean {current!r}? The judge has been renamed.")
        if not model:
            raise UnknownName("judge", spec, JUDGES, hint="To use a chat model as judge, write 'provider:model'.")
    from taleward.moderation.judges.llm import LLMJudge

    try:
        return LLMJudge(spec, policy=policy, band=band, **options)
    except UnknownName as error:
        if isinstance(spec, str) and str(error).startswith("unknown provider"):
            hint = "Any provider of LangChain's init_chat_model works too once its package is installed."
            raise UnknownName("judge", spec.partition(":")[0], [*JUDGES, *PROVIDERS], hint=hint) from error
        raise


def _named_judge(name: str, model: str, **options: Any) -> Judge:
    if model and name in _TAKES_NO_MODEL:
        raise ConfigurationError(f"the judge {name!r} takes no model; got {model!r}.", hint=f"Write {name!r}.")
    if not model and name not in _MODEL_OPTIONAL:
        served = "" if name == "sequence-classifier" else f", or '{name}:openai:NAME' with base_url="
        raise ConfigurationError(
            f"the judge {name!r} needs a model after its name.",
            hint=f"For example '{name}:hf:REPOSITORY or FOLDER'{served}.",
        )
    module, _, class_name = JUDGES[name].rpartition(".")
    judge_class = getattr(import_module(f"taleward.moderation.judges.{module}"), class_name)
    instance: Judge = judge_class(model, **options) if model else judge_class(**options)
    return instance


def _combine_judges(judges: Sequence[Judge], combine: str, **options: Any) -> Judge:
    from taleward.moderation.judges.cascade import Cascade
    from taleward.moderation.judges.ensemble import RULES, Ensemble

    if combine == "cascade":
        return Cascade(judges, **options)
    if combine not in RULES:
        raise UnknownName("value of combine", combine, ["cascade", *RULES])
    return Ensemble(judges, combine, **options)
