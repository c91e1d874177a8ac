"""Assemble the labeled windows that the judge is trained and measured on."""

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
from training.judge import labeled_windows, templates
from training.judge.labeled_text import LabeledText, corpus_texts, suitable_text, text_of_window
from training.judge.labeled_windows import (
    CATEGORIES,
    SPLITS,
    Example,
    Split,
    read_documents,
    severity_labels,
    split_of,
    uniform_labels,
    window_texts,
)
from training.judge.templates import FilledFrame
from training.text_cleaning import CorpusError

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
"""Words that can make a window of a picture book more than mildly frightening."""

_ALARMING = re.compile(
    r"\b(?:murder|corpse|grave|coffin|devil|hell|demon|wine|rum|beer|drunk|drink|brandy|whisk|gin|smok|tobacco|pipe|opium|"
    r"naked|breast|bosom|kiss|embrac|passion|lover|mistress|seduc|bed|wife|husband|marri|slave|savage|negro|jew|gyps|"
    r"prison|hang|gallows|execut|tortur|whip|beat|struck|stab|knife|dagger|pistol|rifle|arrow|spear|war|battle|army|"
    r"soldier|enem|wound|slay|slain|poison|suicide|despair|terror|horror|horribl|dread|plague|starv|thie|rob|curse|"
    r"damn|cruel|wicked|torment|agony|drown|burn|fire|blind|mad|gambl|cards|pregnan|god|sin|hat|idiot|fool|danger)\w*",
    re.IGNORECASE,
)
"""Words without which a window of an old book is hardly ever harmful; many windows with one are harmless, too."""

_TALES, _TALE_WEIGHT = 300, 0.3
_BOOK_WORDS, _BOOK_WEIGHT = 260, 0.5

_REQUESTS = (
    "Write a story about {text}.",
    "Tell me a story about {text}",
    "a story with {text} please",
    "Once upon a time there was {text}.",
    "My story is about {text}.",
    "I want {text}!",
)


def _add_lexicon_labels(labels: list[list[float | None]], text: str) -> bool:
    """Raise the labels, in place, to the severities of the lexicon's hits; return whether there are any hits."""
    hits = find_hits(text)
    for hit in hits:
        row = labels[CATEGORIES.index(hit.category)]
        for i in range(SEVERITIES.index(hit.severity)):
            row[i] = 1.0
    return bool(hits)


