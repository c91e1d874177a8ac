"""Embeddings behind an API: the vendor's own class, whose errors are ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from langchain_core.embeddings import Embeddings
from pydantic import BaseModel, PrivateAttr

from taleward.backends.hosted.chat import BRIDGE
from taleward.backends.hosted.errors import map_vendor_error
from taleward.backends.hosted.subclass import as_class, joined_class
from taleward.core.errors import BackendError


class HostedEmbeddings(BaseModel):
    """What a vendor's embeddings get from us: our errors, and that they work on any event loop.

    Attempts and their pauses are the vendor's client's.
    """

    vendor: ClassVar[type[Any]]
    _spec: object = PrivateAttr(default="")

    def embed_documents(self, texts: list[str], *args: Any, **kwargs: Any) -> list[list[float]]:
        """One vector a text."""
        with self._ours():
            rows: list[list[float]] = self.vendor.embed_documents(self, texts, *args, **kwargs)
            return rows

    def embed_query(self, text: str, **kwargs: Any) -> list[float]:
        """The vector of a query."""
        with self._ours():
            row: list[float] = self.vendor.embed_query(self, text, **kwargs)
            return row

    async def aembed_documents(self, texts: list[str], *args: Any, **kwargs: Any) -> list[list[float]]:
        """As `embed_documents`, without blocking the event loop."""
        with self._ours():
            rows: list[list[float]] = await BRIDGE.acall(
                lambda: self.vendor.aembed_documents(self, texts, *args, **kwargs)
            )
            return rows

    async def aembed_query(self, text: str, **kwargs: Any) -> list[float]:
        """As `embed_query`, without blocking the event loop."""
        with self._ours():
            row: list[float] = await BRIDGE.acall(lambda: self.vendor.aembed_query(self, text, **kwargs))
            return row

    @contextmanager
    def _ours(self) -> Iterator[None]:
        try:
            yield
        except BackendError:  # from the vendor's own call of another of these
            raise
        except Exception as error:
            if (found := map_vendor_error(error, self._spec)) is None:
                raise
            raise found from error


def hosted_embeddings(spec: object, made: Embeddings) -> Embeddings:
    """A vendor's embeddings with our errors; they are still an instance of the vendor's class."""
    if not isinstance(made, BaseModel):
        return made
    found = as_class(joined_class(HostedEmbeddings, type(made)), made)
    object.__setattr__(found, "__pydantic_private__", {**(made.__pydantic_private__ or {}), "_spec": spec})
    embeddings: Embeddings = found
    return embeddings
