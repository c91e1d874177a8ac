"""Best of n: write and judge several drafts, and release the best of those that passed."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import RunnableConfig

from taleward.backends.embedding_models import embeddings as make_embeddings
from taleward.core.errors import ConfigurationError
from taleward.core.events import DoneEvent, Event, RefusalEvent, TextEvent
from taleward.core.frozen_model import FrozenDict
from taleward.core.tale import Attempt, Tale
from taleward.core.verdict import Verdict
from taleward.moderation.guard.call_recorder import CallRecorder
from taleward.moderation.guard.guard import Guard
from taleward.moderation.guard.input_checks import WriterInput, input_texts
from taleward.moderation.guard.release import TIMED_OUT, Decision, decide, judge_draft, release
from taleward.moderation.guard.revision_context import Revision
from taleward.moderation.guard.run import GuardRun
from taleward.moderation.guard.steps import EmbedTexts, Steps, WriteDrafts, WrittenDraft
from taleward.moderation.guard.writer import WriterLike
from taleward.moderation.judges.base import Judge
from taleward.moderation.text.request_coverage import value_coverage
from taleward.moderation.text.story_form import story_form
from taleward.moderation.text.windows import sentence_windows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vector = npt.NDArray[np.float64]

_MAX_PREVIOUS = 200
_LONG_WORDS = 400


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A draft that passed."""

    text: str
    verdict: Verdict
    attempt: Attempt
    vector: Vector

    @property
    def score(self) -> float:
        return self.attempt.ranks["total"]


