"""Evaluate an image model or guard: draw, measure, and record everything as one MLflow run."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from taleward.core.errors import ConfigurationError
from taleward.core.redaction import redact
from taleward.evaluation.journal import DEFAULT_SPOOL
from taleward.evaluation.metrics.base import Metric
from taleward.evaluation.result import Evaluation
from taleward.evaluation.run_evaluations import make_plan, run_evaluations
from taleward.evaluation.run_samples import EvaluationBudget
from taleward.evaluation.tracking.runs import check_mlflow
from taleward.evaluation.tracking.tale_recorder import DEFAULT_EXPERIMENT, default_tracking_uri
from taleward.images.guard.guarded_picture import GuardedPicture
from taleward.images.guard.image_guard import ImageGuard
from taleward.images.metrics import resolve_picture_metrics
from taleward.images.metrics.base import PictureSample
from taleward.images.metrics.features import FeatureFunction
from taleward.images.metrics.prompt_coverage import Detector
from taleward.images.metrics.report import write_picture_files
from taleward.images.models.base import ImageModel
from taleward.images.models.factory import image_model
from taleward.images.models.request import MAX_SEED, as_request
from taleward.images.picture import Picture
from taleward.images.prompt_spec import PromptSpec

DEFAULT_PICTURE_METRICS = ("prompt_coverage", "palette_match", "aspect_match", "variation_diversity", "latency", "cost")


def evaluate_pictures(
    model: ImageModel | ImageGuard | str,
    specs: Iterable[PromptSpec | str] | Mapping[str, PromptSpec | str],
    metrics: Iterable[Metric | str] = DEFAULT_PICTURE_METRICS,
    *,
    n: int = 2,
    draw_seed: int = 0,
    size: tuple[int, int] | None = None,
    reference: Sequence[Picture] | Any = None,
    features: FeatureFunction | None = None,
    detector: Detector | None = None,
    name: str | None = None,
    params: Mapping[str, str] | None = None,
    max_cost_usd: float | None = None,
    max_seconds: float | None = None,
    concurrency: int = 1,
    resume: bool = True,
    resamples: int = 500,
    seed: int = 0,
    progress: bool = True,
    tracking_uri: str | None = None,
    experiment: str = DEFAULT_EXPERIMENT,
    spool: Path = DEFAULT_SPOOL,
) -> Evaluation:
    """Draw every prompt, measure the pictures, and record everything as one MLflow run.

    The run has each metric with its interval, a table of the prompts, plots, the pictures and a contact sheet of them.
    As in `evaluate`, finished prompts are on disk at once, a killed evaluation goes on where it stopped, and prompts on
    which the model fails are in `Evaluation.failed`. `compare` compares two evaluations of the same prompts.

    Pictures of a model have not been judged, and are recorded all the same: keep the run from children. Of a guard,
    only what it released is measured and recorded; a refusal has no pictures and counts in `release_rate`.

    Args:
        model: An image model, its spec, or an image guard.
        specs: Prompts, or prompts by id.
        metrics: Metrics, or names: `prompt_coverage`, `palette_match`, `aspect_match`, `size_match`,
            `variation_diversity`, `copy_rate`, `fid`, `kid`, `feature_precision`, `feature_recall`, `feature_density`,
            `feature_coverage`, `release_rate`, `latency`, `latency_p95`, `cost`, `judge_pass_rate`, `category_rate`.
        n: Variations per prompt.
        draw_seed: The seed of each prompt's first variation; the same for all models that are compared.
        size: Width and height in pixels; from each prompt's aspect ratio by default.
        reference: Real pictures, or their features, for metrics that compare with some; for `copy_rate`, the pictures
            that the model was trained on.
        features: The feature function of all metrics that take one; each has a default.
        detector: Says which things are in a picture, see `find_things`; a collage needs none.
        name: The name of the run; the model's spec by default.
        params: More parameters of the run.
        max_cost_usd: The most US dollars to spend in this call, by the costs of finished prompts.
        max_seconds: The most seconds in which this call starts prompts.
        concurrency: How many prompts are drawn at once; latencies are those under this load.
        resume: Whether to continue a killed evaluation of the same model, prompts and metrics.
        resamples: The number of bootstrap resamples for the intervals.
        seed: Seed of the resamples.
        progress: Whether to show a progress bar if standard error is a terminal.
        tracking_uri: The MLflow tracking URI; by default the store in `.taleward` in the working directory.
        experiment: The name of the MLflow experiment.
        spool: The folder where evaluations are kept until MLflow has stored them.

    Returns:
        The evaluation; its samples are `PictureSample`.

    Raises:
        ConfigurationError: If there are no prompts or no metrics, a metric lacks its reference or detector, a number is
            out of range, or every prompt failed.
        InvalidInputs: If a prompt is invalid, or the model cannot draw the size.
        JournalLocked: If another process is running the same evaluation.
        MissingExtra: If MLflow or Pillow is not installed.
        UnknownName: If there is no such metric.
    """
    check_mlflow()
    if concurrency < 1 or resamples < 0 or not 0 <= draw_seed <= MAX_SEED or n < 1:
        raise ConfigurationError(
            f"concurrency and n must be 1 or more, resamples 0 or more, and draw_seed from 0 to {MAX_SEED}; got "
            f"{concurrency}, {n}, {resamples} and {draw_seed}."
        )
    system = model if isinstance(model, ImageGuard) else image_model(model)
    samples = _samples(specs, size)
    resolved = resolve_picture_metrics(metrics, reference=reference, features=features, detector=detector)
    request: dict[str, Any] = {"n": n, "seed": draw_seed, "size": size}
    _check_requests(system, samples, request)
    digest = _digest(samples, request)
    plan = make_plan(
        name=name or _params(system)["model"],
        params={**_params(system), "n": str(n), "draw_seed": str(draw_seed), **_size_param(size), **(params or {})},
        metrics=resolved,
        dataset=("prompts", digest),
        data=digest,
        total=len(samples),
        repeat=1,
        uri=tracking_uri or default_tracking_uri(),
        experiment=experiment,
        resamples=resamples,
        seed=seed,
    )

    async def draw(sample: PictureSample) -> PictureSample:
        started = time.perf_counter()
        result: Any = await system.ainvoke(sample.prompt, **request)
        return _with_pictures(sample, result, time.perf_counter() - started)

    [evaluation] = run_evaluations(
        [(plan, draw)],
        samples,
        resolved,
        budget=EvaluationBudget(max_cost_usd, max_seconds),
        concurrency=concurrency,
        resume=resume,
        progress=progress,
        spool=spool,
        sample_type=PictureSample,
        write=write_picture_files,
    )
    return evaluation


def _samples(
    specs: Iterable[PromptSpec | str] | Mapping[str, PromptSpec | str], size: tuple[int, int] | None
) -> list[PictureSample]:
    if isinstance(specs, (str, PromptSpec)):
        raise ConfigurationError("specs must be a list of prompts; got one prompt.", hint="Put it in brackets.")
    rows = specs.items() if isinstance(specs, Mapping) else ((str(i), spec) for i, spec in enumerate(specs, 1))
    samples = []
    for sample_id, spec in rows:
        if not isinstance(spec, (str, PromptSpec)):
            raise ConfigurationError(f"prompt {sample_id!r} is a {type(spec).__name__}; expected a PromptSpec or text.")
        prompt = PromptSpec.of(spec) if isinstance(spec, str) else spec
        try:
            samples.append(PictureSample(id=sample_id, inputs={"prompt": prompt.prompt}, prompt=prompt, size=size))
        except ValidationError as error:
            raise ConfigurationError(f"prompt {sample_id!r}: {error.errors()[0]['msg']}.") from error
    if not samples:
        raise ConfigurationError("an evaluation needs at least one prompt; got none.")
    return samples


def _check_requests(
    system: ImageModel | ImageGuard, samples: Sequence[PictureSample], request: Mapping[str, Any]
) -> None:
    """Refuse what the model cannot draw before anything is drawn."""
    drawer = system.model if isinstance(system, ImageGuard) else system
    for sample in samples:
        checked = as_request(sample.prompt, dict(request))
        drawer.check_request(checked)
        drawer.size_of(checked)


def _digest(samples: Sequence[PictureSample], request: Mapping[str, Any]) -> str:
    rows = [[sample.id, sample.prompt.model_dump(mode="json")] for sample in samples]
    content = json.dumps([rows, request], sort_keys=True)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def _params(system: ImageModel | ImageGuard) -> dict[str, str]:
    """Return what tells a model or guard apart from others."""
    kind = {"system": type(system).__name__}
    if isinstance(system, ImageModel):
        settings = {name: redact(str(value)) for name, value in system.parameters.items() if value not in (None, {})}
        return {**kind, "model": system.spec, **settings}
    return {
        **kind,
        **{name: value for name, value in _params(system.model).items() if name != "system"},
        "judge": system.prompt_judge.spec,
        "picture_judges": ", ".join(judge.spec for judge in system.picture_judges),
        "policy": system.prompt_judge.policy.id,
        "band": system.prompt_judge.band,
        "attempts": str(system.attempts),
        "fallback": system.fallback.spec if system.fallback else "none",
    }


def _size_param(size: tuple[int, int] | None) -> dict[str, str]:
    return {} if size is None else {"size": f"{size[0]}x{size[1]}"}


def _with_pictures(
    sample: PictureSample, result: GuardedPicture | Sequence[Picture], latency_s: float
) -> PictureSample:
    if isinstance(result, GuardedPicture):
        drawn = [judged.lineage.cost_usd for attempt in result.attempts for judged in attempt.pictures]
        judged = [v for attempt in result.attempts for picture in attempt.pictures for v in picture.verdicts]
        verdicts = [v for v in (result.prompt_verdict, *result.input_verdicts, *judged) if v is not None]
        costs = [*drawn, *(verdict.cost_usd for verdict in verdicts)]
        pictures, verdict, released = result.released_pictures, result.verdict, result.released
    else:
        pictures, verdict, released = tuple(picture for picture in result if not picture.blocked), None, None
        costs = [picture.lineage.cost_usd for picture in result]
    known = [cost for cost in costs if cost is not None]
    return sample.model_copy(
        update={
            "pictures": pictures,
            "output": pictures[0].alt_text if pictures else None,
            "verdict": verdict,
            "released": released,
            "latency_s": latency_s,
            "cost_usd": sum(known) if known else None,
        }
    )
