"""The storyteller's documents: four licence-clean sources, cleaned, without doubles, split into two parts."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from training import corpora

TINYSTORIES = "tinystories.jsonl.gz"
STORYBOOKS = "storybooks_ccby.jsonl.gz"
FAIRYTALES = "fairytaleqa_train.jsonl.gz"
INSTRUCT = "instruct_stories.jsonl.gz"
_INSTRUCT_KINDS = ("child", "bedtime")
_FREE_LICENCES = ("CC-BY", "CC BY", "CC0", "Public Domain")
_MIN_CHARS, _MIN_WORDS = 150, 30
# Activity pages and colophons at the end of picture books.
_NOT_STORY = re.compile(
    r"https?://|www\.|©|\bCC[- ]BY|\b(?:glossary|illustrat(?:ed|or|ion)|translated|publish(?:ed|er)|storyweaver|pratham"
    r"|isbn|author|activity|discuss with|answers?:|questions?:|fun facts?)\b",
    re.IGNORECASE,
)
# What a model says to its user behind the end of a story.
_ASIDE = re.compile(r"\b(?:would you like|do you want|let me know|I hope you|to be continued)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Document:
    """One text to learn from.

    Attributes:
        source: Which collection it is from.
        text: The story, without its title.
        ends: False where the text breaks off before its story does.
        title: Where the source has one.
    """

    source: str
    text: str
    ends: bool = True
    title: str = ""


@dataclass
class Corpus:
    """Documents to learn from and documents kept back, with counts of what was left out and why."""

    train: list[Document] = field(default_factory=list)
    held: list[Document] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)


def load(folder: Path) -> Corpus:
    """Read and clean the sources in `folder`.

    Raises:
        CorpusError: A file is missing, or its rows lack a field.
    """
    corpus, seen = Corpus(), set[str]()
    for key, documents in _documents(folder):
        part = corpus.held if corpora.held_out(key) else corpus.train
        for document in documents:
            print_ = corpora.fingerprint(document.text)
            reason = _unwanted(document)
            if reason is None and print_ in seen:
                reason = "double"
            if reason is None:
                seen.add(print_)
                part.append(document)
            else:
                corpus.left_out[reason] = corpus.left_out.get(reason, 0) + 1
    return corpus


def _unwanted(document: Document) -> str | None:
    text = document.text
    if len(text) < _MIN_CHARS or len(text.split()) < _MIN_WORDS:
        return "short"
    if sum(c.isascii() for c in text) < 0.99 * len(text):
        return "not English"
    if not corpora.fit_for_children(text):
        return "unfit"
    return None


def first_sentence(text: str) -> str:
    """A text up to its first full stop: the key by which documents without a title are kept back."""
    return re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]


def _documents(folder: Path) -> list[tuple[str, list[Document]]]:
    found: list[tuple[str, list[Document]]] = []
    path = folder / TINYSTORIES
    for row in corpora.read_jsonl(path):
        text = corpora.plain(corpora.field(row, "text", path))
        # Some stories break off in mid-sentence at the source; their end is none to learn.
        found.append((first_sentence(text), [Document("tinystories", text, _ends(text))]))
    path = folder / STORYBOOKS
    for row in corpora.read_jsonl(path):
        if str(corpora.field(row, "license", path)).startswith(_FREE_LICENCES):
            pages = [corpora.plain(page) for page in corpora.field(row, "pages", path)]
            kept = [" ".join(page.split()) for page in pages if page and not _NOT_STORY.search(page)]
            found.append((corpora.field(row, "title", path), [Document("storybooks", "\n".join(kept))]))
    path = folder / FAIRYTALES
    for row in corpora.read_jsonl(path):
        parts = [corpora.plain(corpora.unwrap(part)) for part in corpora.field(row, "sections", path)]
        sections = [Document("fairytales", part, i == len(parts)) for i, part in enumerate(parts, 1)]
        found.append((corpora.field(row, "title", path), sections))
    path = folder / INSTRUCT
    for row in corpora.read_jsonl(path):
        kind, title = corpora.field(row, "kind", path), row.get("title") or ""
        if kind not in _INSTRUCT_KINDS:
            continue
        text = _unmarked(corpora.plain(corpora.field(row, "story", path)), title)
        # Of the bedtime stories, those that begin like this are the ones told to children.
        if kind == "child" or text.startswith("Once upon a time"):
            found.append((title or first_sentence(text), [Document(kind, text, _ends(text), title)]))
    return found


def _ends(text: str) -> bool:
    return text.endswith((".", "!", "?", '"'))


def _unmarked(text: str, title: str) -> str:
    """A story without Markdown, and without its title as first line or a remark behind the end."""
    lines = [line.strip("*#_ ") for line in text.split("\n")]
    if lines and corpora.fingerprint(lines[0]) == corpora.fingerprint(title):
        lines = lines[1:]
    if lines and _ASIDE.search(lines[-1]):
        lines = lines[:-1]
    return "\n".join(line for line in lines if line).replace("*", "")
