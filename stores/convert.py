"""From a folder of LangChain's FAISS store, which holds a pickle, to one of ours, which does not."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings

from taleward.core.errors import ConfigurationError, IntegrityError
from taleward.stores.vector.faiss_index import Kind, load_faiss
from taleward.stores.vector.faiss_store import FaissStore

_LARGEST = 4 * 2**30


class _Plain:
    """Stands for LangChain's classes while the pickle is read: keeps their state and does nothing."""

    state: Any = None

    def __init__(self, *arguments: object) -> None:
        """Take what the pickle passes, and leave it."""

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Docstore(_Plain):
    pass


class _Document(_Plain):
    pass


_ADMITTED: dict[tuple[str, str], type] = {
    **{
        (f"{package}.docstore.in_memory", "InMemoryDocstore"): _Docstore
        for package in ("langchain", "langchain_classic", "langchain_community")
    },
    **{
        (module, "Document"): _Document
        for module in ("langchain_core.documents.base", "langchain.schema", "langchain.schema.document")
    },
    **{(module, "set"): set for module in ("builtins", "__builtin__")},
}


class _Unpickler(pickle.Unpickler):
    """Reads plain data and the two classes above; every other name in the file is an error, and nothing is called."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for an admitted class."""
        found = _ADMITTED.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return found

    def persistent_load(self, pid: Any) -> Any:
        """Nothing lies outside the file."""
        raise pickle.UnpicklingError("it refers to something outside the file")


def convert_langchain_faiss(
    folder: str | Path,
    embeddings: str | Embeddings,
    path: str | Path,
    *,
    name: str = "index",
    index: Kind | None = None,
    model: str | None = None,
) -> FaissStore:
    """Copy a folder that LangChain's `FAISS.save_local` wrote into a new `FaissStore`; no code in it is run.

    Ids, texts and vectors stay. Metadata values that our stores do not take change: lists and objects become JSON
    texts, and keys without a value are left out.

    Args:
        folder: Holds `NAME.faiss` and `NAME.pkl`.
        embeddings: The model that made the vectors; the folder does not say which.
        path: The new store's folder; it must not hold a store.
        name: LangChain's `index_name`.
        index: The new store's kind of index.
        model: The model's fingerprint, where the embeddings do not tell it themselves.

    Raises:
        IntegrityError: The pickle names anything but a docstore's documents, or the two files do not fit together.
        ConfigurationError: There is a store at `path`, or the folder holds no such files.
    """
    faiss, source = load_faiss(), Path(folder)
    pickled, indexed = source / f"{name}.pkl", source / f"{name}.faiss"
    for file in (pickled, indexed):
        if not file.is_file():
            raise ConfigurationError(
                f"{file} is missing.", hint="Give the folder that FAISS.save_local wrote, and its index_name as name=."
            )
    if (Path(path) / "documents.db").exists():
        raise ConfigurationError(f"there is a store in {path}.", hint="Give a new folder.")
    documents, names = _read(pickled)
    try:
        old = faiss.read_index(str(indexed))
        vectors = old.reconstruct_n(0, old.ntotal)
    except RuntimeError as error:
        raise IntegrityError(f"{indexed} cannot be read, or keeps no whole vectors: {error}") from error
    if sorted(names) != list(range(len(vectors))) or not set(names.values()) <= set(documents):
        raise IntegrityError(f"{pickled} names {len(names)} documents and {indexed} holds {len(vectors)} vectors.")
    ids = [names[i] for i in range(len(names))]
    if old.d != vectors.shape[1]:
        raise IntegrityError(f"{indexed} gave vectors of {vectors.shape[1]} dimensions for {old.d}.")
    store = FaissStore(embeddings, path, index=index, model=model, autosave=False)
    metadatas = [_flat(documents[i][1]) for i in ids]
    store.add_vectors([documents[i][0] for i in ids], vectors, metadatas, ids=ids)
    store.save()
    return store


def _read(file: Path) -> tuple[dict[str, tuple[str, dict[str, Any]]], dict[int, str]]:
    """Texts and metadata by id, and ids by position."""
    if file.stat().st_size > _LARGEST:
        raise IntegrityError(f"{file} has more than {_LARGEST} bytes.")
    try:
        with file.open("rb") as opened:
            docstore, names = _Unpickler(opened).load()
        held = docstore.state["_dict"]
        documents = {i: _text_and_metadata(d.state) for i, d in held.items()}
        if not all(isinstance(k, int) and isinstance(v, str) for k, v in names.items()):
            raise TypeError("its table of ids is none")
    except IntegrityError:
        raise
    except Exception as error:  # a pickle made by an enemy may fail in any way
        raise IntegrityError(
            f"{file} is not what LangChain's FAISS store writes: {error}.",
            hint="Nothing of it was run. If it is yours, export it with the program that wrote it.",
        ) from error
    return documents, names


def _text_and_metadata(state: Any) -> tuple[str, dict[str, Any]]:
    fields = state.get("__dict__", state)
    text, metadata = fields["page_content"], fields["metadata"]
    if not isinstance(text, str) or not isinstance(metadata, dict):
        raise TypeError("a document has no text or no metadata")
    return text, metadata


def _flat(metadata: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value if isinstance(value, str | int | float | bool) else json.dumps(value, ensure_ascii=False)
        for key, value in metadata.items()
        if value is not None
    }
