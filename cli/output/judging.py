"""Print the verdicts of `taleward judge`: on one text with its findings, or on many with a line for each."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.panel import Panel
from rich.progress import Progress
from rich.table import Column, Table
from rich.text import Text

from taleward.cli.input import TextInput
from taleward.cli.output.console import (
    OUTCOME_COLORS,
    SEVERITY_STYLES,
    print_findings,
    print_note,
    printable,
    show_verdict,
    verdict_line,
)
from taleward.core.policy import SEVERITIES, Severity, exceeds
from taleward.core.verdict import Finding, Verdict
from taleward.moderation.judges import Judge
from taleward.moderation.judges.embedded.explanation import SentenceExplanation

MAX_SHOWN_CHARACTERS = 4000
"""Longer texts are not printed back; only their findings are, with the words around them."""

_CONTEXT_CHARACTERS = 80
_MAX_QUOTE_CHARACTERS = 200
_MAX_DETAIL_CHARACTERS = 100
_MAX_SHOWN_FINDINGS = 20
_NOTE_INTERVAL_S = 10.0
_stdout = Console(highlight=False)


def show_judged_text(verdict: Verdict, text: str) -> None:
    """Print the verdict on a text, with the text if it is short, else with its findings in their context."""
    # Here, and not when the text is read: rows keep their offsets.
    text = text.replace("\r\n", " \n").replace("\r", "\n")
    if len(text) <= MAX_SHOWN_CHARACTERS:
        show_verdict(verdict, text)
        return
    shown = sorted(verdict.findings, key=lambda finding: -SEVERITIES.index(finding.severity))[:_MAX_SHOWN_FINDINGS]
    if excerpts := _excerpts(text, shown):
        _stdout.print(Panel(excerpts, border_style=OUTCOME_COLORS[verdict.outcome]))
    _stdout.print(verdict_line(verdict))
    print_findings(tuple(_shortened(finding) for finding in shown))
    hidden = len(verdict.findings) - len(shown)
    more = f"; of {len(verdict.findings)} findings the {len(shown)} most severe are shown, --json has all"
    print_note(f"the text has {len(text):,} characters and is not shown as a whole{more if hidden else ''}")


class ResultList:
    """Prints a line for each of many judged texts, and a summary of all.

    Args:
        texts: The texts that will be judged; columns get the width of the longest place.
        judge: The judge, whose rules say which category is the worst.
    """

    def __init__(self, texts: Sequence[TextInput], judge: Judge) -> None:
        self._judge = judge
        self._total = len(texts)
        self._place_width = max(len(text.place) for text in texts)
        self._category_width = max(len(category) for category in judge.policy.categories)
        self._outcomes: Counter[str] = Counter()
        self._cost_usd: float | None = None
        self._started_at = time.perf_counter()

    def add(self, verdict: Verdict) -> None:
        """Count a verdict."""
        self._outcomes[verdict.outcome] += 1
        if verdict.cost_usd is not None:
            self._cost_usd = (self._cost_usd or 0.0) + verdict.cost_usd

    def show(self, verdict: Verdict, text: TextInput) -> None:
        """Print outcome, place, worst category and its score, and why there is no decision."""
        category, score = worst_category(verdict, self._judge)
        outcome = (f"{verdict.outcome:<10}", f"bold {OUTCOME_COLORS[verdict.outcome]}")
        columns = f"  {_one_line(text.place):<{self._place_width}}  {category:<{self._category_width}}  {score}"
        detail = f"  {_shorten(_one_line(verdict.detail), _MAX_DETAIL_CHARACTERS)}" if verdict.detail else ""
        # A line must stay one line, for the tools that read it.
        _stdout.print(Text.assemble(outcome, columns, detail), soft_wrap=True)

    def show_json(self, verdict: Verdict, text: TextInput) -> None:
        """Print a line of JSON: the text's source and line, then the fields of the verdict."""
        place = {"source": text.source} if text.line is None else {"source": text.source, "line": text.line}
        line = json.dumps({**place, **verdict.model_dump(mode="json")}, ensure_ascii=False)
        _stdout.print(Text(line), soft_wrap=True)

    @property
    def summary(self) -> str:
        """How many texts had which outcome, by which judge, in which time, at which cost."""
        judged = self._outcomes.total()
        texts = "text" if self._total == 1 else "texts"
        count = f"{judged:,} {texts}" if judged == self._total else f"{judged:,} of {self._total:,} {texts}"
        outcomes = ", ".join(f"{self._outcomes[o]:,} {o}" for o in OUTCOME_COLORS if self._outcomes[o]) or "none"
        rules = f"{self._judge.spec} under {self._judge.policy.id} for ages {self._judge.band}"
        cost = "" if self._cost_usd is None else f", ${self._cost_usd:.4f}"
        return f"{count} judged by {rules} in {time.perf_counter() - self._started_at:.1f} s{cost}: {outcomes}"

    def show_summary(self) -> None:
        """Print the summary."""
        _stdout.print(Text(self.summary), soft_wrap=True)


