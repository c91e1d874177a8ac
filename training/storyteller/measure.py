"""Measure a storyteller on 60 requests that nobody trained on: `python -m training.storyteller.measure --model SPEC`.

The requests (`requests.yaml`) are by a writer who saw no training text. Each is answered by four drafts; a draft is
measured alone, and the best of four by the coverage of the request, as `taleward tell` chooses.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

import textstat
import yaml

from taleward.chains.story import StoryChain
from taleward.moderation.judges.embedded.judge import EmbeddedJudge
from taleward.moderation.text.request_coverage import mentions_value
from taleward.moderation.text.story_form import story_form
from training.corpus.reader import BANDS, VARIABLES, load_plain_stories, load_stories
from training.text_measures import CopyDetector, distinct, repetition, self_bleu, words_of

DRAFTS = 4
_REQUESTS_FILE = Path(__file__).with_name("requests.yaml")


class Draft(NamedTuple):
    """A draft and its measures.

    Attributes:
        number: Index of the request.
        band: Its age band.
        text: The story.
        ended: Whether the model ended it, and not the limit.
        mentioned: For each value of the request, whether the story mentions it.
    """

    number: int
    band: str
    text: str
    ended: bool
    mentioned: tuple[bool, ...]


def load_requests() -> list[dict[str, str]]:
    """Return the requests: six values and the band each."""
    rows: list[dict[str, str]] = yaml.safe_load(_REQUESTS_FILE.read_text(encoding="utf-8"))
    return [{name: str(value) for name, value in row.items()} for row in rows]


def write_drafts(model: str, requests: Sequence[dict[str, str]], **options: Any) -> tuple[list[Draft], float]:
    """Answer each request `DRAFTS` times, and return the drafts and the seconds it took."""
    chains: dict[str, StoryChain] = {band: StoryChain(model, band=band, **options) for band in BANDS}

    def write(job: int) -> Draft:
        number = job // DRAFTS
        request = requests[number]
        values = {name: request[name] for name in VARIABLES}
        chain = chains[request["band"]]
        message = (chain.model.bind(seed=job)).invoke(chain.messages_for(values))
        text = message.text.strip()
        ended = message.response_metadata.get("finish_reason") == "stop"
        return Draft(number, request["band"], text, ended, tuple(mentions_value(v, text) for v in values.values()))

    began = time.monotonic()
    with ThreadPoolExecutor(32) as pool:
        drafts = list(pool.map(write, range(len(requests) * DRAFTS)))
    return drafts, time.monotonic() - began


def _spread(requests: Sequence[dict[str, str]], count: int) -> Sequence[dict[str, str]]:
    """Return `count` requests spread over all, so that every band is among a few."""
    return requests[:: max(1, len(requests) // count)][:count]


def measure(model: str, count: int = 60, **options: Any) -> dict[str, Any]:
    """Return the figures of a model by name, with its best drafts.

    Args:
        model: The spec.
        count: Number of requests.
        options: Options of the model.
    """
    requests = _spread(load_requests(), count)
    drafts, seconds = write_drafts(model, requests, **options)
    best = [
        max(drafts[i : i + DRAFTS], key=lambda d: sum(d.mentioned) / len(d.mentioned) * 0.55 + story_form(d.text) * 0.2)
        for i in range(0, len(drafts), DRAFTS)
    ]
    judges: dict[str, EmbeddedJudge] = {band: EmbeddedJudge(band=band) for band in BANDS}
    training = CopyDetector(words_of(story.whole) for story in load_plain_stories(held_out=False))
    words = [words_of(draft.text) for draft in drafts]
    return {
        "model": model,
        "requests": len(best),
        "mentioned": mean(mean(d.mentioned) for d in drafts),
        "mentioned_best": mean(mean(d.mentioned) for d in best),
        "all_mentioned_best": mean(all(d.mentioned) for d in best),
        "mentioned_by_value": {
            name: round(mean(d.mentioned[k] for d in drafts), 3) for k, name in enumerate(VARIABLES)
        },
        "ended": mean(d.ended and story_form(d.text) > 0 for d in drafts),
        "form": mean(story_form(d.text) for d in drafts),
        "passed": mean(judges[d.band].invoke(d.text).passed for d in drafts),
        "non_words": mean(non_word_share(d.text, requests[d.number]) for d in drafts),
        "repetition": mean(map(repetition, words)),
        "distinct": distinct(words),
        "self_bleu": self_bleu([d.text for d in best]),
        "longest_copy": max(map(training.longest_copy, words)),
        "by_band": {
            band: {
                "words": round(mean(len(words_of(d.text)) for d in drafts if d.band == band)),
                "grade": round(
                    median(textstat.textstat.automated_readability_index(d.text) for d in drafts if d.band == band), 1
                ),
                "mentioned_best": round(mean(mean(d.mentioned) for d in best if d.band == band), 3),
            }
            for band in sorted({draft.band for draft in drafts})
        },
        "seconds": round(seconds, 1),
        "best": [{"request": requests[d.number], "text": d.text} for d in best],
    }


def non_word_share(text: str, request: dict[str, str]) -> float:
    """Return the share of words that no story of the corpus, dictionary piece of the judge or the request has, 0..1.

    Words with a capital letter are left out: they are mostly names.
    """
    known = _known_words() | set(words_of(" ".join(request.values())))
    words = re.findall(r"(?<![\w'’])[a-z]+(?![\w'’])", text)
    return sum(not _is_known(word, known) for word in words) / len(words) if words else 0.0


def _is_known(word: str, known: set[str]) -> bool:
    if word in known:
        return True
    for suffix, replacements in (
        ("s", ("",)), ("es", ("",)), ("ed", ("", "e")), ("ing", ("", "e")), ("er", ("", "e")), ("est", ("", "e")),
        ("ly", ("", "le")), ("y", ("", "e")), ("ies", ("y",)), ("ied", ("y",)), ("ness", ("",)), ("less", ("",)),
    ):  # fmt: skip
        if word.endswith(suffix):
            stem = word.removesuffix(suffix)
            doubled = stem[:-1] if len(stem) > 2 and stem[-1] == stem[-2] else stem
            if any(stem + r in known or doubled + r in known for r in replacements):
                return True
    # "moonlit", "raincoat": two known words in one.
    return any(word[:i] in known and word[i:] in known for i in range(3, len(word) - 2))


@cache
def _known_words() -> set[str]:
    from taleward.backends.onnx.minilm import model_folder

    vocabulary = json.loads((model_folder() / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    pieces = {piece for piece in vocabulary if piece.isalpha() and piece.islower()}
    return pieces | {word for story in (*load_stories(), *load_plain_stories()) for word in words_of(story.whole)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("`")[0].rstrip(": "))
    parser.add_argument("--model", default="embedded:storyteller", help="model spec (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=60, help="how many of the requests")
    parser.add_argument("--precision", help="precision of the model, int8 or float32")
    parser.add_argument("--json", type=Path, help="file for the figures and the best drafts")
    options = parser.parse_args(arguments)
    settings = {"precision": options.precision} if options.precision else {}
    figures = measure(options.model, options.requests, **settings)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False), encoding="utf-8")
    print(json.dumps({name: value for name, value in figures.items() if name != "best"}, indent=1))


if __name__ == "__main__":
    main()
