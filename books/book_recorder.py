"""Record a book in MLflow: a run with its measures, its pages as a table, its pictures and what they cost."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

from taleward.backends.base.mlflow_store import quiet
from taleward.books.book import Book, BookCover, BookPage, Clearance
from taleward.books.folder import BOOK_FILE, HISTORY, PICTURES, PLAN_FILE, picture_path
from taleward.books.metrics import measure_book
from taleward.core.errors import MissingExtra
from taleward.evaluation.tracking.tale_recorder import DEFAULT_EXPERIMENT, get_or_create_experiment

_TABLE = "pages.json"


def record_book(book: Book, folder: Path | str, tracking_uri: str, experiment: str = DEFAULT_EXPERIMENT) -> str:
    """Record a book as an MLflow run.

    The run has the measures of `measure_book` and the cost as metrics, and as artifacts the table `pages.json` (text,
    what the picture shows, shot, verdicts, candidates, cost), the pictures, `book.json` and `plan.yaml`.

    Args:
        book: The book.
        folder: Its folder.
        tracking_uri: The MLflow tracking URI.
        experiment: The name of the MLflow experiment; created if missing.

    Returns:
        The run's id.

    Raises:
        MissingExtra: If MLflow is not installed.
    """
    if find_spec("mlflow") is None:
        raise MissingExtra("recording a book", "mlflow")
    import mlflow

    folder = Path(folder)
    with quiet():
        client = mlflow.MlflowClient(tracking_uri=tracking_uri)
        experiment_id = get_or_create_experiment(client, tracking_uri, experiment)
        tags = {"taleward": book.colophon.taleward, "taleward.kind": "book", "band": book.band}
        tags |= {"policy": book.colophon.policy, "tale_id": book.colophon.tale_id}
        run_id = str(client.create_run(experiment_id, run_name=book.title, tags=tags).info.run_id)
        parameters = {
            "style": book.style,
            "seed": book.seed,
            "pages": len(book.pages),
            "writer": book.colophon.writer,
            "judge": book.colophon.judge,
            "images": ", ".join(book.colophon.image_models),
            "edits": len(book.edits),
        }
        for name, value in parameters.items():
            client.log_param(run_id, name, value)
        measured = {**measure_book(book).model_dump(), "cost_usd": book.cost_usd}
        for name, value in measured.items():
            if value is not None:
                client.log_metric(run_id, name, float(value))
        # The format of `log_table`, which goes through pandas.
        client.log_text(run_id, json.dumps(_table(book)), _TABLE)
        client.set_tag(run_id, "mlflow.loggedArtifacts", json.dumps([{"path": _TABLE, "type": "table"}]))
        for _, place in book.illustrated():
            if (path := picture_path(folder, place)) is not None:
                client.log_artifact(run_id, str(path), PICTURES)
        for file in (BOOK_FILE, PLAN_FILE):
            client.log_artifact(run_id, str(folder / file))
        for edit in book.edits:
            client.log_artifact(run_id, str(folder / edit.before), HISTORY)
        client.set_terminated(run_id)
    return run_id


def _table(book: Book) -> dict[str, object]:
    """Return the table of the pages, as MLflow reads it; page 0 is the cover."""
    rows = [_row(book.cover, 0, book.title, "cover", book.title_clearance)]
    rows += [_row(page, page.number, page.text, page.shot, page.text_clearance) for page in book.pages]
    return {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}


def _row(place: BookCover | BookPage, number: int, text: str, shot: str, clearance: Clearance) -> dict[str, object]:
    drawing = place.drawing
    chosen = next((c for c in drawing.candidates if c.chosen), None) if drawing else None
    clearances = (clearance, place.picture_clearance)
    verdicts = [verdict for cleared in clearances if cleared is not None for verdict in cleared.verdicts]
    return {
        "page": number,
        "text": text,
        "picture_shows": place.alt_text,
        "shot": shot,
        "judges": ", ".join(f"{verdict.judge} {verdict.outcome}" for verdict in verdicts),
        "drawn_by": place.picture.lineage.model if place.picture is not None else "",
        "reason": drawing.reason if drawing else "",
        "candidates": len(drawing.candidates) if drawing else 0,
        "coverage": chosen.coverage if chosen else None,
        "likeness": chosen.likeness if chosen else None,
        "cost_usd": drawing.cost_usd if drawing else None,
    }
