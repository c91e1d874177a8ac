"""Measure a storyteller and write its card.

`python -m training.storyteller.report --data DIR --model DIR [--work DIR] [--peer stories260K.bin
--peer-tokenizer tok512.bin] --card README.md`
"""

import argparse
import json
import math
import random
import re
import time
from collections.abc import Callable, Iterable, Sequence
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
from taleward.evaluation.metrics import metric
from taleward.evaluation.sample import as_samples
from taleward.moderation.judges.embedded.judge import EmbeddedJudge
from taleward.moderation.text.value_coverage import mentions_value
from training.storyteller import sources
from training.storyteller.card import card, credits_list
from training.storyteller.llama2c import PeerTokenizer, read_model
from training.storyteller.model import Llama, Shape
from training.storyteller.train import Recipe

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
SAMPLES, DRAFTS, SHOWN, CHARS = 50, 4, 10, 700
SOURCES = ("tinystories", "child", "storybooks")


def values(seed: int) -> dict[str, str]:
    """A template's values; 0 is the template's own example, other seeds draw them."""
    rng = random.Random(seed)
    return {name: words[0] if seed == 0 else rng.choice(words) for name, words in _PARTS.items()}


def opening(seed: int) -> str:
    """An opening of the template's shape."""
    return TEMPLATE.format(**values(seed))


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


class Learned:
    """Texts that copies are looked for in.

    Args:
        texts: Their words, each from `as_words`.
    """

    _SIZE = 6

    def __init__(self, texts: Iterable[Sequence[str]]) -> None:
        self._grams: set[int] = set()
        kept = []
        for words in texts:
            kept.append(f" {' '.join(words)} \n")
            self._grams.update(self._hashes(words))
        self._text = "".join(kept)

    def _hashes(self, words: Sequence[str]) -> list[int]:
        return [hash(tuple(words[i : i + self._SIZE])) for i in range(len(words) - self._SIZE + 1)]

    def longest_copy(self, words: Sequence[str]) -> int:
        """Length in words of the longest run of `words` that one of the texts holds as it is.

        Only runs whose n-grams are all known are looked up; a hash that two n-grams share costs a look-up more.
        """
        known = [h in self._grams for h in self._hashes(words)] + [True] * (self._SIZE - 1)
        best, start = 0, 0
        while start + best < len(words):
            end = start + best + 1
            whole = all(known[start : max(start + 1, end - self._SIZE + 1)]) if end - start >= self._SIZE else True
            if whole and f" {' '.join(words[start:end])} " in self._text:
                best += 1
            else:
                start += 1
        return best


def as_words(text: str) -> list[str]:
    """Lower-case words without marks."""
    return re.findall(r"[a-z0-9']+", text.lower())


def distinct(texts: Sequence[Sequence[str]], size: int = 2) -> float:
    """Share of all texts' word n-grams that are different from each other (Li et al. 2016, arXiv 1510.03055)."""
    grams = [tuple(words[i : i + size]) for words in texts for i in range(len(words) - size + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def self_bleu(texts: Sequence[str]) -> float:
    """BLEU, 0..100, of each text against the others (Zhu et al. 2018, arXiv 1802.01886): high where they are alike."""
    rows = metric("self_bleu").score(as_samples([{"output": text} for text in texts]), resamples=2)
    return float(rows.value or 0.0)


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
    corpus = sources.load(data)
    plain, encode = load(folder), AutoTokenizer.from_pretrained(folder).encode
    held = {s: [document.text[:CHARS] for document in corpus.held if document.source == s] for s in SOURCES}
    figures: dict[str, Any] = {
        "parameters": sum(weight.numel() for weight in plain.parameters()),
        "held_out": {source: len(texts) for source, texts in held.items()},
        "bits_per_char": {source: bits_per_char(plain, encode, texts) for source, texts in held.items()},
    }
    if peer is not None and peer_tokenizer is not None:
        small, encode = read_model(peer), PeerTokenizer(peer_tokenizer).encode
        figures["peer_bits_per_char"] = {s: bits_per_char(small, encode, texts) for s, texts in held.items()}
    return figures | _of_drafts(folder, corpus)


def _of_drafts(folder: Path, corpus: sources.Corpus) -> dict[str, Any]:
    """Figures over `DRAFTS` texts for each of `SAMPLES` openings, with the folder's own sampling defaults."""
    model = chat_model(f"hf:{folder}", engine="onnx")

    def write(number: int) -> AIMessage:
        return model.invoke(opening(number // DRAFTS), seed=number)

    started = time.monotonic()
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(write, range(SAMPLES * DRAFTS)))
    seconds = time.monotonic() - started
    texts = [answer.text for answer in answers]
    written = [as_words(text) for text in texts]
    told = [
        [mentions_value(value, text) for value in values(number // DRAFTS).values()]
        for number, text in enumerate(texts)
    ]
    best = [max(told[at : at + DRAFTS], key=sum) for at in range(0, len(told), DRAFTS)]
    judge = EmbeddedJudge()
    verdicts = [judge.invoke(text) for text in texts]
    learned = [as_words(document.text) for document in corpus.train if document.source in Recipe.sources]
    seen = Learned(learned)
    copies = [seen.longest_copy(words) for words in written]
    rng = random.Random(0)
    others = random.Random(1).sample([d.text for d in corpus.train if d.source in Recipe.sources], len(texts))
    return {
        "ended": mean(answer.response_metadata["finish_reason"] == "stop" for answer in answers),
        "words": mean(map(len, written)),
        "repetition": mean(map(repetition, written)),
        "repetition_of_stories": mean(map(repetition, rng.sample(learned, 400))),
        "distinct": distinct(written),
        "distinct_of_stories": distinct(rng.sample(learned, len(written))),
        "self_bleu": self_bleu(texts),
        "self_bleu_of_stories": self_bleu(others),
        "mentioned": mean(mean(each) for each in told),
        "mentioned_best": mean(mean(each) for each in best),
        "all_mentioned_best": mean(all(each) for each in best),
        "passed": mean(verdict.passed for verdict in verdicts),
        "reading_index": median(map(textstat.textstat.automated_readability_index, texts)),
        "longest_copy": {"max": max(copies), "median": median(copies)},
        "tokens_per_second": sum(map(model.get_num_tokens, texts)) / seconds,
        "samples": [(opening(n), texts[n * DRAFTS]) for n in range(SHOWN)],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training.storyteller.report", description=__doc__)
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
