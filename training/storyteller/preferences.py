"""Make preference pairs for the storyteller: `python -m training.storyteller.preferences --model SPEC --out FILE`.

The model answers requests whose values are mixed from the training stories, six drafts each. Drafts are scored by what
can be measured without a reader: the share of the request that they mention, a proper ending without loops, real words,
a length that suits the band, and the judge's pass. The best draft of a request is preferred to its worst one where they
are clearly apart.

Requests are drawn from a seed; finished ones are in FILE, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from taleward.chains.story_prompts import storyteller_request, value_list
from taleward.moderation.judges.embedded.judge import EmbeddedJudge
from taleward.moderation.text.request_coverage import mentions_value
from taleward.moderation.text.story_form import story_form
from taleward.tuning.rows import ChatTurn, DpoRow, RowSource
from training.corpus.reader import BANDS, VARIABLES, Band, CorpusStory, load_plain_stories
from training.storyteller.measure import non_word_share
from training.text_measures import words_of

DRAFTS = 6
_LENGTHS: dict[str, tuple[int, int]] = {"3-5": (70, 170), "6-8": (110, 240), "9-12": (160, 320)}
_MIN_GAP = 0.15


class ScoredDraft(NamedTuple):
    """A draft and its score, 0..1; 0 if the judge does not pass it."""

    text: str
    score: float


def mixed_requests(count: int, seed: int) -> Iterator[tuple[Band, dict[str, str]]]:
    """Yield requests whose values come from one to three training stories of the same band."""
    rng = random.Random(f"preferences/{seed}")
    by_band: dict[str, list[CorpusStory]] = {band: [] for band in BANDS}
    for story in load_plain_stories(held_out=False):
        if story.kind == "story":
            by_band[story.band].append(story)
    for _ in range(count):
        band = rng.choice(BANDS)
        sources = rng.sample(by_band[band], 3)
        # An object and its power belong together, mostly.
        parts = {name: rng.choice(sources) for name in VARIABLES}
        if rng.random() < 0.7:
            parts["magical_properties"] = parts["mysterious_object"]
        yield band, {name: dict(source.request)[name] for name, source in parts.items()}  # type: ignore[arg-type]


def score(text: str, band: Band, values: dict[str, str], judge: EmbeddedJudge) -> float:
    """Return how good a draft is by its surface, 0..1."""
    if not judge.invoke(text).passed:
        return 0.0
    coverage = sum(mentions_value(value, text) for value in values.values()) / len(values)
    shortest, longest = _LENGTHS[band]
    length = len(words_of(text))
    fits = max(0.0, 1 - max(shortest - length, length - longest, 0) / shortest)
    strange = min(1.0, 20 * non_word_share(text, values))
    return 0.55 * coverage + 0.25 * story_form(text) + 0.1 * fits + 0.1 * (1 - strange)


def write_pairs(model: str, out: Path, count: int, seed: int) -> None:
    """Write the drafts of `count` requests to `out`, a JSON line each, going on where an earlier run stopped."""
    from taleward.backends.chat_models import chat_model

    chat = chat_model(model, temperature=0.9, top_p=0.95)
    judges = {band: EmbeddedJudge(band=band) for band in BANDS}
    done = len(out.read_text(encoding="utf-8").splitlines()) if out.exists() else 0
    requests = list(mixed_requests(count, seed))

    def answer(number: int) -> str:
        band, values = requests[number]
        prompt = storyteller_request(value_list(values), band)
        drafts = []
        for draft in range(DRAFTS):
            text = chat.invoke(prompt, seed=1000 * number + draft).text.strip()
            drafts.append(ScoredDraft(text, round(score(text, band, values, judges[band]), 4))._asdict())
        return json.dumps({"prompt": prompt, "band": band, "drafts": drafts}, ensure_ascii=False)

    with out.open("a", encoding="utf-8") as file, ThreadPoolExecutor(32) as pool:
        for number, line in enumerate(pool.map(answer, range(done, count)), done + 1):
            file.write(line + "\n")
            file.flush()
            if number % 20 == 0:
                print(f"{number} of {count}", flush=True)


def preference_rows(file: Path) -> list[DpoRow]:
    """Return a row for each request whose best and worst drafts are clearly apart."""
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines()):
        request = json.loads(line)
        drafts = sorted((ScoredDraft(**draft) for draft in request["drafts"] if draft["text"]), key=lambda d: d.score)
        if not drafts or drafts[-1].score - drafts[0].score < _MIN_GAP or drafts[-1].score < 0.6:
            continue
        rows.append(
            DpoRow(
                prompt=(ChatTurn(role="user", content=request["prompt"]),),
                chosen=drafts[-1].text,
                rejected=drafts[0].text,
                source=RowSource(tale_id=f"mixed-{number}", by="judge"),
            )
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("`")[0].rstrip(": "))
    parser.add_argument("--model", required=True, help="spec of the model that writes the drafts")
    parser.add_argument("--out", type=Path, required=True, help="JSON Lines file of requests with their drafts")
    parser.add_argument("--requests", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    write_pairs(options.model, options.out, options.requests, options.seed)
    print(f"{len(preference_rows(options.out))} pairs")


if __name__ == "__main__":
    main()
