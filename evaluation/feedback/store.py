"""Feedback in MLflow: assessments by people on the traces of tales."""

from __future__ import annotations

import getpass
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime

from taleward.core.errors import MissingExtra, UnknownName
from taleward.core.frozen_model import FrozenDict, FrozenModel
from taleward.core.verdict import Verdict
from taleward.evaluation.feedback.feedback import (
    FIELDS,
    Feedback,
    FeedbackField,
    MarkedSpan,
    from_value,
    pseudonym,
    to_value,
)
from taleward.evaluation.tracking.recorder import DEFAULT_EXPERIMENT, default_tracking_uri, experiment_id, quiet
from taleward.moderation.policies.load import load_policy, policy_names

_PAGE = 500
_WITHDRAWN = "WITHDRAWN"


class FeedbackChange(FrozenModel):
    """One answer that was once given.

    Attributes:
        tale_id: Of which tale.
        person: By whom.
        field: Which part.
        value: What was said, as it was written; `None` for a withdrawal.
        at: When.
        holds: Whether it is still in force.
        assessment: Its id in MLflow.
    """

    tale_id: str
    person: str
    field: str
    value: Any
    at: AwareDatetime
    holds: bool
    assessment: str


@dataclass(frozen=True)
class RecordedTale:
    """A tale as it was recorded.

    Attributes:
        id: The tale's id.
        trace_id: Its trace in MLflow.
        text: What was released; of a refused tale, the last draft where it was kept; empty where neither is there.
        released: Whether it was.
        band: Its age band.
        policy: Its policy, as `name@version`.
        inputs: What it was written from.
        verdict: The last verdict.
        drafts: All drafts with their verdicts, first to last; a draft that was not kept is `None`.
        at: When it was told.
    """

    id: str
    trace_id: str
    text: str
    released: bool
    band: str
    policy: str
    inputs: Any
    verdict: Verdict | None
    drafts: tuple[tuple[str | None, Verdict], ...]
    at: datetime

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories of its policy; empty where the policy is not here."""
        name = self.policy.partition("@")[0]
        return tuple(load_policy(name).categories) if name in policy_names() else ()


class FeedbackStore:
    """Feedback on the tales of one experiment.

    Args:
        tracking_uri: An MLflow tracking URI; by default that of `.taleward` in this folder.
        experiment: The experiment's name.

    Raises:
        MissingExtra: MLflow is not installed.
    """

    def __init__(self, tracking_uri: str | None = None, experiment: str = DEFAULT_EXPERIMENT) -> None:
        try:
            import mlflow
            from mlflow.tracing.client import TracingClient
        except ImportError as error:
            raise MissingExtra("keeping feedback", "mlflow") from error
        self.tracking_uri = tracking_uri or default_tracking_uri()
        with quiet():
            self._client = mlflow.MlflowClient(tracking_uri=self.tracking_uri)
            self._where = experiment_id(self._client, self.tracking_uri, experiment)
            self._traces = TracingClient(self.tracking_uri)

    def record(
        self,
        tale_id: str,
        *,
        person: str,
        rating: int | None = None,
        kid_friendly: bool | None = None,
        categories: Iterable[str] | None = None,
        spans: Iterable[MarkedSpan | str] | None = None,
        comment: str | None = None,
    ) -> Feedback:
        """Say something of a tale; what the same person said of it before is overridden, and stays in the history.

        Args:
            tale_id: The tale's `id`.
            person: Who says it, by name or by pseudonym.
            rating: From 1 (poor) to 5 (very good).
            kid_friendly: Whether it is for children of the tale's band.
            categories: What speaks against it.
            spans: Stretches of the text: `MarkedSpan`s, or quotes.
            comment: Free text.

        Returns:
            All that the person now says of the tale.

        Raises:
            UnknownName: There is no such tale, or a category is not one of its policy's.
            ConfigurationError: A value is not one that is taken; then nothing was written.
        """
        tale = self.tale(tale_id)
        given = {
            "rating": rating,
            "kid_friendly": kid_friendly,
            "categories": None if categories is None else list(categories),
            "spans": None if spans is None else list(spans),
            "comment": comment,
        }
        values = {f: to_value(f, given[f], tale.text) for f in FIELDS if given[f] is not None}
        named = [*values.get("categories", ()), *(s["category"] for s in values.get("spans", ()) if s["category"])]
        for name in named:
            if tale.categories and name not in tale.categories:
                raise UnknownName(f"category of policy {tale.policy!r}", name, tale.categories)
        held = {c.field: c for c in self.history(tale_id) if c.holds and c.person == person}
        for field, value in values.items():
            before = held.get(field)
            if before is None or before.value != value:
                self._write(tale.trace_id, person, field, before, value=value)
        return self._of(tale_id, person)

    def withdraw(self, tale_id: str, *, person: str, fields: Sequence[FeedbackField] = FIELDS) -> None:
        """Take back what a person said of a tale; the history keeps it."""
        trace_id = self._info(tale_id).trace_id
        for change in self.history(tale_id):
            if change.holds and change.value is not None and change.person == person and change.field in fields:
                self._write(trace_id, person, change.field, change, error=True)

    def erase(self, tale_id: str, *, person: str) -> int:
        """Remove all that a person said of a tale, the history too; how many answers that were."""
        trace_id = self._info(tale_id).trace_id
        # Newest first: MLflow puts an overridden answer back into force when its successor goes.
        own = [c for c in self.history(tale_id) if c.person == person]
        for change in reversed(own):
            self._traces.delete_assessment(trace_id, change.assessment)
        return len(own)

    def read(self, tale_id: str) -> list[Feedback]:
        """What each person says of a tale, whichever way it was said, by person."""
        return _feedback(tale_id, self._info(tale_id).assessments)

    def all(self) -> list[Feedback]:
        """What each person says of each tale, oldest tale first."""
        return [f for info in self._infos() for f in _feedback(info.tags["tale_id"], info.assessments)]

    def history(self, tale_id: str) -> list[FeedbackChange]:
        """Every answer on a tale that was not erased, oldest first."""
        made = [_change(tale_id, a) for a in self._info(tale_id).assessments if _is_ours(a)]
        return sorted(made, key=lambda change: change.at)

    def tale(self, tale_id: str) -> RecordedTale:
        """The tale itself.

        Raises:
            UnknownName: There is no such tale.
        """
        info = self._info(tale_id)
        with quiet():
            return _told(self._client.get_trace(info.trace_id, display=False))

    def tales(self) -> Iterator[tuple[RecordedTale, list[Feedback]]]:
        """All tales with what people say of them, oldest first."""
        for trace in self._search(include_spans=True):
            yield _told(trace), _feedback(trace.info.tags["tale_id"], trace.info.assessments)

    def queue(self, person: str) -> list[str]:
        """The tales that a person has not reviewed: first those that nobody has, among them the most uncertain."""
        found = []
        for number, (tale, said) in enumerate(self.tales()):
            if tale.text and not any(f.person == person and f.reviewed for f in said):
                found.append((any(f.reviewed for f in said), -uncertainty(tale.verdict), number, tale.id))
        return [tale_id for *_, tale_id in sorted(found)]

    def _of(self, tale_id: str, person: str) -> Feedback:
        said = next((f for f in self.read(tale_id) if f.person == person), None)
        return said or Feedback(tale_id=tale_id, person=person, at=datetime.now(UTC))

    def _write(
        self,
        trace_id: str,
        person: str,
        field: str,
        before: FeedbackChange | None,
        *,
        value: Any = None,
        error: bool = False,
    ) -> None:
        from mlflow.entities import AssessmentError, AssessmentSource, Feedback as Kept

        kept = Kept(
            name=field,
            value=value,
            error=AssessmentError(_WITHDRAWN, "taken back by the person") if error else None,
            source=AssessmentSource("HUMAN", person),
            overrides=before.assessment if before else None,
        )
        with quiet():
            self._traces.log_assessment(trace_id, kept)

    def _info(self, tale_id: str) -> Any:
        # A quote cannot stand in a filter; no id of ours has one.
        found = () if "'" in tale_id else self._search(f"tags.tale_id = '{tale_id}'", include_spans=False)
        info = next((trace.info for trace in found), None)
        if info is None:
            raise UnknownName(
                "tale", tale_id, None, hint=f"Only recorded tales take feedback; this looked in {self.tracking_uri}."
            )
        return info

    def _infos(self) -> Iterator[Any]:
        return (trace.info for trace in self._search(include_spans=False))

    def _search(self, filter_string: str | None = None, *, include_spans: bool) -> Iterator[Any]:
        token = None
        while True:
            with quiet():
                page = self._client.search_traces(
                    locations=[self._where],
                    filter_string=filter_string,
                    max_results=_PAGE,
                    order_by=["timestamp_ms ASC"],
                    page_token=token,
                    include_spans=include_spans,
                )
            yield from (trace for trace in page if "tale_id" in trace.info.tags)
            token = page.token
            if not token:
                return


def record_feedback(
    tale_id: str,
    *,
    person: str | None = None,
    rating: int | None = None,
    kid_friendly: bool | None = None,
    categories: Iterable[str] | None = None,
    spans: Iterable[MarkedSpan | str] | None = None,
    comment: str | None = None,
    tracking_uri: str | None = None,
    experiment: str = DEFAULT_EXPERIMENT,
) -> Feedback:
    """Say something of a recorded tale; see `FeedbackStore.record`.

    Args:
        tale_id: The tale's `id`.
        person: Who says it; by default a pseudonym that is made once for this folder.
        rating: From 1 (poor) to 5 (very good).
        kid_friendly: Whether it is for children of the tale's band.
        categories: What speaks against it.
        spans: Stretches of the text: `MarkedSpan`s, or quotes.
        comment: Free text.
        tracking_uri: An MLflow tracking URI; by default that of `.taleward` in this folder.
        experiment: The experiment's name.
    """
    return FeedbackStore(tracking_uri, experiment).record(
        tale_id,
        person=person or own_pseudonym(Path(".taleward")),
        rating=rating,
        kid_friendly=kid_friendly,
        categories=categories,
        spans=spans,
        comment=comment,
    )


def own_pseudonym(folder: Path) -> str:
    """The pseudonym of whoever works here; its secret lies in the folder, readable by its owner alone."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "pseudonym.secret"
    if not file.exists() or not file.stat().st_size:
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(16), encoding="ascii")
    return pseudonym(getpass.getuser(), file.read_text(encoding="ascii"))


