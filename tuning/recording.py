"""Record a tuning run in MLflow: settings, curves, and what the model writes at every checkpoint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from taleward.backends.base.mlflow_store import quiet
from taleward.evaluation.tracking.runs import check_mlflow
from taleward.evaluation.tracking.tale_recorder import default_tracking_uri, get_or_create_experiment
from taleward.tuning.tuned_folder import TuningRecipe

_SAMPLE_TOKENS = 300


class TuningRecorder:
    """Records one sitting of a run; a context manager. Without an experiment it records nothing.

    Args:
        recipe: The run's recipe, which becomes its parameters.
        model: The model that is trained.
        tokenizer: Its tokenizer.
        experiment: Name of the MLflow experiment; `None` to record nothing.
        tracking_uri: Where MLflow records; by default as for tales.
        prompts: Prompts to answer at every checkpoint.

    Attributes:
        run_id: The MLflow run; empty if nothing is recorded.

    Raises:
        MissingExtra: If an experiment is given and MLflow is not installed.
    """

    def __init__(
        self,
        recipe: TuningRecipe,
        model: Any,
        tokenizer: Any,
        experiment: str | None,
        tracking_uri: str | None,
        prompts: Sequence[str],
    ) -> None:
        self.run_id = ""
        self._recipe, self._model, self._tokenizer, self._prompts = recipe, model, tokenizer, prompts
        self._experiment, self._tracking_uri = experiment, tracking_uri
        self._client: Any = None
        self._samples: list[dict[str, Any]] = []
        if experiment is not None:
            check_mlflow()

    def __enter__(self) -> TuningRecorder:
        if self._experiment is not None:
            from mlflow import MlflowClient

            with quiet():
                uri = self._tracking_uri or default_tracking_uri()
                self._client = MlflowClient(uri)
                experiment_id = get_or_create_experiment(self._client, uri, self._experiment)
                run = self._client.create_run(experiment_id, run_name=f"tune-{self._recipe.settings.method}")
                self.run_id = run.info.run_id
                data = self._recipe.model_dump(mode="json")
                for name, value in {**data.pop("settings"), **data}.items():
                    self._client.log_param(self.run_id, name, value)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            with quiet():
                self._client.set_terminated(self.run_id, "FINISHED" if error is None else "FAILED")

    def callback(self) -> Any:
        """Return the callback for transformers' trainer."""
        from transformers import TrainerCallback

        recorder = self

        class RecordingCallback(TrainerCallback):  # type: ignore[misc]
            def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
                recorder.log(logs or {}, state.global_step)

            def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                recorder.log_samples(state.global_step)

        return RecordingCallback()

    def log(self, values: dict[str, Any], step: int) -> None:
        """Record the trainer's numbers at a step."""
        if self._client is None:
            return
        with quiet():
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._client.log_metric(self.run_id, name, float(value), step=step)

    def log_samples(self, step: int) -> None:
        """Answer the prompts and record the answers of all steps so far as a table."""
        if self._client is None or not self._prompts:
            return
        with quiet():
            self._samples += [{"step": step, "prompt": p, "answer": self._answer(p)} for p in self._prompts]
            self._client.log_text(self.run_id, json.dumps(self._samples, ensure_ascii=False, indent=1), "samples.json")

    def _answer(self, prompt: str) -> str:
        import torch

        messages = [{"role": "user", "content": prompt}]
        text = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        tokens = self._tokenizer(text, return_tensors="pt").to(self._model.device)
        training = self._model.training
        self._model.eval()
        with torch.no_grad(), ExitStack() as stack:
            stack.callback(self._model.train, training)
            answer = self._model.generate(**tokens, max_new_tokens=_SAMPLE_TOKENS, do_sample=False)
        return str(self._tokenizer.decode(answer[0, tokens["input_ids"].shape[1] :], skip_special_tokens=True))
