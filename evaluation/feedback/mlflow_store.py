"""Store people's feedback in MLflow, as assessments on the traces of tales."""

from __future__ import annotations

import getpass
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from taleward.backends.base.mlflow_store import quiet
from taleward.core.errors import MissingExtra, UnknownName
from taleward.core.redaction import redact
from taleward.core.tale import ChatTurn, Lineage, ModelCall
from taleward.core.verdict import Verdict
from taleward.evaluation.feedback.feedback import (
    FIELDS,
    Feedback,
    FeedbackField,
    MarkedSpan,
    pseudonym,
    to_assessment_value,
)
from taleward.evaluation.feedback.from_assessments import FeedbackChange, current_feedback, feedback_changes
from taleward.evaluation.tracking.tale_recorder import (
    DEFAULT_EXPERIMENT,
    default_tracking_uri,
    get_or_create_experiment,
)
from taleward.moderation.policies.load import load_policy, policy_names

_TRACES_PER_PAGE = 500
_TRACE_ID_PREFIX = "tr-"
_WITHDRAWN = "WITHDRAWN"


@dataclass(frozen=True)
class RecordedTale:
    """A tale as recorded in MLflow.

    Attributes:
        id: The tale's id.
        trace_id: The id of its trace in MLflow.
        text: The released text; for a refused tale the last draft if it was kept, otherwise empty.
        released: Whether the tale was released.
        band: The age band.
        policy: The policy's id, `name@version`.
        inputs: The writer's inputs.
        messages: What the writer's model was sent for the first draft, see `Attempt`; empty if it was not recorded.
        calls: The model calls of the first draft that has any.
        lineage: How the tale was made; `None` for an output that no guard released.
        verdict: The last verdict, if there is one.
        drafts: All drafts with their verdicts, oldest first; `None` stands for a draft that was not kept.
        started_at: When the guard started.
    """

    id: str
    trace_id: str
    text: str
    released: bool
    band: str
    policy: str
    inputs: Any
    messages: tuple[ChatTurn, ...]
    calls: tuple[ModelCall, ...]
    lineage: Lineage | None
    verdict: Verdict | None
    drafts: tuple[tuple[str | None, Verdict], ...]
    started_at: datetime

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories of its policy; empty unless it is a built-in policy."""
        name = self.policy.partition("@")[0]
        return tuple(load_policy(name).categories) if name in policy_names() else ()


class FeedbackStore:
    """Read and write feedback on the recorded tales of an MLflow experiment.

    Wherever a method takes the id of a tale, it takes the id of its MLflow trace, too.

    Args:
        tracking_uri: The MLflow tracking URI; by default the store in `.taleward` in the working directory.
        experiment: The name of the MLflow experiment.

    Raises:
        MissingExtra: If MLflow is not installed.
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
            self._experiment_id = get_or_create_experiment(self._client, self.tracking_uri, experiment)
            self._tracing_client = TracingClient(self.tracking_uri)

    def record(
        self,
        tale_id: str,
        *,
        person: str,
        rating: int | None = None,
        kid_friendly: bool | None = None,
        makes_sense: bool | None = None,
        categories: Iterable[str] | None = None,
        spans: Iterable[MarkedSpan | str] | None = None,
        comment: str | None = None,
        correction: str | None = None,
        for_training: bool | None = None,
        requested_by_child: bool | None = None,
        guardian_consent: bool | None = None,
    ) -> Feedback:
        """Record a person's feedback on a tale.

        A field that is `None` is left as it is. A new answer overrides the person's earlier one, which stays in the
        history.

        Args:
            tale_id: The tale's `id`.
            person: Who gives it, by name or by pseudonym.
            rating: From 1 (poor) to 5 (very good).
            kid_friendly: Whether the tale suits children of its age band.
            makes_sense: Whether the tale makes sense, suitable for children or not.
            categories: Names of problems, from the tale's policy; empty if there are none.
            spans: Passages to mark: `MarkedSpan`, or quotes from the text.
            comment: Free text.
            correction: The whole tale as the person would have it.
            for_training: Whether this feedback and the tale may be used to train models; by default they are not.
            requested_by_child: Whether a child wrote the request for the tale, such as the template's values. Unless
                somebody says that none did, training needs `guardian_consent`.
            guardian_consent: Whether a parent or guardian consents to training on the child's request.

        Returns:
            The person's whole feedback on the tale.

        Raises:
            UnknownName: If there is no such tale, or its policy has no such category.
            ConfigurationError: If a value is not accepted. Nothing is recorded then.
        """
        tale = self.tale(tale_id)
        answers: dict[FeedbackField, Any] = {
            "rating": rating,
            "kid_friendly": kid_friendly,
            "makes_sense": makes_sense,
            "categories": None if categories is None else list(categories),
            "spans": None if spans is None else list(spans),
            "comment": comment,
            "correction": correction,
            "for_training": for_training,
            "requested_by_child": requested_by_child,
            "guardian_consent": guardian_consent,
        }
        values = {f: to_assessment_value(f, answers[f], tale.text) for f in FIELDS if answers[f] is not None}
        span_categories = [span["category"] for span in values.get("spans", ()) if span["category"]]
        for name in [*values.get("categories", ()), *span_categories]:
            if tale.categories and name not in tale.categories:
                raise UnknownName(f"category of policy {tale.policy!r}", name, tale.categories)
        current = {c.field: c for c in self.history(tale.trace_id) if c.current and c.person == person}
        for field, value in values.items():
            overridden = current.get(field)
            # Saving the same answer again, as the widget does, leaves the history as it is.
            if overridden is None or overridden.value != value:
                self._log(tale.trace_id, person, field, overridden, value=value)
        return self._feedback_by(person, tale)

    def withdraw(self, tale_id: str, *, person: str, fields: Sequence[str] | None = None) -> None:
        """Withdraw a person's feedback on a tale; it stays in the history.

        Args:
            tale_id: The tale's `id`.
            person: Whose feedback to withdraw.
            fields: The fields to withdraw; by default all, with those of other names.

        Raises:
            UnknownName: If there is no such tale.
        """
        trace_id = self._trace_info(tale_id).trace_id
        for change in self.history(tale_id):
            # A change without a value is a withdrawal already.
            given = change.current and change.value is not None and change.person == person
            if given and (fields is None or change.field in fields):
                self._log(trace_id, person, change.field, change, withdrawn=True)

    def erase(self, tale_id: str, *, person: str) -> int:
        """Delete a person's feedback on a tale, including the history.

        Args:
            tale_id: The tale's `id`.
            person: Whose feedback to delete.

        Returns:
            The number of deleted answers.

        Raises:
            UnknownName: If there is no such tale.
        """
        trace_id = self._trace_info(tale_id).trace_id
        changes = [change for change in self.history(tale_id) if change.person == person]
        # Newest first: MLflow makes an overridden answer current again when the one that overrides it is deleted.
        for change in reversed(changes):
            self._tracing_client.delete_assessment(trace_id, change.assessment_id)
        return len(changes)

    def delete_tale(self, tale_id: str) -> bool:
        """Delete a recorded tale: its trace with all drafts, verdicts and feedback.

        Args:
            tale_id: The tale's `id`.

        Returns:
            Whether there was one.
        """
        try:
            trace_id = self._trace_info(tale_id).trace_id
        except UnknownName:
            return False
        with quiet():
            self._client.delete_traces(self._experiment_id, trace_ids=[trace_id])
        return True

    def read(self, tale_id: str) -> list[Feedback]:
        """Return the current feedback on a tale, sorted by person.

        It does not matter whether it was given in Python, in the terminal, in a notebook or in MLflow's UI.

        Raises:
            UnknownName: If there is no such tale.
        """
        info = self._trace_info(tale_id)
        return current_feedback(info.tags["tale_id"], info.assessments)

    def all(self) -> list[Feedback]:
        """Return the current feedback on all tales, oldest tale first."""
        infos = (trace.info for trace in self._search_traces(include_spans=False))
        return [f for info in infos for f in current_feedback(info.tags["tale_id"], info.assessments)]

    def history(self, tale_id: str) -> list[FeedbackChange]:
        """Return all answers about a tale that were not erased, oldest first.

        Raises:
            UnknownName: If there is no such tale.
        """
        info = self._trace_info(tale_id)
        return feedback_changes(info.tags["tale_id"], info.assessments)

    def tale(self, tale_id: str) -> RecordedTale:
        """Return a recorded tale.

        Raises:
            UnknownName: If there is no such tale.
        """
        info = self._trace_info(tale_id)
        with quiet():
            return _recorded_tale(self._client.get_trace(info.trace_id, display=False))

    def tales(self) -> Iterator[tuple[RecordedTale, list[Feedback]]]:
        """Yield all tales with the current feedback on them, oldest first."""
        for trace in self._search_traces(include_spans=True):
            yield _recorded_tale(trace), current_feedback(trace.info.tags["tale_id"], trace.info.assessments)

    def queue(self, person: str) -> list[str]:
        """Return the ids of the tales that a person has not reviewed, the most useful first.

        Tales that nobody has reviewed come before others, and within each group those with the most uncertain verdict
        come first.
        """
        # A label on an uncertain verdict teaches a judge most (uncertainty sampling, Lewis and Gale 1994).
        ranked = []
        for index, (tale, feedback) in enumerate(self.tales()):
            if tale.text and not any(f.person == person and f.reviewed for f in feedback):
                reviewed_by_others = any(f.reviewed for f in feedback)
                ranked.append((reviewed_by_others, -uncertainty(tale.verdict), index, tale.id))
        return [tale_id for *_, tale_id in sorted(ranked)]

    def _feedback_by(self, person: str, tale: RecordedTale) -> Feedback:
        feedback = next((f for f in self.read(tale.trace_id) if f.person == person), None)
        return feedback or Feedback(tale_id=tale.id, person=person, at=datetime.now(UTC))

    def _log(
        self,
        trace_id: str,
        person: str,
        field: str,
        overridden: FeedbackChange | None,
        *,
        value: Any = None,
        withdrawn: bool = False,
    ) -> None:
        from mlflow.entities import AssessmentError, AssessmentSource, Feedback as MlflowFeedback

        # Deleting would lose the history, so a withdrawal is a new assessment with an error in place of a value.
        assessment = MlflowFeedback(
            name=field,
            value=value,
            error=AssessmentError(_WITHDRAWN, "withdrawn by the person") if withdrawn else None,
            source=AssessmentSource("HUMAN", person),
            overrides=overridden.assessment_id if overridden else None,
        )
        with quiet():
            self._tracing_client.log_assessment(trace_id, assessment)

    def _trace_info(self, tale_id: str) -> Any:
        field = "trace.request_id" if tale_id.startswith(_TRACE_ID_PREFIX) else "tags.tale_id"
        # MLflow's filter language cannot escape a quote; no id contains one.
        traces = () if "'" in tale_id else self._search_traces(f"{field} = '{tale_id}'", include_spans=False)
        info = next((trace.info for trace in traces), None)
        if info is None:
            raise UnknownName(
                "tale",
                tale_id,
                None,
                hint=f"Use the id of a tale or of its trace. Feedback is kept with recorded tales; this one is not "
                f"recorded in {redact(self.tracking_uri)}.",
            )
        return info

    def _search_traces(self, filter_string: str | None = None, *, include_spans: bool) -> Iterator[Any]:
        page_token = None
        while True:
            with quiet():
                page = self._client.search_traces(
                    locations=[self._experiment_id],
                    filter_string=filter_string,
                    max_results=_TRACES_PER_PAGE,
                    order_by=["timestamp_ms ASC"],
                    page_token=page_token,
                    include_spans=include_spans,
                )
            yield from (trace for trace in page if "tale_id" in trace.info.tags)
            page_token = page.token
            if not page_token:
                return


