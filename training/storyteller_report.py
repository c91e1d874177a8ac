"""Measure a storyteller and write its card.

`python -m taleward.training.storyteller_report --data DIR --model DIR [--work DIR] [--peer stories260K.bin
--peer-tokenizer tok512.bin] --card README.md`
"""

import argparse
import json
import math
import random
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from taleward.training import storyteller_text
from taleward.training.storyteller_card import card, credits_list
from taleward.training.storyteller_model import Llama, Shape
from taleward.training.storyteller_peer import PeerTokenizer, read_model

TEMPLATE = (
    "Once upon a time, in a {setting}, there lived a {character}. One day, {character} discovered a {item} that had "
    "the power to {power}. Excited and curious, {character} decided to {action}. The outcome was {outcome}."
)
_PARTS: dict[str, tuple[str, ...]] = {
    "setting": ("enchanted forest", "small village", "quiet farm", "big garden", "sunny island"),
    "character": ("brave adventurer", "little girl", "clever fox", "young farmer", "shy dragon"),
    "item": ("glowing map", "magic wand", "shiny key", "red balloon", "old book"),
    "power": ("show hidden places", "make people smile", "open any door", "grow flowers", "talk to animals"),
    "action": ("follow the map", "help a friend", "explore the forest", "go on a trip", "share it with everyone"),
    "outcome": ("a new friendship", "a happy ending", "a lesson learned", "finding courage", "the joy of sharing"),
}
SAMPLES, NEW_TOKENS, CHARS = 50, 400, 700


def opening(seed: int) -> str:
    """An opening of the template's shape; 0 is the template's own example, other seeds draw its parts."""
    rng = random.Random(seed)
    return TEMPLATE.format(**{name: words[0] if seed == 0 else rng.choice(words) for name, words in _PARTS.items()})


@torch.no_grad()
def bits_per_char(model: Llama, encode: Callable[[str], list[int]], texts: Sequence[str]) -> float:
    """Bits a character of texts, each from its beginning and without what follows its end.

    Sum of the negative log-likelihood of all tokens but the first (which only marks the beginning), over the number of
    characters: comparable across tokenizers.

    Raises:
        ValueError: There is no text, or one is longer than the model's positions.
    """
    if not texts:
        raise ValueError("no texts to measure on: the held-out part of this source is empty")
    nats, chars = 0.0, 0
    for text in texts:
        ids = torch.tensor([encode(text)])
        if ids.shape[1] > model.shape.positions + 1:
            msg = f"a text of {ids.shape[1]} tokens does not fit {model.shape.positions} positions: cut it first."
            raise ValueError(msg)
        nats += model(ids[:, :-1], ids[:, 1:]).item() * (ids.shape[1] - 1)
        chars += len(text)
    return nats / math.log(2) / chars


def repetition(words: Sequence[str], size: int = 4) -> float:
    """Share of a text's word n-grams that were in it before; 0 for texts shorter than `size`."""
    grams = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def longest_copy(words: Sequence[str], text: str) -> int:
    """Length in words of the longest run of `words` that `text` (from `as_words`) holds as it is."""
    best, start = 0, 0
    while start + best < len(words):
        if f" {' '.join(words[start : start + best + 1])} " in text:
            best += 1
        else:
            start += 1
    return best


def as_words(text: str) -> list[str]:
    """Lower-case words without marks."""
    return re.findall(r"[a-z0-9']+", text.lower())


def generate(model: Any, tokenizer: Any, prompt: str, seed: int) -> tuple[str, bool]:
    """What the model adds to a prompt with its own sampling defaults, and whether it ended by itself."""
    torch.manual_seed(seed)
    inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        out: Tensor = model.generate(**inputs, max_new_tokens=NEW_TOKENS)
    new = out[0, inputs["input_ids"].shape[1] :]
    return tokenizer.decode(new, skip_special_tokens=True), bool(new[-1] == tokenizer.eos_token_id)


def load(folder: Path) -> Llama:
    """The plain training module with the float16 weights of an exported folder, computing in float32."""
    config = json.loads((folder / "config.json").read_text())
    shape = Shape(
        vocab=config["vocab_size"],
        hidden=config["hidden_size"],
        inner=config["intermediate_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        kv_heads=config["num_key_value_heads"],
        positions=config["max_position_embeddings"],
    )
    model = Llama(shape, generator=torch.Generator().manual_seed(0))
    model.load_state_dict({name: value.float() for name, value in load_file(folder / "model.safetensors").items()})
    return model


def measure(data: Path, folder: Path, peer: Path | None, peer_tokenizer: Path | None) -> dict[str, Any]:
    """All figures of the card.

    Raises:
        CorpusError: The data are missing or malformed.
    """
    corpus = storyteller_text.load(data)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    plain = load(folder)
    held = {
        source: [document.text[:CHARS] for document in corpus.held if document.source == source]
        for source in ("tinystories", "storybooks")
    }
    figures: dict[str, Any] = {
        "parameters": sum(weight.numel() for weight in plain.parameters()),
        "held_out": {source: len(texts) for source, texts in held.items()},
        "bits_per_char": {source: bits_per_char(plain, tokenizer.encode, texts) for source, texts in held.items()},
    }
    if peer is not None and peer_tokenizer is not None:
        small, encode = read_model(peer), PeerTokenizer(peer_tokenizer).encode
        figures["peer_bits_per_char"] = {s: bits_per_char(small, encode, texts) for s, texts in held.items()}
    started = time.monotonic()
    made = [(opening(seed), *generate(model, tokenizer, opening(seed), seed)) for seed in range(SAMPLES)]
    seconds = time.monotonic() - started
    written = [as_words(text) for _, text, _ in made]
    seen = "".join(f" {' '.join(as_words(document.text))} \n" for document in corpus.train)
    copies = [longest_copy(words, seen) for words in written]
    return figures | {
        "ended": sum(ended for _, _, ended in made) / SAMPLES,
        "words": sum(map(len, written)) / SAMPLES,
        "repetition": sum(map(repetition, written)) / SAMPLES,
        "longest_copy": {"max": max(copies), "median": sorted(copies)[SAMPLES // 2]},
        "seconds_a_sample": seconds / SAMPLES,
        "samples": [(prompt, text) for prompt, text, _ in made[:5]],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m taleward.training.storyteller_report", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the corpus files")
    parser.add_argument("--model", type=Path, required=True, help="exported model folder")
    parser.add_argument("--work", type=Path, help="checkpoint folder of the run, for its step count")
    parser.add_argument("--peer", type=Path, help="stories260K.bin")
    parser.add_argument("--peer-tokenizer", type=Path, help="tok512.bin")
    parser.add_argument("--card", type=Path, help="file to write the card to, with CREDITS.md beside it")
    given = parser.parse_args(arguments)
    torch.set_num_threads(2)
    figures = measure(given.data, given.model, given.peer, given.peer_tokenizer)
    if given.work is not None:
        figures["run"] = json.loads((given.work / "state.json").read_text())
    print(json.dumps(figures, indent=1))
    if given.card is not None:
        given.card.write_text(card(figures), encoding="utf-8")
        given.card.with_name("CREDITS.md").write_text(credits_list(given.data), encoding="utf-8")


if __name__ == "__main__":
    main()
