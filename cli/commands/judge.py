"""`taleward judge`: judge a text, and highlight what the judge objects to."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from taleward.cli.input import read_text
from taleward.cli.options import REFUSED, AsJson, BandName, CalibrationFile, JudgeSpec, PolicyName, TextFile

if TYPE_CHECKING:
    from taleward.moderation.judges.base import Judge
    from taleward.moderation.judges.embedded.explanation import SentenceExplanation


def judge(
    file: TextFile,
    judge: JudgeSpec = "embedded:judge",
    policy: PolicyName = "kids",
    band: BandName = "6-8",
    calibration: CalibrationFile = None,
    as_json: AsJson = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show which sentences and words speak against the text most.")
    ] = False,
) -> None:
    """Judge a text, and highlight the passages that the judge objects to.

    Exit codes: 0 passed, 3 did not pass.
    """
    from taleward.cli.output.console import show_explanations, show_verdict, spinner
    from taleward.moderation.judges import judge as make_judge

    text = read_text(file)
    chosen = make_judge(judge, policy=policy, band=band, calibration=calibration)
    with spinner("judging"):
        explanations = _explanations(chosen, text) if explain else ()
        verdict = chosen.invoke(text)
    if as_json:
        answer = verdict.model_dump(mode="json")
        if explain:
            answer["explanation"] = [explanation.model_dump(mode="json") for explanation in explanations]
        sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    else:
        show_verdict(verdict, text)
        if explain:
            show_explanations(explanations)
    raise typer.Exit(0 if verdict.passed else REFUSED)


def _explanations(judge: Judge, text: str) -> tuple[SentenceExplanation, ...]:
    from taleward.core.errors import ConfigurationError
    from taleward.moderation.judges.embedded.judge import EmbeddedJudge

    if not isinstance(judge, EmbeddedJudge):
        raise ConfigurationError(
            f"--explain shows how embedded:judge reads a text; the judge is {judge.spec!r}.",
            hint="Leave --explain out, or judge with embedded:judge. Other judges give their reasons as findings.",
        )
    return judge.explain(text)