def uncertainty(verdict: Verdict | None) -> float:
    """How unsure a judge was, 0..1: 1 without a plain answer, else how near its deciding score came to 0.5."""
    if verdict is None or verdict.outcome not in ("pass", "fail"):
        return 1.0
    return 1.0 - 2.0 * abs(max(verdict.scores.values(), default=float(not verdict.passed)) - 0.5)


def _is_ours(assessment: Any) -> bool:
    return assessment.name in FIELDS and assessment.feedback is not None and assessment.source.source_type == "HUMAN"


def _change(tale_id: str, assessment: Any) -> FeedbackChange:
    return FeedbackChange(
        tale_id=tale_id,
        person=assessment.source.source_id or "default",
        field=assessment.name,
        value=assessment.feedback.value,
        at=datetime.fromtimestamp(assessment.last_update_time_ms / 1000, UTC),
        holds=assessment.valid is not False,
        assessment=assessment.assessment_id,
    )


def _feedback(tale_id: str, assessments: Iterable[Any]) -> list[Feedback]:
    """The newest answer in force of each person to each question."""
    held = sorted((_change(tale_id, a) for a in assessments if _is_ours(a)), key=lambda change: change.at)
    people: dict[str, dict[str, FeedbackChange]] = {}
    for change in held:
        if change.holds:
            people.setdefault(change.person, {})[change.field] = change
    return [
        _read(tale_id, person, [c for c in answers.values() if c.value is not None])
        for person, answers in sorted(people.items())
        if any(c.value is not None for c in answers.values())
    ]


