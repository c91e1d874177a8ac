"""The folder of a tuned judge: its report, and the judge if it was promoted."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from taleward.core.errors import InvalidFile
from taleward.tuning.judge_report import JudgeTuningReport

REPORT_FILE = "report.json"


def check_judge_folder(out: Path) -> None:
    """Check that a folder is new, empty, or holds nothing but the report of a judge that was not promoted.

    Raises:
        InvalidFile: If it holds something else.
    """
    if out.exists() and not out.is_dir():
        raise InvalidFile(f"{out} is a file.", hint="Name a new folder.")
    names = [file.name for file in out.iterdir()] if out.is_dir() else []
    if names == [REPORT_FILE] and not read_judge_report(out).promoted:
        return
    if names:
        held = "holds a tuned judge already" if REPORT_FILE in names else "is not empty"
        raise InvalidFile(f"{out} {held}.", hint="Name a new folder.")


def read_judge_report(folder: Path) -> JudgeTuningReport:
    """Read the report in the folder of a tuned judge.

    Raises:
        InvalidFile: If there is none, or it is not valid.
    """
    file = folder / REPORT_FILE
    try:
        return JudgeTuningReport.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise InvalidFile(
            f"{file} is not the report of a tuned judge: {error}",
            hint="`taleward tune judge --out FOLDER` writes one.",
        ) from error


def write_judge_report(folder: Path, report: JudgeTuningReport) -> None:
    """Write the report, atomically."""
    temporary = folder / f".{REPORT_FILE}.part"
    temporary.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    temporary.replace(folder / REPORT_FILE)
