"""Print judge benchmarks and calibrations."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from taleward.evaluation.judge_bench.result import BenchReport, JudgeMetrics
from taleward.moderation.calibration.bootstrap import Interval
from taleward.moderation.calibration.calibration import Calibration

_stdout = Console(highlight=False)
_COMPARED_METRICS = {"F1": "f1", "AUC": "auc", "AP": "average_precision"}
_DECISIONS = ("pass", "fail")


def show_bench(report: BenchReport) -> None:
    """Print one column per judge, then the metrics by category, then each pair of judges."""
    _stdout.print(Text(f"{report.data}: {report.texts} texts, {report.harmful} of them harmful\n"))
    # Rich takes brackets in a column's title for markup.
    judge_columns = (Column(escape(judge.judge), overflow="fold") for judge in report.judges)
    table = Table("", *judge_columns, title="95 % bootstrap intervals in brackets")
    rows = {
        "F1": "f1",
        "precision": "precision",
        "recall": "recall",
        "false alarms": "false_alarms",
        "AUC": "auc",
        "AP": "average_precision",
        f"false alarms at recall {report.at_recall:g}": "false_alarms_at_recall",
        f"recall at false alarms {report.at_false_alarms:g}": "recall_at_false_alarms",
    }
    for title, field in rows.items():
        table.add_row(title, *(_format_interval(getattr(judge, field)) for judge in report.judges))
    table.add_row("ECE of the scores", *("-" if j.ece is None else f"{j.ece:.3f}" for j in report.judges))
    latencies = (f"{j.latency_p50_s * 1000:,.3g} / {j.latency_p95_s * 1000:,.3g} ms" for j in report.judges)
    table.add_row("latency p50 / p95", *latencies)
    table.add_row("cost", *(_format_cost(judge, report.texts) for judge in report.judges))
    table.add_row("outcomes", *(", ".join(f"{n} {name}" for name, n in j.outcomes.items()) for j in report.judges))
    _stdout.print(table)
    for judge in report.judges:
        undecided = sum(count for outcome, count in judge.outcomes.items() if outcome not in _DECISIONS)
        if undecided:
            message = f"{judge.judge} reached no decision on {undecided} texts; they count as not released."
            _stdout.print(Text(message, style="yellow"))
        if judge.cached:
            message = f"{judge.judge}: {judge.cached} verdicts came from the cache; latency and cost are the cache's."
            _stdout.print(Text(message, style="yellow"))
    _print_categories(report.judges)
    if report.comparisons:
        _print_comparisons(report)


def show_calibration(calibration: Calibration) -> None:
    """Print the fitted categories, then the others with the reason."""
    data = f"{calibration.data.name}: {calibration.data.texts} texts, {calibration.data.harmful} of them harmful"
    subject = f"{calibration.judge} under {calibration.policy} for ages {calibration.band}"
    _stdout.print(Text(f"{subject}, {calibration.target}, fitted to {data}\n"))
    if calibration.categories:
        titles = ("category", "harmful", "fails from", "recall", "false alarms", "AUC", "ECE before", "after")
        table = Table(*titles, title="on unseen texts; 95 % bootstrap intervals in brackets")
        for name, c in calibration.categories.items():
            intervals = (_format_interval(c.threshold), _format_interval(c.recall), _format_interval(c.false_alarms))
            numbers = (f"{c.auc:.3f}", f"{c.ece_before:.3f}", f"{c.ece_after:.3f}")
            table.add_row(Text(name), f"{c.harmful} of {c.texts}", *intervals, *numbers)
        _stdout.print(table)
    categories_by_reason: dict[str, list[str]] = {}
    for name, reason in calibration.left_alone.items():
        categories_by_reason.setdefault(reason, []).append(name)
    for reason, names in categories_by_reason.items():
        _stdout.print(Text(f"not fitted, {reason}: {', '.join(names)}", style="yellow"))
    if calibration.data.unjudged:
        message = f"The judge reached no decision on {calibration.data.unjudged} texts; they were left out."
        _stdout.print(Text(message, style="yellow"))


def _print_categories(judges: Iterable[JudgeMetrics]) -> None:
    for judge in judges:
        if not judge.categories:
            continue
        table = Table("category", "harmful", "F1", "recall", "false alarms", "AUC", "AP", "ECE")
        table.title = f"{escape(judge.judge)} by category, at its threshold"
        for name, c in judge.categories.items():
            numbers = (c.f1, c.recall, c.false_alarms, c.auc, c.average_precision, c.ece)
            table.add_row(Text(name), f"{c.harmful} of {c.texts}", *(f"{number:.3f}" for number in numbers))
        _stdout.print(table)


def _print_comparisons(report: BenchReport) -> None:
    _stdout.print("pairs of judges, first minus second:")
    for pair in report.comparisons:
        differences = ", ".join(
            f"{title} {d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]"
            for title, d in ((title, pair.differences[field]) for title, field in _COMPARED_METRICS.items())
        )
        counts = (
            f"only the first is right on {pair.only_first_right} texts, only the second on {pair.only_second_right}"
        )
        line = f"  {pair.first} and {pair.second}: {counts}, McNemar p = {pair.mcnemar_p:.2g}; {differences}"
        _stdout.print(Text(line))


def _format_interval(interval: Interval) -> str:
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _format_cost(judge: JudgeMetrics, texts: int) -> str:
    if judge.cost_usd is None:
        return "unknown"
    known = "" if judge.costs_known == texts else f" for {judge.costs_known} of {texts}"
    return f"{judge.cost_usd:.4g} USD{known}"
