"""Make a guard again from its description."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from langchain_core.language_models import BaseChatModel

from taleward.backends.chat_models import chat_model
from taleward.chains.story import StoryChain
from taleward.core.errors import IntegrityError, UnknownName
from taleward.evaluation.tracking.tale_recorder import MlflowRecorder
from taleward.moderation.guard.best_of import BestOf
from taleward.moderation.guard.guard import Guard
from taleward.moderation.judges import Judge, judge
from taleward.moderation.judges.cascade import UncertaintyBand
from taleward.tuning.deployment.config import GuardConfig, JudgeConfig, WriterConfig


class GuardBuilder:
    """Makes the guards of a description, one for each age band, on first use.

    Args:
        config: The description.
        files: The folders and files that were deployed with the guard, by the names in `config.files`.

    Raises:
        IntegrityError: If one of them is missing.
        ConfigurationError: If the writer's model cannot be made here, for example because a key is missing.
    """

    def __init__(self, config: GuardConfig, files: Mapping[str, Path]) -> None:
        if missing := sorted(set(config.files) - set(files)):
            raise IntegrityError(f"the deployed guard lacks its files {', '.join(missing)}.", hint="Deploy it again.")
        self.config, self._files = config, files
        self._model = _build_model(config.writer, files.get("writer"))
        self._guards: dict[str, Guard] = {}
        self._lock = threading.Lock()

    def guard(self, band: str | None = None) -> Guard:
        """Return the guard for an age band, by default the description's own.

        Raises:
            UnknownName: If requests may not name this band.
            ConfigurationError: If a judge cannot be made here.
        """
        band = self.config.band if band is None else band
        if band not in self.config.bands:
            raise UnknownName("band of this guard", band, self.config.bands)
        with self._lock:
            if band not in self._guards:
                self._guards[band] = self._build(band)
            return self._guards[band]

    def _build(self, band: str) -> Guard:
        config = self.config
        writer = StoryChain(
            self._model, config.writer.template, policy=config.policy, band=band, seed=config.writer.seed
        )
        tale_judge = self._build_judge(config.judge, band)
        recorder = _build_recorder(config.experiment)
        settings = config.settings.model_dump()
        if config.best_of is None:
            return Guard(writer, tale_judge, recorder=recorder, **settings)
        candidates = settings.pop("attempts")
        best_of = config.best_of.model_dump()
        return BestOf(writer, tale_judge, candidates=candidates, recorder=recorder, **best_of, **settings)

    def _build_judge(self, config: JudgeConfig, band: str) -> Judge:
        options = dict(config.options)
        if config.combine == "cascade":
            options["bands"] = [UncertaintyBand(float(low), float(high)) for low, high in options["bands"]]
        parts = [self._build_judge(part, band) for part in config.judges]
        folder = self._files.get(config.place)
        spec = parts or (config.spec if folder is None else f"embedded:{folder}")
        made = judge(spec, policy=self.config.policy, band=band, combine=config.combine, **options)
        made.spec = config.name
        if made.max_chars != config.max_chars:
            made.max_chars = config.max_chars
        return made if config.calibration is None else made.calibrated(config.calibration)


def _build_model(config: WriterConfig, files: Path | None) -> BaseChatModel:
    if files is None:
        return chat_model(config.model, **config.options)
    model = chat_model(f"hf:{files}", **config.options)
    # The name under which its tales are known; the folder's differs from server to server.
    return model.model_copy(update={"spec": config.model})


def _build_recorder(experiment: str | None) -> MlflowRecorder | None:
    if experiment is None:
        return None
    import mlflow

    return MlflowRecorder(mlflow.get_tracking_uri(), experiment)
