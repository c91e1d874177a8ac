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


def export_writer(model: Any, tokenizer: Any, base: Path, out: Path, record: TuningRecord) -> None:
    """Write the tuned model in Hugging Face layout, in the precision that the base model is stored in.

    Args:
        model: The tuned model, with a PEFT adapter or without.
        tokenizer: Its tokenizer, with the chat template that it was tuned with.
        base: Folder of the base model.
        out: The folder.
        record: What the card says.
    """
    import torch
    from transformers import AutoConfig

    if hasattr(model, "merge_and_unload"):
        # DPO keeps a copy of the adapter that it starts from as "ref".
        model.save_pretrained(out / ADAPTER_FOLDER, selected_adapters=["default"])
        model = _merged(base, out / ADAPTER_FOLDER)
    stored = AutoConfig.from_pretrained(base).dtype or torch.bfloat16
    model.to(stored).save_pretrained(out)
    tokenizer.save_pretrained(out)
    settings = record.recipe.settings
    card = _CARD.format(
        base=record.recipe.base, method=settings.method.upper(), rows=record.recipe.rows, steps=record.steps,
        loss="unknown" if record.loss is None else f"{record.loss:.3f}",
    )  # fmt: skip
    (out / "README.md").write_text(card, encoding="utf-8")


def _merged(base: Path, adapter: Path) -> Any:
    """Return the base model with an adapter added in float32: in bfloat16 small changes would be lost."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
