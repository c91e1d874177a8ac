"""`taleward feedback`: review recorded tales, show and export feedback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taleward.cli.options import DEFAULT_FOLDER, Experiment, Folder, TrackingUri
from taleward.core.errors import ConfigurationError, TalewardError, UnknownName

if TYPE_CHECKING:
    from taleward.evaluation.feedback.feedback import MarkedSpan
    from taleward.evaluation.feedback.mlflow_store import FeedbackStore, RecordedTale

feedback_app = typer.Typer(name="feedback", invoke_without_command=True, no_args_is_help=False)

TaleId = Annotated[str, typer.Argument(metavar="TALE", help="Id of the tale, or of its MLflow trace.")]
Person = Annotated[
    str | None, typer.Option("--person", help="Whose feedback it is; by default yours, under a pseudonym.")
]


@feedback_app.callback()
def review(
    context: typer.Context,
    person: Person = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of tales to review now.")] = None,
    tracking_uri: TrackingUri = None,
    experiment: Experiment = "taleward",
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Review recorded tales one by one, those with the most uncertain verdict first.

    Each answer is saved at once; press Ctrl-C to stop and continue later.
    """
    if context.invoked_subcommand is not None:
        return
    from taleward.cli.output.console import print_note, spinner
    from taleward.evaluation.feedback.mlflow_store import local_pseudonym

    reviewer = person or local_pseudonym(folder)
    with spinner("looking for tales"):
        store = _open_store(tracking_uri, folder, experiment)
        queue = store.queue(reviewer)
    if not queue:
        print_note("no tales left to review; create one with: taleward tell")
        return
    print_note(
        f"{len(queue)} tales to review as {reviewer}; "
        "press Enter to skip a question, Ctrl-C to stop; each answer is saved at once"
    )
    done = 0
    try:
        for number, tale_id in enumerate(queue[:limit], 1):
            done += _review(store, store.tale(tale_id), reviewer, f"{number} of {len(queue)}")
    except (KeyboardInterrupt, EOFError, typer.Abort):
        typer.echo()
    print_note(f"{done} reviewed, {len(queue) - done} left; continue with: taleward feedback")


@feedback_app.command()
def show(
    tale: TaleId,
    history: Annotated[
        bool, typer.Option("--history", help="Show the history, too, with overridden and withdrawn answers.")
    ] = False,
    tracking_uri: TrackingUri = None,
    experiment: Experiment = "taleward",
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Show the feedback on a tale."""
    from taleward.cli.output.feedback import show_feedback, show_history

    store = _open_store(tracking_uri, folder, experiment)
    show_feedback(store.tale(tale), store.read(tale))
    if history:
        show_history(store.history(tale))


@feedback_app.command()
def export(
    file: Annotated[Path, typer.Argument(help="The .jsonl or .parquet file to write.")],
    kind: Annotated[
        str, typer.Option("--as", help="all, labeled (for `taleward calibrate`), or pairs (for preference training).")
    ] = "all",
    tracking_uri: TrackingUri = None,
    experiment: Experiment = "taleward",
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Export feedback to a file."""
    from taleward.cli.output.console import print_note
    from taleward.evaluation.feedback.export import EXPORTS, write_rows

    if kind not in EXPORTS:
        raise UnknownName("kind of export", kind, EXPORTS)
    count = write_rows(EXPORTS[kind](_open_store(tracking_uri, folder, experiment)), file)
    next_step = f"; use it with: taleward calibrate {file} --category-column categories" if kind == "labeled" else ""
    print_note(f"{count} rows written to {file}{next_step}")


@feedback_app.command()
def agreement(
    by: Annotated[str, typer.Option(help="Length of a period: day, week, month or all.")] = "week",
    tracking_uri: TrackingUri = None,
    experiment: Experiment = "taleward",
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Show how often people agree with the judge, over time."""
    from taleward.cli.output.console import print_note
    from taleward.cli.output.feedback import show_agreement
    from taleward.evaluation.feedback.agreement import PERIODS, judge_agreement

    # Before opening the store, which can take seconds.
    if by not in PERIODS:
        raise UnknownName("period", by, PERIODS)
    agreements = judge_agreement(_open_store(tracking_uri, folder, experiment), by=by)
    if not agreements:
        return print_note("nobody has said yet whether a judged tale is kid-friendly; start with: taleward feedback")
    return show_agreement(agreements)


@feedback_app.command()
def withdraw(
    tale: TaleId,
    person: Person = None,
    erase: Annotated[bool, typer.Option("--erase", help="Delete it from the history, too.")] = False,
    tracking_uri: TrackingUri = None,
    experiment: Experiment = "taleward",
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Withdraw a person's feedback on a tale."""
    from taleward.cli.output.console import print_note
    from taleward.evaluation.feedback.mlflow_store import local_pseudonym

    store, author = _open_store(tracking_uri, folder, experiment), person or local_pseudonym(folder)
    if erase:
        print_note(f"{store.erase(tale, person=author)} answers of {author} erased")
    else:
        store.withdraw(tale, person=author)
        print_note(f"feedback of {author} withdrawn; it stays in the history")


def _open_store(tracking_uri: str | None, folder: Path, experiment: str) -> FeedbackStore:
    from taleward.evaluation.feedback.mlflow_store import FeedbackStore
    from taleward.evaluation.tracking.tale_recorder import default_tracking_uri

    return FeedbackStore(tracking_uri or default_tracking_uri(folder), experiment)


def _review(store: FeedbackStore, tale: RecordedTale, person: str, position: str) -> bool:
    """Ask all questions about a tale; return whether the last one, which completes the review, was answered."""
    from taleward.cli.output.feedback import show_recorded_tale

    show_recorded_tale(tale, position)
    _ask(store, tale, person, "rating", "rating, from 1 (poor) to 5 (very good)", _parse_rating)
    names = f" ({', '.join(tale.categories)})" if tale.categories else ""
    _ask(
        store,
        tale,
        person,
        "categories",
        f"problems{names}, separated by commas",
        lambda answer: [name.strip() for name in answer.split(",")],
    )
    _ask(
        store,
        tale,
        person,
        "spans",
        "exact words to mark, separated by |, each optionally followed by = category",
        lambda answer: _parse_spans(answer, tale.text),
    )
    _ask(store, tale, person, "comment", "comment", str)
    # Asked apart from the next question, so that nobody calls a muddled tale unsuitable for children.
    _ask(store, tale, person, "makes_sense", "does it make sense? (y/n)", _parse_yes_no)
    question = f"kid-friendly for ages {tale.band}? (y/n)" if tale.band else "kid-friendly? (y/n)"
    return _ask(store, tale, person, "kid_friendly", question, _parse_yes_no)


def _ask(
    store: FeedbackStore,
    tale: RecordedTale,
    person: str,
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
            fields: dict[str, Any] = {field: parse(answer)}
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
