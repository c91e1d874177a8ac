"""`taleward feedback`: review recorded tales, add, show and export feedback."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from taleward.cli.commands.feedback_review import review_tale
from taleward.cli.feedback_store import open_feedback_store
from taleward.cli.options import DEFAULT_FOLDER, Experiment, Folder, TemplateFolder, TrackingUri
from taleward.core.errors import ConfigurationError, InvalidFile, UnknownName

if TYPE_CHECKING:
    from taleward.tuning.rows import TuningMethod

feedback_app = typer.Typer(name="feedback", invoke_without_command=True, no_args_is_help=False)

TaleId = Annotated[str, typer.Argument(metavar="TALE", help="Id of the tale, or of its MLflow trace.")]
Person = Annotated[
    str | None, typer.Option("--person", help="Whose feedback it is; by default yours, under a pseudonym.")
]
ForTraining = Annotated[
    bool | None,
    typer.Option(
        "--for-training/--not-for-training",
        help="Whether the feedback and the tale may be used to train models; by default not.",
    ),
]
RequestedByChild = Annotated[
    bool | None,
    typer.Option(
        "--requested-by-child/--requested-by-adult",
        help="Who wrote the request. Without either, it counts as a child's when models are trained.",
    ),
]
GuardianConsent = Annotated[
    bool | None,
    typer.Option(
        "--guardian-consent/--no-guardian-consent",
        help="Whether a parent or guardian consents to training on the child's request.",
    ),
]


@feedback_app.callback()
def review(
    context: typer.Context,
    person: Person = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of tales to review now.")] = None,
    for_training: ForTraining = None,
    requested_by_child: RequestedByChild = None,
    guardian_consent: GuardianConsent = None,
    tracking_uri: TrackingUri = None,
    experiment: Experiment = "taleward",
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Review recorded tales one by one, those with the most uncertain verdict first.

    Each answer is saved at once; press Ctrl-C to stop and continue later. What you say about training holds for every
    tale that you answer about.
    """
    if context.invoked_subcommand is not None:
        return
    from taleward.cli.output.console import print_note, spinner
    from taleward.evaluation.feedback.mlflow_store import local_pseudonym

    reviewer = person or local_pseudonym(folder)
    consent = {
        "for_training": for_training,
        "requested_by_child": requested_by_child,
        "guardian_consent": guardian_consent,
    }
    with spinner("looking for tales"):
        store = open_feedback_store(tracking_uri, folder, experiment)
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
            done += review_tale(store, store.tale(tale_id), reviewer, consent, f"{number} of {len(queue)}")
    except (KeyboardInterrupt, EOFError, typer.Abort):
        typer.echo()
    print_note(f"{done} reviewed, {len(queue) - done} left; continue with: taleward feedback")