def record_feedback(
    tale_id: str,
    *,
    person: str | None = None,
    rating: int | None = None,
    kid_friendly: bool | None = None,
    makes_sense: bool | None = None,
    categories: Iterable[str] | None = None,
    spans: Iterable[MarkedSpan | str] | None = None,
    comment: str | None = None,
    correction: str | None = None,
    for_training: bool | None = None,
    requested_by_child: bool | None = None,
    guardian_consent: bool | None = None,
    tracking_uri: str | None = None,
    experiment: str = DEFAULT_EXPERIMENT,
) -> Feedback:
    """Record a person's feedback on a recorded tale; see `FeedbackStore.record`.

    Args:
        tale_id: The tale's `id`.
        person: Who gives it; by default a pseudonym that is created once per folder.
        rating: From 1 (poor) to 5 (very good).
        kid_friendly: Whether the tale suits children of its age band.
        makes_sense: Whether the tale makes sense, suitable for children or not.
        categories: Names of problems, from the tale's policy; empty if there are none.
        spans: Passages to mark: `MarkedSpan`, or quotes from the text.
        comment: Free text.
        correction: The whole tale as the person would have it.
        for_training: Whether this feedback and the tale may be used to train models; by default they are not.
        requested_by_child: Whether a child wrote the request for the tale, such as the template's values. Unless
            somebody says that none did, training needs `guardian_consent`.
        guardian_consent: Whether a parent or guardian consents to training on the child's request.
        tracking_uri: The MLflow tracking URI; by default the store in `.taleward` in the working directory.
        experiment: The name of the MLflow experiment.

    Returns:
        The person's whole feedback on the tale.

    Raises:
        UnknownName: If there is no such tale, or its policy has no such category.
        ConfigurationError: If a value is not accepted. Nothing is recorded then.
        MissingExtra: If MLflow is not installed.
    """
    return FeedbackStore(tracking_uri, experiment).record(
        tale_id,
        person=person or local_pseudonym(Path(".taleward")),
        rating=rating,
        kid_friendly=kid_friendly,
        makes_sense=makes_sense,
        categories=categories,
        spans=spans,
        comment=comment,
        correction=correction,
        for_training=for_training,
        requested_by_child=requested_by_child,
        guardian_consent=guardian_consent,
    )


