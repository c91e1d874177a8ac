"""A vendor's embeddings, with errors mapped to ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from langchain_core.embeddings import Embeddings
from pydantic import BaseModel, PrivateAttr

from taleward.backends.hosted.chat import HOSTED_LOOP
from taleward.backends.hosted.errors import map_vendor_error
from taleward.backends.hosted.subclass import SecretFreeRepr, as_class, joined_class
from taleward.core.errors import BackendError
from taleward.core.redaction import without_secrets


class HostedEmbeddings(SecretFreeRepr):
    """A mixin that maps the errors of a vendor's embeddings and makes them work from any event loop.

    Retries are left to the vendor's client.
    """

    vendor: ClassVar[type[Any]]
    _spec: object = PrivateAttr(default="")

    def embed_documents(self, texts: list[str], *args: Any, **kwargs: Any) -> list[list[float]]:
        """Embed texts, one vector per text.

        Raises:
            BackendError: If the server did not answer.
        """
        with self._mapped_errors():
            vectors: list[list[float]] = self.vendor.embed_documents(self, texts, *args, **kwargs)
            return vectors

    def embed_query(self, text: str, **kwargs: Any) -> list[float]:
        """Embed a query.

        Raises:
            BackendError: If the server did not answer.
        """
        with self._mapped_errors():
            vector: list[float] = self.vendor.embed_query(self, text, **kwargs)
            return vector

    async def aembed_documents(self, texts: list[str], *args: Any, **kwargs: Any) -> list[list[float]]:
        """As `embed_documents`, without blocking the event loop."""
        with self._mapped_errors():
            vectors: list[list[float]] = await HOSTED_LOOP.acall(
                lambda: self.vendor.aembed_documents(self, texts, *args, **kwargs)
            )
            return vectors

    async def aembed_query(self, text: str, **kwargs: Any) -> list[float]:
        """As `embed_query`, without blocking the event loop."""
        with self._mapped_errors():
            vector: list[float] = await HOSTED_LOOP.acall(lambda: self.vendor.aembed_query(self, text, **kwargs))
            return vector

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        try:
            yield
        except BackendError:  # the vendor's method called another one of these, which mapped it already
            raise
        except Exception as error:
            if (mapped := map_vendor_error(error, self._spec)) is None:
                raise
            raise mapped from without_secrets(error)


def hosted_embeddings(spec: object, embeddings: Embeddings) -> Embeddings:
    """Map the errors of a vendor's embeddings; they stay an instance of the vendor's class.

    Args:
        spec: The model's spec, for messages.
        embeddings: The vendor's embeddings. Those that are not a Pydantic model are returned as they are.
    """
    if not isinstance(embeddings, BaseModel):
        return embeddings
    mapped = as_class(joined_class(HostedEmbeddings, type(embeddings)), embeddings)
    private = {**(embeddings.__pydantic_private__ or {}), "_spec": spec}
    object.__setattr__(mapped, "__pydantic_private__", private)
    hosted: Embeddings = mapped
    return hosted
