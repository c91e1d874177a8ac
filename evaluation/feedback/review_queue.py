"""A review queue in MLflow: the tales that people are asked about, and what they have answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from taleward.backends.base.mlflow_store import quiet
from taleward.core.errors import BackendError, MissingExtra, UnknownName
from taleward.core.frozen_model import FrozenModel
from taleward.core.redaction import format_error
from taleward.evaluation.feedback.feedback import FIELDS, Feedback
from taleward.evaluation.feedback.mlflow_store import FeedbackStore
from taleward.evaluation.tracking.label_schemas import ensure_label_schemas
from taleward.evaluation.tracking.tale_recorder import DEFAULT_EXPERIMENT, get_or_create_experiment

DEFAULT_QUEUE = "taleward"
_MAX_SCHEMAS = 100


class ReviewProgress(FrozenModel):
    """How far a queue is.

    Attributes:
        queue: The queue's name.
        pending: Tales that wait for somebody to say whether they are kid-friendly.
        reviewed: Tales that somebody has said it about since they were put into the queue.
        declined: Tales that a reviewer declined.
        erased: Tales that are no longer recorded.
        feedback: The feedback of people on the queue's tales, by tale and person.
        reviewed_tales: The ids of the reviewed tales.
    """

    queue: str
    pending: int
    reviewed: int
    declined: int
    erased: int
    feedback: tuple[Feedback, ...]
    reviewed_tales: tuple[str, ...]


class ReviewQueue:
    """A queue of recorded tales on MLflow's page "Review queues", with the questions of `Feedback`.

    Reviewers answer in MLflow's form; `taleward ui` opens it. An answer is an assessment on the tale's trace like any
    other feedback, so it counts as soon as it is given. MLflow does not mark a tale as reviewed by itself; `pull` does.

    Args:
        tracking_uri: The MLflow tracking URI; by default the store in `.taleward` in the working directory.
        experiment: The name of the MLflow experiment.
        name: The queue's name; created by the first `push`.

    Raises:
        MissingExtra: If MLflow is not installed.
    """

    def __init__(
        self, tracking_uri: str | None = None, experiment: str = DEFAULT_EXPERIMENT, name: str = DEFAULT_QUEUE
    ) -> None:
        try:
            import mlflow
            from mlflow.tracing.client import TracingClient
        except ImportError as error:
            raise MissingExtra("review queues", "mlflow") from error
        self.name = name
        self.feedback = FeedbackStore(tracking_uri, experiment)
        uri = self.feedback.tracking_uri
        with quiet():
            self._experiment_id = get_or_create_experiment(mlflow.MlflowClient(tracking_uri=uri), uri, experiment)
            self._store = TracingClient(uri).store

    def push(self, trace_ids: Sequence[str], *, reviewers: Sequence[str] = ()) -> int:
        """Put tales into the queue; those in it already keep their state.

        Args:
            trace_ids: The ids of the tales' traces.
            reviewers: Who is asked, at most ten names as MLflow knows them, if the queue is new; by default anyone.

        Returns:
            The number of tales that were not in the queue before.

        Raises:
            BackendError: If MLflow did not store all of them.
        """
        before = set(self.trace_ids())
        new = [trace_id for trace_id in dict.fromkeys(trace_ids) if trace_id not in before]
        if not new:
            return 0
        with _mlflow_errors(), quiet():
            queue = self._queue() or self._create(reviewers)
            self._store.add_items_to_review_queue(queue.queue_id, item_ids=new)
        missing = set(new) - set(self.trace_ids())
        if missing:
            raise BackendError(f"MLflow did not store {len(missing)} of {len(new)} tales in the queue {self.name!r}.")
        return len(new)

    def trace_ids(self) -> list[str]:
        """Return the ids of the traces in the queue; none if there is no queue."""
        return [item.item_id for item in self._items()]

    def pull(self) -> ReviewProgress:
        """Read what people answered, and mark the tales that were reviewed since they were pushed as complete.

        Raises:
            UnknownName: If there is no such queue.
            BackendError: If MLflow cannot be read.
        """
        with _mlflow_errors(), quiet():
            queue = self._queue()
            if queue is None:
                names = [q.name for q in self._store.list_review_queues(self._experiment_id)]
                raise UnknownName("review queue", self.name, names, hint="`taleward review push` creates it.")
        counts = dict.fromkeys(("pending", "reviewed", "declined", "erased"), 0)
        feedback: list[Feedback] = []
        reviewed_tales = []
        for item in self._items():
            try:
                of_tale = self.feedback.read(item.item_id)
            except UnknownName:
                counts["erased"] += 1
                continue
            feedback += of_tale
            # A disputed tale has earlier answers, and waits for one more.
            reviewers = [f for f in of_tale if f.reviewed and f.at.timestamp() * 1000 >= item.creation_time_ms]
            if reviewers:
                counts["reviewed"] += 1
                reviewed_tales.append(reviewers[0].tale_id)
                if item.status == "pending":
                    with _mlflow_errors(), quiet():
                        self._store.set_review_queue_item_status(
                            queue.queue_id, item_id=item.item_id, status="complete", completed_by=reviewers[0].person
                        )
            else:
                counts["declined" if item.status == "declined" else "pending"] += 1
        return ReviewProgress(queue=self.name, feedback=tuple(feedback), reviewed_tales=tuple(reviewed_tales), **counts)

    def _items(self) -> list[Any]:
        items: list[Any] = []
        page_token = None
        with _mlflow_errors(), quiet():
            queue = self._queue()
            while queue is not None:
                page = self._store.list_review_queue_items(queue.queue_id, page_token=page_token)
                items += page
                page_token = page.token
                if not page_token:
                    break
        return items

    def _queue(self) -> Any:
        """Return MLflow's queue; `None` if there is none of this name."""
        from mlflow.exceptions import MlflowException

        try:
            return self._store.get_review_queue_by_name(self._experiment_id, name=self.name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _create(self, reviewers: Sequence[str]) -> Any:
        ensure_label_schemas(self.feedback.tracking_uri, self._experiment_id)
        schemas = self._store.list_label_schemas(self._experiment_id, max_results=_MAX_SCHEMAS)
        ids = {schema.name: schema.schema_id for schema in schemas}
        return self._store.create_review_queue(
            self._experiment_id,
            name=self.name,
            queue_type="custom",
            users=list(reviewers),
            schema_ids=[ids[name] for name in FIELDS if name in ids],
        )


@contextmanager
def _mlflow_errors() -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, NotImplementedError) as error:
        raise BackendError(
            f"MLflow's review queue cannot be used: {format_error(error)}",
            hint="Review queues need a SQL store such as sqlite:///... and, on a server, MLflow 3.14 or later.",
        ) from error
