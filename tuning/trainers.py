"""TRL's trainers for the three methods, with our settings."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from taleward.tuning.rows import KtoRow, TuningRow, trainer_row
from taleward.tuning.settings import TuningSettings

_LINEAR_LAYERS = "all-linear"


def make_trainer(
    model: Any,
    tokenizer: Any,
    rows: Sequence[TuningRow],
    held_out: Sequence[TuningRow],
    settings: TuningSettings,
    work: Path,
    *,
    device: str,
    bfloat16: bool,
    new_adapter: bool,
    save_steps: int,
    callbacks: Sequence[Any],
) -> Any:
    """Return a trainer that is ready to run.

    Args:
        model: The base model, a `PreTrainedModel`.
        tokenizer: Its tokenizer, with a chat template.
        rows: The rows to train on, all of the method's class.
        held_out: Rows for the loss after each save; may be empty.
        settings: The settings.
        work: Folder for checkpoints.
        device: `cpu` or `cuda`.
        bfloat16: Whether to multiply in bfloat16.
        new_adapter: Whether to put an adapter on the model; false if it has one.
        save_steps: Steps between checkpoints.
        callbacks: Callbacks of transformers' trainer.
    """
    # Both libraries ask the hub about themselves otherwise.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import trl
    from datasets import Dataset
    from transformers import PrinterCallback

    config_class, trainer_class = {
        "sft": (trl.SFTConfig, trl.SFTTrainer),
        "dpo": (trl.DPOConfig, trl.DPOTrainer),
        "kto": (trl.KTOConfig, trl.KTOTrainer),
    }[settings.method]
    # Rows of like length make batches with little padding, which costs as much as text.
    sampling, options = "group_by_length", dict[str, Any]()
    if settings.method == "dpo":
        sampling, options = "random", {"beta": settings.beta}
    elif settings.method == "kto":
        # TRL estimates a divergence from each row and its neighbor, so that it takes the rows as they come.
        rows = random.Random(settings.seed).sample(rows, len(rows))  # noqa: S311
        sampling, options = "sequential", {"beta": settings.beta, **_label_weights(rows)}
    rows_at_once = min(settings.micro_batch_size, settings.batch_size)
    config = config_class(
        output_dir=str(work),
        per_device_train_batch_size=rows_at_once,
        per_device_eval_batch_size=rows_at_once,
        gradient_accumulation_steps=settings.batch_size // rows_at_once,
        num_train_epochs=settings.epochs,
        learning_rate=settings.rate,
        lr_scheduler_type="cosine",
        warmup_steps=settings.warmup,
        max_length=settings.max_length,
        seed=settings.seed,
        bf16=bfloat16,
        use_cpu=device == "cpu",
        gradient_checkpointing=False,
        dataloader_pin_memory=device != "cpu",
        train_sampling_strategy=sampling,
        logging_steps=10,
        save_steps=save_steps,
        save_total_limit=2,
        eval_strategy="steps" if held_out else "no",
        eval_steps=save_steps,
        report_to=[],
        disable_tqdm=True,
        **options,
    )
    trainer = trainer_class(
        model=model,
        args=config,
        train_dataset=Dataset.from_list([trainer_row(row) for row in rows]),
        eval_dataset=Dataset.from_list([trainer_row(row) for row in held_out]) if held_out else None,
        processing_class=tokenizer,
        peft_config=_adapter(settings) if new_adapter else None,
        callbacks=list(callbacks),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _label_weights(rows: Sequence[TuningRow]) -> dict[str, float]:
    """Let liked and disliked rows weigh the same in all, as Ethayarajh et al. 2024, arXiv 2402.01306, advise."""
    liked = sum(isinstance(row, KtoRow) and row.label for row in rows)
    disliked = len(rows) - liked
    return {"desirable_weight": max(1.0, disliked / liked), "undesirable_weight": max(1.0, liked / disliked)}


def _adapter(settings: TuningSettings) -> Any:
    if not settings.lora_rank:
        return None
    from peft import LoraConfig

    rank = settings.lora_rank
    return LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=_LINEAR_LAYERS, bias="none")