class BestOf(Guard):
    """A guard that releases the best of several drafts.

    Drafts are written at the same time, which costs a local model little more than one, and judged one after the other.
    Those that pass are ranked by the weighted mean of five scores
    in 0..1, which the tale's attempts hold in `ranks`:

    * `safety`: how far the judge's highest score stays below its threshold;
    * `relevance`: the share of wishes that the draft mentions (`taleward.moderation.text.request_coverage`), and with
      a quarter of that weight the cosine similarity of draft and inputs;
    * `variety`: one minus the cosine similarity with the most similar previous tale; 1 without previous tales;
    * `form`: whether the draft ends properly and does not loop (`taleward.moderation.text.story_form`);
    * `brevity`: 1 for no words, 0 for 400 or more; it counts only if you give it a weight.

    Tales released by this object count as previous ones; the last 200 are kept, in memory only. The released draft is
    the tale's last attempt.

    Args:
        writer: As for `Guard`; a `StoryChain` with a seed uses another seed for every draft.
        judge: The judge.
        candidates: Drafts at most, 2 or more.
        accept_score: The total score, 0..1, at which a draft is released at once; `None` to always write all drafts.
        concurrency: Drafts that are written at the same time; by default all of them, or one with an `accept_score`,
            which may make the others needless.
        previous_texts: Texts of previous tales.
        embeddings: For relevance and variety: a spec, or LangChain embeddings.
        weights: Weights of safety, relevance, variety and form; not negative, and not all 0. Relevance weighs most:
            every candidate has passed the judge, and people miss what they asked for.
        brevity: The weight of brevity. A small model loses the thread of a long story: of the embedded storyteller's
            drafts that keep as much of the request, readers like the shorter ones better, and 0.3 chooses these.
        settings: As for `Guard`: `timeout_s`, `judge_inputs`, `mask_personal_data`, `keep_drafts`, `recorder`.

    Raises:
        ConfigurationError: If a number is out of its range.
    """

    def __init__(
        self,
        writer: WriterLike,
        judge: Judge,
        *,
        candidates: int = 4,
        accept_score: float | None = None,
        concurrency: int | None = None,
        previous_texts: Sequence[str] = (),
        embeddings: str | Embeddings = "embedded:minilm",
        weights: tuple[float, float, float, float] = (0.15, 0.55, 0.1, 0.2),
        brevity: float = 0.0,
        **settings: Any,
    ) -> None:
        if candidates < 2:
            raise ConfigurationError(f"candidates must be 2 or more; got {candidates}.", hint="For one, use a Guard.")
        if accept_score is not None and not 0 <= accept_score <= 1:
            raise ConfigurationError(f"accept_score must be from 0 to 1, or None; got {accept_score}.")
        if concurrency is not None and concurrency < 1:
            raise ConfigurationError(f"concurrency must be 1 or more; got {concurrency}.")
        if brevity < 0:
            raise ConfigurationError(f"brevity must not be negative; got {brevity}.")
        if min(weights) < 0 or sum(weights) == 0:
            raise ConfigurationError(f"weights must not be negative, nor all 0; got {weights}.")
        super().__init__(writer, judge, attempts=candidates, **settings)
        self.accept_score, self.weights, self.brevity = accept_score, weights, brevity
        self.concurrency = concurrency or (candidates if accept_score is None else 1)
        self.embeddings = make_embeddings(embeddings)
        self._texts_to_embed: list[str] = list(previous_texts)[-_MAX_PREVIOUS:]
        self._previous: deque[Vector] = deque(maxlen=_MAX_PREVIOUS)

    def stream(  # type: ignore[override]
        self, input: WriterInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[Event]:
        """Yield the sentences of the released text, all at the end: the best draft is known once all are judged."""
        yield from _events(self.invoke(input, config))

    async def astream(  # type: ignore[override]
        self, input: WriterInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Event]:
        """Async version of `stream`."""
        for event in _events(await self.ainvoke(input, config)):
            yield event

    def _drafts(self, run: GuardRun, inputs: WriterInput) -> Steps[Tale]:
        attempts: list[Attempt] = []
        best: _Candidate | None = None
        decision: Decision = TIMED_OUT
        late = False
        waiting: deque[tuple[WrittenDraft | None, CallRecorder]] = deque()
        for number in range(1, self.attempts + 1):
            if run.timed_out() or (late and not waiting):
                decision = TIMED_OUT
                break
            if not waiting:
                numbers = range(number, min(number + self.concurrency, self.attempts + 1))
                waiting = yield from _write_drafts(run, numbers)
            written, call_recorder = waiting.popleft()
            if written is None:
                decision, late = TIMED_OUT, True
                continue
            draft, calls_before = written.text, len(run.call_recorder.calls)
            run.call_recorder.add(call_recorder)
            verdict = yield from judge_draft(run, draft)
            attempt = run.attempt(number, draft, verdict, calls_before=calls_before, writing_s=written.writing_s)
            decision = decide(verdict, timed_out=run.timed_out(), revisions_left=self.attempts - number)
            if decision.released:
                ranks, vector = yield from self._rank(inputs, draft, verdict)
                attempt = attempt.model_copy(update={"ranks": FrozenDict(ranks)})
                candidate = _Candidate(draft, verdict, attempt, vector)
                if best is None or candidate.score > best.score:
                    best = candidate
            attempts.append(attempt)
            if best is not None and self.accept_score is not None and best.score >= self.accept_score:
                break
        if best is None:
            return run.refused_tale(decision.reason, attempts, attempts[-1].verdict if attempts else None)
        self._previous.append(best.vector)
        others = [attempt for attempt in attempts if attempt is not best.attempt]
        return run.released_tale(release(best.text, best.verdict), [*others, best.attempt])

    def _rank(
        self, inputs: WriterInput, draft: str, verdict: Verdict
    ) -> Generator[EmbedTexts, Any, tuple[dict[str, float], Vector]]:
        """Return the draft's scores, and its vector of length 1."""
        import numpy

        question = input_texts(inputs)
        embedded = yield EmbedTexts([draft, question, *self._texts_to_embed], self.embeddings)
        vectors = numpy.asarray(embedded, dtype=numpy.float64)
        vectors /= numpy.maximum(numpy.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        draft_vector, question_vector = vectors[0], vectors[1]
        self._previous.extend(vectors[2:])
        self._texts_to_embed = []  # previous texts are embedded once, with the first draft
        coverage = value_coverage(inputs, draft) or 0.0
        most_similar = max((float(draft_vector @ previous) for previous in self._previous), default=0.0)
        policy, band = self.judge.rules, self.judge.band
        highest = max((s / max(policy.threshold(c, band), 1e-9) for c, s in verdict.scores.items()), default=0.0)
        similarity = min(1.0, max(0.0, float(draft_vector @ question_vector)))
        ranks = {
            "safety": min(1.0, max(0.0, 1.0 - highest)),
            "relevance": 0.2 * similarity + 0.8 * coverage if question else 0.0,
            "variety": min(1.0, max(0.0, 1.0 - most_similar)),
            "form": story_form(draft),
            "brevity": max(0.0, 1.0 - len(draft.split()) / _LONG_WORDS),
        }
        weights = (*self.weights, self.brevity)
        total = sum(w * r for w, r in zip(weights, ranks.values(), strict=True)) / sum(weights)
        return {**ranks, "total": total}, draft_vector


def _write_drafts(
    run: GuardRun, numbers: Sequence[int]
) -> Generator[WriteDrafts, Any, deque[tuple[WrittenDraft | None, CallRecorder]]]:
    """Return drafts with the recorders of their model calls; `None` for those that are not written in time.

    Candidates are independent: none gets the findings on another one.
    """
    call_recorders = tuple(CallRecorder() for _ in numbers)
    drafts: list[WrittenDraft | None]
    try:
        drafts = yield WriteDrafts(tuple(Revision(attempt=number) for number in numbers), call_recorders)
    except TimeoutError:
        if not run.timed_out():
            raise  # the writer's own time limit, not the guard's
        drafts = [None] * len(numbers)
    return deque(zip(drafts, call_recorders, strict=True))


def _events(tale: Tale) -> Iterator[Event]:
    if tale.released_text is not None:
        for sentence in sentence_windows(tale.released_text):
            yield TextEvent(text=sentence.of(tale.released_text), start=sentence.start)
    if tale.refusal is not None:
        yield RefusalEvent(refusal=tale.refusal)
    yield DoneEvent(tale=tale)
