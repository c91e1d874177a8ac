"""Describe a guard as data, or say which part of it cannot be described."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from taleward.backends.base.shipped_models import is_embedded
from taleward.backends.base.spec import parse_spec
from taleward.backends.hosted.chat import HostedChat
from taleward.backends.local.chat import LocalChat
from taleward.backends.onnx.minilm import MiniLMEmbeddings
from taleward.chains.story import StoryChain
from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict
from taleward.core.redaction import is_secret_name, redact
from taleward.evaluation.tracking.tale_recorder import MlflowRecorder
from taleward.moderation.guard.best_of import BestOf
from taleward.moderation.guard.guard import Guard
from taleward.moderation.judges import JUDGES, Judge
from taleward.moderation.judges.cascade import Cascade
from taleward.moderation.judges.embedded.judge import EmbeddedJudge
from taleward.moderation.judges.ensemble import Ensemble
from taleward.moderation.judges.guard_models.base import GuardModel
from taleward.moderation.judges.llm import LLMJudge
from taleward.moderation.judges.openai_moderation import OpenAIModerationJudge
from taleward.moderation.judges.reading_level import ReadingLevelJudge
from taleward.moderation.judges.sequence_classifier import SequenceClassifierJudge
from taleward.tuning.deployment.config import BestOfSettings, GuardConfig, GuardSettings, JudgeConfig, WriterConfig

_FILE_HINT = (
    "Write a Python file that makes the guard and ends with mlflow.models.set_model(GuardAgent(guard)), with "
    "GuardAgent from taleward.tuning, and pass the file to log_guard instead."
)
# LangChain sets the last two itself.
_NOT_OPTIONS = {"spec", "path", "metadata", "profile"}
_NO_CALIBRATION = "A calibration is fitted for one age band. Leave bands out, or deploy a guard for each band."


def describe_guard(guard: Guard, bands: Sequence[str] | None = None) -> GuardConfig:
    """Describe a guard as data.

    Args:
        guard: A `Guard` or `BestOf` of a `StoryChain` and judges that `judge` can make.
        bands: The age bands that requests may name; by default all of the policy, those that a judge was tuned for, or
            only the guard's own if a judge is calibrated.

    Raises:
        ConfigurationError: If a part of the guard cannot be described; the message names it.
    """
    if type(guard) not in (Guard, BestOf):
        raise _not_described(f"a {type(guard).__name__}, which is neither a Guard nor a BestOf")
    judge, writer = guard.judge, guard.writer
    if type(writer) is not StoryChain:
        raise _not_described(f"the writer, {_name(writer)}, which is not a StoryChain")
    if (writer.policy, writer.band) != (judge.policy, judge.band):
        raise ConfigurationError(
            f"the writer writes for {writer.policy.id}, ages {writer.band}, and the judge judges by {judge.policy.id}, "
            f"ages {judge.band}; a deployed guard has one policy and one age band.",
            hint="Give both the same policy= and band=.",
        )
    model, options = _describe_model(writer.model, "the writer's model")
    judge_config = _describe_judge(judge, "judge")
    return GuardConfig(
        taleward=version("taleward"),
        writer=WriterConfig(
            model=model,
            options=FrozenDict(options),
            template=writer.template,
            seed=writer.seed,
        ),
        judge=judge_config,
        policy=judge.policy,
        band=judge.band,
        bands=_checked_bands(guard, judge_config, bands),
        settings=GuardSettings(**{name: getattr(guard, name) for name in GuardSettings.model_fields}),
        best_of=_describe_best_of(guard) if isinstance(guard, BestOf) else None,
        files=tuple(local_files(guard)),
        experiment=_describe_recorders(guard),
    )


def local_files(guard: Guard) -> dict[str, Path]:
    """Return the folders and files of models that exist only here, by the names that `GuardConfig.files` has for them.

    These are the model of a writer, and the heads of tuned embedded judges.
    """
    model = guard.writer.model if isinstance(guard.writer, StoryChain) else None
    files = {}
    if isinstance(model, LocalChat):
        path = Path(model.path).expanduser()
        if path.exists() and not is_embedded(path):
            files["writer"] = path.resolve()
    return {**files, **_judge_folders(guard.judge, "judge")}


def _judge_folders(judge: Judge, place: str) -> dict[str, Path]:
    if isinstance(judge, Cascade | Ensemble):
        parts = [_judge_folders(part, f"{place}.{number}") for number, part in enumerate(judge.judges)]
        return {name: path for part in parts for name, path in part.items()}
    if isinstance(judge, EmbeddedJudge) and judge.spec not in JUDGES:
        return {place: Path(parse_spec(judge.spec).model).expanduser().resolve()}
    return {}


def _describe_model(model: BaseChatModel, what: str) -> tuple[str, dict[str, Any]]:
    """Return the spec and the options from which `chat_model` makes a model again."""
    if type(model) is LocalChat:
        # Those that were set, not those that differ from the class: an embedded model has defaults of its own.
        names = sorted(model.model_fields_set - _NOT_OPTIONS)
        return model.spec, _checked_options({name: getattr(model, name) for name in names}, what)
    if isinstance(model, HostedChat) and model.caller.chat_options is not None:
        return model.caller.spec, _checked_options(model.caller.chat_options, what)
    raise _not_described(f"{what}, {_name(model)}, which was not made from a spec by taleward.chat_model")


def _checked_options(options: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return options as JSON data."""
    for name, value in options.items():
        if _is_secret(name, value):
            raise ConfigurationError(
                f"{what} has a key or a password in its option {name}, and a deployed guard contains none.",
                hint="Leave the option out, and set the key in the environment of the server, for example in "
                "OPENAI_API_KEY; or pass a Python file that reads it there.",
            )
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise _not_described(f"the option {name} of {what}, {_name(value)}, which is not JSON data") from None
    data: dict[str, Any] = json.loads(json.dumps(dict(options)))
    return data


