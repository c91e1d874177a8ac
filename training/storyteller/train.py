"""Make the embedded storyteller: `python -m training.storyteller.train --data DIR --out DIR --steps N --seed 0`.

`--data` is a folder with these files, one JSON object a line, gzip:

* `tinystories.jsonl.gz`: `{"text": story}`. From the `TinyStories` dataset of Eldan and Li (arXiv 2305.07759) on the
  Hugging Face hub, `roneneldan/TinyStories`, CDLA-Sharing-1.0.
* `storybooks_ccby.jsonl.gz`: `{"title": ..., "license": "CC-BY", "credit": ..., "pages": [text, ...]}`. From the
  CC-BY dumps of StoryWeaver (Pratham Books), African Storybook and Book Dash (for example `global-asp/pb-source`
  and `global-asp/asp-source` on GitHub); pages with other licences are left out.
* `instruct_stories.jsonl.gz`: `{"kind": "child", "title": ..., "story": ...}`. From `erikhyrkas/snakes` on GitHub, MIT;
  of its kinds `child` is read, and of `bedtime` what begins with "Once upon a time". Written with Llama 3.1: a model
  that learned from it carries "Llama" at the start of its name. Learned from are those that `--sources` names.
* `fairytaleqa_train.jsonl.gz`: `{"title": ..., "sections": [text, ...]}`. From FairytaleQA (Xu et al. 2022, arXiv
  2203.13947), Apache-2.0. Read always, learned from when `--sources` names `fairytales`.

The same data, seed, step count and torch version give the same weights on the same kind of processor, unless the guard
`--minutes` ends the run before its last step. A run that was cut off goes on from its last checkpoint in `--work`.
`--start` begins with the weights and the tokenizer of a finished model instead of random ones.
"""

import argparse
import ctypes
import json
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from training.storyteller import batches, sources
from training.storyteller.export import export
from training.storyteller.model import Llama, Shape
from training.storyteller.optimizer import Optimiser

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the weights, besides the data."""

    seed: int = 0
    steps: int = 4000
    length: int = 896
    """Tokens a row."""
    batch: int = 9
    """Rows a step."""
    muon_rate: float = 0.02
    adam_rate: float = 0.004
    rate: float = 1.0
    """Share of these peak rates; less than 1 where a trained model is trained on."""
    warmup: float = 0.02
    """Share of the run in which the learning rate rises."""
    flat_until: float = 0.4
    """Share of the run after which the learning rate falls in a straight line to zero."""
    bfloat16: bool = True
    """Multiply in bfloat16; weights stay in float32."""
    sources: tuple[str, ...] = ("tinystories", "storybooks", "child")
    shape: Shape = field(default_factory=Shape)


def rate_factor(recipe: Recipe, progress: float) -> float:
    """Share of the peak learning rates, at a progress through the run of 0 to 1."""
    rising = min(1.0, (progress + 1 / recipe.steps) / max(recipe.warmup, 1 / recipe.steps))
    return recipe.rate * max(0.0, min(rising, (1 - progress) / (1 - recipe.flat_until)))


def train(
    data: Path,
    out: Path,
    work: Path,
    recipe: Recipe,
    *,
    start: Path | None = None,
    minutes: float = 60.0,
    save_seconds: float = 180.0,
) -> dict[str, Any]:
    """Train, or go on training, and write the model folder.

    Args:
        data: Folder with the corpus; see the module's docstring.
        out: Folder for the finished model.
        work: Folder for checkpoints.
        recipe: What to train.
        start: Folder of a finished model of this shape, whose weights and tokenizer are the beginning.
        minutes: Wall-clock guard over all sittings. When it is nearer than the last step, the learning rate falls
            by the clock, so that the run still ends with a rate of zero.
        save_seconds: Time between checkpoints.

    Returns:
        The state at the end: steps done, seconds used, mean loss of the last 50 steps in nats a token.

    Raises:
        CorpusError: The data are missing or malformed.
        ValueError: The checkpoint in `work` belongs to another recipe.
    """
    corpus = sources.load(data)
    documents = [document for document in corpus.train if document.source in recipe.sources]
    work.mkdir(parents=True, exist_ok=True)
    model = Llama(recipe.shape, generator=torch.Generator().manual_seed(recipe.seed))
    if start is not None:
        shutil.copy(start / "tokenizer.json", work / "tokenizer.json")
        weights = load_file(start / "model.safetensors")
        model.load_state_dict({name: value.float() for name, value in weights.items()})
    tokenizer = _tokenizer(work / "tokenizer.json", documents, recipe)
    optimiser = Optimiser(model, muon_rate=recipe.muon_rate, adam_rate=recipe.adam_rate)
    state = _restore(work, model, optimiser, recipe)
    earlier, started = float(state["seconds"]), time.monotonic()
    saved, rows = started, None
    losses: list[float] = []
    while state["step"] < recipe.steps:
        state["seconds"] = earlier + time.monotonic() - started
        progress = max(state["step"] / recipe.steps, state["seconds"] / (60 * minutes))
        if progress >= 1:
            break
        if rows is None or state["row"] + recipe.batch > len(rows):
            if rows is not None:
                state["epoch"], state["row"] = state["epoch"] + 1, 0
            seed = f"{recipe.seed}/{state['epoch']}"
            rows = batches.rows(documents, tokenizer, length=recipe.length, seed=seed)
            if len(rows) < recipe.batch:
                msg = f"the corpus fills {len(rows)} rows, a batch takes {recipe.batch}: add text or lower the batch."
                raise ValueError(msg)
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
            loss = model(*batches.split(rows[state["row"] : state["row"] + recipe.batch]))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step(rate_factor(recipe, progress))
        state["row"] += recipe.batch
        state["step"] += 1
        losses = [*losses[-49:], loss.item()]
        state["loss"] = sum(losses) / len(losses)
        if state["step"] % 50 == 0:
            print(
                f"step {state['step']} loss {state['loss']:.3f} epoch {state['epoch']} {state['seconds']:.0f} s",
                flush=True,
            )
        if time.monotonic() - saved > save_seconds:
            saved = time.monotonic()
            _save(work, model, optimiser, state)
    _save(work, model, optimiser, state)
    export(model, tokenizer, out)
    return state


def _keep_memory() -> None:
    """Have the C library keep what is freed: else each step's large arrays are new pages, zeroed by the system."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _tokenizer(path: Path, documents: Sequence[sources.Document], recipe: Recipe) -> Any:
    if not path.exists():
        batches.make_tokenizer(documents, recipe.shape.vocab).save(str(path))
    return Tokenizer.from_file(str(path))


