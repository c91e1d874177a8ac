"""Rows for training a writer, made of people's feedback on recorded tales."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Literal, TypeAlias, overload

from taleward.core.errors import UnknownName
from taleward.core.tale import ChatTurn
from taleward.evaluation.feedback.consent import NoConsent, feedback_for_training
from taleward.evaluation.feedback.feedback import Feedback
from taleward.evaluation.feedback.mlflow_store import FeedbackStore, RecordedTale
from taleward.tuning.rows import ROW_CLASSES, DpoRow, KtoRow, RowSource, SftRow, TuningMethod, TuningRow
from taleward.tuning.writer_prompts import NoPrompt, NoPromptReason, WriterPrompts

SkipReason: TypeAlias = (
    Literal["no_text", "no_answer", "disputed", "disliked", "not_released", "closed_by_policy", "no_pair"]
    | NoConsent
    | NoPromptReason
)
"""Why a tale gives no row; `SKIP_REASONS` explains them."""

SKIP_REASONS: Mapping[SkipReason, str] = {
    "no_text": "there is no text",
    "no_answer": "nobody said whether it is good",
    "no_consent": "nobody gave their feedback for training (--for-training)",
    "no_guardian_consent": "the request may be a child's, and no guardian consents (--requested-by-adult, or "
    "--guardian-consent)",
    "disputed": "people disagree about it",
    "disliked": "people do not like it",
    "not_released": "people like it, but the guard refused it",
    "closed_by_policy": "its last words are the policy's, not the writer's",
    "prompt_unknown": "what the writer saw was not recorded",
    "version_missing": "what the writer saw was not recorded, and the version of its template or policy is not at hand",
    "model_missing": "what the writer saw was not recorded, and depends on a model that cannot be loaded here",
    "no_pair": "there is no better or worse text for the same prompt",
}
_GOOD_RATING, _BAD_RATING = 4, 2


@dataclass(frozen=True)
class FeedbackRows(Sequence[TuningRow]):
    """The rows made of the feedback in a store, as a sequence.

    Attributes:
        rows: The rows.
        tales: The number of recorded tales.
        skipped: The number of tales without a row, by reason, see `SKIP_REASONS`.
    """

    rows: tuple[TuningRow, ...]
    tales: int
    skipped: Mapping[SkipReason, int]

    @overload
    def __getitem__(self, index: int) -> TuningRow: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[TuningRow]: ...
    def __getitem__(self, index: int | slice) -> TuningRow | Sequence[TuningRow]:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)


def rows_from_feedback(
    store: FeedbackStore, method: TuningMethod, *, templates: str | Path | None = None
) -> FeedbackRows:
    """Return rows for training a writer on what people said about its tales.

    Only feedback given for training counts, see `feedback_for_training`. A person likes a tale that they find
    kid-friendly or rate 4 or 5, and dislikes one that they find not kid-friendly or senseless, or rate 1 or 2; the
    majority decides. The prompt is what the writer saw for its first draft.

    * `sft`: the tales that people like, and corrected texts.
    * `kto`: every tale that people like or dislike. If people find a released tale kid-friendly, the drafts of it that
      the judge failed are disliked, too.
    * `dpo`: of two tales with the same prompt and age band, the one that people like more, by `kid_friendly`, or else
      by `makes_sense`, or else by the rating; a corrected text before its original; and a tale that people like and
      find kid-friendly before the drafts of it that the judge failed.

    A text is never a good example if the guard refused it.

    Args:
        store: The feedback.
        method: How the writer is to be trained.
        templates: A folder with your own templates, for tales whose prompts were not recorded.

    Raises:
        UnknownName: If there is no such method.
    """
    if method not in ROW_CLASSES:
        raise UnknownName("tuning method", method, ROW_CLASSES)
    prompts = WriterPrompts(templates)
    skipped: Counter[SkipReason] = Counter()
    rated_tales: list[_RatedTale] = []
    tales = 0
    for tale, feedback in store.tales():
        tales += 1
        given, reason = _usable_feedback(tale, feedback)
        if reason is None:
            try:
                rated_tales.append(_RatedTale(tale, tuple(given), prompts.find(tale)))
            except NoPrompt as no_prompt:
                reason = no_prompt.reason
        if reason is not None:
            skipped[reason] += 1
    rows = tuple(_ROW_MAKERS[method](rated_tales))
    used = {row.source.tale_id for row in rows} | {row.source.rejected_tale_id for row in rows}
    skipped.update(rated.why_unused(method) for rated in rated_tales if rated.tale.id not in used)
    return FeedbackRows(rows, tales, dict(skipped))


def _usable_feedback(tale: RecordedTale, feedback: Sequence[Feedback]) -> tuple[list[Feedback], SkipReason | None]:
    if not tale.text:
        return [], "no_text"
    if tale.lineage is not None and tale.lineage.closed_by == "policy":
        return [], "closed_by_policy"
    return feedback_for_training(feedback) if feedback else ([], "no_answer")


@dataclass(frozen=True)
class _RatedTale:
    """A tale with the feedback that may be used for training, and the prompt that its writer saw."""

    tale: RecordedTale
    feedback: tuple[Feedback, ...]
    prompt: tuple[ChatTurn, ...]

    @property
    def label(self) -> bool | None:
        """Whether most people like it; `None` if nobody says, or as many do as do not."""
        votes = self._votes
        return None if 2 * sum(votes) == len(votes) else 2 * sum(votes) > len(votes)

    @property
    def is_good_example(self) -> bool:
        """Whether a writer may learn to write it."""
        return self.tale.released and self.label is True

    @property
    def rejected_drafts(self) -> list[str]:
        """The drafts that the judge failed, if people agree with it about the tale that it released."""
        friendly = self.score("kid_friendly")
        if not self.tale.released or friendly is None or friendly <= 0.5:
            return []
        drafts = (draft for draft, verdict in self.tale.drafts if verdict.outcome == "fail")
        return [text for draft in drafts if draft and draft != self.tale.text and (text := self.completion(draft))]

    @property
    def corrections(self) -> list[str]:
        """What people would have the tale be."""
        corrected = dict.fromkeys(f.correction for f in self.feedback if f.correction)
        return [text for c in corrected if c != self.tale.text and (text := self.completion(c))]

    @property
    def text(self) -> str:
        """The tale without what its prompt says."""
        return self.completion(self.tale.text)

    @property
    def _votes(self) -> list[bool]:
        return [vote for f in self.feedback if (vote := _likes(f)) is not None]

    def completion(self, text: str) -> str:
        """Return what a model writes after the prompt; a completion model's prompt is the beginning of the text."""
        last = self.prompt[-1]
        return text.removeprefix(last.content) if last.role == "assistant" else text

    def score(self, question: Literal["kid_friendly", "makes_sense", "rating"]) -> float | None:
        """Return the mean answer to a question; `None` if nobody answered it."""
        answers = [float(value) for f in self.feedback if (value := getattr(f, question)) is not None]
        return fmean(answers) if answers else None

    def is_better_than(self, other: _RatedTale) -> bool:
        """Whether people like it, and more than another tale; only answers to the same question are compared."""
        if not self.is_good_example:
            return False
        for question in ("kid_friendly", "makes_sense", "rating"):
            own, others = self.score(question), other.score(question)
            if own is not None and others is not None and own != others:
                return own > others
        return False

    def source(self, by: Literal["people", "judge"], *, rejected: str = "", corrected: bool = False) -> RowSource:
        """Return where a row comes from; no model wrote a corrected text."""
        prompt = self.tale.lineage.prompt if self.tale.lineage else None
        return RowSource(
            tale_id=self.tale.id,
            template=prompt.name if prompt else "",
            template_version=prompt.version if prompt else "",
            model=self.tale.calls[-1].model if self.tale.calls and not corrected else "",
            by=by,
            rejected_tale_id=rejected,
            rendered=not self.tale.messages,
        )

    def why_unused(self, method: TuningMethod) -> SkipReason:
        """Return why it gives no row."""
        if not self.text:
            return "no_text"
        if not self._votes:
            return "no_answer"
        if self.label is None:
            return "disputed"
        if self.label and not self.tale.released:
            return "not_released"
        return "no_pair" if method == "dpo" else "disliked"


