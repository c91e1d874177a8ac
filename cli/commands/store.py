"""`taleward store`: look into a store, and move it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taleward.core.errors import ConfigurationError

if TYPE_CHECKING:
    from taleward.stores.vector.base import TalewardStore

store_app = typer.Typer(
    name="store",
    help="Look into a store, and move it: an embedding cache, a FAISS or a Chroma store.",
    no_args_is_help=True,
)

Place = Annotated[str, typer.Argument(help="A cache's file, a store's folder, or the URL of a Chroma server.")]
Model = Annotated[str, typer.Option("--embeddings", help="The embeddings' spec.")]
Collection = Annotated[str, typer.Option(help="Chroma's collection.")]


@store_app.command()
def stats(place: Place, collection: Collection = "taleward") -> None:
    """What a store holds, as JSON."""
    if _is_cache(place):
        from taleward.stores.caches.embeddings_file import open_cache, read_stats

        held = read_stats(open_cache(Path(place))).model_dump(exclude={"hits", "repeats", "misses", "failures"})
        return _print({"kind": "embedding cache", **held})
    store = _open(place, collection)
    kind = getattr(store, "kind", None)
    about = {"kind": type(store).__name__, **({"index": kind} if kind else {})}
    _print({**about, "documents": len(store), "model": store.fingerprint, "dimensions": store.dimensions})
    return store.close()


@store_app.command()
def search(
    place: Place,
    query: Annotated[str, typer.Argument(help="A text.")],
    embeddings: Model = "embedded:minilm",
    k: Annotated[int, typer.Option(min=1, help="Documents to show.")] = 4,
    filter: Annotated[str, typer.Option(help='A filter as JSON, as in \'{"band": "6-8"}\'.')] = "{}",
    collection: Collection = "taleward",
) -> None:
    """The documents most like a text, one JSON object a line, best first."""
    try:
        wanted = json.loads(filter)
    except ValueError as error:
        raise typer.BadParameter(f"--filter is no JSON: {error}") from error
    store = _open(place, collection, embeddings)
    for document, score in store.similarity_search_with_score(query, k, wanted):
        found = {"score": round(score, 4), "id": document.id, "text": document.page_content}
        _print({**found, "metadata": document.metadata}, indent=None)
    store.close()


@store_app.command()
def delete(
    place: Place,
    ids: Annotated[list[str], typer.Argument(help="Ids; of a cache, the texts' SHA-256.")],
    collection: Collection = "taleward",
) -> None:
    """Delete by id; what is deleted is overwritten."""
    if _is_cache(place):
        from taleward.stores.caches.embeddings_file import delete_entries, open_cache

        return _print({"deleted": delete_entries(open_cache(Path(place)), ids)})
    store = _open(place, collection)
    before = len(store)
    store.delete(ids)
    _print({"deleted": before - len(store)})
    return store.close()


@store_app.command(name="export")
def export_(
    place: Place,
    file: Annotated[Path, typer.Argument(help="The Parquet file to write.")],
    collection: Collection = "taleward",
) -> None:
    """Write a store to a Parquet file, vectors included."""
    from taleward.stores.vector.parquet import export_cache, export_store

    if _is_cache(place):
        from taleward.stores.caches.embeddings_file import open_cache

        return _print({"exported": export_cache(open_cache(Path(place)), file)})
    store = _open(place, collection)
    _print({"exported": export_store(store, file)})
    return store.close()


@store_app.command(name="import")
def import_(
    place: Place,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A Parquet file that export wrote.")],
    collection: Collection = "taleward",
) -> None:
    """Add a Parquet file's entries to a store; a place without one gets a FAISS store, or a cache if it ends in .db."""
    from taleward.stores.vector.parquet import import_cache, import_store, read_fingerprint

    if _is_cache(place) or place.endswith(".db"):
        from taleward.stores.caches.embeddings_file import open_cache

        return _print({"imported": import_cache(open_cache(Path(place)), file)})
    from taleward.stores.vector.open import open_store

    store = open_store(place, collection=collection, create=True, model=read_fingerprint(file))
    _print({"imported": import_store(store, file)})
    return store.close()


def _open(place: str, collection: str, embeddings: str | None = None) -> TalewardStore:
    from taleward.stores.vector.open import open_store

    if _is_cache(place):
        raise ConfigurationError(f"{place} is an embedding cache; it holds no texts to search.")
    return open_store(place, embeddings, collection=collection)


def _is_cache(place: str) -> bool:
    return Path(place).is_file()


def _print(value: dict[str, Any], indent: int | None = 2) -> None:
    typer.echo(json.dumps(value, indent=indent, ensure_ascii=False))
