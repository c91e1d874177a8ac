"""Write a tuned model: the adapter alone, and the model with the adapter merged into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from taleward.tuning.tuned_folder import ADAPTER_FOLDER, TuningRecord

_CARD = """---
tags: [taleward]
---
# A writer tuned with Taleward

Tuned from `{base}` with {method} on {rows} rows, {steps} steps, final loss {loss}.

`taleward.chat_model("hf:FOLDER")` writes with it. `adapter/` holds the LoRA weights alone; `tuning.json` says how it
was made. Its text is unmoderated: put a guard around it.
"""


def export_writer(model: Any, tokenizer: Any, out: Path, record: TuningRecord) -> None:
    """Write the tuned model in Hugging Face layout, in the precision that the base model is stored in.

    Args:
        model: The tuned model, with a PEFT adapter or without.
        tokenizer: Its tokenizer, with the chat template that it was tuned with.
        out: The folder.
        record: What the card says.
    """
    import torch

    if hasattr(model, "merge_and_unload"):
        model.save_pretrained(out / ADAPTER_FOLDER)
        model = model.merge_and_unload()
    stored = getattr(torch, str(model.config.to_dict().get("dtype") or "bfloat16").removeprefix("torch."))
    model.to(stored).save_pretrained(out)
    tokenizer.save_pretrained(out)
    settings = record.recipe.settings
    card = _CARD.format(
        base=record.recipe.base, method=settings.method.upper(), rows=record.recipe.rows, steps=record.steps,
        loss="unknown" if record.loss is None else f"{record.loss:.3f}",
    )  # fmt: skip
    (out / "README.md").write_text(card, encoding="utf-8")
