"""Tables of a bench and of a calibration."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from taleward.evaluation.judge_bench.result import BenchReport, JudgeMetrics
from taleward.moderation.calibration.bootstrap import Interval
from taleward.moderation.calibration.calibration import Calibration

_out = Console(highlight=False)
_COMPARED = {"F1": "f1", "AUC": "auc", "AP": "average_precision"}
_PLAIN = ("pass", "fail")


def show_bench(report: BenchReport) -> None:
    """A column a judge, then the categories, then each two judges against each other."""
    _out.print(Text(f"{report.data}: {report.texts} texts, {report.harmful} of them harmful\n"))
    table = Table(
        "",
        *(Column(escape(j.judge), overflow="fold") for j in report.judges),
        title="95 % bootstrap intervals in brackets",
    )
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
    for title, name in rows.items():
        table.add_row(title, *(_range(getattr(j, name)) for j in report.judges))
    table.add_row("ECE of the scores", *("-" if j.ece is None else f"{j.ece:.3f}" for j in report.judges))
    latencies = (f"{j.latency_p50_s * 1000:,.3g} / {j.latency_p95_s * 1000:,.3g} ms" for j in report.judges)
    table.add_row("latency p50 / p95", *latencies)
    table.add_row("cost", *(_cost(j, report.texts) for j in report.judges))
    table.add_row("outcomes", *(", ".join(f"{n} {o}" for o, n in j.outcomes.items()) for j in report.judges))
    _out.print(table)
    for judge in report.judges:
        without = sum(count for outcome, count in judge.outcomes.items() if outcome not in _PLAIN)
        if without:
            said = f"{judge.judge} had no plain answer on {without} texts; they count as not released."
            _out.print(Text(said, style="yellow"))
        if judge.cached:
            said = f"{judge.judge}: {judge.cached} answers came from the cache; latency and cost are the cache's."
            _out.print(Text(said, style="yellow"))
    _by_category(report.judges)
    if report.comparisons:
        _comparisons(report)


def show_calibration(fitted: Calibration) -> None:
    """Each fitted category, then those left alone with the reason."""
    data = f"{fitted.data.name}: {fitted.data.texts} texts, {fitted.data.harmful} of them harmful"
    _out.print(Text(f"{fitted.judge} under {fitted.policy} for ages {fitted.band}, {fitted.target}, by {data}\n"))
    if fitted.categories:
        head = ("category", "harmful", "fails from", "recall", "false alarms", "AUC", "ECE before", "after")
        table = Table(*head, title="on unseen texts; 95 % bootstrap intervals in brackets")
        for name, c in fitted.categories.items():
            rates = (_range(c.threshold), _range(c.recall), _range(c.false_alarms))
            errors = (f"{c.auc:.3f}", f"{c.ece_before:.3f}", f"{c.ece_after:.3f}")
            table.add_row(Text(name), f"{c.harmful} of {c.texts}", *rates, *errors)
        _out.print(table)
    reasons: dict[str, list[str]] = {}
    for name, why in fitted.left_alone.items():
        reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        _out.print(Text(f"left alone, {why}: {', '.join(names)}", style="yellow"))
    if fitted.data.unjudged:
        _out.print(Text(f"{fitted.data.unjudged} texts had no plain answer and were left out.", style="yellow"))


def _by_category(judges: Iterable[JudgeMetrics]) -> None:
    for judge in judges:
        if not judge.categories:
            continue
        table = Table("category", "harmful", "F1", "recall", "false alarms", "AUC", "AP", "ECE")
        table.title = f"{escape(judge.judge)} by category, at its threshold"
        for name, c in judge.categories.items():
            figures = (c.f1, c.recall, c.false_alarms, c.auc, c.average_precision, c.ece)
            table.add_row(Text(name), f"{c.harmful} of {c.texts}", *(f"{f:.3f}" for f in figures))
        _out.print(table)


def _comparisons(report: BenchReport) -> None:
    _out.print("judge against judge, first minus second:")
    for pair in report.comparisons:
        gaps = ", ".join(
            f"{title} {d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]"
            for title, d in ((t, pair.differences[name]) for t, name in _COMPARED.items())
        )
        counts = (
            f"{pair.only_first_right} texts only the first decides rightly, {pair.only_second_right} only the second"
        )
        said = f"  {pair.first} and {pair.second}: {counts}, McNemar p = {pair.mcnemar_p:.2g}; {gaps}"
        _out.print(Text(said))


def _range(figure: Interval) -> str:
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def _cost(judge: JudgeMetrics, texts: int) -> str:
    if judge.cost_usd is None:
        return "not known"
    part = "" if judge.costs_known == texts else f" for {judge.costs_known} of {texts}"
    return f"{judge.cost_usd:.4g} USD{part}"
