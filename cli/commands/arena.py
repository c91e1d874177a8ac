"""`taleward arena`: let outputs of recorded evaluations meet in pairs, judged by a chat model or by people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from taleward.cli.options import DEFAULT_FOLDER, BaseUrl, Experiment, Folder, ReportFile, TrackingUri


def arena(
    runs: Annotated[list[str], typer.Argument(help="Ids of two or more MLflow runs of `taleward eval`.")],
    model: Annotated[
        str | None, typer.Option(help="Spec of the chat model that chooses; see `taleward models`.")
    ] = None,
    base_url: BaseUrl = None,
    criteria: Annotated[str | None, typer.Option(help="What makes a text the better one, for the model.")] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--choices",
            help="CSV file for people to choose in: written if it does not exist, else its choices are read.",
        ),
    ] = None,
    max_rows: Annotated[int | None, typer.Option(min=1, help="The most rows of a new sheet.")] = None,
    report: ReportFile = None,
    record: Annotated[bool, typer.Option("--record", help="Record the result as an MLflow run.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the intervals, and of the order in a new sheet.")] = 0,
    tracking_uri: TrackingUri = None,
    experiment: Experiment = "taleward",
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Compare the outputs of evaluations in pairs, and rate the systems by who is preferred.

    Each pair is shown to the model in both orders; people see each once, without names.
    """
    from taleward.cli.output.arena import show_arena
    from taleward.cli.output.console import print_note
    from taleward.evaluation.arena.arena import arena as run_arena
    from taleward.evaluation.arena.choice_sheet import ChoiceSheet, write_choice_sheet
    from taleward.evaluation.arena.preference import STORY_CRITERIA, LLMPreference, PreferenceJudge
    from taleward.evaluation.tracking.runs import load_evaluation
    from taleward.evaluation.tracking.tale_recorder import default_tracking_uri

    if (model is None) == (sheet is None):
        raise typer.BadParameter("name who chooses: --model SPEC for a chat model, or --choices FILE for people.")
    uri = tracking_uri or default_tracking_uri(folder)
    evaluations = [load_evaluation(run, uri, samples=True) for run in runs]
    names = [evaluation.name for evaluation in evaluations]
    if len(set(names)) < len(names):
        names = [f"{name} ({run[:8]})" for name, run in zip(names, runs, strict=True)]
    contestants = {name: evaluation.samples for name, evaluation in zip(names, evaluations, strict=True)}
    if sheet is not None and not sheet.exists():
        rows = write_choice_sheet(contestants, sheet, max_rows=max_rows, seed=seed)
        print_note(
            f"{rows} pairs written to {sheet}; fill in the column `better` with first, second or tie, and run the same "
            "command again"
        )
        return
    judge: PreferenceJudge
    if model is not None:
        options: dict[str, Any] = {"base_url": base_url} if base_url else {}
        judge = LLMPreference(model, criteria=criteria or STORY_CRITERIA, **options)
    elif sheet is not None:
        judge = ChoiceSheet(sheet)
    result = run_arena(contestants, judge, seed=seed)
    show_arena(result)
    if report is not None:
        report.write_text(result.html(), encoding="utf-8")
        print_note(f"report written to {report}")
    if record:
        run_id = result.record(tracking_uri=uri, experiment=experiment)
        print_note(f"recorded as run {run_id}; see it with: taleward ui")
