"""What every row of the written corpus must hold to. `python -m training.corpus.checks` prints what does not."""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from taleward.core.policy import SEVERITIES
from taleward.evaluation.datasets import load_dataset
from taleward.moderation.policies.load import load_policy
from taleward.moderation.text.request_coverage import words_of
from training.corpus.reader import (
    BANDS,
    CorpusPair,
    CorpusPassage,
    CorpusShortText,
    CorpusStory,
    load_pairs,
    load_passages,
    load_plain_stories,
    load_short_texts,
    load_stories,
)
from training.corpus.similarity import similarity_problems

LENGTHS: Mapping[str, tuple[int, int]] = {"3-5": (75, 200), "6-8": (115, 275), "9-12": (155, 335)}
"""Words of a whole story, by band."""
MAX_ONCE_UPON_A_TIME, MAX_NAME = 0.03, 0.01
MAX_SHORT = 110
SHINGLE, MAX_SHARED = 8, 4
"""Two texts may share this many runs of so many words, as proverbs, counting rhymes and everyday phrases do."""
MAX_SHARED_PLAIN = 12
"""As many for two plain stories, which say like things in like words: "The key had the power to open any door"."""
_STEM = 5
_SMALL = frozenset(
    words_of(
        """a an and at by everyone for from had has have her his in into it its my of on or our that the their them then
        they this to up was we were who with you your"""
    )
)
_MIN_HELD = 1 / 2
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]{2,}\b")
_NOT_NAMES = frozenset(
    re.findall(
        r"\w+",
        """Mum Dad Mama Papa Mom Granny Grandma Grandpa Gran Grandad Nana Auntie Aunt Uncle Mrs Miss Captain Doctor
        Nurse Coach King Queen Prince Princess Sir Lady Earth Moon Mars Sun Monday Tuesday Wednesday
        Thursday Friday Saturday Sunday January February March April May June July August September October
        November December Christmas English God Bear Fox Owl Wolf Mouse Hare Hedgehog Snail Badger Frog
        Grandmother Grandfather Mother Father North South East West Year The Old Great New Street
        Hill Market School Easter Ramadan Hanukkah Diwali Nowruz Eid""",
    )
)
"""Capitalized words that are no names."""


def story_problems(story: CorpusStory) -> Iterator[str]:
    """What is wrong with a story by itself: its length, and requested values that it does not hold."""
    low, high = LENGTHS[story.band]
    count = len(words_of(story.whole))
    if not low <= count <= high * (1.35 if story.kind in ("continuation", "closing") else 1):
        yield f"{count} words; band {story.band} takes {low} to {high}"
    if not isinstance(story.request, str) and not story.typo:
        for name, value in story.request.items():
            if (share := held_share(value, story.whole)) < _MIN_HELD:
                yield f"{name} {value!r}: {share:.0%} of its words are in the story"
    if story.finding and story.finding.category != "missing" and story.finding.quote not in story.draft:
        yield f"the finding's quote {story.finding.quote!r} is not in the draft"
    if story.finding and story.finding.category not in {*load_policy("kids").categories, "missing"}:
        yield f"unknown category {story.finding.category!r}"


def held_share(value: str, text: str) -> float:
    """The share of a value's content words that a text holds, compared by their first letters, 0..1."""
    stems = {word[:_STEM] for word in words_of(text)}
    wanted = [word for word in words_of(value) if word not in _SMALL] or words_of(value)
    return sum(word[:_STEM] in stems for word in wanted) / len(wanted)


def pair_problems(pair: CorpusPair) -> Iterator[str]:
    """What is wrong with a pair: its category, its spans, and changes outside of them."""
    if pair.category not in load_policy("kids").categories:
        yield f"unknown category {pair.category!r}"
    if any(not 0 <= start < end <= len(pair.twin) for start, end in pair.spans):
        yield f"spans {pair.spans} are not inside the twin's {len(pair.twin)} characters"
        return
    if any(before[1] > after[0] for before, after in pairwise(pair.spans)):
        yield f"spans {pair.spans} overlap"
    unchanged = words_of(_without(pair.twin, pair.spans))
    if Counter(unchanged) - Counter(words_of(pair.text)):
        yield "the twin differs outside of its spans"


def _without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    kept, at = [], 0
    for start, end in spans:
        kept.append(text[at:start])
        at = end
    return " ".join([*kept, text[at:]])