@feedback_app.command()
def add(
    tale: TaleId,
    rating: Annotated[int | None, typer.Option(min=1, max=5, help="From 1 (poor) to 5 (very good).")] = None,
    kid_friendly: Annotated[
        bool | None,
        typer.Option("--kid-friendly/--not-kid-friendly", help="Whether it suits children of its age band."),
    ] = None,
    makes_sense: Annotated[
        bool | None, typer.Option("--makes-sense/--makes-no-sense", help="Whether it makes sense.")
    ] = None,
    category: Annotated[list[str] | None, typer.Option(help="A problem, from the policy; may be repeated.")] = None,
    comment: Annotated[str | None, typer.Option(help="Free text.")] = None,
    correction: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Text file with the whole corrected tale, or - for standard input."),
    ] = None,
    for_training: ForTraining = None,
    requested_by_child: RequestedByChild = None,
    guardian_consent: GuardianConsent = None,
    person: Person = None,
    tracking_uri: TrackingUri = None,
    experiment: Experiment = "taleward",
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Add feedback on a tale, or change it; what you do not mention stays as it is."""
    from taleward.cli.input import read_text
    from taleward.cli.output.feedback import show_feedback
    from taleward.evaluation.feedback.mlflow_store import local_pseudonym

    answers: dict[str, Any] = {
        "rating": rating,
        "kid_friendly": kid_friendly,
        "makes_sense": makes_sense,
        "categories": category or None,
        "comment": comment,
        "correction": None if correction is None else read_text(correction),
        "for_training": for_training,
        "requested_by_child": requested_by_child,
        "guardian_consent": guardian_consent,
    }
    if all(answer is None for answer in answers.values()):
        raise ConfigurationError(
            "there is no feedback to add.", hint="Give some, for example --kid-friendly or --rating 4."
        )
    store = open_feedback_store(tracking_uri, folder, experiment)
    feedback = store.record(tale, person=person or local_pseudonym(folder), **answers)
    show_feedback(store.tale(tale), [feedback])


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

    store = open_feedback_store(tracking_uri, folder, experiment)
    show_feedback(store.tale(tale), store.read(tale))
    if history:
        show_history(store.history(tale))


@feedback_app.command()
def export(
    file: Annotated[Path, typer.Argument(help="The .jsonl file to write; all and labeled can be .parquet, too.")],
    kind: Annotated[
        str,
        typer.Option(
            "--format",
            "--as",
            help="all, labeled (for `taleward calibrate`), or sft, dpo or kto (for `taleward tune writer`), which hold "
            "only what people gave for training.",
        ),
    ] = "all",
    templates: TemplateFolder = None,
    tracking_uri: TrackingUri = None,
    experiment: Experiment = "taleward",
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Export feedback to a file."""
    from taleward.cli.output.console import print_note
    from taleward.evaluation.feedback.export import EXPORTS, write_rows
    from taleward.tuning.rows import ROW_CLASSES

    if kind not in (*EXPORTS, *ROW_CLASSES):
        raise UnknownName("kind of export", kind, [*EXPORTS, *ROW_CLASSES])
    if kind not in EXPORTS:
        return _export_tuning_rows(file, cast("TuningMethod", kind), tracking_uri, experiment, folder, templates)
    count = write_rows(EXPORTS[kind](open_feedback_store(tracking_uri, folder, experiment)), file)
    next_step = f"; use it with: taleward calibrate {file} --category-column categories" if kind == "labeled" else ""
    return print_note(f"{count} rows written to {file}{next_step}")


def _export_tuning_rows(
    file: Path, method: TuningMethod, tracking_uri: str | None, experiment: str, folder: Path, templates: Path | None
) -> None:
    from taleward.cli.output.console import print_note
    from taleward.tuning.feedback_rows import SKIP_REASONS, rows_from_feedback
    from taleward.tuning.rows import write_tuning_rows

    if file.suffix != ".jsonl":
        raise InvalidFile(f"cannot write {file}: rows for training are written to a .jsonl file; got {file.suffix!r}.")
    rows = rows_from_feedback(open_feedback_store(tracking_uri, folder, experiment), method, templates=templates)
    for reason, count in sorted(rows.skipped.items(), key=lambda item: -item[1]):
        print_note(f"{count} of {rows.tales} tales skipped: {SKIP_REASONS[reason]}")
    if not rows:
        raise ConfigurationError(
            f"no feedback in {experiment!r} gives a row for {method}; {file} was not written.",
            hint="Review tales with: taleward feedback --for-training --requested-by-adult",
        )
    count = write_tuning_rows(rows, file)
    next_step = f"taleward tune writer --method {method} --rows {file} --model MODEL --out FOLDER"
    print_note(f"{count} rows of {rows.tales} tales written to {file}; train with: {next_step}")


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
    agreements = judge_agreement(open_feedback_store(tracking_uri, folder, experiment), by=by)
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

    store, author = open_feedback_store(tracking_uri, folder, experiment), person or local_pseudonym(folder)
    if erase:
        print_note(f"{store.erase(tale, person=author)} answers of {author} erased")
    else:
        store.withdraw(tale, person=author)
        print_note(f"feedback of {author} withdrawn; it stays in the history")
