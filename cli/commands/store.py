"""`taleward store`: inspect, search, export and import stores."""

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
    help="Inspect, search, export and import embedding caches and vector stores.",
    no_args_is_help=True,
)

Location = Annotated[
    str,
    typer.Argument(help="File of a cache, folder of a vector store, or URL of a Chroma server or a Postgres database."),
]
EmbeddingsSpec = Annotated[str, typer.Option("--embeddings", help="Spec of the embeddings.")]
Collection = Annotated[str, typer.Option(help="Name of the collection in Chroma or Postgres.")]


@store_app.command()
def stats(location: Location, collection: Collection = "taleward") -> None:
    """Print the kind and size of a store as JSON."""
    if _is_cache(location):
        from taleward.stores.caches.embeddings_file import open_cache, read_stats

        # The counters belong to a process, and this one has not used the cache.
        cache_stats = read_stats(open_cache(Path(location)))
        in_file = cache_stats.model_dump(exclude={"hits", "repeats", "misses", "failures"})
        return _print_json({"kind": "embedding cache", **in_file})
    store = _open(location, collection)
    # Only a FAISS store has kinds of index.
    index = getattr(store, "kind", None)
    kind = {"kind": type(store).__name__, **({"index": index} if index else {})}
    _print_json({**kind, "documents": len(store), "model": store.fingerprint, "dimensions": store.dimensions})
    return store.close()


@store_app.command()
def search(
    location: Location,
    query: Annotated[str, typer.Argument(help="The text to search for.")],
    embeddings: EmbeddingsSpec = "embedded:minilm",
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of documents to print.")] = 4,
    filter: Annotated[str, typer.Option(help='Filter as JSON, for example \'{"band": "6-8"}\'.')] = "{}",
    collection: Collection = "taleward",
) -> None:
    """Print the documents most similar to a text: one JSON object per line, best first."""
    try:
        filter_object = json.loads(filter)
    except ValueError as error:
        raise typer.BadParameter(f"--filter is not valid JSON: {error}") from error
    store = _open(location, collection, embeddings)
    for document, score in store.similarity_search_with_score(query, limit, filter_object):
        row = {"score": round(score, 4), "id": document.id, "text": document.page_content}
        _print_json({**row, "metadata": document.metadata}, indent=None)
    store.close()


@store_app.command()
def delete(
    location: Location,
    ids: Annotated[list[str], typer.Argument(help="Ids of documents; in a cache, SHA-256 of texts.")],
    collection: Collection = "taleward",
) -> None:
    """Delete entries by id; their data is overwritten on disk, in Postgres when the server vacuums."""
    if _is_cache(location):
        from taleward.stores.caches.embeddings_file import delete_entries, open_cache

        return _print_json({"deleted": delete_entries(open_cache(Path(location)), ids)})
    store = _open(location, collection)
    count_before = len(store)
    store.delete(ids)
    _print_json({"deleted": count_before - len(store)})
    return store.close()


@store_app.command(name="export")
def export_(
    location: Location,
    file: Annotated[Path, typer.Argument(help="The Parquet file to write.")],
    collection: Collection = "taleward",
) -> None:
    """Export a store to a Parquet file, including the vectors."""
    from taleward.stores.vector.parquet import export_cache, export_store

    if _is_cache(location):
        from taleward.stores.caches.embeddings_file import open_cache

        return _print_json({"exported": export_cache(open_cache(Path(location)), file)})
    store = _open(location, collection)
    _print_json({"exported": export_store(store, file)})
    return store.close()


@store_app.command(name="import")
def import_(
    location: Location,
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A Parquet file written by `taleward store export`.")
    ],
    collection: Collection = "taleward",
) -> None:
    """Add the entries of a Parquet file to a store.

    A store that does not exist is created: by a Postgres URL a store in that database, by a name that ends in .db an
    embedding cache, else a FAISS store.
    """
    from taleward.stores.vector.parquet import import_cache, import_store, read_fingerprint

    if _is_cache(location) or location.endswith(".db"):
        from taleward.stores.caches.embeddings_file import open_cache

        return _print_json({"imported": import_cache(open_cache(Path(location)), file)})
    from taleward.stores.vector.open import open_store

    store = open_store(location, collection=collection, create=True, model=read_fingerprint(file))
    _print_json({"imported": import_store(store, file)})
    return store.close()


def _open(location: str, collection: str, embeddings: str | None = None) -> TalewardStore:
    from taleward.stores.vector.open import open_store

    if _is_cache(location):
        raise ConfigurationError(
            f"{location} is an embedding cache; it holds no texts to search.",
            hint="Pass the folder of a FAISS or Chroma store, or the URL of a Chroma server or Postgres.",
        )
    return open_store(location, embeddings, collection=collection)


def _is_cache(location: str) -> bool:
    return Path(location).is_file()


def _print_json(value: dict[str, Any], indent: int | None = 2) -> None:
    typer.echo(json.dumps(value, indent=indent, ensure_ascii=False))