def passage_problems(passage: CorpusPassage) -> Iterator[str]:
    """What is wrong with a passage: labels that contradict each other, spans outside, unknown categories."""
    labels = [passage.labels[band] for band in BANDS if band in passage.labels]
    if len(labels) < len(BANDS):
        yield f"labels {dict(passage.labels)} do not name every band"
    if any(before == "pass" and after == "fail" for before, after in pairwise(labels)):
        yield "an older band fails where a younger one passes"
    if "fail" in labels and not passage.findings:
        yield "it fails a band, but no finding says why"
    for finding in passage.findings:
        if finding.category not in load_policy("kids").categories or finding.severity not in SEVERITIES:
            yield f"unknown category or severity: {finding.category}:{finding.severity}"
        if not finding.start < finding.end <= len(passage.text):
            yield f"span {finding.start}-{finding.end} is not inside the {len(passage.text)} characters"


def short_text_problems(short: CorpusShortText) -> Iterator[str]:
    """What is wrong with a short text: labels that are unknown, or more words than a comment has."""
    categories = load_policy("kids").categories
    yield from (
        f"unknown category or severity: {category}:{severity}"
        for category, severity in short.labels.items()
        if category not in categories or severity == "none"
    )
    if (count := len(short.text.split())) > MAX_SHORT:
        yield f"{count} words; a short text has {MAX_SHORT} at most"


def set_problems(stories: Sequence[CorpusStory], texts: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the corpus as a whole: openings, names and near-duplicates.

    Args:
        stories: All stories.
        texts: Every text of the corpus by id; the twin of a pair is left out, since it repeats the text.
    """
    whole = [story for story in stories if story.kind in ("story", "free")]
    openings = sum(words_of(story.text)[:4] == ["once", "upon", "a", "time"] for story in whole)
    if openings > MAX_ONCE_UPON_A_TIME * len(whole):
        yield f"{openings} of {len(whole)} stories begin with 'Once upon a time'"
    names = Counter(name for story in stories for name in set(_NAME.findall(story.whole)) - _NOT_NAMES)
    limit = max(12, MAX_NAME * len(stories))
    yield from (
        f"the name {name} is in {count} of {len(stories)} stories" for name, count in names.items() if count > limit
    )
    yield from (f"{a} and {b} share {count} runs of {SHINGLE} words" for a, b, count in near_duplicates(texts))


def near_duplicates(texts: Mapping[str, str], max_shared: int = MAX_SHARED) -> Iterator[tuple[str, str, int]]:
    """Pairs of ids whose texts share more than so many runs of `SHINGLE` words."""
    holders: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for id_, text in texts.items():
        words = words_of(text)
        for shingle in {tuple(words[n : n + SHINGLE]) for n in range(len(words) - SHINGLE + 1)}:
            holders[shingle].append(id_)
    shared = Counter(
        (ids[a], ids[b]) for ids in holders.values() for a in range(len(ids)) for b in range(a + 1, len(ids))
    )
    yield from ((a, b, count) for (a, b), count in shared.items() if count > max_shared)


def all_texts() -> dict[str, str]:
    """Every text of the corpus by id: stories with their beginnings, the good text of each pair, passages."""
    rows = (*load_pairs(), *load_passages())
    return {story.id: story.whole for story in load_stories()} | {row.id: row.text for row in rows}


def problems() -> list[str]:
    """Everything that is wrong with the corpus, a line each; empty when all is well."""
    stories, pairs, passages = load_stories(), load_pairs(), load_passages()
    lines = [f"{story.id}: {problem}" for story in stories for problem in story_problems(story)]
    lines += [f"{pair.id}: {problem}" for pair in pairs for problem in pair_problems(pair)]
    lines += [f"{passage.id}: {problem}" for passage in passages for problem in passage_problems(passage)]
    plain = load_plain_stories()
    lines += [f"{story.id}: {problem}" for story in plain for problem in story_problems(story)]
    lines += [
        f"{a} and {b} share {count} runs of {SHINGLE} words"
        for a, b, count in near_duplicates({story.id: story.whole for story in plain}, MAX_SHARED_PLAIN)
    ]
    short_texts = load_short_texts()
    lines += [f"{short.id}: {problem}" for short in short_texts for problem in short_text_problems(short)]
    ids = Counter(row.id for row in (*stories, *plain, *pairs, *passages, *short_texts))
    lines += [f"{id_}: the id is used {count} times" for id_, count in ids.items() if count > 1]
    texts = all_texts()
    lines += similarity_problems(texts)
    shipped = {
        f"shipped {sample.id} {n}": text
        for sample in load_dataset("stories")
        for n, text in enumerate(sample.references)
    }
    return [*lines, *set_problems(stories, {**texts, **shipped})]


if __name__ == "__main__":
    found = problems()
    print("\n".join(found) or "no problems")
    sys.exit(bool(found))