def worst_category(verdict: Verdict, judge: Judge) -> tuple[str, str]:
    """Return the category that counts most against a text, and its score.

    Categories that fail the text come first; then the severity of findings decides, then how close the score is to the
    threshold.

    Args:
        verdict: A verdict of the judge.
        judge: The judge.

    Returns:
        The category, and its score with two decimals, or the severity of its worst finding if the judge gives no score;
        `-` for both if no category has a finding or a score above 0.
    """
    severities: dict[str, Severity] = {}
    for finding in sorted(verdict.findings, key=lambda f: SEVERITIES.index(f.severity)):
        severities[finding.category] = finding.severity
    categories = {category for category, score in verdict.scores.items() if score > 0} | set(severities)
    if not categories:
        return "-", "-"
    fitted = judge.calibration.categories if judge.calibration else {}

    def rank(category: str) -> tuple[bool, int, float]:
        severity: Severity = severities.get(category, "none")
        score = verdict.scores.get(category, 0.0)
        margin = score - judge.rules.threshold(category, judge.band)
        by_finding = category not in fitted and exceeds(severity, judge.rules.tolerance(category, judge.band))
        return by_finding or (category in verdict.scores and margin >= 0), SEVERITIES.index(severity), margin

    worst = max(sorted(categories), key=rank)
    return worst, f"{verdict.scores[worst]:.2f}" if worst in verdict.scores else severities[worst]


@contextmanager
def progress(total: int) -> Iterator[Callable[[], None]]:
    """Show on standard error how many texts are judged; yield a function that advances it by one.

    A terminal shows a bar; elsewhere, such as in a log, there is a line every ten seconds.
    """
    terminal = sys.stderr.isatty()
    # Lines that are printed to the same terminal go above the bar only if they go through its console.
    console = _stdout if sys.stdout.isatty() else Console(stderr=True)
    bar = Progress(console=console, transient=True, disable=not terminal, redirect_stdout=False)
    done, noted_at = 0, time.monotonic()

    def advance() -> None:
        nonlocal done, noted_at
        done += 1
        bar.advance(task)
        if not terminal and time.monotonic() - noted_at >= _NOTE_INTERVAL_S:
            noted_at = time.monotonic()
            print_note(f"judged {done:,} of {total:,} texts")

    with bar:
        task = bar.add_task("judging", total=total)
        yield advance


def _excerpts(text: str, findings: Sequence[Finding]) -> Text | None:
    """Return the findings' quotes with the words around them, in the text's order; `None` if no finding has a place."""
    spans = sorted((f.start, f.end, f.severity) for f in findings if f.start is not None and f.end is not None)
    if not spans:
        return None
    windows: list[tuple[int, int]] = []
    for start, end, _ in spans:
        # Of a long quote, only the beginning.
        begin = max(0, start - _CONTEXT_CHARACTERS)
        stop = min(len(text), min(end, start + _MAX_QUOTE_CHARACTERS) + _CONTEXT_CHARACTERS)
        if windows and begin <= windows[-1][1]:
            windows[-1] = (windows[-1][0], max(windows[-1][1], stop))
        else:
            windows.append((begin, stop))
    excerpts = []
    for begin, stop in windows:
        excerpt = Text(_one_line(text[begin:stop]))
        for start, end, severity in spans:
            if start < stop and end > begin:
                excerpt.stylize(SEVERITY_STYLES[severity], max(0, start - begin), min(end, stop) - begin)
        before, after = "... " if begin else "", " ..." if stop < len(text) else ""
        excerpts.append(Text.assemble((f"{begin:>7,}: ", "dim"), before, excerpt, after))
    return Text("\n").join(excerpts)


def _shortened(finding: Finding) -> Finding:
    if finding.quote is None or len(finding.quote) <= _MAX_QUOTE_CHARACTERS:
        return finding
    # Not a valid finding any more, since its offsets are those of the whole quote; it is only shown.
    return finding.model_copy(update={"quote": _shorten(finding.quote, _MAX_QUOTE_CHARACTERS)})


def _shorten(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 4].rstrip() + " ..."


def _one_line(text: str) -> str:
    """Return a text without line breaks and control characters; offsets stay the same."""
    return printable(text).replace("\n", " ").replace("\t", " ")


def show_explanations(explanations: Iterable[SentenceExplanation]) -> None:
    """Print the sentences that speak most against a text as a table, with their heaviest words."""
    table = Table(
        Column("sentence", overflow="fold"), "closest to", "score", Column("words that speak most", overflow="fold")
    )
    for explanation in explanations:
        words = ", ".join(f"{w.word} {w.weight:+.1f}" for w in explanation.words if w.weight > 0)
        score = f"{explanation.score:.2f} of {explanation.threshold:.2f}"
        table.add_row(Text(printable(explanation.sentence)), explanation.category, score, Text(printable(words)))
    _stdout.print(table)