def _read(tale_id: str, person: str, answers: Sequence[FeedbackChange]) -> Feedback:
    read: dict[str, Any] = {}
    unread: dict[str, str] = {}
    for change in answers:
        try:
            read[change.field] = from_value(change.field, change.value)
        except (ValueError, TypeError, KeyError):
            unread[change.field] = str(change.value)
    latest = max(change.at for change in answers)
    return Feedback(tale_id=tale_id, person=person, at=latest, unread=FrozenDict(unread), **read)


def _told(trace: Any) -> RecordedTale:
    root = next(span for span in trace.data.spans if span.parent_id is None)
    judged = sorted((s for s in trace.data.spans if s.name == "judge"), key=lambda s: s.start_time_ns)
    drafts = tuple((span.inputs, Verdict.model_validate(span.outputs)) for span in judged)
    tags, outputs = trace.info.tags, root.outputs
    text = outputs.get("text") if isinstance(outputs, dict) else outputs
    last = drafts[-1][0] if drafts else None
    return RecordedTale(
        id=tags["tale_id"],
        trace_id=trace.info.trace_id,
        text=text if isinstance(text, str) else last or "",
        released=tags.get("released") == "True",
        band=tags.get("band", ""),
        policy=tags.get("policy", ""),
        inputs=root.inputs,
        verdict=drafts[-1][1] if drafts else None,
        drafts=drafts,
        at=datetime.fromtimestamp(trace.info.request_time / 1000, UTC),
    )
