"""Judges: the embedded judge's speed, ensembles and cascades: `python -m benchmarks.judges`.

Figures of quality are in the embedded judge's card and come from `python -m training.judge.report`. Here, judges are
combined that are fakes with a known truth.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from benchmarks.table import Row, Size, pick, run
from taleward.core.verdict import Passage
from taleward.moderation.judges.base import Assessment, Judge
from taleward.moderation.judges.cascade import Cascade, fit_uncertainty_band, relative_risk
from taleward.moderation.judges.ensemble import Ensemble

_WORDS = (
    "fox",
    "owl",
    "ran",
    "sang",
    "sea",
    "small",
    "green",
    "home",
    "met",
    "a",
    "and",
    "the",
    "with",
    "friend",
    "said",
)


class ScoredJudge(Judge):
    """Looks up the score of each text, and takes `delay_s` seconds."""

    def __init__(self, scores: dict[str, float], delay_s: float = 0.0) -> None:
        super().__init__("fake", policy="kids", band="6-8")
        self.scores, self.delay_s = scores, delay_s

    def assess(self, passage: Passage) -> Assessment:
        time.sleep(self.delay_s)
        return Assessment(scores={"violence": self.scores.get(passage.text, 0.0)})


def passages(count: int) -> list[str]:
    """Return texts of 150 words in sentences of 5 to 14."""
    rng = random.Random(0)

    def sentence() -> str:
        return " ".join(rng.choice(_WORDS) for _ in range(rng.randint(5, 14))).capitalize() + "."

    return [" ".join(" ".join(sentence() for _ in range(30)).split()[:150]) for _ in range(count)]


def one_core(size: Size) -> Iterator[Row]:
    """The embedded judge in a process that may use one core."""
    code = (
        "import os, time, sys\n"
        "if hasattr(os, 'sched_setaffinity'): os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "start = time.perf_counter()\n"
        "import taleward\n"
        "from benchmarks.judges import passages\n"
        "texts = passages(int(sys.argv[1]) + 1)\n"
        "judge = taleward.judge('embedded:judge')\n"
        "judge.invoke(texts.pop())\n"
        "cold = time.perf_counter() - start\n"
        "start = time.perf_counter()\n"
        "for text in texts: judge.invoke(text)\n"
        "print(cold, len(texts) / (time.perf_counter() - start))\n"
    )
    runs = []
    for _ in range(pick(size, full=5, quick=1, smoke=1)):
        command = [sys.executable, "-c", code, str(pick(size, full=50, quick=50, smoke=1))]
        process = subprocess.run(command, capture_output=True, text=True, check=True)
        runs.append([float(figure) for figure in process.stdout.split()])
    cold, speed = (statistics.median(figures) for figures in zip(*runs, strict=True))
    yield Row("embedded judge, one core: cold start to the first verdict", "s", cold, goal="< 3 s", met=cold < 3)
    yield Row("embedded judge, one core: passages of 150 words", "per second", speed, goal=">= 40", met=speed >= 40)


def ensemble(size: Size) -> Iterator[Row]:
    """Three judges of 200 ms each."""
    judges = [ScoredJudge({}, 0.2) for _ in range(3)]
    concurrent_judge = Ensemble(judges)
    concurrent_s, sequential_s = [], []
    for _ in range(pick(size, full=10, quick=3, smoke=1)):
        start = time.perf_counter()
        concurrent_judge.invoke("x")
        concurrent_s.append(time.perf_counter() - start)
        start = time.perf_counter()
        for judge in judges:
            judge.invoke("x")
        sequential_s.append(time.perf_counter() - start)
    ours, peer = statistics.median(concurrent_s) * 1000, statistics.median(sequential_s) * 1000
    yield Row(
        "ensemble of three judges of 200 ms", "ms", ours, peer, "in sequence", peer / ours, "<= 230 ms", ours <= 230
    )


def cascade(size: Size) -> Iterator[Row]:
    """A cheap judge with an AUC of 0.95 before an expensive one with an accuracy of 0.97; fitted on one half."""
    rng = random.Random(0)
    count = pick(size, full=10_000, quick=10_000, smoke=200)
    truth = {f"text {n}": rng.random() < 0.3 for n in range(count)}
    cheap = ScoredJudge({t: min(1.0, max(0.0, rng.gauss(0.67 if bad else 0.3, 0.16))) for t, bad in truth.items()})
    expensive = ScoredJudge({t: float(bad if rng.random() < 0.97 else not bad) for t, bad in truth.items()})
    train, test = list(truth)[: count // 2], list(truth)[count // 2 :]
    risks = [relative_risk(cheap.invoke(t), cheap.policy, cheap.band) for t in train]
    band = fit_uncertainty_band(risks, [truth[t] for t in train], [not expensive.invoke(t).passed for t in train])
    cascaded = Cascade([cheap, expensive], bands=[band])
    ours, peer, alone = (_f1(judge, test, truth) for judge in (cascaded, expensive, cheap))
    escalated = cascaded.usage()[1].share
    expensive_name = "the expensive judge alone"
    yield Row("cascade: F1", "", ours, peer, expensive_name, ours / peer, ">= the peer's - 0.01", ours >= peer - 0.01)
    yield Row("cascade: F1", "", ours, alone, "the cheap judge alone", ours / alone)
    yield Row(
        "cascade: texts that reach the expensive judge",
        "share",
        escalated,
        1.0,
        expensive_name,
        1 / escalated if escalated else None,
        "<= 0.35",
        escalated <= 0.35,
    )


def _f1(judge: Judge, texts: Sequence[str], truth: dict[str, bool]) -> float:
    failed = [not judge.invoke(text).passed for text in texts]
    harmful = [truth[text] for text in texts]
    true_positives = sum(h and f for h, f in zip(harmful, failed, strict=True))
    return 2 * true_positives / max(1, sum(harmful) + sum(failed))


def measure(size: Size) -> Iterator[Row]:
    """Yield all rows."""
    yield from one_core(size)
    yield from ensemble(size)
    yield from cascade(size)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line."""
    return run("judges", measure, arguments)


if __name__ == "__main__":
    sys.exit(main())
