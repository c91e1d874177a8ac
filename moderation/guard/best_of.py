"""Best of n: several drafts are written and judged, and the best of those that passed is released."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import Runnable, RunnableConfig

from taleward.backends.embedding_models import embeddings as make_embeddings
from taleward.core.errors import ConfigurationError
from taleward.core.events import DoneEvent, Event, RefusalEvent, TextEvent
from taleward.core.frozen_model import FrozenDict
from taleward.core.tale import Attempt, RefusalReason, Tale
from taleward.core.verdict import Verdict
from taleward.moderation.guard.guard import Embed, Guard, Plan, judged, written
from taleward.moderation.guard.inputs import input_texts
from taleward.moderation.guard.run import GuardRun
from taleward.moderation.judges.base import Judge
from taleward.moderation.text.value_coverage import value_coverage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vector = npt.NDArray[np.float64]

_REMEMBERED = 200


class BestOf(Guard):
    """A guard that lets several drafts compete.

    Drafts are written and judged one after the other. Those that pass are ranked by the weighted mean of three numbers
    in 0..1, which the tale's attempts hold: `safety`, how far the judge's highest score stays below its threshold;
    `relevance`, the mean of the cosine similarity of draft and inputs and of the share of the inputs that the draft
    speaks of, see `taleward.moderation.text.value_coverage`; `variety`, one minus the cosine similarity with the most
    similar earlier tale (1 where there is none). The tales that it released itself count as earlier ones, the last 200
    of them, in memory alone. The released draft is the tale's last attempt.

    Args:
        writer: A Runnable from inputs to a text; a seeded `StoryChain` takes another seed for every draft.
        judge: A judge.
        candidates: Drafts at most, 2 or more.
        accept_score: A draft that reaches this rank, 0..1, is released at once; `None` always writes all.
        previous_texts: Texts of tales that were told before.
        embeddings: For relevance and variety: a spec, or LangChain embeddings.
        weights: Of safety, relevance and variety; not negative, not all 0.
        settings: As for `Guard`: `timeout_s`, `judge_inputs`, `mask_personal_data`, `keep_drafts`, `recorder`.

    Raises:
        ConfigurationError: A number is out of its range.
    """

    def __init__(
        self,
        writer: Runnable[Any, str],
        judge: Judge,
        *,
        candidates: int = 4,
        accept_score: float | None = None,
        previous_texts: Sequence[str] = (),
        embeddings: str | Embeddings = "embedded:minilm",
        weights: tuple[float, float, float] = (0.4, 0.4, 0.2),
        **settings: Any,
    ) -> None:
        if candidates < 2:
            raise ConfigurationError(f"candidates must be 2 or more; got {candidates}.", hint="For one, take a Guard.")
        if accept_score is not None and not 0 <= accept_score <= 1:
            raise ConfigurationError(f"accept_score must be from 0 to 1, or None; got {accept_score}.")
        if min(weights) < 0 or sum(weights) == 0:
            raise ConfigurationError(f"weights must not be negative, nor all 0; got {weights}.")
        super().__init__(writer, judge, attempts=candidates, **settings)
        self.accept_score, self.weights = accept_score, weights
        self.embeddings = make_embeddings(embeddings)
        self._unread: list[str] = list(previous_texts)[-_REMEMBERED:]
        self._earlier: deque[Vector] = deque(maxlen=_REMEMBERED)

    def stream(  # type: ignore[override]
        self, input: Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[Event]:
        """The released text as one event: which draft is the best is known when all are judged."""
        yield from _events(self.invoke(input, config))

    async def astream(  # type: ignore[override]
        self, input: Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Event]:
        """As `stream`, without blocking the event loop."""
        for event in _events(await self.ainvoke(input, config)):
            yield event

    def _drafts(self, run: GuardRun, inputs: Mapping[str, Any]) -> Plan:
        done: list[Attempt] = []
        best: tuple[float, str, Attempt, Vector] | None = None
        reason: RefusalReason = "failed"
        for number in range(1, self.attempts + 1):
            calls_before, since = len(run.call_recorder.calls), time.monotonic()
            draft = yield from written(run, number, ())
            if draft is None:
                break
            writing_s = time.monotonic() - since
            verdict = yield from judged(run, draft)
            attempt = run.attempt(number, draft, verdict, calls_before=calls_before, writing_s=writing_s)
            if verdict.passed:
                ranks, vector = yield from self._ranked(inputs, draft, verdict)
                attempt = attempt.model_copy(update={"ranks": FrozenDict(ranks)})
                if best is None or ranks["total"] > best[0]:
                    best = ranks["total"], draft, attempt, vector
            else:
                reason = "failed" if verdict.outcome == "fail" else "unjudged"
            done.append(attempt)
            if best is not None and self.accept_score is not None and best[0] >= self.accept_score:
                break
        if best is None:
            return run.refused_tale("timeout" if run.timed_out() else reason, done, done[-1].verdict if done else None)
        _, text, winner, vector = best
        self._earlier.append(vector)
        return run.released_tale(text, [*(a for a in done if a is not winner), winner])

    def _ranked(
        self, inputs: Mapping[str, Any], draft: str, verdict: Verdict
    ) -> Generator[Any, Any, tuple[dict[str, float], Vector]]:
        """The draft's ranks, and its vector of length 1."""
        import numpy

        question = input_texts(inputs)
        rows = yield Embed([draft, question, *self._unread], self.embeddings)
        vectors = numpy.asarray(rows, dtype=numpy.float64)
        vectors /= numpy.maximum(numpy.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        own, asked = vectors[0], vectors[1]
        self._earlier.extend(vectors[2:])
        self._unread = []
        told = value_coverage(inputs, draft)
        nearest = max((float(own @ other) for other in self._earlier), default=0.0)
        policy, band = self.judge.rules, self.judge.band
        highest = max((s / max(policy.threshold(c, band), 1e-9) for c, s in verdict.scores.items()), default=0.0)
        ranks = {
            "safety": min(1.0, max(0.0, 1.0 - highest)),
            "relevance": (min(1.0, max(0.0, float(own @ asked))) + (told or 0.0)) / 2 if question else 0.0,
            "variety": min(1.0, max(0.0, 1.0 - nearest)),
        }
        total = sum(w * r for w, r in zip(self.weights, ranks.values(), strict=True)) / sum(self.weights)
        return {**ranks, "total": total}, own


def _events(tale: Tale) -> Iterator[Event]:
    if tale.released_text is not None:
        yield TextEvent(text=tale.released_text, start=0)
    if tale.refusal is not None:
        yield RefusalEvent(refusal=tale.refusal)
    yield DoneEvent(tale=tale)
