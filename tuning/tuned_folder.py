"""What a tuned writer leaves on disk: the adapter, the merged model, and a file that says how it was made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from taleward.core.errors import InvalidFile
from taleward.core.frozen_model import FrozenModel
from taleward.tuning.settings import TuningSettings

RECORD_FILE = "tuning.json"
ADAPTER_FOLDER = "adapter"
_CHECKPOINTS = "checkpoints"
_RECIPE_FILE = "recipe.json"


class TuningRecipe(FrozenModel):
    """All that decides the tuned weights; a run continues only with the same recipe.

    Attributes:
        base: The spec of the model that is tuned.
        base_sha256: Hash of its weights.
        start_sha256: Hash of the adapter that the run starts from; empty for a new one.
        rows_sha256: Hash of the rows, in order.
        rows: Number of rows.
        chat_template_sha256: Hash of the chat template.
        settings: The settings.
    """

    base: str
    base_sha256: str
    start_sha256: str = ""
    rows_sha256: str
    rows: int
    chat_template_sha256: str
    settings: TuningSettings


class TuningRecord(FrozenModel):
    """What `tuning.json` in a tuned folder holds.

    Attributes:
        recipe: How it was made.
        steps: Steps done.
        loss: Mean loss of the last steps, in nats per token for `sft`.
        held_out_loss: Loss on the held-out rows after the last step; `None` without such rows.
        seconds: Time spent in training, over all sittings.
        run_id: The MLflow run; empty if it was not recorded.
    """

    recipe: TuningRecipe
    steps: int
    loss: float | None
    held_out_loss: float | None = None
    seconds: float
    run_id: str = ""


def read_record(folder: Path) -> TuningRecord:
    """Read how a tuned folder was made.

    Raises:
        InvalidFile: If the folder has no valid `tuning.json`.
    """
    file = folder / RECORD_FILE
    try:
        return TuningRecord.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise InvalidFile(
            f"{folder} is not the folder of a tuned writer: {file.name} cannot be read: {error}",
            hint="`taleward tune writer ... --out FOLDER` makes one.",
        ) from error


def open_folder(out: Path, recipe: TuningRecipe) -> Path:
    """Make or open the folder of a run and return the folder for its checkpoints.

    Raises:
        InvalidFile: If the folder holds something else, a finished run, or a run with another recipe.
    """
    if (out / RECORD_FILE).exists():
        raise InvalidFile(f"{out} holds a tuned writer already.", hint="Name another folder, or remove this one.")
    file = out / _RECIPE_FILE
    if file.exists():
        started = TuningRecipe.model_validate_json(file.read_text(encoding="utf-8"))
        if different := _differences(started, recipe):
            raise InvalidFile(
                f"{out} holds an unfinished run with another recipe: {'; '.join(different)}.",
                hint="Run it again with the same arguments to go on, or name another folder.",
            )
    elif out.exists() and any(out.iterdir()):
        raise InvalidFile(f"{out} is not empty.", hint="Name a new folder.")
    out.mkdir(parents=True, exist_ok=True)
    _write(file, recipe)
    checkpoints = out / _CHECKPOINTS
    checkpoints.mkdir(exist_ok=True)
    return checkpoints


def close_folder(out: Path, record: TuningRecord) -> None:
    """Write the record, which says that the run is finished, then remove what is only needed to go on."""
    _write(out / RECORD_FILE, record)
    (out / _RECIPE_FILE).unlink()
    shutil.rmtree(out / _CHECKPOINTS, ignore_errors=True)


def last_checkpoint(checkpoints: Path) -> Path | None:
    """Return the newest complete checkpoint, and remove incomplete ones, which a kill may have left."""
    complete = []
    for folder in checkpoints.glob("checkpoint-*"):
        # The trainer writes its state last.
        if _is_json(folder / "trainer_state.json"):
            complete.append(folder)
        else:
            shutil.rmtree(folder)
    return max(complete, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _differences(started: TuningRecipe, wanted: TuningRecipe) -> list[str]:
    before, now = _flat(started), _flat(wanted)
    return [f"{name} was {before[name]!r} and is {now[name]!r}" for name in before if before[name] != now[name]]


def _flat(recipe: TuningRecipe) -> dict[str, Any]:
    data = recipe.model_dump(mode="json")
    return {**data.pop("settings"), **data}


def _write(file: Path, model: FrozenModel) -> None:
    temporary = file.with_name(f".{file.name}.part")
    temporary.write_text(model.model_dump_json(indent=2) + "\n", encoding="utf-8")
    temporary.replace(file)
