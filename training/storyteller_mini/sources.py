"""Load the storyteller's corpus: four freely licensed sources, cleaned, deduplicated and split."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from training import text_cleaning as corpora

TINYSTORIES = "tinystories.jsonl.gz"
STORYBOOKS = "storybooks_ccby.jsonl.gz"
FAIRYTALES = "fairytaleqa_train.jsonl.gz"
INSTRUCT = "instruct_stories.jsonl.gz"
_INSTRUCT_KINDS = ("child", "bedtime")
_FREE_LICENSES = ("CC-BY", "CC BY", "CC0", "Public Domain")
_MIN_CHARS, _MIN_WORDS = 150, 30
# Activity pages and colophons of picture books.
_NOT_STORY = re.compile(
    r"https?://|www\.|©|\bCC[- ]BY|\b(?:glossary|illustrat(?:ed|or|ion)|translated|publish(?:ed|er)|storyweaver|pratham"
    r"|isbn|author|activity|discuss with|answers?:|questions?:|fun facts?)\b",
    re.IGNORECASE,
)
# What a model says to its user after the end of a story.
_REMARK = re.compile(r"\b(?:would you like|do you want|let me know|I hope you|to be continued)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Document:
    """A text of the corpus.

    Attributes:
        source: The collection it is from.
        text: The story without its title.
        ends: False if the text breaks off before the end of the story.
        title: The title; empty if the source has none.
    """

    source: str
    text: str
    ends: bool = True
    title: str = ""


@dataclass
class Corpus:
    """The documents to train on and to measure on.

    Attributes:
        train: The documents to train on.
        held_out: The held-out documents.
        left_out: Number of documents that were left out, by reason.
    """

    train: list[Document] = field(default_factory=list)
    held_out: list[Document] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)


def load(folder: Path) -> Corpus:
    """Load and clean the sources in a folder.

    Raises:
        CorpusError: If a file is missing or malformed.
    """
    corpus, seen = Corpus(), set[str]()
    for key, documents in _read_documents(folder):
        split = corpus.held_out if corpora.is_held_out(key) else corpus.train
        for document in documents:
            text_hash = corpora.fingerprint(document.text)
            reason = _exclusion_reason(document)
            if reason is None and text_hash in seen:
                reason = "duplicate"
            if reason is None:
                seen.add(text_hash)
                split.append(document)
            else:
                corpus.left_out[reason] = corpus.left_out.get(reason, 0) + 1
    return corpus


def _exclusion_reason(document: Document) -> str | None:
    text = document.text
    if len(text) < _MIN_CHARS or len(text.split()) < _MIN_WORDS:
        return "short"
    if sum(c.isascii() for c in text) < 0.99 * len(text):
        return "not English"
    if not corpora.is_fit_for_children(text):
        return "unfit"
    return None


def first_sentence(text: str) -> str:
    """Return a text up to the end of its first sentence: the split key of documents without a title."""
    return re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]


def _read_documents(folder: Path) -> list[tuple[str, list[Document]]]:
    """Read all sources as split keys with their documents."""
    documents: list[tuple[str, list[Document]]] = []
    path = folder / TINYSTORIES
    for row in corpora.read_jsonl(path):
        text = corpora.clean_text(corpora.field(row, "text", path))
        # Some stories of the source break off in mid-sentence; the model must not learn to end there.
        documents.append((first_sentence(text), [Document("tinystories", text, _is_complete(text))]))
    path = folder / STORYBOOKS
    for row in corpora.read_jsonl(path):
        if str(corpora.field(row, "license", path)).startswith(_FREE_LICENSES):
            pages = [corpora.clean_text(page) for page in corpora.field(row, "pages", path)]
            story_pages = [" ".join(page.split()) for page in pages if page and not _NOT_STORY.search(page)]
            documents.append((corpora.field(row, "title", path), [Document("storybooks", "\n".join(story_pages))]))
    path = folder / FAIRYTALES
    for row in corpora.read_jsonl(path):
        texts = [corpora.clean_text(corpora.unwrap(section)) for section in corpora.field(row, "sections", path)]
        sections = [Document("fairytales", text, i == len(texts)) for i, text in enumerate(texts, 1)]
        documents.append((corpora.field(row, "title", path), sections))
    path = folder / INSTRUCT
    for row in corpora.read_jsonl(path):
        kind, title = corpora.field(row, "kind", path), row.get("title") or ""
        if kind not in _INSTRUCT_KINDS:
            continue
        text = _strip_markup(corpora.clean_text(corpora.field(row, "story", path)), title)
        # Only the bedtime stories that begin like this are told to children.
        if kind == "child" or text.startswith("Once upon a time"):
            documents.append((title or first_sentence(text), [Document(kind, text, _is_complete(text), title)]))
    return documents


def _is_complete(text: str) -> bool:
    return text.endswith((".", "!", "?", '"'))


def _strip_markup(text: str, title: str) -> str:
    """Remove Markdown, a first line that repeats the title, and a last line that is a remark of the model."""
    lines = [line.strip("*#_ ") for line in text.split("\n")]
    if lines and corpora.fingerprint(lines[0]) == corpora.fingerprint(title):
        lines = lines[1:]
    if lines and _REMARK.search(lines[-1]):
        lines = lines[:-1]
    return "\n".join(line for line in lines if line).replace("*", "")