def _recipe_json(recipe: Recipe) -> Any:
    return json.loads(json.dumps(asdict(recipe)))


def _restore(work: Path, model: Llama, optimiser: Optimiser, recipe: Recipe) -> dict[str, Any]:
    note = work / "state.json"
    if not note.exists():
        state = {"step": 0, "epoch": 0, "row": 0, "seconds": 0.0, "loss": float("nan"), "file": None}
        return state | {"recipe": _recipe_json(recipe)}
    kept: dict[str, Any] = json.loads(note.read_text())
    if kept["recipe"] != _recipe_json(recipe):
        msg = f"{str(work)!r} holds a run with another recipe, {kept['recipe']}. Name an empty --work folder."
        raise ValueError(msg)
    tensors = load_file(work / kept["file"])
    model.load_state_dict({k.removeprefix("model:"): v for k, v in tensors.items() if k.startswith("model:")})
    optimiser.state.update({k.removeprefix("state:"): v for k, v in tensors.items() if k.startswith("state:")})
    return kept


def _save(work: Path, model: Llama, optimiser: Optimiser, state: dict[str, Any]) -> None:
    """Weights first, then the note that names them, so that a cut at any moment leaves one whole checkpoint."""
    tensors = {f"model:{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"state:{name}": value for name, value in optimiser.state.items()}
    old, state["file"] = state["file"], f"step{state['step']}.safetensors"
    save_file(tensors, work / state["file"])
    part = work / "state.json.part"
    part.write_text(json.dumps(state))
    part.replace(work / "state.json")
    if old not in (None, state["file"]):
        (work / old).unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training.storyteller.train", description="Make the storyteller.")
    parser.add_argument("--data", type=Path, required=True, help="folder with the corpus files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the finished model")
    parser.add_argument("--work", type=Path, help="folder for checkpoints (default: OUT-work)")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--minutes", type=float, default=60.0, help="wall-clock guard over all sittings")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="folder of a finished model to train on")
    parser.add_argument("--rate", type=float, default=1.0, help="share of the peak learning rates")
    parser.add_argument("--sources", default=",".join(Recipe.sources), help="comma-separated")
    parser.add_argument("--threads", type=int, default=2, help="processor cores to use")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    _keep_memory()
    recipe = Recipe(seed=given.seed, steps=given.steps, rate=given.rate, sources=tuple(given.sources.split(",")))
    work = given.work or given.out.with_name(given.out.name + "-work")
    state = train(given.data, given.out, work, recipe, start=given.start, minutes=given.minutes)
    print(json.dumps(state))


if __name__ == "__main__":
    main()
