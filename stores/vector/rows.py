"""What goes into a vector store and comes out, and what is checked on the way."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.documents import Document

from taleward.core.errors import ConfigurationError, IntegrityError

if TYPE_CHECKING:
    from taleward.stores.fingerprint import Floats

Metadata = Mapping[str, Any]


class Row(NamedTuple):
    """One document as it is stored."""

    id: str
    text: str
    metadata: Metadata


class VectorRows(NamedTuple):
    """Documents to store, by column: 100,000 objects of their own would take longer than their vectors.

    Attributes:
        ids: One id a document.
        texts: The texts.
        metadatas: One mapping a document, or `None` where no document has any.
        expires: When each is over, in seconds since the epoch, or `None` where none ever is.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    metadatas: Sequence[Metadata] | None
    expires: Sequence[float | None] | None

    def pieces(self, size: int) -> Iterator[VectorRows]:
        """The same in pieces of at most `size` documents."""
        for at in range(0, len(self.ids), size):
            to = at + size
            metadatas = self.metadatas[at:to] if self.metadatas else None
            yield VectorRows(
                self.ids[at:to], self.texts[at:to], metadatas, self.expires[at:to] if self.expires else None
            )


class SearchHit(NamedTuple):
    """One document that was found.

    Attributes:
        row: The document.
        score: Its similarity, 0..1.
        vector: Its vector, length 1, where it was asked for.
    """

    row: Row
    score: float
    vector: Floats | None


def new_ids(count: int) -> list[str]:
    """Ids that no other call makes; they rise with time, which keeps the database's index short of work."""
    head = f"{time.time_ns() // 1_000_000:012x}{os.urandom(4).hex()}"
    return [f"{head}{i:06x}" for i in range(count)]


ANY_MODEL = "any model"
"""The fingerprint of embeddings that embed nothing, to look after a store whatever its model."""


def check_model(kind: str, held: str, given: str) -> str:
    """The fingerprint of the model that a store was made with, and must be opened with.

    Raises:
        ConfigurationError: Another is given; both are named.
    """
    if given not in (held, ANY_MODEL):
        raise ConfigurationError(
            f"this {kind} holds vectors of {held!r}; the embeddings given are {given!r}.",
            hint="Open it with the embeddings it was made with, or make another store.",
        )
    return held


def score(cosine: float) -> float:
    """A cosine similarity as a score: below 0 is 0, and rounding does not lead above 1."""
    return min(1.0, max(0.0, float(cosine)))


def lost(kind: str, where: object, why: str) -> IntegrityError:
    """The error of a store whose files do not fit together."""
    return IntegrityError(
        f"the {kind} {where} is damaged: {why}.", hint="Restore the folder from a copy, or export again."
    )


def check_texts(texts: list[Any]) -> None:
    """Check that these are texts that every store can keep."""
    try:
        "".join(texts).encode()
    except TypeError:
        wrong = next(t for t in texts if not isinstance(t, str))
        raise ConfigurationError(f"a text must be a str; got {type(wrong).__name__}.") from None
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"a text holds half of a surrogate pair, which is no character: {error.reason}.",
            hint="Decode it with errors='replace'.",
        ) from error


def check_ids(ids: list[Any]) -> None:
    """Check that these are ids, each once."""
    seen: set[str] = set()
    for one in ids:
        if not isinstance(one, str) or not one:
            raise ConfigurationError(f"an id is a text that is not empty; got {one!r}.")
        if one in seen:
            raise ConfigurationError(f"the id {one!r} comes twice in one call.", hint="Give each id once.")
        seen.add(one)
    check_texts(ids)


def as_document(row: Row) -> Document:
    """A row as LangChain's document."""
    return Document(id=row.id, page_content=row.text, metadata=dict(row.metadata))
