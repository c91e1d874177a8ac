"""Make a guard again from its description."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from langchain_core.language_models import BaseChatModel

from taleward.backends.chat_models import chat_model
from taleward.chains.story import StoryChain
from taleward.core.errors import IntegrityError
from taleward.evaluation.tracking.tale_recorder import MlflowRecorder
from taleward.moderation.guard.best_of import BestOf
from taleward.moderation.guard.guard import Guard
from taleward.moderation.judges import Judge, judge
from taleward.moderation.judges.cascade import UncertaintyBand
from taleward.tuning.deployment.config import GuardConfig, JudgeConfig, WriterConfig


def build_guards(config: GuardConfig, files: Mapping[str, Path]) -> dict[str, Guard]:
    """Make the guards of a description, one for each of its age bands.

    Args:
        config: The description.
        files: The folders and files that were deployed with the guard, by the names in `config.files`.

    Raises:
        IntegrityError: If a file is missing.
        ConfigurationError: If a model or a judge cannot be made here, for example because a key is missing.
    """
    if missing := sorted(set(config.files) - set(files)):
        raise IntegrityError(f"the deployed guard lacks its files {', '.join(missing)}.", hint="Deploy it again.")
    model = _build_model(config.writer, files.get("writer"))
    recorder = _build_recorder(config.experiment)
    settings = config.settings.model_dump()
    guards: dict[str, Guard] = {}
    for band in config.bands:
        writer = StoryChain(model, config.writer.template, policy=config.policy, band=band, seed=config.writer.seed)
        tale_judge = _build_judge(config.judge, config, band, files)
        if config.best_of is None:
            guards[band] = Guard(writer, tale_judge, recorder=recorder, **settings)
        else:
            candidates = {**settings, **config.best_of.model_dump()}
            candidates["candidates"] = candidates.pop("attempts")
            guards[band] = BestOf(writer, tale_judge, recorder=recorder, **candidates)
    return guards


def _build_model(config: WriterConfig, files: Path | None) -> BaseChatModel:
    if files is None:
        return chat_model(config.model, **config.options)
    model = chat_model(f"hf:{files}", **config.options)
    # The name under which its tales are known; the folder's differs from server to server.
    return model.model_copy(update={"spec": config.model})


def _build_judge(config: JudgeConfig, guard: GuardConfig, band: str, files: Mapping[str, Path]) -> Judge:
    options = dict(config.options)
    if config.combine == "cascade":
        options["bands"] = [UncertaintyBand(float(low), float(high)) for low, high in options["bands"]]
    parts = [_build_judge(part, guard, band, files) for part in config.judges]
    folder = files.get(config.place)
    spec = parts or (config.spec if folder is None else f"embedded:{folder}")
    made = judge(spec, policy=guard.policy, band=band, combine=config.combine, **options)
    made.spec = config.name
    if made.max_chars != config.max_chars:
        made.max_chars = config.max_chars
    return made if config.calibration is None else made.calibrated(config.calibration)


def _build_recorder(experiment: str | None) -> MlflowRecorder | None:
    if experiment is None:
        return None
    import mlflow

    return MlflowRecorder(mlflow.get_tracking_uri(), experiment)
