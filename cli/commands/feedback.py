"""`taleward feedback`: what people say of recorded tales."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taleward.core.errors import ConfigurationError, TalewardError, UnknownName

if TYPE_CHECKING:
    from taleward.evaluation.feedback.feedback import MarkedSpan
    from taleward.evaluation.feedback.store import FeedbackStore, RecordedTale

feedback_app = typer.Typer(
    name="feedback",
    help="Review recorded tales: the one that the judge was least sure of comes first.",
    invoke_without_command=True,
    no_args_is_help=False,
)

Folder = Annotated[Path, typer.Option("--folder", help="Where the record is kept.")]
Person = Annotated[str | None, typer.Option("--person", help="Who reviews; by default a pseudonym of your own.")]
Experiment = Annotated[str, typer.Option("--experiment", help="The experiment with the tales.")]
Uri = Annotated[str | None, typer.Option("--tracking-uri", help="An MLflow tracking URI in place of the folder.")]

_FOLDER = Path(".taleward")


@feedback_app.callback()
def review(
    context: typer.Context,
    person: Person = None,
    most: Annotated[int | None, typer.Option(min=1, help="Tales to review now, at most.")] = None,
    tracking_uri: Uri = None,
    experiment: Experiment = "taleward",
    folder: Folder = _FOLDER,
) -> None:
    """Review recorded tales, one after the other. Each answer is kept as soon as it is given; Ctrl-C ends."""
    if context.invoked_subcommand is not None:
        return
    from taleward.cli.output.console import say, working
    from taleward.evaluation.feedback.store import own_pseudonym

    who = person or own_pseudonym(folder)
    with working("looking for tales"):
        store = _store(tracking_uri, folder, experiment)
        queue = store.queue(who)
    if not queue:
        say("there is no tale that you have not reviewed; tell one with: taleward tell")
        return
    say(f"{len(queue)} tales to review as {who}; Enter leaves a question open, Ctrl-C ends, and every answer is kept")
    done = 0
    try:
        for number, tale_id in enumerate(queue[:most], 1):
            done += _review(store, store.tale(tale_id), who, f"{number} of {len(queue)}")
    except (KeyboardInterrupt, EOFError, typer.Abort):
        typer.echo()
    say(f"{done} reviewed, {len(queue) - done} left; go on with: taleward feedback")


@feedback_app.command()
def show(
    tale: Annotated[str, typer.Argument(help="The tale's id.")],
    history: Annotated[bool, typer.Option("--history", help="Also what was overridden or withdrawn.")] = False,
    tracking_uri: Uri = None,
    experiment: Experiment = "taleward",
    folder: Folder = _FOLDER,
) -> None:
    """What people say of a tale."""
    from taleward.cli.output.feedback import show_feedback, show_history

    store = _store(tracking_uri, folder, experiment)
    show_feedback(store.tale(tale), store.read(tale))
    if history:
        show_history(store.history(tale))


@feedback_app.command()
def export(
    file: Annotated[Path, typer.Argument(help="A .jsonl or .parquet file.")],
    kind: Annotated[str, typer.Option("--as", help="all, labelled (for calibrate), or pairs (for training).")] = "all",
    tracking_uri: Uri = None,
    experiment: Experiment = "taleward",
    folder: Folder = _FOLDER,
) -> None:
    """Write what people said to a file."""
    from taleward.cli.output.console import say
    from taleward.evaluation.feedback.export import EXPORTS, write_rows

    if kind not in EXPORTS:
        raise UnknownName("kind of export", kind, EXPORTS)
    said = f"{write_rows(EXPORTS[kind](_store(tracking_uri, folder, experiment)), file)} rows in {file}"
    use = f"; use it with: taleward calibrate {file} --category-column categories" if kind == "labelled" else ""
    say(said + use)


@feedback_app.command()
def agreement(
    by: Annotated[str, typer.Option(help="day, week, month or all.")] = "week",
    tracking_uri: Uri = None,
    experiment: Experiment = "taleward",
    folder: Folder = _FOLDER,
) -> None:
    """How far the judge and people agree, over time."""
    from taleward.cli.output.console import say
    from taleward.cli.output.feedback import show_agreement
    from taleward.evaluation.feedback.agreement import PERIODS, judge_agreement

    if by not in PERIODS:
        raise UnknownName("period", by, PERIODS)
    found = judge_agreement(_store(tracking_uri, folder, experiment), by=by)
    if not found:
        return say("nobody has said of a judged tale if it is kid-friendly; begin with: taleward feedback")
    return show_agreement(found)


@feedback_app.command()
def withdraw(
    tale: Annotated[str, typer.Argument(help="The tale's id.")],
    person: Person = None,
    erase: Annotated[bool, typer.Option("--erase", help="Remove it from the history too.")] = False,
    tracking_uri: Uri = None,
    experiment: Experiment = "taleward",
    folder: Folder = _FOLDER,
) -> None:
    """Take back what a person said of a tale."""
    from taleward.cli.output.console import say
    from taleward.evaluation.feedback.store import own_pseudonym

    store, who = _store(tracking_uri, folder, experiment), person or own_pseudonym(folder)
    if erase:
        say(f"{store.erase(tale, person=who)} answers of {who} erased")
    else:
        store.withdraw(tale, person=who)
        say(f"what {who} said is taken back; the history keeps it")


def _store(tracking_uri: str | None, folder: Path, experiment: str) -> FeedbackStore:
    from taleward.evaluation.feedback.store import FeedbackStore
    from taleward.evaluation.tracking.recorder import default_tracking_uri

    return FeedbackStore(tracking_uri or default_tracking_uri(folder), experiment)


def _review(store: FeedbackStore, tale: RecordedTale, person: str, which: str) -> bool:
    """Ask all questions about one tale; whether the last one was answered."""
    from taleward.cli.output.feedback import show_told

    show_told(tale, which)
    _ask(store, tale, person, "rating", "rating, 1 (poor) to 5 (very good)", _number)
    about = f"what speaks against it ({', '.join(tale.categories)})" if tale.categories else "what speaks against it"
    _ask(store, tale, person, "categories", f"{about}, parted by commas", lambda a: [c.strip() for c in a.split(",")])
    _ask(
        store,
        tale,
        person,
        "spans",
        "words to mark, as they stand there, parted by |, with = category behind them or not",
        lambda a: _spans(a, tale.text),
    )
    _ask(store, tale, person, "comment", "comment", str)
    question = f"kid-friendly, for ages {tale.band} (y/n)" if tale.band else "kid-friendly (y/n)"
    return _ask(store, tale, person, "kid_friendly", question, _yes)


def _ask(store: FeedbackStore, tale: RecordedTale, person: str, field: str, question: str, read: Any) -> bool:
    from taleward.cli.output.console import say_error

    while True:
        answer = input(f"{question}: ").strip()
        if not answer:
            return False
        try:
            given: dict[str, Any] = {field: read(answer)}
            store.record(tale.id, person=person, **given)
        except TalewardError as error:
            say_error(error)
        else:
            return True


def _number(answer: str) -> int:
    if not answer.isdecimal():
        raise ConfigurationError(f"rating: got {answer!r}; taken: 1, 2, 3, 4, 5.")
    return int(answer)


def _spans(answer: str, text: str) -> list[MarkedSpan]:
    from taleward.evaluation.feedback.feedback import MarkedSpan

    found = []
    for part in (p.strip() for p in answer.split("|")):
        words, _, category = (part, "", "") if part in text else part.rpartition("=")
        words = words.strip()
        at = text.find(words)
        if not words or at < 0:
            raise ConfigurationError(f"the tale does not say {words or part!r}; copy the words letter for letter.")
        found.append(MarkedSpan(start=at, end=at + len(words), category=category.strip() or None))
    return found


def _yes(answer: str) -> bool:
    if answer.lower() not in ("y", "yes", "n", "no"):
        raise ConfigurationError(f"kid-friendly: got {answer!r}; taken: y, n.")
    return answer.lower().startswith("y")
