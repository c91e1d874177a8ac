"""The judges, one small file each. A new judge is one file and one line in `JUDGES`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel

from taleward.core.errors import UnknownName
from taleward.core.policy import Policy
from taleward.moderation.calibration import Calibration
from taleward.moderation.judges.base import Assessment, Judge

__all__ = ["JUDGES", "Assessment", "Judge", "judge"]


def _lexicon(**options: Any) -> Judge:
    from taleward.moderation.judges.lexicon import LexiconJudge

    return LexiconJudge(**options)


def _embedded(**options: Any) -> Judge:
    from taleward.moderation.judges.embedded import EmbeddedJudge

    return EmbeddedJudge(**options)


JUDGES: dict[str, Callable[..., Judge]] = {"lexicon": _lexicon, "embedded:judge": _embedded}
"""Judges by name; every other spec is a chat model that judges by the policy's words."""


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
        spec: `embedded:judge`, `lexicon`, the spec of a chat model such as `openai:gpt-5-mini`, or a LangChain
            chat model; or several of them, or of judges, that are to be combined.
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
    if isinstance(spec, str) and spec in JUDGES:
        return JUDGES[spec](policy=policy, band=band, **options)
    from taleward.moderation.judges.llm import LLMJudge

    return LLMJudge(spec, policy=policy, band=band, **options)


def _combined(judges: Sequence[Judge], how: str, **options: Any) -> Judge:
    from taleward.moderation.judges.cascade import Cascade
    from taleward.moderation.judges.ensemble import RULES, Ensemble

    if how == "cascade":
        return Cascade(judges, **options)
    if how not in RULES:
        raise UnknownName("way to combine judges", how, ["cascade", *RULES])
    return Ensemble(judges, how, **options)
