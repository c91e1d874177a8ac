"""The labelled windows that the judge's head is trained and measured on."""

from __future__ import annotations

import csv
import gzip
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from taleward.core.policy import SEVERITIES
from taleward.moderation.text.lexicon import find_hits
from training.corpora import CorpusError, read_jsonl
from training.judge import labeled_windows, templates
from training.judge.labeled_windows import (
    CATEGORIES,
    SPLITS,
    Example,
    Split,
    blank,
    documents_of,
    level,
    pieces_of,
    split_of,
)
from training.judge.templates import Sentence

# What often comes with a category, so that its absence from a frame's label says nothing.
_RELATED = {
    "violence": ("frightening", "crime", "adult_themes", "hate"),
    "frightening": ("violence", "adult_themes"),
    "sexual": ("adult_themes", "profanity", "crime"),
    "profanity": ("hate", "sexual"),
    "hate": ("profanity", "violence", "adult_themes"),
    "drugs": ("adult_themes", "dangerous_acts", "crime"),
    "self_harm": ("violence", "adult_themes", "dangerous_acts", "frightening"),
    "dangerous_acts": ("violence", "frightening", "crime", "drugs", "self_harm", "personal_data"),
    "crime": ("violence", "adult_themes", "dangerous_acts", "personal_data"),
    "personal_data": ("crime", "dangerous_acts"),
    "adult_themes": ("violence", "frightening", "crime", "drugs", "hate", "sexual"),
}
_UNEASY = re.compile(
    r"\b(?:scar|afraid|fright|monster|ghost|witch|fight|fought|hurt|hit|dark|lost|cr(?:y|ied)|ang|mean|bad|die|dead|"
    r"kill|blood|weapon|sword|gun|shoot|shot|bit|bite|trap|storm|scream|wolf|snake|bear|giant|evil|steal|stole)\w*",
    re.IGNORECASE,
)
_HORROR = re.compile(
    r"\b(?:monster|ghost|witch|haunt|scream|shriek|terrif|terror|horr|dead|death|grave|skelet|blood|corpse|demon|devil|"
    r"curse|vanish|never (?:seen|found|came)|swallow)\w*",
    re.IGNORECASE,
)
"""Words with which a window of a picture book may be more than mildly frightening."""

_ALARMING = re.compile(
    r"\b(?:murder|corpse|grave|coffin|devil|hell|demon|wine|rum|beer|drunk|drink|brandy|whisk|gin|smok|tobacco|pipe|opium|"
    r"naked|breast|bosom|kiss|embrac|passion|lover|mistress|seduc|bed|wife|husband|marri|slave|savage|negro|jew|gyps|"
    r"prison|hang|gallows|execut|tortur|whip|beat|struck|stab|knife|dagger|pistol|rifle|arrow|spear|war|battle|army|"
    r"soldier|enem|wound|slay|slain|poison|suicide|despair|terror|horror|horribl|dread|plague|starv|thie|rob|curse|"
    r"damn|cruel|wicked|torment|agony|drown|burn|fire|blind|mad|gambl|cards|pregnan|god|sin|hat|idiot|fool|danger)\w*",
    re.IGNORECASE,
)
"""Words without which a window of an old book hardly ever holds a harm; many that do have one are harmless."""

_REQUESTS = (
    "Write a story about {text}.",
    "Tell me a story about {text}",
    "a story with {text} please",
    "Once upon a time there was {text}.",
    "My story is about {text}.",
    "I want {text}!",
)


def _with_hits(labels: list[list[float | None]], text: str) -> bool:
    """Raise the labels to what the lexicon finds; whether it found anything."""
    hits = find_hits(text)
    for hit in hits:
        row = labels[CATEGORIES.index(hit.category)]
        for i in range(SEVERITIES.index(hit.severity)):
            row[i] = 1.0
    return bool(hits)


