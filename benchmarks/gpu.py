"""The local engine on a GPU against HuggingFacePipeline and the ways that transformers itself has.

`python -m benchmarks.gpu --json benchmarks/results/GPU.json`, with the extra `local` and `pip install --no-deps
langchain-huggingface==1.2.3` (left out where it is not there). A Llama of 1.2 billion parameters with random weights in
bfloat16, prompts of 34 tokens, 128 new ones. The share of the limit is what the weights' bytes, read once a step, are
of the memory's own speed, measured by a copy: 1 is as fast as one call can be. `--device cpu --small` tries the script.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.backends import PROMPT, SIZES, TOKENS, TOKENS_A_SECOND, llama, local, seconds
from benchmarks.table import Row, run

_BIG = {
    "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
    "num_key_value_heads": 8,
}  # fmt: skip
_COPIED = 1 << 30


def bandwidth(device: str) -> float:
    """Bytes a second that the device's memory reads and writes, by a copy."""
    import torch

    block = torch.empty(_COPIED if device != "cpu" else _COPIED >> 4, dtype=torch.uint8, device=device)
    other = torch.empty_like(block)

    def copy() -> None:
        other.copy_(block)
        if device != "cpu":
            torch.cuda.synchronize()

    [taken] = seconds(copy, repeats=5)
    return 2 * block.numel() / taken


def rows(quick: bool, device: str, small: bool) -> Iterator[Row]:
    """Texts one at a time, 32 and 128 at once."""
    import torch
    from transformers import AutoModelForCausalLM

    kept = {"dtype": "bfloat16"}
    with tempfile.TemporaryDirectory() as place:
        folder = llama(Path(place), SIZES if small else _BIG)
        ours = local(folder, engine="transformers", device=device, load=kept)
        plain: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).to(device).eval()
        weights = sum(w.numel() * w.element_size() for w in plain.parameters())
        limit = bandwidth(device) / weights
        repeats = 1 if quick else 3
        for many in (1, 32) if quick else (1, 32, 128):
            ids = torch.randint(0, 200, (many, len(PROMPT) + 1), device=device)
            written = {"attention_mask": torch.ones_like(ids), "max_new_tokens": TOKENS, "do_sample": False}
            ways = {
                "generate": partial(plain.generate, ids, **written),
                "generate, static cache": partial(plain.generate, ids, **written, cache_implementation="static"),
            }
            if find_spec("langchain_huggingface") and many == 1:
                ways["HuggingFacePipeline.invoke"] = partial(_pipeline(folder, device).invoke, PROMPT)
            names = list(ways)
            taken = seconds(partial(ours.batch, [PROMPT] * many), *ways.values(), repeats=repeats)
            speeds = [many * TOKENS / each for each in taken]
            for name, theirs in zip(names, speeds[1:], strict=True):
                yield Row(f"{many} at once", TOKENS_A_SECOND, speeds[0], theirs, name, speeds[0] / theirs)
            if many == 1:
                yield Row("1 at once, share of the memory's limit", "share", speeds[0] / limit)


def _pipeline(folder: str, device: str) -> Any:
    from langchain_huggingface import HuggingFacePipeline

    return HuggingFacePipeline.from_model_id(
        folder,
        task="text-generation",
        device=-1 if device == "cpu" else 0,
        model_kwargs={"dtype": "bfloat16"},
        pipeline_kwargs={"max_new_tokens": TOKENS, "do_sample": False, "return_full_text": False},
    )


if __name__ == "__main__":
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--device", default="cuda", help="a torch device")
    options.add_argument("--small", action="store_true", help="a model of 15 million parameters")
    chosen, _ = options.parse_known_args()
    run("gpu", lambda quick: rows(quick, chosen.device, chosen.small), options)
