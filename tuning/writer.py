"""Tune a writer: `tune_writer("hf:...", rows, "out")`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from taleward.backends.engine.safe_tokenization import control_token_names
from taleward.backends.transformers.hub_files import translate_load_errors
from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.tuning.base_model import base_folder, check_installed, load_base, weights_sha256
from taleward.tuning.export import export_writer
from taleward.tuning.progress import quiet_libraries, step_progress
from taleward.tuning.recording import TuningRecorder
from taleward.tuning.rows import ROW_CLASSES, DpoRow, KtoRow, TuningRow, read_tuning_rows
from taleward.tuning.settings import TuningSettings, check_settings
from taleward.tuning.trainers import make_trainer
from taleward.tuning.tuned_folder import (
    TuningRecipe,
    TuningRecord,
    close_folder,
    last_checkpoint,
    open_folder,
)


class TunedWriter(FrozenModel):
    """A tuned writer.

    Attributes:
        folder: Its folder in Hugging Face layout; the adapter alone is in the folder `adapter` in it.
        record: How it was made.
    """

    folder: Path
    record: TuningRecord

    @property
    def spec(self) -> str:
        """The model spec: `chat_model(tuned.spec)` writes with it."""
        return f"hf:{self.folder}"


def tune_writer(
    model: str,
    rows: Sequence[TuningRow] | str | Path,
    out: str | Path,
    *,
    held_out: Sequence[TuningRow] = (),
    start: str | Path | None = None,
    chat_template: str | None = None,
    device: str | None = None,
    save_steps: int = 100,
    experiment: str | None = None,
    sample_prompts: Sequence[str] = (),
    tracking_uri: str | None = None,
    progress: bool = True,
    **settings: Any,
) -> TunedWriter:
    """Tune a causal language model on answers, pairs of answers, or votes.

    A run that was interrupted continues from its last checkpoint when you call this again with the same arguments.

    Args:
        model: The model to tune: `embedded:storyteller`, `hf:REPOSITORY`, `hf:FOLDER` or `hf:FILE.gguf`.
        rows: Rows of the method's class, or a JSON Lines file of them.
        out: Folder for the tuned model: new, or that of the interrupted run.
        held_out: Rows of the same class that are not trained on; their loss is measured at every checkpoint.
        start: Folder of an adapter to start from, such as `OUT/adapter` of an earlier run on the same model.
        chat_template: How messages become text, in transformers' format; by default the model's own.
        device: `cpu`, `cuda` or `cuda:N`; by default a GPU where there is one.
        save_steps: Steps between checkpoints.
        experiment: Name of the MLflow experiment to record the run in: settings, hash of the rows, curves and samples.
        sample_prompts: Prompts that the model answers at every checkpoint; the answers are recorded in MLflow.
        tracking_uri: Where MLflow records; by default as for tales.
        progress: Whether to show a progress bar if standard error is a terminal.
        settings: Fields of `TuningSettings`, such as `method="kto"`, `epochs=3` or `learning_rate=1e-4`.

    Raises:
        MissingExtra: If the extra `tuning` is not installed.
        ConfigurationError: If the model, the device or a setting is unknown or invalid, there are no rows, they are not
            the method's, all of `kto` have the same label, or one is longer than `max_length` or has a control token.
        InvalidFile: If a file of rows is malformed, or `out` holds something else.
        BackendError: If the model could not be loaded.
    """
    check_installed()
    chosen = check_settings(TuningSettings, settings)
    training = _checked_rows(rows, chosen)
    for row in held_out:
        _check_class(row, chosen)
    out, folder = Path(out), base_folder(model)
    with quiet_libraries(), step_progress(progress) as step_callback:
        loaded, tokenizer, kind, bfloat16 = load_base(folder, device, chosen, chat_template=chat_template)
        recipe = TuningRecipe(
            base=model,
            base_sha256=weights_sha256(folder),
            start_sha256=weights_sha256(Path(start)) if start else "",
            rows_sha256=_rows_sha256(training),
            rows=len(training),
            chat_template_sha256=hashlib.sha256(tokenizer.chat_template.encode()).hexdigest(),
            settings=chosen,
        )
        _check_texts(training, tokenizer, chosen)
        recorder = TuningRecorder(recipe, loaded, tokenizer, experiment, tracking_uri, sample_prompts)
        checkpoints = open_folder(out, recipe)
        trainer = make_trainer(
            loaded if start is None else _with_adapter(loaded, start),
            tokenizer,
            training,
            held_out,
            chosen,
            checkpoints,
            device=kind,
            bfloat16=bfloat16,
            new_adapter=start is None,
            save_steps=save_steps,
            callbacks=[recorder.callback(), step_callback],
        )
        with recorder:
            began = time.monotonic()
            checkpoint = last_checkpoint(checkpoints)
            mean_loss = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None).training_loss
            losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
            record = TuningRecord(
                recipe=recipe,
                steps=trainer.state.global_step,
                loss=losses[-1] if losses else mean_loss,
                held_out_loss=trainer.evaluate()["eval_loss"] if held_out else None,
                seconds=round(time.monotonic() - began, 1),
                run_id=recorder.run_id,
            )
            export_writer(trainer.model, tokenizer, folder, out, record)
            close_folder(out, record)
    return TunedWriter(folder=out, record=record)


def _checked_rows(rows: Sequence[TuningRow] | str | Path, settings: TuningSettings) -> list[TuningRow]:
    checked = read_tuning_rows(Path(rows), settings.method) if isinstance(rows, str | Path) else list(rows)
    for row in checked:
        _check_class(row, settings)
    if not checked:
        raise ConfigurationError("there are no rows to tune on.", hint="`taleward feedback export` writes rows.")
    labels = {row.label for row in checked if isinstance(row, KtoRow)}
    if len(labels) == 1:
        raise ConfigurationError(
            f"all {len(checked)} rows are {'liked' if labels == {True} else 'disliked'}; kto needs both kinds.",
            hint="To learn from liked answers alone, use the method 'sft'.",
        )
    return checked


def _check_class(row: TuningRow, settings: TuningSettings) -> None:
    expected = ROW_CLASSES[settings.method]
    if not isinstance(row, expected):
        raise ConfigurationError(
            f"the method {settings.method!r} takes rows of the class {expected.__name__}; got {type(row).__name__}.",
            hint="Pass other rows, or method=...",
        )


def _check_texts(rows: Sequence[TuningRow], tokenizer: Any, settings: TuningSettings) -> None:
    """Check that no row would be cut, since a story without its end teaches not to end, and none has control tokens.

    When the tuned model writes, such a token in a request is ordinary text; in training it would end the request.
    """
    control = control_token_names(tokenizer)
    for number, row in enumerate(rows, 1):
        prompt = [turn.model_dump() for turn in row.prompt]
        answers = (row.chosen, row.rejected) if isinstance(row, DpoRow) else (row.completion,)
        name = f"row {number} ({row.source.tale_id or answers[0][:40]!r})"
        texts = (*(turn.content for turn in row.prompt), *answers)
        if found := [token for token in control if any(token in text for text in texts)]:
            raise ConfigurationError(
                f"{name} contains the model's control token {found[0]!r}.", hint="Leave the row out, or reword it."
            )
        for answer in answers:
            messages = [*prompt, {"role": "assistant", "content": answer}]
            tokens = len(tokenizer(tokenizer.apply_chat_template(messages, tokenize=False)).input_ids)
            if tokens > settings.max_length:
                raise ConfigurationError(
                    f"{name} has {tokens} tokens; max_length is {settings.max_length}.",
                    hint="Leave the row out, or pass a larger max_length.",
                )


def _rows_sha256(rows: Sequence[TuningRow]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(row.model_dump_json().encode())
    return digest.hexdigest()


def _with_adapter(model: Any, start: str | Path) -> Any:
    from peft import PeftModel

    with translate_load_errors(str(start), {}):
        return PeftModel.from_pretrained(model, str(start), is_trainable=True)
