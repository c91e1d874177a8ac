"""What people say of tales, in a real MLflow store, by every way there is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import taleward as tw
from fakes import FakeJudge, Writer
from taleward.core.verdict import Passage
from taleward.evaluation.feedback import FIELDS, MarkedSpan, pseudonym
from taleward.evaluation.feedback_export import labelled_rows, preference_pairs, write_rows
from taleward.evaluation.feedback_store import FeedbackStore
from taleward.evaluation.recorder import MlflowRecorder, store_uri
from taleward.moderation.judges.base import Assessment

pytestmark = pytest.mark.filterwarnings("default")

TEXT = "A fox met a wolf 🐺 in the dark wood."


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeedbackStore]:
    return FeedbackStore(store_uri(tmp_path / ".taleward"))


def tell(store: FeedbackStore, *drafts: str, scores: dict[str, float] | None = None, **inputs: str) -> tw.Tale:
    judge = FakeJudge(None if scores is None else lambda _: Assessment(scores=scores))
    recorder = MlflowRecorder(store.uri)
    return tw.Guard(Writer(*(drafts or (TEXT,))).runnable(), judge, recorder=recorder, keep_drafts=True).invoke(inputs)


def ui(store: FeedbackStore, trace_id: str, name: str, value: Any, person: str) -> None:
    """What MLflow's pages send when a person adds an assessment by hand."""
    import mlflow.server
    from mlflow.server import BACKEND_STORE_URI_ENV_VAR, handlers

    import os

    os.environ[BACKEND_STORE_URI_ENV_VAR] = store.uri
    handlers._tracking_store = None
    body = {"assessment": {"assessment_name": name, "feedback": {"value": value}, "source": {"source_type": "HUMAN", "source_id": person}}}
    done = mlflow.server.app.test_client().post(f"/api/3.0/mlflow/traces/{trace_id}/assessments", json=body, headers={"Host": "localhost"})
    assert done.status_code == 200, done.text


def test_roundtrip(store: FeedbackStore) -> None:
    tale = tell(store)
    said = store.record(tale.id, person="anna", rating=2, kid_friendly=False, categories=["frightening"], spans=["wolf 🐺", MarkedSpan(start=0, end=5, category="violence")], comment="ok")
    assert store.read(tale.id) == [said]
    trace = store.tale(tale.id).trace_id
    for name, value in {"rating": "2", "kid_friendly": "no", "categories": "frightening", "spans": "12-18; 0-5 violence", "comment": "ok"}.items():
        ui(store, trace, name, value, "by hand")
    print(store.read(tale.id))
    print(store.history(tale.id))
