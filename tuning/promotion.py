"""Promote a tuned writer: compare it with the champion on held-out requests, and make it champion if it is better."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from pydantic import ValidationError

from taleward.backends.base.mlflow_store import mlflow_settings, quiet, registry_client
from taleward.backends.chat_models import chat_model
from taleward.backends.local.registered_models import RegisteredModel, registry_errors
from taleward.chains.story import StoryChain
from taleward.chains.template import Template
from taleward.core.errors import BackendError, ConfigurationError
from taleward.core.policy import Policy
from taleward.evaluation.comparison import compare
from taleward.evaluation.datasets import Dataset, load_dataset
from taleward.evaluation.evaluator import evaluate_side_by_side
from taleward.evaluation.gates import GATES_FILE, Gate, load_gates
from taleward.evaluation.journal import DEFAULT_SPOOL
from taleward.evaluation.metrics import metric as make_metric
from taleward.evaluation.metrics.base import Metric
from taleward.evaluation.metrics.verdict_rates import VerdictMetric
from taleward.evaluation.tracking.tale_recorder import DEFAULT_EXPERIMENT, get_or_create_experiment
from taleward.moderation.judges import Judge, judge as make_judge
from taleward.moderation.policies.load import load_policy
from taleward.tuning.preference import PreferenceShare, compare_preference
from taleward.tuning.promotion_result import Promotion
from taleward.tuning.promotion_rules import BETTER, NOT_WORSE, PromotionRules, decide
from taleward.tuning.registry import BASE_TAG, CHAMPION, find_candidate, find_champion, set_champion

_SHOWN_METRICS = ("judge_pass_rate", "value_coverage", "repetition", "distinct_2", "perplexity", "words")
# The small model scores hundreds of stories in seconds, and is neither of the writers.
_OPTIONS: dict[str, dict[str, Any]] = {"perplexity": {"model": "embedded:storyteller-mini"}}
_TRAINING_SPLIT = "train"


def promote(
    name: str,
    version: int | None = None,
    *,
    dataset: str | Path | Iterable[Any] | Any,
    against: str = CHAMPION,
    gates: Sequence[Gate] | None = None,
    not_worse: Sequence[str] = NOT_WORSE,
    better: Sequence[str] = BETTER,
    max_drop: float = 0.1,
    preference: str | BaseChatModel | None = None,
    template: str | Template = "adventure",
    judge: str | Sequence[str] | Judge = "embedded:judge",
    policy: Policy | str = "kids",
    band: str = "6-8",
    input_key: str | None = None,
    seed: int = 0,
    concurrency: int = 8,
    progress: bool = True,
    tracking_uri: str | None = None,
    experiment: str = DEFAULT_EXPERIMENT,
    spool: Path = DEFAULT_SPOOL,
) -> Promotion:
    """Compare a registered writer with the champion on held-out requests, and make it champion if it is better.

    Both write a story for every request, with the same seed, and one judge judges what they wrote: first drafts,
    without a guard. The alias `champion` moves only if no rule speaks against it: the thresholds in `gates` are met, no
    metric in `not_worse` is significantly worse, the samples exclude a drop of more than `max_drop`, and at least one
    metric in `better` is significantly better. The former champion gets the alias `previous`; see `rollback`.

    The two evaluations and the decision are MLflow runs. If the process is killed, the same call continues.

    Args:
        name: The name in the registry, see `register_writer`.
        version: The version to promote; by default the newest.
        dataset: Requests that the writer was not tuned on: anything that `load_dataset` takes.
        against: The spec of the model to compare with as long as there is no champion; by default the one that the
            version was tuned from.
        gates: Thresholds for the candidate; by default those in `taleward.toml`, if there is such a file.
        not_worse: Metrics that must not get worse.
        better: Metrics of which at least one must get better. Decide before you see any results.
        max_drop: The most that a share in `not_worse` may have dropped, by the interval of the difference, 0..0.5.
        preference: A chat model that says for each request which of the two stories is better. The metric `preference`
            is then one of `not_worse` and of `better`, too.
        template: The prompt template, or its name.
        judge: A judge, or anything that `taleward.judge` takes. Not one whose verdicts the writer was tuned on.
        policy: The policy that it judges by, or its name.
        band: The age band to write and to judge for.
        input_key: The input with a request in free words; by default all inputs are values of the template.
        seed: The seed of both writers.
        concurrency: How many samples are written at once.
        progress: Whether to show a progress bar if standard error is a terminal.
        tracking_uri: See `register_writer`.
        experiment: The name of the MLflow experiment.
        spool: The folder where evaluations are kept until MLflow has stored them.

    Returns:
        The decision with both evaluations and the reasons.

    Raises:
        UnknownName: If there is no such model or version, or a metric, template, policy or band is unknown.
        ConfigurationError: If the version is champion already, there is nothing to compare it with, the dataset is too
            small for a decision or holds training samples, or another option is invalid. Nothing is run then.
        BackendError: If a model, or the registry, cannot be reached.
        MissingExtra: If MLflow is not installed.
    """
    with quiet(), mlflow_settings():
        client = registry_client(tracking_uri, "the model registry")
        candidate = find_candidate(name, version, client)
        champion = find_champion(name, client)
        other = _other_spec(candidate, champion, against)
        loaded_policy = load_policy(policy) if isinstance(policy, str) else policy
        loaded_judge = judge if isinstance(judge, Judge) else make_judge(judge, policy=loaded_policy, band=band)
        asked = None if preference is None else PreferenceShare(preference, policy=loaded_policy, band=band)
        rules = _rules(gates, not_worse, better, max_drop, asked)
        metrics = _metrics(rules, loaded_judge)
        rules.check_metrics(metrics)
        samples = _held_out(load_dataset(dataset, tracking_uri=client.tracking_uri), rules)
        writers = {
            spec: StoryChain(_writer_model(spec, tracking_uri), template, policy=loaded_policy, band=band, seed=seed)
            for spec in (candidate.spec, other)
        }
    mine, theirs = evaluate_side_by_side(
        writers,
        samples,
        metrics,
        input_key=input_key,
        concurrency=concurrency,
        progress=progress,
        tracking_uri=client.tracking_uri,
        experiment=experiment,
        spool=spool,
    )
    for evaluation in (mine, theirs):
        if evaluation.undelivered:
            raise BackendError(
                f"the evaluation of {evaluation.name} could not be stored, and nothing was promoted: "
                f"{evaluation.undelivered}",
                hint="Run the same command again once MLflow can be reached; it continues where it stopped.",
                retryable=True,
            )
    if asked is not None:
        mine, theirs = compare_preference(mine, theirs, asked, seed=seed)
        metrics = (*metrics, asked)
    decision = decide(mine, theirs, rules, metrics)
    promotion = Promotion(
        name=name,
        version=candidate.version,
        against=other,
        former_version=champion.version if champion else None,
        promoted=decision.promoted,
        results=decision.results,
        samples_needed=decision.samples_needed,
        comparison=compare([mine, theirs], metrics=metrics, level=rules.level),
        dataset=mine.dataset,
        rules=rules,
        evaluation_runs=(mine.run_id or "", theirs.run_id or ""),
    )
    with quiet(), mlflow_settings(), registry_errors():
        return _record_and_move(promotion, candidate, champion, client, experiment)


def _other_spec(candidate: RegisteredModel, champion: RegisteredModel | None, against: str) -> str:
    """Return the spec of the model to compare with.

    Raises:
        ConfigurationError: If there is none, it is the candidate itself, or it is not the champion that there is.
    """
    if champion is not None and champion.version == candidate.version:
        raise ConfigurationError(
            f"{candidate.spec} is the champion already.", hint="Name another version, or register a new one."
        )
    if champion is not None:
        if against not in (CHAMPION, champion.spec):
            raise ConfigurationError(
                f"{candidate.name!r} has a champion, {champion.spec}, which a candidate must beat; got {against!r}.",
                hint="Leave `against` out. To look at other models, use taleward eval with several --model.",
            )
        return champion.spec
    if against != CHAMPION:
        return against
    base = candidate.tags.get(BASE_TAG)
    if not base:
        raise ConfigurationError(
            f"{candidate.name!r} has no champion yet, and the model that {candidate.spec} was tuned from is not known.",
            hint="Name the model that the first champion must beat, for example against='embedded:storyteller' "
            "(on the command line --against embedded:storyteller).",
        )
    return base


def _writer_model(spec: str, tracking_uri: str | None) -> BaseChatModel:
    options = {"tracking_uri": tracking_uri} if spec.startswith("models:") else {}
    return chat_model(spec, **options)


def _rules(
    gates: Sequence[Gate] | None,
    not_worse: Sequence[str],
    better: Sequence[str],
    max_drop: float,
    preference: PreferenceShare | None,
) -> PromotionRules:
    if gates is None:
        gates = load_gates() if GATES_FILE.exists() else ()
    asked = () if preference is None else (preference.name,)
    try:
        return PromotionRules(
            gates=tuple(gates),
            not_worse=tuple(dict.fromkeys([*not_worse, *asked])),
            better=tuple(dict.fromkeys([*better, *asked])),
            max_drop=max_drop,
        )
    except ValidationError as error:
        problem = error.errors()[0]
        raise ConfigurationError(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}; got {problem['input']!r}."
        ) from error


def _metrics(rules: PromotionRules, judge: Judge) -> tuple[Metric, ...]:
    """Create the metrics that are shown or decide; those that are computed from verdicts use the judge."""
    names = dict.fromkeys([*_SHOWN_METRICS, *rules.metric_names])
    names.pop(PreferenceShare.name, None)  # measured on pairs, afterwards
    if find_spec("textstat"):
        names["reading_grade"] = None
    metrics = []
    for name in names:
        created = make_metric(name, **_OPTIONS.get(name, {}))
        if isinstance(created, VerdictMetric):
            created = make_metric(name, judge=judge)
        if "tale" in created.needs:
            raise ConfigurationError(
                f"{name!r} is measured on a guard's tales, but writers are compared without a guard.",
                hint="Leave it out of the gates, or keep the gates for promotions in a file of their own.",
            )
        metrics.append(created)
    return tuple(metrics)


def _held_out(samples: Dataset, rules: PromotionRules) -> Dataset:
    """Check that the samples can support a decision.

    Raises:
        ConfigurationError: If they are too few, or some are for training.
    """
    training = [sample.id for sample in samples if sample.split == _TRAINING_SPLIT]
    if training:
        raise ConfigurationError(
            f"{len(training)} of {len(samples)} samples of {samples.label} are in the split 'train': a writer that has "
            "seen them is not tested by them.",
            hint="Pass the held-out samples only: load_dataset(...).select('split=test') (on the command line "
            "--filter split=test).",
        )
    if len(samples) < rules.min_samples:
        raise ConfigurationError(
            f"{len(samples)} samples cannot support a promotion, however good the candidate is: at least "
            f"{rules.min_samples} are needed to exclude a drop of more than {rules.max_drop:g}.",
            hint="Pass more held-out requests; hundreds are usual.",
        )
    return samples


def _record_and_move(
    promotion: Promotion, candidate: RegisteredModel, champion: RegisteredModel | None, client: Any, experiment: str
) -> Promotion:
    """Record the decision as an MLflow run, and move the alias if it is one for the candidate."""
    experiment_id = get_or_create_experiment(client, client.tracking_uri, experiment)
    tags = {"taleward.kind": "promotion", "taleward.promoted": str(promotion.promoted).lower()}
    run_name = f"promote {promotion.name}/{promotion.version}"
    run_id = str(client.create_run(experiment_id, run_name=run_name, tags=tags).info.run_id)
    recorded = promotion.model_copy(update={"run_id": run_id})
    for key, value in recorded.params.items():
        client.log_param(run_id, key, value)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "promotion.json").write_text(recorded.model_dump_json(indent=1), encoding="utf-8")
        Path(folder, "promotion.html").write_text(recorded.html(), encoding="utf-8")
        client.log_artifacts(run_id, folder)
    client.set_model_version_tag(candidate.name, str(candidate.version), "taleward.promotion_run", run_id)
    if recorded.promoted:
        set_champion(candidate, champion, client)
    # Last: a promotion that was interrupted stays unfinished in MLflow.
    client.set_terminated(run_id)
    return recorded