def _is_secret(name: str, value: Any) -> bool:
    if isinstance(value, SecretStr) or (is_secret_name(name) and value is not None):
        return True
    if isinstance(value, Mapping):
        return any(_is_secret(str(key), item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return any(_is_secret("", item) for item in value)
    return isinstance(value, str) and redact(value) != value


def _describe_judge(judge: Judge, place: str) -> JudgeConfig:
    combined: tuple[Judge, ...] = ()
    spec, combine, options = "", "any", dict[str, Any]()
    what = f"the judge {judge.spec}"
    if type(judge) is Cascade:
        combined, combine = judge.judges, "cascade"
        # JSON has no infinity, the band of a judge whose fails are never certain.
        bands = [(band.pass_below, band.fail_from) for band in judge.bands]
        options = {"bands": [[low, high if math.isfinite(high) else "inf"] for low, high in bands]}
    elif type(judge) is Ensemble:
        combined, combine = judge.judges, judge.rule
        weights = {"weights": list(judge.weights)} if judge.rule == "weighted" else {}
        options = {"timeout_s": judge.timeout_s, **weights}
    elif type(judge) is LLMJudge:
        spec, options = _describe_model(judge.model, f"the model of {what}")
        spec = _absolute(spec, what)
    elif (name := _spec_name(judge)) is not None:
        spec, options = _describe_named_judge(name, judge, what)
    else:
        raise _not_described(f"{what}, {_name(judge)}, which taleward.judge cannot make from a spec")
    return JudgeConfig(
        name=judge.spec,
        place=place,
        spec=spec,
        options=FrozenDict(options),
        judges=tuple(_describe_judge(part, f"{place}.{number}") for number, part in enumerate(combined)),
        combine=combine,
        calibration=judge.calibration,
        max_chars=judge.max_chars,
    )


def _describe_named_judge(name: str, judge: Judge, what: str) -> tuple[str, dict[str, Any]]:
    """Return the spec and the options from which `judge` makes one of `JUDGES` again."""
    if isinstance(judge, GuardModel):
        model, options = _describe_model(judge.model, f"the model of {what}")
        own = {"role": judge.role, "price_usd": judge.price_usd, "min_mass": judge.min_mass}
        return f"{name}:{_absolute(model, what)}", {**options, **_checked_options(own, what)}
    if isinstance(judge, SequenceClassifierJudge):
        classifier = {
            "taxonomy": judge.taxonomy,
            "benign_labels": sorted(judge.benign_labels),
            "device": judge.device,
        }
        return f"{name}:{_absolute(f'hf:{judge.path}', what)}", classifier
    if isinstance(judge, OpenAIModerationJudge):
        base_url = {} if judge.base_url is None else {"base_url": judge.base_url}
        return judge.spec, _checked_options(base_url, what)
    if isinstance(judge, ReadingLevelJudge):
        band_limit = ReadingLevelJudge(policy=judge.policy, band=judge.band).limit
        return name, {} if judge.limit == band_limit else {"limit": judge.limit}
    return judge.spec, {}


def _absolute(spec: str, what: str) -> str:
    """Return the spec of a model whose files are not deployed with the guard."""
    provider, model = parse_spec(spec)
    path = Path(model).expanduser()
    if provider == "hf" and path.exists() and not Path(model).is_absolute():
        raise ConfigurationError(
            f"{what} has its model in {model}, a path that a server would look up in its own working directory.",
            hint=f"Name it by its full path, hf:{path.resolve()}, which must exist on the server.",
        )
    return spec


def _spec_name(judge: Judge) -> str | None:
    """Return the name in `JUDGES` of a judge's class; `None` for other classes, and for subclasses of those."""
    path = f"{type(judge).__module__}.{type(judge).__name__}".removeprefix("taleward.moderation.judges.")
    return next((name for name, class_path in JUDGES.items() if class_path == path), None)


def _describe_best_of(guard: BestOf) -> BestOfSettings:
    if type(guard.embeddings) is not MiniLMEmbeddings:
        raise _not_described(
            f"the embeddings of BestOf, {_name(guard.embeddings)}; only 'embedded:minilm' can be deployed"
        )
    return BestOfSettings(accept_score=guard.accept_score, weights=guard.weights)


def _describe_recorders(guard: Guard) -> str | None:
    if not guard.recorders:
        return None
    for recorder in guard.recorders:
        if type(recorder) is not MlflowRecorder:
            raise _not_described(f"the recorder, {_name(recorder)}, which is not an MlflowRecorder")
    experiments = sorted({recorder.experiment for recorder in guard.recorders if isinstance(recorder, MlflowRecorder)})
    if len(experiments) > 1:
        raise _not_described(f"{len(experiments)} recorders; one can be deployed")
    return experiments[0]


def _checked_bands(guard: Guard, judge: JudgeConfig, bands: Sequence[str] | None) -> tuple[str, ...]:
    own = guard.judge.band
    measured = _measured_bands(guard.judge)
    if bands is None:
        return (own,) if judge.calibrated else measured
    if isinstance(bands, str):
        raise ConfigurationError(f"bands must be a list of age bands; got {bands!r}.", hint=f"Use [{bands!r}].")
    for band in bands:
        guard.judge.policy.band(band)
    if judge.calibrated and set(bands) - {own}:
        raise ConfigurationError(
            f"the judge is calibrated for ages {own}; got bands={list(bands)}.", hint=_NO_CALIBRATION
        )
    if unmeasured := [band for band in bands if band not in measured]:
        raise ConfigurationError(
            f"the judge was tuned for ages {', '.join(measured)}; got bands={list(bands)}.",
            hint=f"Leave out {', '.join(unmeasured)}, or tune the judge on texts that are labeled for these ages.",
        )
    return tuple(dict.fromkeys([own, *bands]))


def _measured_bands(judge: Judge) -> tuple[str, ...]:
    """Return the bands of the policy that a judge may be used for: a tuned embedded judge is for some of them only."""
    bands = tuple(judge.policy.bands)
    if isinstance(judge, Cascade | Ensemble):
        measured = [_measured_bands(part) for part in judge.judges]
        return tuple(band for band in bands if all(band in part for part in measured))
    ages = judge.head_config.tuned_ages if isinstance(judge, EmbeddedJudge) else ()
    return tuple(band for band in bands if not ages or judge.policy.band(band).ages[0] in ages)


def _name(value: object) -> str:
    return getattr(value, "__name__", type(value).__name__)


def _not_described(what: str) -> ConfigurationError:
    return ConfigurationError(f"this guard cannot be described as data: it has {what}.", hint=_FILE_HINT)
