"""Measure a storyteller and write its model card.

`python -m training.storyteller_mini.measure --data DIR --model DIR [--work DIR] [--peer stories260K.bin
--peer-tokenizer tok512.bin] --card README.md`
"""

import argparse
import json
import math
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, median
from typing import Any

import textstat
import torch
from langchain_core.messages import AIMessage
from safetensors.torch import load_file
from transformers import AutoTokenizer

from taleward.backends.chat_models import chat_model
from taleward.moderation.judges.embedded.judge import EmbeddedJudge
from taleward.moderation.text.request_coverage import mentions_value
from training.storyteller_mini import sources
from training.storyteller_mini.card import card, credits_list
from training.storyteller_mini.llama2c import PeerTokenizer, read_model
from training.storyteller_mini.model import Llama, Shape
from training.storyteller_mini.train import Recipe
from training.text_measures import CopyDetector, distinct, repetition, self_bleu, words_of

TEMPLATE = (
    "Once upon a time, in a {setting}, there lived a {character}. One day, {character} discovered a {item} that had "
    "the power to {power}. Excited and curious, {character} decided to {action}. The outcome was {outcome}."
)
_VALUES: dict[str, tuple[str, ...]] = {
    "setting": ("enchanted forest", "small village", "quiet farm", "big garden", "sunny island"),
    "character": ("brave adventurer", "little girl", "clever fox", "young farmer", "shy dragon"),
    "item": ("glowing map", "magic wand", "shiny key", "red balloon", "old book"),
    "power": ("show hidden places", "make people smile", "open any door", "grow flowers", "talk to animals"),
    "action": ("follow the map", "help a friend", "explore the forest", "go on a trip", "share it with everyone"),
    "outcome": ("a new friendship", "a happy ending", "a lesson learned", "finding courage", "the joy of sharing"),
}
REQUESTS, DRAFTS = 50, 4
"""How many requests the model answers, and how often each."""
SHOWN_SAMPLES = 10
MAX_CHARS = 700
"""Characters of a held-out text that are scored, so that it fits the peer's positions."""
SOURCES = ("tinystories", "child", "storybooks")


def template_values(seed: int) -> dict[str, str]:
    """Return values for `TEMPLATE`: its example for seed 0, random ones for other seeds."""
    rng = random.Random(seed)
    return {name: values[0] if seed == 0 else rng.choice(values) for name, values in _VALUES.items()}


def template_request(seed: int) -> str:
    """Return `TEMPLATE` with the values of a seed."""
    return TEMPLATE.format(**template_values(seed))


@torch.no_grad()
def bits_per_char(model: Llama, encode: Callable[[str], list[int]], texts: Sequence[str]) -> float:
    """Return the bits per character of texts, which can be compared across tokenizers.

    It is the negative log-likelihood of all tokens but the first, which only marks the beginning, divided by the number
    of characters.

    Raises:
        ValueError: If there are no texts, or one is longer than the model's positions.
    """
    if not texts:
        raise ValueError("there are no texts to measure on: no document of this source is held out")
    nats, chars = 0.0, 0
    for text in texts:
        ids = torch.tensor([encode(text)])
        if ids.shape[1] > model.shape.positions + 1:
            msg = f"a text of {ids.shape[1]} tokens does not fit {model.shape.positions} positions; cut it first."
            raise ValueError(msg)
        nats += model(ids[:, :-1], ids[:, 1:]).item() * (ids.shape[1] - 1)
        chars += len(text)
    return nats / math.log(2) / chars


def load_model(folder: Path) -> Llama:
    """Load an exported model folder into the training module, in float32."""
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


def measure(
    data: Path, folder: Path, peer: Path | None, peer_tokenizer: Path | None, *, requests: int = REQUESTS
) -> dict[str, Any]:
    """Measure all figures of the model card.

    Args:
        data: Folder with the corpus.
        folder: The exported model folder.
        peer: A llama2.c model to compare with, if any.
        peer_tokenizer: The peer's tokenizer.
        requests: How many requests to write drafts for.

    Returns:
        The figures by name.

    Raises:
        CorpusError: If the data is missing or malformed.
    """
    corpus = sources.load(data)
    model, encode = load_model(folder), AutoTokenizer.from_pretrained(folder).encode
    held_out = {s: [document.text[:MAX_CHARS] for document in corpus.held_out if document.source == s] for s in SOURCES}
    figures: dict[str, Any] = {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "held_out": {source: len(texts) for source, texts in held_out.items()},
        "bits_per_char": {source: bits_per_char(model, encode, texts) for source, texts in held_out.items()},
    }
    if peer is not None and peer_tokenizer is not None:
        peer_model, peer_encode = read_model(peer), PeerTokenizer(peer_tokenizer).encode
        figures["peer_bits_per_char"] = {s: bits_per_char(peer_model, peer_encode, t) for s, t in held_out.items()}
    return figures | _measure_drafts(folder, corpus, requests)


