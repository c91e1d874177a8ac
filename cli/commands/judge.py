"""`taleward judge`: judge a text, and highlight what the judge objects to."""

from __future__ import annotations

import sys

import typer

from taleward.cli.input import read_text
from taleward.cli.options import REFUSED, AsJson, BandName, CalibrationFile, JudgeSpec, PolicyName, TextFile


def judge(
    file: TextFile,
    judge: JudgeSpec = "embedded:judge",
    policy: PolicyName = "kids",
    band: BandName = "6-8",
    calibration: CalibrationFile = None,
    as_json: AsJson = False,
) -> None:
    """Judge a text, and highlight the passages that the judge objects to.

    Exit codes: 0 passed, 3 did not pass.
    """
    from taleward.cli.output.console import show_verdict, spinner
    from taleward.moderation.judges import judge as make_judge

    text = read_text(file)
    with spinner("judging"):
        verdict = make_judge(judge, policy=policy, band=band, calibration=calibration).invoke(text)
    if as_json:
        sys.stdout.write(verdict.model_dump_json(indent=2) + "\n")
    else:
        show_verdict(verdict, text)
    raise typer.Exit(0 if verdict.passed else REFUSED)