def read_csv(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a gzip CSV file.

    Raises:
        CorpusError: It is missing.
    """
    if not path.is_file():
        raise CorpusError(f"no file {path.name!r} in {str(path.parent)!r}.")
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)


def gentle(data: Path, seed: int, tales: int, pages: int) -> list[Example]:
    """Windows of TinyStories and CC-BY picture books that nobody read: harmless but for what the lexicon finds.

    Picture books are gentle by what they are, so a worry in one is taken for mild; how frightening a word of horror is
    in one, only a reader knows.

    Args:
        data: The folder with the data.
        seed: Of the choice.
        tales: Windows of TinyStories, one a story.
        pages: Windows of each picture book, at most.
    """
    chance = random.Random(f"gentle {seed}")
    texts: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for source, _, text in documents_of(data):
        texts[source].append((source, text))
    documents = chance.sample(texts["tinystories"], min(tales, len(texts["tinystories"]))) + texts["storybooks"]
    found = []
    for source, text in documents:
        pieces = pieces_of(text)
        for piece in chance.sample(pieces, min(len(pieces), 1 if source == "tinystories" else pages)):
            if labeled_windows.digest(piece) in labeled_windows.labels_read():
                continue
            labels = blank(0.0)
            if _UNEASY.search(piece):
                for row in labels:
                    row[0] = None
            if _HORROR.search(piece):
                labels[CATEGORIES.index("frightening")][1] = None
            _with_hits(labels, piece)
            found.append(Example(piece, labels, 1.0, source, split_of(text[:200])))
    chance.shuffle(found)
    return found


def calm_documents(data: Path, seed: int, count: int) -> list[list[str]]:
    """Windows of gentle stories of the validation part in which the lexicon finds nothing: what must hardly ever fail.

    Half are TinyStories, half the first 150 words of picture books, as far as there are so many.
    """
    tales = [r["text"] for r in read_jsonl(data / "stories/tinystories.jsonl.gz")]
    books = [" ".join(map(str, r["pages"])) for r in read_jsonl(data / "stories/storybooks_ccby.jsonl.gz")]
    chance = random.Random(f"calm {seed}")
    found = []
    for texts in (tales, books):
        held = [t for t in texts if split_of(t[:200]) == "valid"]
        chance.shuffle(held)
        cuts = [" ".join(t.split()[:150]) if texts is books else t for t in held]
        found += [pieces for t in cuts[:count] if not find_hits(t) and (pieces := pieces_of(t))][: count // 2]
    return found


def books(data: Path, seed: int, count: int) -> list[Example]:
    """Windows of old books for children and for adults and of fairy tales that nobody read, labelled by words alone.

    Half of them hold a word of the lexicon, as far as there are so many; the others hold none that could alarm, so
    that an old-fashioned style is not taken for a harm.
    """
    chance = random.Random(f"books {seed}")
    sides: dict[str, list[tuple[str, str]]] = {"books_children": [], "books_adult": [], "fairytales": []}
    for source, key, text in documents_of(data):
        if source in sides:
            sides[source].append((key, text))
    found = []
    for source, passages in sides.items():
        with_hits: list[Example] = []
        without: list[Example] = []
        for key, text in chance.sample(passages, min(len(passages), count // 3)):
            for piece in pieces_of(text)[1:-1]:
                if labeled_windows.digest(piece) in labeled_windows.labels_read():
                    continue
                labels = blank(0.0)
                if hit := _with_hits(labels, piece):
                    labels = [[None, None, 0.0] if row[0] == 0.0 else row for row in labels]
                elif _UNEASY.search(piece) or _ALARMING.search(piece):
                    continue
                (with_hits if hit else without).append(Example(piece, labels, 0.5, source, split_of(key)))
        for group in (with_hits, without):
            chance.shuffle(group)
            found += group[: count // 6]
    return found


def comments(data: Path, seed: int, count: int) -> list[Example]:
    """Tweets and comments with people's labels for hate and toxicity; those that were read, with all labels."""
    found: list[Example] = []

    def add(text: str, source: str, hate: list[float | None], others: float | None) -> None:
        text = re.sub(r"&\w+;|https?://\S+|RT @\w+:?|@\w+|#", " ", text)
        text = " ".join(text.split()[:80])
        labels = labeled_windows.labels_read().get(labeled_windows.digest(text))
        if labels is None:
            labels = blank(others)
            _with_hits(labels, text)
            labels[CATEGORIES.index("hate")] = hate
        found.append(Example(text, labels, 1.0, source, split_of(text[:80])))

    for row in read_csv(data / "judge/davidson_tweets.csv.gz"):
        kind = row["class"]
        unknown: list[float | None] = [None, None, None]
        hate = unknown if kind == "1" else level("severe" if kind == "0" else "none")
        add(row["tweet"], "davidson", hate, 0.0 if kind == "2" else None)
    random.Random(f"comments {seed}").shuffle(found)
    found = [e for e in found if e.labels[4][0] == 1.0] + found[:count]
    for row in read_csv(data / "judge/surge_toxicity.csv.gz"):
        toxic = row["is_toxic"] == "Toxic"
        add(row["text"], "surge", [1.0, 1.0, None] if toxic else level("none"), None if toxic else 0.0)
    for row in read_csv(data / "judge/wikipedia_comments.csv.gz"):
        toxic = row["toxic"] == "True"
        add(row["comment"], "wikipedia", [1.0, 1.0, None] if toxic else level("none"), None if toxic else 0.0)
    return found


_LEET = str.maketrans("aeiost", "431057")


def roughened(text: str, chance: random.Random) -> str:
    """A text as people type it: another case, no stop, a slip of the fingers, or a disguise."""
    kind = chance.random()
    if kind < 0.4:
        text = text.lower()
    elif kind < 0.5:
        text = text.upper()
    if chance.random() < 0.4:
        text = re.sub(r"[,.!?\"]+(?=\s|$)", "", text)
    for _ in range(len(text) // 40 if chance.random() < 0.4 else 0):
        place = chance.randrange(len(text) - 1)
        a, b = text[place], text[place + 1]
        if a.isalpha() and b.isalpha():
            text = text[:place] + chance.choice((b + a, a, a + a + b)) + text[place + 2 :]
    disguise = chance.random()
    words = text.split(" ")
    place = chance.randrange(len(words))
    if disguise < 0.08:
        text = text.lower().translate(_LEET)
    elif disguise < 0.16:
        text = " ".join([*words[:place], " ".join(words[place]), *words[place + 1 :]])
    elif disguise < 0.24:
        text = "".join((word if n == place else f"{word} ") for n, word in enumerate(words)).strip()
    elif disguise < 0.28:
        text = text.replace(" ", "")
    return text


def _frame_labels(sentence: Sentence) -> list[list[float | None]]:
    labels = blank(0.0)
    if sentence.category is not None:
        for name in _RELATED[sentence.category]:
            labels[CATEGORIES.index(name)] = [None, None, None]
        _with_hits(labels, sentence.text)
        labels[CATEGORIES.index(sentence.category)] = level(sentence.severity)
    return labels


def _planted(labels: list[list[float | None]]) -> list[list[float | None]]:
    """Labels for a window in which gentle sentences stand too: they may hold a mild worry of their own."""
    return [[None, *row[1:]] if row[0] == 0.0 else row for row in labels]


def synthetic(context: dict[Split, list[str]], seed: int, each: int) -> list[Example]:
    """Filled frames: alone, roughened, and planted between gentle sentences; about `each` windows of every frame.

    The sentences around a planted one come from stories and, in its own style, from harmless frames of its file; they
    belong to its split. Two harmless frames of one file also stand together.
    """
    chance = random.Random(f"synthetic {seed}")
    sentences = list(templates.sentences(seed, each // 2))
    fillings = Counter(s.frame for s in sentences)
    calm: dict[tuple[Split, str], list[str]] = defaultdict(list)
    for sentence in sentences:
        if sentence.category is None and not sentence.phrase:
            calm[split_of(sentence.frame), sentence.file].append(sentence.text)
    found = []
    for sentence in sentences:
        source = f"synthetic:{sentence.category or 'harmless'}"
        split = split_of(sentence.frame)
        labels = _frame_labels(sentence)
        found.append(Example(sentence.text, labels, 1.0, source, split))
        if chance.random() < 0.3:
            found.append(Example(roughened(sentence.text, chance), labels, 1.0, source, split))
        if sentence.phrase:
            continue
        style = calm[split, sentence.file] or calm[split, "everyday"]
        for _ in range(max(1, round(each / 2 / fillings[sentence.frame]))):
            if chance.random() < 0.6:
                around = re.split(r"(?<=[.!?])\s+", chance.choice(context[split]))[:1]
            else:
                around = [chance.choice(style)]
            parts = [*around, sentence.text] if chance.random() < 0.5 else [sentence.text, *around]
            found.append(Example(" ".join(parts), _planted(labels), 1.0, source, split))
    return found


def forms(seed: int, count: int) -> list[Example]:
    """Short phrases as a filled form: lists of two to seven, and asked for in a sentence; every other one harmful."""
    chance = random.Random(f"forms {seed}")
    phrases: dict[tuple[Split, bool], list[Sentence]] = defaultdict(list)
    for sentence in templates.sentences(seed, 8):
        if sentence.phrase:
            phrases[split_of(sentence.frame), sentence.category is None].append(sentence)
    found = []
    for split, share in zip(SPLITS, (0.7, 0.15, 0.15), strict=True):
        for number in range(round(count * share)):
            picked = chance.sample(phrases[split, True], chance.choice((2, 2, 3, 4, 5, 6, 7)))
            labels, source = blank(0.0), "synthetic:harmless"
            if number % 2:
                bad = chance.choice(phrases[split, False])
                picked[chance.randrange(len(picked))] = bad
                labels, source = _frame_labels(bad), f"synthetic:{bad.category}"
            texts = [p.text for p in picked]
            text = chance.choice(("\n", "\n", ", ", ". ", "; ", " and ")).join(texts)
            if len(texts) < 4 and chance.random() < 0.5:
                text = chance.choice(_REQUESTS).format(text=" and ".join(texts))
            if chance.random() < 0.2:
                text = roughened(text, chance)
            found.append(Example(text, labels, 1.0, source, split))
    return found


def examples(data: Path, seed: int) -> list[Example]:
    """All labelled windows, in an order that the seed decides.

    Raises:
        CorpusError: A data file is missing.
    """
    calm = gentle(data, seed, 3500, 6)
    context: dict[Split, list[str]] = {
        s: [e.text for e in calm if e.split == s and not find_hits(e.text)] for s in SPLITS
    }
    found = calm + labeled_windows.read(data) + synthetic(context, seed, 6) + forms(seed, 2400)
    found += books(data, seed, 3000) + comments(data, seed, 2500)
    random.Random(f"order {seed}").shuffle(found)
    return found