def _measure_drafts(folder: Path, corpus: sources.Corpus, requests: int) -> dict[str, Any]:
    """Measure `DRAFTS` texts for each request, written with the model's default sampling."""
    model = chat_model(f"hf:{folder}", engine="onnx")

    def write(number: int) -> AIMessage:
        return model.invoke(template_request(number // DRAFTS), seed=number)

    started_at = time.monotonic()
    with ThreadPoolExecutor(32) as pool:
        messages = list(pool.map(write, range(requests * DRAFTS)))
    seconds = time.monotonic() - started_at
    texts = [message.text for message in messages]
    words = [words_of(text) for text in texts]
    mentioned = [
        [mentions_value(value, text) for value in template_values(number // DRAFTS).values()]
        for number, text in enumerate(texts)
    ]
    best_mentioned = [max(mentioned[i : i + DRAFTS], key=sum) for i in range(0, len(mentioned), DRAFTS)]
    judge = EmbeddedJudge()
    verdicts = [judge.invoke(text) for text in texts]
    training_texts = [document.text for document in corpus.train if document.source in Recipe.sources]
    training_words = [words_of(text) for text in training_texts]
    copy_detector = CopyDetector(training_words)
    copies = [copy_detector.longest_copy(text_words) for text_words in words]
    rng = random.Random(0)
    sampled_training_texts = random.Random(1).sample(training_texts, len(texts))
    return {
        "ended": mean(message.response_metadata["finish_reason"] == "stop" for message in messages),
        "words": mean(map(len, words)),
        "repetition": mean(map(repetition, words)),
        "repetition_of_stories": mean(map(repetition, rng.sample(training_words, min(400, len(training_words))))),
        "distinct": distinct(words),
        "distinct_of_stories": distinct(rng.sample(training_words, len(words))),
        "self_bleu": self_bleu(texts),
        "self_bleu_of_stories": self_bleu(sampled_training_texts),
        "mentioned": mean(mean(values) for values in mentioned),
        "mentioned_best": mean(mean(values) for values in best_mentioned),
        "all_mentioned_best": mean(all(values) for values in best_mentioned),
        "passed": mean(verdict.passed for verdict in verdicts),
        "reading_index": median(map(textstat.textstat.automated_readability_index, texts)),
        "longest_copy": {"max": max(copies), "median": median(copies)},
        "tokens_per_second": sum(map(model.get_num_tokens, texts)) / seconds,
        "samples": [(template_request(n), texts[n * DRAFTS]) for n in range(min(SHOWN_SAMPLES, requests))],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.storyteller_mini.measure", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the corpus files")
    parser.add_argument("--model", type=Path, required=True, help="exported model folder")
    parser.add_argument("--work", type=Path, help="checkpoint folder of the run, for its recipe and number of steps")
    parser.add_argument("--peer", type=Path, help="llama2.c model to compare with, stories260K.bin")
    parser.add_argument("--peer-tokenizer", type=Path, help="tokenizer of the peer, tok512.bin")
    parser.add_argument("--card", type=Path, help="file to write the model card to, with CREDITS.md beside it")
    options = parser.parse_args(arguments)
    torch.set_num_threads(2)
    figures = measure(options.data, options.model, options.peer, options.peer_tokenizer)
    if options.work is not None:
        figures["run"] = json.loads((options.work / "state.json").read_text())
    print(json.dumps(figures, indent=1))
    if options.card is not None:
        options.card.write_text(card(figures), encoding="utf-8")
        options.card.with_name("CREDITS.md").write_text(credits_list(options.data), encoding="utf-8")


if __name__ == "__main__":
    main()
