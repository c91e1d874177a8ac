"""`taleward judge`: judge texts, and highlight what the judge objects to."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taleward.cli.options import (
    REFUSED,
    AsJson,
    BandName,
    BaseUrl,
    CalibrationFile,
    Encoding,
    JudgeSpecs,
    PolicyName,
    TextColumn,
    TextFiles,
)
from taleward.core.errors import ConfigurationError

if TYPE_CHECKING:
    from taleward.cli.input import TextInput
    from taleward.moderation.judges import Judge
    from taleward.moderation.judges.embedded.explanation import SentenceExplanation
    from taleward.tuning.neighbors import LabeledNeighbor


def judge(
    files: TextFiles,
    judge: JudgeSpecs = None,
    policy: PolicyName = "kids",
    band: BandName = "6-8",
    base_url: BaseUrl = None,
    calibration: CalibrationFile = None,
    column: TextColumn = "text",
    encoding: Encoding = "utf-8",
    as_json: AsJson = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show which sentences and words speak against the text most.")
    ] = False,
    labeled: Annotated[
        Path | None,
        typer.Option("--labeled", help="File of labeled texts; show the three most like the text, with their labels."),
    ] = None,
) -> None:
    """Judge texts: one with its findings highlighted, many with a line of result for each.

    A folder stands for its .txt and .md files, also those of subfolders.

    In a .csv, .tsv or .jsonl file, each row is a text.

    With --json, one file gives one JSON object; several, a folder or rows give JSON Lines.

    Exit codes: 0 all passed, 2 wrong use or data, 3 at least one text did not pass.
    """
    from taleward.cli.input import read_texts
    from taleward.cli.judge_specs import make_judge

    made = make_judge(judge, policy=policy, band=band, base_url=base_url, calibration=calibration)
    texts = read_texts(files, column=column, encoding=encoding)
    # By the argument, not by the number of texts: the format of a folder's result must not depend on what is in it.
    is_one_file = len(files) == 1 and texts[0].source == files[0] and texts[0].line is None
    if is_one_file:
        passed = _judge_one(made, texts[0].text, as_json, explain, labeled)
    elif explain or labeled:
        option = "--explain" if explain else "--labeled"
        raise ConfigurationError(
            f"{option} explains one text; got {len(texts)}.", hint=f"Name one file, or leave {option} out."
        )
    else:
        passed = _judge_many(made, texts, as_json)
    raise typer.Exit(0 if passed else REFUSED)


def _judge_one(judge: Judge, text: str, as_json: bool, explain: bool, labeled: Path | None) -> bool:
    from taleward.cli.output.console import spinner
    from taleward.cli.output.judging import show_explanations, show_judged_text

    with spinner("judging"):
        explanations = _explanations(judge, text) if explain else ()
        neighbors = () if labeled is None else _neighbors(judge, text, labeled)
        verdict = judge.invoke(text)
    if as_json:
        answer = verdict.model_dump(mode="json")
        if explain:
            answer["explanation"] = [explanation.model_dump(mode="json") for explanation in explanations]
        if labeled is not None:
            answer["neighbors"] = [neighbor.model_dump(mode="json") for neighbor in neighbors]
        sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    else:
        show_judged_text(verdict, text)
        if explain:
            show_explanations(explanations)
        if labeled is not None:
            from taleward.cli.output.tune_judge import show_neighbors

            show_neighbors(neighbors)
    return verdict.passed


def _judge_many(judge: Judge, texts: Sequence[TextInput], as_json: bool) -> bool:
    """Judge texts one after another, and print each result at once; return whether all passed."""
    from taleward.cli.output.console import print_note, print_warning
    from taleward.cli.output.judging import ResultList, progress

    results = ResultList(texts, judge)
    all_passed = True
    try:
        with progress(len(texts)) as advance:
            for text in texts:
                verdict = judge.invoke(text.text)
                all_passed &= verdict.passed
                results.add(verdict)
                (results.show_json if as_json else results.show)(verdict, text)
                advance()
    except KeyboardInterrupt:
        print_warning(f"interrupted: {results.summary}")
        raise
    if as_json:
        print_note(results.summary)
    else:
        results.show_summary()
    return all_passed


def _explanations(judge: Judge, text: str) -> tuple[SentenceExplanation, ...]:
    from taleward.moderation.judges.embedded.judge import EmbeddedJudge

    if not isinstance(judge, EmbeddedJudge):
        raise ConfigurationError(
            f"--explain shows how embedded:judge reads a text; the judge is {judge.spec!r}.",
            hint="Leave --explain out, or judge with embedded:judge. Other judges give their reasons as findings.",
        )
    return judge.explain(text)


def _neighbors(judge: Judge, text: str, labeled: Path) -> tuple[LabeledNeighbor, ...]:
    from taleward.tuning.labeled_verdicts import load_verdicts
    from taleward.tuning.neighbors import explain_with_neighbors

    return explain_with_neighbors(text, load_verdicts(labeled, judge.policy)) if text.strip() else ()
