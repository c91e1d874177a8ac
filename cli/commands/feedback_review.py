"""The questions that `taleward feedback` asks about a tale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from taleward.core.errors import ConfigurationError, TalewardError

if TYPE_CHECKING:
    from taleward.evaluation.feedback.feedback import MarkedSpan
    from taleward.evaluation.feedback.mlflow_store import FeedbackStore, RecordedTale


def review_tale(
    store: FeedbackStore, tale: RecordedTale, person: str, consent: Mapping[str, bool | None], position: str
) -> bool:
    """Ask all questions about a tale, and record each answer at once.

    Args:
        store: Where the answers are recorded.
        tale: The tale.
        person: Who reviews it.
        consent: What is recorded with every answer, such as `for_training`.
        position: Its place in the review, such as `"2 of 5"`.

    Returns:
        Whether the last question, which completes the review, was answered.
    """
    from taleward.cli.output.feedback import show_recorded_tale

    show_recorded_tale(tale, position)
    ask = partial(_ask, store, tale, person, consent)
    ask("rating", "rating, from 1 (poor) to 5 (very good)", _parse_rating)
    names = f" ({', '.join(tale.categories)})" if tale.categories else ""
    ask(
        "categories",
        f"problems{names}, separated by commas",
        lambda answer: [name.strip() for name in answer.split(",")],
    )
    ask(
        "spans",
        "exact words to mark, separated by |, each optionally followed by = category",
        lambda answer: _parse_spans(answer, tale.text),
    )
    ask("comment", "comment", str)
    # Asked apart from the next question, so that nobody calls a muddled tale unsuitable for children.
    ask("makes_sense", "does it make sense? (y/n)", _parse_yes_no)
    question = f"kid-friendly for ages {tale.band}? (y/n)" if tale.band else "kid-friendly? (y/n)"
    return ask("kid_friendly", question, _parse_yes_no)


def _ask(
    store: FeedbackStore,
    tale: RecordedTale,
    person: str,
    consent: Mapping[str, bool | None],
    field: str,
    question: str,
    parse: Callable[[str], Any],
) -> bool:
    """Ask a question until the answer is accepted or skipped; return whether it was answered."""
    from taleward.cli.output.console import print_error

    while True:
        answer = input(f"{question}: ").strip()
        if not answer:
            return False
        try:
            fields: dict[str, Any] = {field: parse(answer), **consent}
            store.record(tale.id, person=person, **fields)
        except TalewardError as error:
            print_error(error)
        else:
            return True


def _parse_rating(answer: str) -> int:
    if not answer.isdecimal():
        raise ConfigurationError(f"the rating must be 1, 2, 3, 4 or 5; got {answer!r}.")
    return int(answer)


def _parse_spans(answer: str, text: str) -> list[MarkedSpan]:
    from taleward.evaluation.feedback.feedback import MarkedSpan

    spans = []
    for part in (p.strip() for p in answer.split("|")):
        # The words themselves may contain "=": it separates a category only if the whole part is not in the tale.
        words, _, category = (part, "", "") if part in text else part.rpartition("=")
        words = words.strip()
        start = text.find(words)
        if not words or start < 0:
            raise ConfigurationError(f"{words or part!r} does not occur in the tale; copy the words exactly.")
        spans.append(MarkedSpan(start=start, end=start + len(words), category=category.strip() or None))
    return spans


def _parse_yes_no(answer: str) -> bool:
    if answer.lower() not in ("y", "yes", "n", "no"):
        raise ConfigurationError(f"the answer must be y or n; got {answer!r}.")
    return answer.lower().startswith("y")
