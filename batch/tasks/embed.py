"""`embed`: the vector of a text in each row."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import ClassVar

from taleward.backends.embedding_models import embeddings
from taleward.batch.sources.base import BatchRow
from taleward.batch.tasks.base import BatchTask, RowResult, RowSeeds, TaskRunner, failed_row, for_each, text_of
from taleward.stores.embedding_fingerprint import embed_array


class EmbedTask(BatchTask):
    """Embed the text in each row, all texts of a chunk together.

    Attributes:
        model: Spec of the embeddings.
        column: The column of the text.
        base_url: The server of an `openai:` model.
    """

    name: ClassVar[str] = "embed"
    extra_columns: ClassVar[Mapping[str, str]] = {"vector": "vector"}
    spec_fields: ClassVar[tuple[str, ...]] = ("model",)

    model: str = "embedded:minilm"
    column: str = "text"
    base_url: str | None = None

    def needed_columns(self) -> Sequence[str]:
        """Return the column of the text."""
        return (self.column,)

    def load(self) -> TaskRunner:
        """Load the embeddings."""
        return _EmbedRunner(self)


class _EmbedRunner:
    def __init__(self, task: EmbedTask) -> None:
        options = {"base_url": task.base_url} if task.base_url else {}
        self._model, self._column = embeddings(task.model, **options), task.column

    def run(self, rows: Sequence[BatchRow], seeds: RowSeeds) -> list[RowResult]:
        results: dict[str, RowResult] = {}
        texts: dict[str, str] = {}
        for row in rows:
            try:
                texts[row.id] = text_of(row, self._column)
            except ValueError as error:
                results[row.id] = failed_row(error)
        started_s = time.perf_counter()
        try:
            vectors = embed_array(self._model, list(texts.values()))
        except Exception:  # noqa: BLE001  one of the texts may be the reason: each by itself says which
            readable = [row for row in rows if row.id in texts]
            results |= {
                row.id: result for row, result in zip(readable, for_each(readable, self._embed_one), strict=True)
            }
        else:
            seconds = (time.perf_counter() - started_s) / max(1, len(texts))
            for row_id, vector in zip(texts, vectors, strict=True):
                results[row_id] = RowResult("done", vector=vector, seconds=seconds)
        return [results[row.id] for row in rows]

    def _embed_one(self, row: BatchRow) -> RowResult:
        started_s = time.perf_counter()
        [vector] = embed_array(self._model, [text_of(row, self._column)])
        return RowResult("done", vector=vector, seconds=time.perf_counter() - started_s)