def read_csv(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a gzipped CSV file.

    Raises:
        CorpusError: If it is missing.
    """
    if not path.is_file():
        raise CorpusError(f"no file {path.name!r} in {str(path.parent)!r}.")
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)


def gentle_examples(data: Path, seed: int, tales: int, pages: int) -> list[Example]:
    """Return windows of TinyStories and picture books, labeled as harmless but for the lexicon's hits.

    Since these stories are gentle, a window with an uneasy word is at most mild in every category. How frightening a
    word of horror is in them is unknown without reading. Windows labeled by hand are left out.

    Args:
        data: The folder with the data.
        seed: Seed of the sample.
        tales: The most windows of TinyStories, one per story.
        pages: The most windows of each picture book.
    """
    # Every kind of example has a generator of its own, so that a change of one does not resample the others.
    rng = random.Random(f"gentle {seed}")
    texts: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for source, _, text in read_documents(data):
        texts[source].append((source, text))
    documents = rng.sample(texts["tinystories"], min(tales, len(texts["tinystories"]))) + texts["storybooks"]
    examples = []
    for source, text in documents:
        windows = window_texts(text)
        for window in rng.sample(windows, min(len(windows), 1 if source == "tinystories" else pages)):
            if labeled_windows.digest(window) in labeled_windows.annotated_labels():
                continue
            labels = uniform_labels(0.0)
            if _UNEASY.search(window):
                for row in labels:
                    row[0] = None
            if _HORROR.search(window):
                labels[CATEGORIES.index("frightening")][1] = None
            _add_lexicon_labels(labels, window)
            examples.append(Example(window, labels, 1.0, source, split_of(text[:200])))
    rng.shuffle(examples)
    return examples


def old_book_examples(data: Path, seed: int, count: int) -> list[Example]:
    """Return windows of old books for children and adults and of fairy tales, labeled by their words alone.

    Up to half of them have a lexicon hit. The others have no alarming word, so that the judge does not learn that an
    old-fashioned style is harmful. Windows labeled by hand are left out.

    Args:
        data: The folder with the data.
        seed: Seed of the sample.
        count: The most windows.
    """
    rng = random.Random(f"books {seed}")
    passages_by_source: dict[str, list[tuple[str, str]]] = {"books_children": [], "books_adult": [], "fairytales": []}
    for source, key, text in read_documents(data):
        if source in passages_by_source:
            passages_by_source[source].append((key, text))
    examples = []
    for source, passages in passages_by_source.items():
        with_hits: list[Example] = []
        without_hits: list[Example] = []
        for key, text in rng.sample(passages, min(len(passages), count // 3)):
            # The first and the last window of a passage begin or end in mid-sentence.
            for window in window_texts(text)[1:-1]:
                if labeled_windows.digest(window) in labeled_windows.annotated_labels():
                    continue
                labels = uniform_labels(0.0)
                if has_hits := _add_lexicon_labels(labels, window):
                    labels = [[None, None, 0.0] if row[0] == 0.0 else row for row in labels]
                elif _UNEASY.search(window) or _ALARMING.search(window):
                    continue
                (with_hits if has_hits else without_hits).append(Example(window, labels, 0.5, source, split_of(key)))
        for group in (with_hits, without_hits):
            rng.shuffle(group)
            examples += group[: count // 6]
    return examples


def comment_examples(data: Path, seed: int, count: int) -> list[Example]:
    """Return tweets and comments with the labels for hate or toxicity of their data sets, or those given by hand.

    Args:
        data: The folder with the data.
        seed: Seed of the sample.
        count: Number of tweets to sample in addition to those labeled as hate.
    """
    examples: list[Example] = []

    def add(text: str, source: str, hate: list[float | None], other_labels: float | None) -> None:
        text = re.sub(r"&\w+;|https?://\S+|RT @\w+:?|@\w+|#", " ", text)
        text = " ".join(text.split()[:80])
        labels = labeled_windows.annotated_labels().get(labeled_windows.digest(text))
        if labels is None:
            labels = uniform_labels(other_labels)
            _add_lexicon_labels(labels, text)
            labels[CATEGORIES.index("hate")] = hate
        examples.append(Example(text, labels, 1.0, source, split_of(text[:80])))

    for row in read_csv(data / "judge/davidson_tweets.csv.gz"):
        # 0 is hate speech, 1 offensive language, which may be hate or not, and 2 neither.
        label = row["class"]
        unknown: list[float | None] = [None, None, None]
        hate = unknown if label == "1" else severity_labels("severe" if label == "0" else "none")
        add(row["tweet"], "davidson", hate, 0.0 if label == "2" else None)
    random.Random(f"comments {seed}").shuffle(examples)
    examples = [e for e in examples if e.labels[CATEGORIES.index("hate")][0] == 1.0] + examples[:count]
    for row in read_csv(data / "judge/surge_toxicity.csv.gz"):
        toxic = row["is_toxic"] == "Toxic"
        add(row["text"], "surge", [1.0, 1.0, None] if toxic else severity_labels("none"), None if toxic else 0.0)
    for row in read_csv(data / "judge/wikipedia_comments.csv.gz"):
        toxic = row["toxic"] == "True"
        add(row["comment"], "wikipedia", [1.0, 1.0, None] if toxic else severity_labels("none"), None if toxic else 0.0)
    return examples


_LEET = str.maketrans("aeiost", "431057")


def roughen(text: str, rng: random.Random) -> str:
    """Return a text as people type it: in another case, without punctuation, with typos, or disguised."""
    case = rng.random()
    if case < 0.4:
        text = text.lower()
    elif case < 0.5:
        text = text.upper()
    if rng.random() < 0.4:
        text = re.sub(r"[,.!?\"]+(?=\s|$)", "", text)
    for _ in range(len(text) // 40 if rng.random() < 0.4 else 0):
        position = rng.randrange(len(text) - 1)
        a, b = text[position], text[position + 1]
        if a.isalpha() and b.isalpha():
            text = text[:position] + rng.choice((b + a, a, a + a + b)) + text[position + 2 :]
    disguise = rng.random()
    words = text.split(" ")
    index = rng.randrange(len(words))
    if disguise < 0.08:
        text = text.lower().translate(_LEET)
    elif disguise < 0.16:
        text = " ".join([*words[:index], " ".join(words[index]), *words[index + 1 :]])
    elif disguise < 0.24:
        text = "".join((word if n == index else f"{word} ") for n, word in enumerate(words)).strip()
    elif disguise < 0.28:
        text = text.replace(" ", "")
    return text


def _frame_labels(filled: FilledFrame) -> list[list[float | None]]:
    labels = uniform_labels(0.0)
    if filled.category is not None:
        for name in labeled_windows.RELATED_CATEGORIES[filled.category]:
            labels[CATEGORIES.index(name)] = [None, None, None]
        _add_lexicon_labels(labels, filled.text)
        labels[CATEGORIES.index(filled.category)] = severity_labels(filled.severity)
    return labels


def _labels_in_context(labels: list[list[float | None]]) -> list[list[float | None]]:
    """Return the labels of a window with gentle sentences around, which may be mildly harmful themselves."""
    return [[None, *row[1:]] if row[0] == 0.0 else row for row in labels]


def synthetic_examples(context: dict[Split, list[str]], seed: int, per_frame: int) -> list[Example]:
    """Return windows of filled frames: alone, roughened, and next to a gentle sentence.

    The gentle sentence is from the same split: from a story or, in the style of the frame, from a harmless frame of the
    same file. Two harmless frames of a file can also form a window.

    Args:
        context: Gentle texts of each split.
        seed: Seed of the fillings.
        per_frame: About how many windows of each frame.
    """
    rng = random.Random(f"synthetic {seed}")
    fillings = list(templates.fill_frames(seed, per_frame // 2))
    fillings_per_frame = Counter(f.frame for f in fillings)
    harmless: dict[tuple[Split, str], list[str]] = defaultdict(list)
    for filled in fillings:
        if filled.category is None and not filled.is_phrase:
            harmless[split_of(filled.frame), filled.file].append(filled.text)
    examples = []
    for filled in fillings:
        source = f"synthetic:{filled.category or 'harmless'}"
        split = split_of(filled.frame)
        labels = _frame_labels(filled)
        examples.append(Example(filled.text, labels, 1.0, source, split))
        if rng.random() < 0.3:
            examples.append(Example(roughen(filled.text, rng), labels, 1.0, source, split))
        if filled.is_phrase:
            continue
        same_style = harmless[split, filled.file] or harmless[split, "everyday"]
        for _ in range(max(1, round(per_frame / 2 / fillings_per_frame[filled.frame]))):
            if rng.random() < 0.6:
                gentle = re.split(r"(?<=[.!?])\s+", rng.choice(context[split]))[:1]
            else:
                gentle = [rng.choice(same_style)]
            parts = [*gentle, filled.text] if rng.random() < 0.5 else [filled.text, *gentle]
            examples.append(Example(" ".join(parts), _labels_in_context(labels), 1.0, source, split))
    return examples


def form_examples(seed: int, count: int) -> list[Example]:
    """Return texts like a filled-in form: lists of two to seven phrases, or requests with them; half are harmful."""
    rng = random.Random(f"forms {seed}")
    phrases: dict[tuple[Split, bool], list[FilledFrame]] = defaultdict(list)
    for filled in templates.fill_frames(seed, 8):
        if filled.is_phrase:
            phrases[split_of(filled.frame), filled.category is None].append(filled)
    examples = []
    for split, share in zip(SPLITS, (0.7, 0.15, 0.15), strict=True):
        for number in range(round(count * share)):
            chosen = rng.sample(phrases[split, True], rng.choice((2, 2, 3, 4, 5, 6, 7)))
            labels, source = uniform_labels(0.0), "synthetic:harmless"
            if number % 2:
                harmful = rng.choice(phrases[split, False])
                chosen[rng.randrange(len(chosen))] = harmful
                labels, source = _frame_labels(harmful), f"synthetic:{harmful.category}"
            texts = [p.text for p in chosen]
            text = rng.choice(("\n", "\n", ", ", ". ", "; ", " and ")).join(texts)
            if len(texts) < 4 and rng.random() < 0.5:
                text = rng.choice(_REQUESTS).format(text=" and ".join(texts))
            if rng.random() < 0.2:
                text = roughen(text, rng)
            examples.append(Example(text, labels, 1.0, source, split))
    return examples


def load_examples(data: Path, seed: int) -> list[Example]:
    """Return all labeled windows, in an order decided by the seed.

    Raises:
        CorpusError: If a data file is missing.
    """
    gentle = gentle_examples(data, seed, 3500, 6)
    context: dict[Split, list[str]] = {
        s: [e.text for e in gentle if e.split == s and not find_hits(e.text)] for s in SPLITS
    }
    examples = gentle + labeled_windows.annotated_examples(data)
    examples += synthetic_examples(context, seed, 6) + form_examples(seed, 2400)
    examples += old_book_examples(data, seed, 3000) + comment_examples(data, seed, 2500)
    random.Random(f"order {seed}").shuffle(examples)
    return examples


def gentle_texts(data: Path, tales: int) -> list[LabeledText]:
    """Return the beginnings of picture books, and TinyStories, of the training split as texts that suit a band.

    A book with a window that was labeled by hand as mildly harmful suits 6-8, one with a worse window is left out.

    Args:
        data: The folder with the data.
        tales: The number of TinyStories; of these, none with a word of horror is taken.
    """
    texts = []
    chosen_tales = 0
    for source, key, text in read_documents(data):
        if source not in ("storybooks", "tinystories") or split_of(key) != "train":
            continue
        if source == "tinystories":
            if chosen_tales < tales and not _HORROR.search(text):
                texts.append(suitable_text(text, "3-5", source, "train", _TALE_WEIGHT))
                chosen_tales += 1
            continue
        annotations = labeled_windows.annotated_labels()
        labels = [annotations.get(labeled_windows.digest(window)) for window in window_texts(text)]
        worst = max((sum(1 for value in row if value) for rows in labels if rows for row in rows), default=0)
        if worst < SEVERITIES.index("moderate"):
            beginning = " ".join(text.split()[:_BOOK_WORDS])
            texts.append(suitable_text(beginning, "6-8" if worst else "3-5", source, "train", _BOOK_WEIGHT))
    return texts


def load_texts(data: Path, seed: int) -> list[LabeledText]:
    """Return all texts to train on, of all splits: labeled windows, the written corpus, and gentle texts.

    Raises:
        CorpusError: If a data file is missing.
    """
    return [*map(text_of_window, load_examples(data, seed)), *corpus_texts(), *gentle_texts(data, _TALES)]