def _likes(feedback: Feedback) -> bool | None:
    """Whether a person likes a tale; `None` if they do not say, or rate it in the middle."""
    rating = feedback.rating
    if feedback.kid_friendly is False or feedback.makes_sense is False or (rating and rating <= _BAD_RATING):
        return False
    return True if feedback.kid_friendly or (rating and rating >= _GOOD_RATING) else None


def _sft_rows(rated_tales: Sequence[_RatedTale]) -> Iterator[SftRow]:
    for rated in rated_tales:
        if rated.is_good_example and rated.text:
            yield SftRow(prompt=rated.prompt, completion=rated.text, source=rated.source("people"))
        for text in rated.corrections:
            source = rated.source("people", corrected=True)
            yield SftRow(prompt=rated.prompt, completion=text, source=source)


def _kto_rows(rated_tales: Sequence[_RatedTale]) -> Iterator[KtoRow]:
    for rated in rated_tales:
        if rated.text and (rated.is_good_example or rated.label is False):
            source = rated.source("people")
            yield KtoRow(prompt=rated.prompt, completion=rated.text, label=rated.is_good_example, source=source)
        for draft in rated.rejected_drafts:
            yield KtoRow(prompt=rated.prompt, completion=draft, label=False, source=rated.source("judge"))


def _dpo_rows(rated_tales: Sequence[_RatedTale]) -> Iterator[DpoRow]:
    # The same request is written differently for another age, also by a model that is not told the age.
    by_prompt: dict[tuple[tuple[ChatTurn, ...], str], list[_RatedTale]] = {}
    for rated in rated_tales:
        if not rated.text:
            continue
        by_prompt.setdefault((rated.prompt, rated.tale.band), []).append(rated)
        for text in rated.corrections:
            source = rated.source("people", corrected=True)
            yield DpoRow(prompt=rated.prompt, chosen=text, rejected=rated.text, source=source)
        for draft in rated.rejected_drafts if rated.is_good_example else ():
            yield DpoRow(prompt=rated.prompt, chosen=rated.text, rejected=draft, source=rated.source("judge"))
    for same_prompt in by_prompt.values():
        for first, second in combinations(same_prompt, 2):
            for better, worse in ((first, second), (second, first)):
                if better.is_better_than(worse) and better.text != worse.text:
                    source = better.source("people", rejected=worse.tale.id)
                    yield DpoRow(prompt=better.prompt, chosen=better.text, rejected=worse.text, source=source)


_ROW_MAKERS: Mapping[TuningMethod, Callable[[Sequence[_RatedTale]], Iterator[TuningRow]]] = {
    "sft": _sft_rows,
    "kto": _kto_rows,
    "dpo": _dpo_rows,
}
