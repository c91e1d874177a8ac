"""`taleward review`: send recorded tales to MLflow's review queue, and read people's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from taleward.cli.options import DEFAULT_FOLDER, Experiment, Folder, TrackingUri

review_app = typer.Typer(name="review", no_args_is_help=True, help="Ask people about tales in MLflow's review queue.")

QueueName = Annotated[str, typer.Option("--queue", help="Name of the review queue.")]


@review_app.command()
def push(
    count: Annotated[int, typer.Argument(metavar="N", min=1, help="Number of tales to send.")],
    reviewer: Annotated[
        list[str] | None,
        typer.Option("--reviewer", help="Who is asked, if the queue is new: a name in MLflow; may be repeated."),
    ] = None,
    queue: QueueName = "taleward",
    tracking_uri: TrackingUri = None,
    experiment: Experiment = "taleward",
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Send the tales whose labels would teach the judge most to a review queue.

    These are tales that the judge was unsure about, or about which people and the judge disagree, spread over subjects.
    """
    from taleward.cli.output.console import print_note, spinner
    from taleward.evaluation.feedback.review_queue import ReviewQueue
    from taleward.evaluation.tracking.tale_recorder import default_tracking_uri
    from taleward.tuning.label_next import to_label_next

    with spinner("looking for tales"):
        reviews = ReviewQueue(tracking_uri or default_tracking_uri(folder), experiment, queue)
        candidates = to_label_next(reviews.feedback, count, exclude=set(reviews.trace_ids()))
        reviews.push([candidate.trace_id for candidate in candidates], reviewers=reviewer or ())
    for candidate in candidates:
        typer.echo(f"{candidate.tale_id}  {candidate.reason}  {candidate.need:.2f}")
    if candidates:
        print_note(f"{len(candidates)} tales sent to the queue {queue!r}; answer in MLflow: taleward ui")
    else:
        print_note("no tales left to ask about; create one with: taleward tell")


@review_app.command()
def pull(
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the labels that may be trained on to this .jsonl file.")
    ] = None,
    queue: QueueName = "taleward",
    tracking_uri: TrackingUri = None,
    experiment: Experiment = "taleward",
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Read what people answered in a review queue, and mark the answered tales as complete in it."""
    from taleward.cli.output.console import print_note
    from taleward.evaluation.feedback.export import write_rows
    from taleward.evaluation.feedback.review_queue import ReviewQueue
    from taleward.evaluation.tracking.tale_recorder import default_tracking_uri
    from taleward.tuning.feedback_rows import SKIP_REASONS
    from taleward.tuning.labeled_verdicts import verdict_rows, verdicts_from_feedback

    reviews = ReviewQueue(tracking_uri or default_tracking_uri(folder), experiment, queue)
    progress = reviews.pull()
    people = len({feedback.person for feedback in progress.feedback})
    typer.echo(
        f"tales: {progress.reviewed} reviewed, {progress.pending} left, {progress.declined} declined; people: {people}"
    )
    if progress.erased:
        print_note(f"no longer recorded: {progress.erased} of the queue's tales")
    if out is None:
        print_note("tune the judge on all feedback with: taleward tune judge --from-feedback --out FOLDER")
        return
    verdicts = verdicts_from_feedback(reviews.feedback, progress.reviewed_tales)
    for reason, skipped in verdicts.skipped.items():
        print_note(f"skipped {skipped}: {SKIP_REASONS[reason]}")
    count = write_rows(verdict_rows(verdicts.data), out)
    print_note(f"{count} labels written to {out}; use them with: taleward tune judge --labeled {out} --out FOLDER")
