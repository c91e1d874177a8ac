"""Base class of picture judges, which fail closed, and `picture_judge`, which makes one from a spec.

To add a judge, write a file and add a line to `PICTURE_JUDGES`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableConfig

from taleward.core.concurrency.abandoned_calls import LeftBehind
from taleward.core.concurrency.sync_async import run_in_thread
from taleward.core.errors import ConfigurationError, UnknownName
from taleward.core.frozen_model import FrozenDict
from taleward.core.policy import Policy, exceeds
from taleward.core.redaction import format_error
from taleward.core.verdict import Outcome, Verdict
from taleward.images.picture import Picture
from taleward.images.picture_formats import value_ranges
from taleward.moderation.judges.base import Assessment
from taleward.moderation.policies.load import load_policy

if TYPE_CHECKING:
    from PIL import Image

PICTURE_JUDGES: Mapping[str, str] = {
    "picture-checks": "picture_checks.PictureChecks",
    "open-nsfw": "open_nsfw.OpenNsfwJudge",
    "omni-moderation": "omni_moderation.OmniModerationJudge",
    "shieldgemma-2": "shieldgemma2.ShieldGemma2Judge",
    "llama-guard-4": "llama_guard4.LlamaGuard4Judge",
}
"""Judge names and the module and class of each. Any other spec is a chat model that takes pictures."""

_NEED_A_MODEL = {
    "shieldgemma-2": "shieldgemma-2:google/shieldgemma-2-4b-it",
    "llama-guard-4": "llama-guard-4:openai:meta-llama/Llama-Guard-4-12B",
}
_TAKE_NO_MODEL = ("picture-checks", "open-nsfw")


class PictureJudge(Runnable[Picture, Verdict], ABC):
    """A Runnable from picture to verdict, under one policy and age band.

    Subclasses implement `assess`. This class applies the policy, measures the latency, and turns every exception into a
    verdict with the outcome `error`, so that a failing judge never releases a picture.

    Args:
        spec: The judge's name in verdicts.
        policy: A policy, or the name or path of one.
        band: An age band of the policy.
    """

    def __init__(self, spec: str, *, policy: Policy | str = "kids", band: str = "6-8") -> None:
        self.spec = spec
        self.policy = load_policy(policy) if isinstance(policy, str) else policy
        self.policy.band(band)
        self.band = band
        self._left_behind = LeftBehind(f"the picture judge {spec}")

    @property
    def left_behind(self) -> LeftBehind:
        """The calls of this judge that were given up and still run."""
        return self._left_behind

    @abstractmethod
    def assess(self, picture: Picture) -> Assessment:
        """Judge a picture; exceptions may leave this method."""

    def invoke(self, input: Picture, config: RunnableConfig | None = None, **kwargs: Any) -> Verdict:
        """Judge a picture. Exceptions become a verdict with the outcome `error`."""
        return self._call_with_config(self._judge, input, config, run_type="chain")

    async def ainvoke(self, input: Picture, config: RunnableConfig | None = None, **kwargs: Any) -> Verdict:
        """Judge a picture without blocking the event loop; see `invoke`."""

        async def judge(picture: Picture) -> Verdict:
            return await run_in_thread(partial(self._judge, picture), self._left_behind)

        return await self._acall_with_config(judge, input, config, run_type="chain")

    def _judge(self, picture: Picture) -> Verdict:
        if not isinstance(picture, Picture):
            raise TypeError(f"a picture judge takes a Picture; got {type(picture).__name__}")
        started_at = time.perf_counter()
        try:
            assessment = self.assess(picture)
        except Exception as error:  # noqa: BLE001  fail closed: any exception must become a verdict
            assessment = Assessment(outcome="error", detail=format_error(error))
        return Verdict(
            outcome=assessment.outcome or self._decide(assessment),
            judge=self.spec,
            policy=self.policy.id,
            band=self.band,
            scores=FrozenDict(dict(assessment.scores)),
            findings=assessment.findings,
            detail=assessment.detail,
            latency_s=time.perf_counter() - started_at,
            cost_usd=assessment.cost_usd,
        )

    def _decide(self, assessment: Assessment) -> Outcome:
        score_fails = any(s >= self.policy.threshold(c, self.band) for c, s in assessment.scores.items())
        finding_fails = any(
            exceeds(f.severity, self.policy.tolerance(f.category, self.band)) for f in assessment.findings
        )
        return "fail" if score_fails or finding_fails else "pass"


def views(picture: Picture, max_side: int | None = None) -> list[Image.Image]:
    """Return how a picture can look: on white and, if it is transparent somewhere, on black too.

    What is drawn white on nothing is seen on a dark page only.

    Args:
        picture: The picture; an SVG is drawn.
        max_side: The longest side in pixels; larger pictures are made smaller.
    """
    from PIL import Image

    image = picture.to_pil()
    if max_side is not None and max(image.size) > max_side:
        image.thumbnail((max_side, max_side))
    if image.mode == "P" or "transparency" in image.info:
        image = image.convert("RGBA")
    if "A" not in image.getbands() or value_ranges(image.getchannel("A"))[0][0] == 255:
        return [image.convert("RGB")]
    image = image.convert("RGBA")
    return [
        Image.alpha_composite(Image.new("RGBA", image.size, color), image).convert("RGB")
        for color in ("white", "black")
    ]


PictureJudgeLike = str | BaseChatModel | PictureJudge


def picture_judge(
    spec: PictureJudgeLike, *, policy: Policy | str = "kids", band: str = "6-8", **options: Any
) -> PictureJudge:
    """Make a picture judge.

    Args:
        spec: A name, such as `picture-checks`, `open-nsfw` or `omni-moderation`; a family of guard models before its
            model, such as `shieldgemma-2:google/shieldgemma-2-4b-it`; the spec of a chat model that takes pictures,
            such as `openai:gpt-5-mini`, or a LangChain chat model; or a picture judge, which is returned unchanged.
        policy: A policy, or the name or path of one.
        band: An age band of the policy.
        options: Options of the judge; for a chat model they go to `chat_model`.

    Raises:
        ConfigurationError: If the spec, policy, band or an option is invalid.
    """
    if isinstance(spec, PictureJudge):
        if options:
            raise ConfigurationError(f"cannot apply options to an existing judge; got {sorted(options)}.")
        return spec
    name, _, model = spec.partition(":") if isinstance(spec, str) else ("", "", "")
    if name in PICTURE_JUDGES:
        if model and name in _TAKE_NO_MODEL:
            raise ConfigurationError(f"the judge {name!r} takes no model; got {model!r}.", hint=f"Write {name!r}.")
        if not model and name in _NEED_A_MODEL:
            raise ConfigurationError(f"the judge {name!r} needs a model.", hint=f"For example {_NEED_A_MODEL[name]!r}.")
        module, _, class_name = PICTURE_JUDGES[name].rpartition(".")
        judge_class = getattr(import_module(f"taleward.images.guard.{module}"), class_name)
        made: PictureJudge = judge_class(*((model,) if model else ()), policy=policy, band=band, **options)
        return made
    if isinstance(spec, str) and not model:
        raise UnknownName(
            "picture judge",
            spec,
            PICTURE_JUDGES,
            hint="To use a chat model that takes pictures, write 'provider:model'.",
        )
    from taleward.images.guard.picture_llm_judge import PictureLLMJudge

    return PictureLLMJudge(spec, policy=policy, band=band, **options)


def picture_judges(
    specs: Sequence[PictureJudgeLike], *, policy: Policy | str = "kids", band: str = "6-8"
) -> tuple[PictureJudge, ...]:
    """Make several picture judges; a picture must pass all of them, so put the cheap ones first.

    Raises:
        ConfigurationError: If there is none, or one cannot be made.
    """
    if isinstance(specs, str) or not specs:
        raise ConfigurationError(
            f"picture_judges must be a list with at least one judge; got {specs!r}.",
            hint="For example ['picture-checks', 'open-nsfw'].",
        )
    return tuple(picture_judge(spec, policy=policy, band=band) for spec in specs)
