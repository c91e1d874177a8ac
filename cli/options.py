"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

# The folder that `default_tracking_uri` uses, too.
DEFAULT_FOLDER = Path(".taleward")
REFUSED = 3
"""Exit code if nothing was released, or a judged text did not pass."""

TextFile = Annotated[str, typer.Argument(help="A text file, or - for standard input.")]
TextFiles = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE",
        help="Text files, folders, patterns such as 'stories/**/*.txt', CSV or JSON Lines files; - is standard input.",
    ),
]
TextColumn = Annotated[str, typer.Option("--column", help="Column of the text in CSV, TSV and JSON Lines files.")]
Encoding = Annotated[str, typer.Option("--encoding", help="Encoding of the text, such as latin-1 or utf-16.")]
TemplateFolder = Annotated[Path | None, typer.Option("--templates", help="Folder with your own templates.")]
WriterSpec = Annotated[str, typer.Option("--model", help="Model spec of the writer; see `taleward models`.")]
BaseUrl = Annotated[str | None, typer.Option(help="Base URL of the server, for an openai: model.")]
JudgeSpecs = Annotated[
    list[str] | None,
    typer.Option(
        "--judge",
        help="Spec of a judge: embedded:judge (the default), lexicon, a chat model, ... If it is repeated, a text must "
        "pass all judges.",
    ),
]
CalibrationFile = Annotated[
    Path | None, typer.Option("--calibration", help="Calibration file; see `taleward calibrate`.")
]
PolicyName = Annotated[str, typer.Option("--policy", help="Name of a policy, or path of its .yaml file.")]
BandName = Annotated[str, typer.Option("--band", help="Age band of the policy.")]
Attempts = Annotated[int, typer.Option(min=1, help="Maximum number of drafts to write and judge.")]
TaleSeed = Annotated[
    int | None, typer.Option(help="Random seed; with a model that runs here, the same seed gives the same story.")
]
Folder = Annotated[Path, typer.Option("--folder", help="Folder of the MLflow store.")]
TrackingUri = Annotated[str | None, typer.Option("--tracking-uri", help="MLflow tracking URI; overrides --folder.")]
Experiment = Annotated[str, typer.Option("--experiment", help="Name of the MLflow experiment.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
ReportFile = Annotated[Path | None, typer.Option("--report", help="Write the HTML report to this file, too.")]