def local_pseudonym(folder: Path) -> str:
    """Return the pseudonym of the current user.

    Args:
        folder: The folder with the secret of its pseudonyms; the secret is created if missing, readable by its owner
            only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "pseudonym.secret"
    if not file.exists() or not file.stat().st_size:
        # Before the secret is written: nobody else must be able to read it, not even for a moment.
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(16), encoding="ascii")
    return pseudonym(getpass.getuser(), file.read_text(encoding="ascii"))


def uncertainty(verdict: Verdict | None) -> float:
    """Return how uncertain a verdict is, 0..1: 1 without a decision, else how close the highest score is to 0.5."""
    if verdict is None or verdict.outcome not in ("pass", "fail"):
        return 1.0
    return 1.0 - 2.0 * abs(max(verdict.scores.values(), default=float(not verdict.passed)) - 0.5)


def _recorded_tale(trace: Any) -> RecordedTale:
    root = next(span for span in trace.data.spans if span.parent_id is None)
    spans = sorted(trace.data.spans, key=lambda span: int(span.start_time_ns))
    judge_spans = [span for span in spans if span.name == "judge"]
    write_spans = [span for span in spans if span.name == "write"]
    messages = next((span.inputs["messages"] for span in write_spans if span.inputs), ())
    calls = next((span.attributes["calls"] for span in write_spans if span.attributes.get("calls")), ())
    lineage = root.attributes.get("lineage")
    drafts = tuple((span.inputs, Verdict.model_validate(span.outputs)) for span in judge_spans)
    tags, outputs = trace.info.tags, root.outputs
    text = outputs.get("text") if isinstance(outputs, dict) else outputs
    last_draft = drafts[-1][0] if drafts else None
    return RecordedTale(
        id=tags["tale_id"],
        trace_id=trace.info.trace_id,
        text=text if isinstance(text, str) else last_draft or "",
        released=tags.get("released") == "True",
        band=tags.get("band", ""),
        policy=tags.get("policy", ""),
        inputs=root.inputs,
        messages=tuple(ChatTurn.model_validate(turn) for turn in messages),
        calls=tuple(ModelCall.model_validate(call) for call in calls),
        lineage=Lineage.model_validate(lineage) if lineage else None,
        verdict=drafts[-1][1] if drafts else None,
        drafts=drafts,
        started_at=datetime.fromtimestamp(trace.info.request_time / 1000, UTC),
    )
