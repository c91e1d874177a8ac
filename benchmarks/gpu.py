"""The local engine on a GPU, against HuggingFacePipeline and transformers' own generation: `python -m benchmarks.gpu`.

Needs the extra `local`; `pip install --no-deps langchain-huggingface==1.2.3` adds the pipeline's rows. The model is a
Llama of 1.2 billion parameters with random weights in bfloat16; prompts have 34 tokens, answers 128. The share of the
limit is the speed divided by what the memory bandwidth allows if every step reads the weights once: 1 is the fastest
possible for a single call. To try the script on a CPU: `--device cpu --small`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.backends import (
    DIMENSIONS,
    PIPELINE_INVOKE,
    PROMPT,
    SMOKE_LOAD,
    TINY_DIMENSIONS,
    TOKENS_PER_SECOND,
    Load,
    local_model,
    median_seconds,
    save_llama,
)
from benchmarks.table import Row, Size, is_installed, pick, run

_LARGE_DIMENSIONS = {
    "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
    "num_key_value_heads": 8,
}  # fmt: skip
_COPIED_BYTES = 1 << 30


def bandwidth(device: str, copied_bytes: int = _COPIED_BYTES) -> float:
    """Measure the memory bandwidth in bytes per second, reading and writing, by a copy."""
    import torch

    source = torch.empty(copied_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        if device != "cpu":
            torch.cuda.synchronize()

    [duration_s] = median_seconds(copy, repeats=5)
    return 2 * source.numel() / duration_s


def measure(size: Size, device: str, small: bool) -> Iterator[Row]:
    """One text, and 32 and 128 at once."""
    import torch
    from transformers import AutoModelForCausalLM

    tokens = pick(size, full=Load(), quick=Load(), smoke=SMOKE_LOAD).tokens
    small_dimensions = pick(size, full=DIMENSIONS, quick=DIMENSIONS, smoke=TINY_DIMENSIONS)
    with tempfile.TemporaryDirectory() as temporary_folder:
        folder = save_llama(Path(temporary_folder), small_dimensions if small else _LARGE_DIMENSIONS)
        ours = local_model(folder, tokens, engine="transformers", device=device, load={"dtype": "bfloat16"})
        reference: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).to(device).eval()
        weight_bytes = sum(w.numel() * w.element_size() for w in reference.parameters())
        copied_bytes = _COPIED_BYTES if device != "cpu" else pick(size, full=1 << 26, quick=1 << 26, smoke=1 << 20)
        limit = bandwidth(device, copied_bytes) / weight_bytes
        for count in pick(size, full=(1, 32, 128), quick=(1, 32), smoke=(1, 2)):
            ids = torch.randint(0, 200, (count, len(PROMPT) + 1), device=device)
            options = {"attention_mask": torch.ones_like(ids), "max_new_tokens": tokens, "do_sample": False}
            peers = {
                "generate": partial(reference.generate, ids, **options),
                "generate, static cache": partial(reference.generate, ids, **options, cache_implementation="static"),
            }
            if count == 1 and is_installed("langchain_huggingface", "--no-deps langchain-huggingface==1.2.3"):
                peers[PIPELINE_INVOKE] = partial(_pipeline(folder, device, tokens).invoke, PROMPT)
            repeats = pick(size, full=3, quick=1, smoke=1)
            durations = median_seconds(partial(ours.batch, [PROMPT] * count), *peers.values(), repeats=repeats)
            speed, *peer_speeds = (count * tokens / duration_s for duration_s in durations)
            for name, peer_speed in zip(peers, peer_speeds, strict=True):
                yield Row(f"{count} at once", TOKENS_PER_SECOND, speed, peer_speed, name, speed / peer_speed)
            if count == 1:
                yield Row("1 at once, share of the memory bandwidth's limit", "share", speed / limit)


def _pipeline(folder: str, device: str, tokens: int) -> Any:
    from langchain_huggingface import HuggingFacePipeline

    return HuggingFacePipeline.from_model_id(
        folder,
        task="text-generation",
        device=-1 if device == "cpu" else 0,
        model_kwargs={"dtype": "bfloat16"},
        pipeline_kwargs={"max_new_tokens": tokens, "do_sample": False, "return_full_text": False},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--device", default="cuda", help="a torch device")
    parser.add_argument("--small", action="store_true", help="a model of 15 million parameters")
    options, _ = parser.parse_known_args(arguments)
    return run("gpu", lambda size: measure(size, options.device, options.small), arguments, parser)


if __name__ == "__main__":
    sys.exit(main())
