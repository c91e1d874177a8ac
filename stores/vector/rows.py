"""Rows of vector stores and their search hits, with the checks that every store applies to its input."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.documents import Document

from taleward.core.errors import ConfigurationError, IntegrityError

if TYPE_CHECKING:
    from taleward.stores.embedding_fingerprint import Floats

Metadata = Mapping[str, Any]


class DocumentRow(NamedTuple):
    """One stored document."""

    id: str
    text: str
    metadata: Metadata


class VectorRows(NamedTuple):
    """Documents to store, by column.

    Attributes:
        ids: One id per document.
        texts: One text per document.
        metadatas: One mapping per document, or `None` if no document has metadata.
        expires: When each document expires, in seconds since the epoch, or `None` if none does.
    """

    # Columns, because creating 100,000 row objects takes longer than adding their vectors.

    ids: Sequence[str]
    texts: Sequence[str]
    metadatas: Sequence[Metadata] | None
    expires: Sequence[float | None] | None

    def batches(self, size: int) -> Iterator[VectorRows]:
        """Split the rows into batches of at most `size` documents."""
        for start in range(0, len(self.ids), size):
            end = start + size
            metadatas = self.metadatas[start:end] if self.metadatas else None
            yield VectorRows(
                self.ids[start:end],
                self.texts[start:end],
                metadatas,
                self.expires[start:end] if self.expires else None,
            )


class SearchHit(NamedTuple):
    """One document that a search returned.

    Attributes:
        row: The document.
        score: The similarity from 0 to 1.
        vector: The document's vector of length 1, if requested.
    """

    row: DocumentRow
    score: float
    vector: Floats | None


def new_ids(count: int) -> list[str]:
    """Create unique ids that sort by time, which makes inserting into the database's index cheap."""
    prefix = f"{time.time_ns() // 1_000_000:012x}{os.urandom(4).hex()}"
    return [f"{prefix}{i:06x}" for i in range(count)]


ANY_MODEL = "any model"
"""The fingerprint of embeddings that embed nothing; it opens a store of any model."""


def check_fingerprint(kind: str, stored: str, current: str) -> str:
    """Check that a store is opened with the model that created it.

    Args:
        kind: What to call the store in messages.
        stored: The fingerprint in the store.
        current: The fingerprint of the embeddings it is opened with.

    Returns:
        The stored fingerprint.

    Raises:
        ConfigurationError: If the fingerprints differ.
    """
    if current not in (stored, ANY_MODEL):
        raise ConfigurationError(
            f"this {kind} has vectors of {stored!r}; the given embeddings are {current!r}.",
            hint="Open it with the embeddings that created it, or create another store.",
        )
    return stored


def score_from_cosine(cosine: float) -> float:
    """Convert a cosine similarity to a score from 0 to 1; negative similarities become 0."""
    return min(1.0, max(0.0, float(cosine)))


def damaged_store_error(kind: str, location: object, problem: str) -> IntegrityError:
    """Create the error for a store whose files are damaged or inconsistent."""
    return IntegrityError(
        f"the {kind} {location} is damaged: {problem}.", hint="Restore the folder from a backup, or import it again."
    )


def check_texts(texts: list[Any]) -> None:
    """Check that every store can keep these texts.

    Raises:
        ConfigurationError: If one is not a `str`, or contains a lone surrogate.
    """
    try:
        "".join(texts).encode()
    except TypeError:
        wrong = next(t for t in texts if not isinstance(t, str))
        raise ConfigurationError(f"a text must be a str; got {type(wrong).__name__}.") from None
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"a text contains a lone surrogate, which is not a character: {error.reason}.",
            hint="Decode it with errors='replace'.",
        ) from error


def check_ids(ids: list[Any]) -> None:
    """Check that ids are non-empty texts without duplicates.

    Raises:
        ConfigurationError: If they are not.
    """
    seen: set[str] = set()
    for id_ in ids:
        if not isinstance(id_, str) or not id_:
            raise ConfigurationError(f"an id must be a non-empty str; got {id_!r}.")
        if id_ in seen:
            raise ConfigurationError(f"the id {id_!r} comes twice in one call.", hint="Give each id once.")
        seen.add(id_)
    check_texts(ids)


def as_document(row: DocumentRow) -> Document:
    """Convert a row to a LangChain document."""
    return Document(id=row.id, page_content=row.text, metadata=dict(row.metadata))
