"""Train the embedded storyteller: `python -m training.storyteller_mini.train --data DIR --out DIR --steps N --seed 0`.

`--data` is a folder with these gzipped JSON Lines files:

* `tinystories.jsonl.gz`: `{"text": story}`. From the `TinyStories` dataset of Eldan and Li (arXiv 2305.07759) on the
  Hugging Face Hub, `roneneldan/TinyStories`, CDLA-Sharing-1.0.
* `storybooks_ccby.jsonl.gz`: `{"title": ..., "license": "CC-BY", "credit": ..., "pages": [text, ...]}`. From the
  CC-BY dumps of StoryWeaver (Pratham Books), African Storybook and Book Dash (for example `global-asp/pb-source`
  and `global-asp/asp-source` on GitHub). Books with other licenses are left out.
* `instruct_stories.jsonl.gz`: `{"kind": "child", "title": ..., "story": ...}`. From `erikhyrkas/snakes` on GitHub, MIT.
  Of its kinds, `child` is read, and those of `bedtime` that begin with "Once upon a time". The stories were written by
  Llama 3.1: the name of a model trained on them must begin with "Llama".
* `fairytaleqa_train.jsonl.gz`: `{"title": ..., "sections": [text, ...]}`. From FairytaleQA (Xu et al. 2022, arXiv
  2203.13947), Apache-2.0.

All files are read. `--sources` selects those to train on, by default all but the bedtime stories and fairy tales.

The same data, seed, step count and PyTorch version give the same weights on the same kind of processor, unless
`--minutes` ends the run before its last step. An interrupted run continues from its last checkpoint in `--work`.
`--start` begins with the weights and the tokenizer of a trained model instead of random ones.
"""

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from training.storyteller.base import keep_freed_memory
from training.storyteller_mini import batches, sources
from training.storyteller_mini.export import export
from training.storyteller_mini.model import Llama, Shape
from training.storyteller_mini.optimizer import Optimizer


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings that, with the data, determine the weights.

    Attributes:
        seed: Seed of the initial weights and of the training rows.
        steps: Number of steps.
        length: Tokens per row.
        batch: Rows per step.
        muon_rate: Peak learning rate of the matrices of the layers.
        adam_rate: Peak learning rate of the other parameters.
        rate: Factor of both peak rates; less than 1 to continue training a trained model.
        warmup: Share of the run in which the learning rate rises.
        flat_until: Share of the run after which the learning rate falls linearly to zero.
        bfloat16: Whether to multiply in bfloat16; the weights stay in float32.
        sources: The sources to train on.
        shape: The sizes of the model.
    """

    seed: int = 0
    steps: int = 4000
    length: int = 896
    batch: int = 9
    muon_rate: float = 0.02
    adam_rate: float = 0.004
    rate: float = 1.0
    warmup: float = 0.02
    flat_until: float = 0.4
    bfloat16: bool = True
    sources: tuple[str, ...] = ("tinystories", "storybooks", "child")
    shape: Shape = field(default_factory=Shape)


def rate_factor(recipe: Recipe, progress: float) -> float:
    """Return the share of the peak learning rates to use at a progress of 0 to 1 through the run."""
    warmup = min(1.0, (progress + 1 / recipe.steps) / max(recipe.warmup, 1 / recipe.steps))
    return recipe.rate * max(0.0, min(warmup, (1 - progress) / (1 - recipe.flat_until)))


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
    """Train a model, or continue an interrupted run, and export the model folder.

    Args:
        data: Folder with the corpus; see the module's docstring.
        out: Folder for the trained model.
        work: Folder for checkpoints.
        recipe: The settings.
        start: Folder of a trained model of the same shape, to start from its weights and tokenizer.
        minutes: Time limit in minutes, over all sittings of the run. If it comes before the last step, the learning
            rate follows the clock instead, so that it still ends at zero.
        save_seconds: Seconds between checkpoints.

    Returns:
        The final state: steps done, seconds used, and mean loss of the last 50 steps in nats per token.

    Raises:
        CorpusError: If the data is missing or malformed.
        ValueError: If the checkpoint in `work` has another recipe, or the corpus does not fill a batch.
    """
    corpus = sources.load(data)
    documents = [document for document in corpus.train if document.source in recipe.sources]
    work.mkdir(parents=True, exist_ok=True)
    model = Llama(recipe.shape, generator=torch.Generator().manual_seed(recipe.seed))
    if start is not None:
        shutil.copy(start / "tokenizer.json", work / "tokenizer.json")
        weights = load_file(start / "model.safetensors")
        model.load_state_dict({name: value.float() for name, value in weights.items()})
    tokenizer = _load_or_train_tokenizer(work / "tokenizer.json", documents, recipe)
    optimizer = Optimizer(model, muon_rate=recipe.muon_rate, adam_rate=recipe.adam_rate)
    state = _load_checkpoint(work, model, optimizer, recipe)
    previous_seconds, started_at = float(state["seconds"]), time.monotonic()
    saved_at, rows = started_at, None
    losses: list[float] = []
    while state["step"] < recipe.steps:
        state["seconds"] = previous_seconds + time.monotonic() - started_at
        # Whichever ends the run, the learning rate must be zero by then.
        progress = max(state["step"] / recipe.steps, state["seconds"] / (60 * minutes))
        if progress >= 1:
            break
        if rows is None or state["row"] + recipe.batch > len(rows):
            if rows is not None:
                state["epoch"], state["row"] = state["epoch"] + 1, 0
            # The rows of an epoch depend on nothing else, so that a continued run gets the same ones.
            seed = f"{recipe.seed}/{state['epoch']}"
            rows = batches.epoch_rows(documents, tokenizer, length=recipe.length, seed=seed)
            if len(rows) < recipe.batch:
                msg = f"the corpus fills {len(rows)} rows, less than a batch of {recipe.batch}; add text."
                raise ValueError(msg)
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
            loss = model(*batches.inputs_and_targets(rows[state["row"] : state["row"] + recipe.batch]))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(rate_factor(recipe, progress))
        state["row"] += recipe.batch
        state["step"] += 1
        losses = [*losses[-49:], loss.item()]
        state["loss"] = sum(losses) / len(losses)
        if state["step"] % 50 == 0:
            print(
                f"step {state['step']} loss {state['loss']:.3f} epoch {state['epoch']} {state['seconds']:.0f} s",
                flush=True,
            )
        if time.monotonic() - saved_at > save_seconds:
            saved_at = time.monotonic()
            _save_checkpoint(work, model, optimizer, state)
    _save_checkpoint(work, model, optimizer, state)
    export(model, tokenizer, out)
    return state


def _load_or_train_tokenizer(path: Path, documents: Sequence[sources.Document], recipe: Recipe) -> Any:
    if not path.exists():
        batches.make_tokenizer(documents, recipe.shape.vocab).save(str(path))
    return Tokenizer.from_file(str(path))


def _recipe_json(recipe: Recipe) -> Any:
    return json.loads(json.dumps(asdict(recipe)))


def _load_checkpoint(work: Path, model: Llama, optimizer: Optimizer, recipe: Recipe) -> dict[str, Any]:
    state_file = work / "state.json"
    if not state_file.exists():
        start = {"step": 0, "epoch": 0, "row": 0, "seconds": 0.0, "loss": float("nan"), "file": None}
        return start | {"recipe": _recipe_json(recipe)}
    state: dict[str, Any] = json.loads(state_file.read_text())
    if state["recipe"] != _recipe_json(recipe):
        msg = f"{str(work)!r} has a run with another recipe, {state['recipe']}. Give an empty folder with --work."
        raise ValueError(msg)
    tensors = load_file(work / state["file"])
    model.load_state_dict({k.removeprefix("model:"): v for k, v in tensors.items() if k.startswith("model:")})
    optimizer.state.update({k.removeprefix("state:"): v for k, v in tensors.items() if k.startswith("state:")})
    return state


def _save_checkpoint(work: Path, model: Llama, optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Write the weights, then the state that names them: a kill at any moment leaves one valid checkpoint."""
    tensors = {f"model:{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"state:{name}": value for name, value in optimizer.state.items()}
    previous, state["file"] = state["file"], f"step{state['step']}.safetensors"
    save_file(tensors, work / state["file"])
    temporary = work / "state.json.part"
    temporary.write_text(json.dumps(state))
    temporary.replace(work / "state.json")
    if previous not in (None, state["file"]):
        (work / previous).unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.storyteller_mini.train", description="Train the embedded storyteller."
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the corpus files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the trained model")
    parser.add_argument("--work", type=Path, help="folder for checkpoints (default: OUT-work)")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--minutes", type=float, default=60.0, help="time limit over all sittings of the run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="folder of a trained model to start from")
    parser.add_argument("--rate", type=float, default=1.0, help="factor of the peak learning rates")
    parser.add_argument(
        "--sources", default=",".join(Recipe.sources), help="comma-separated sources to train on (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=2, help="number of threads")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    recipe = Recipe(
        seed=options.seed, steps=options.steps, rate=options.rate, sources=tuple(options.sources.split(","))
    )
    work = options.work or options.out.with_name(options.out.name + "-work")
    state = train(options.data, options.out, work, recipe, start=options.start, minutes=options.minutes)
    print(json.dumps(state))


if __name__ == "__main__":
    main()
