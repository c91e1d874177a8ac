"""The judges: speed of the embedded one, ensembles, cascades.

`--quick` is the same with fewer repeats. Figures of quality are in the model's card and come from
`python -m training.judge.report`; here only the way judges are combined is measured, on fakes of known truth.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.table import Row, run
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


class Fake(Judge):
    """Knows each text's number, and so its score; takes `seconds`."""

    def __init__(self, scores: dict[str, float], seconds: float = 0.0) -> None:
        super().__init__("fake", policy="kids", band="6-8")
        self.scores, self.seconds = scores, seconds

    def assess(self, passage: Passage) -> Assessment:
        time.sleep(self.seconds)
        return Assessment(scores={"violence": self.scores.get(passage.text, 0.0)})


def passages(count: int) -> list[str]:
    """Texts of 150 words in sentences of 5 to 14."""
    chance = random.Random(0)

    def sentence() -> str:
        return " ".join(chance.choice(_WORDS) for _ in range(chance.randint(5, 14))).capitalize() + "."

    return [" ".join(" ".join(sentence() for _ in range(30)).split()[:150]) for _ in range(count)]


def one_core(quick: bool) -> Iterator[Row]:
    """The embedded judge in a process that may use one core."""
    code = (
        "import os, time, sys\n"
        "if hasattr(os, 'sched_setaffinity'): os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "begun = time.perf_counter()\n"
        "import taleward\n"
        "from benchmarks.judges import passages\n"
        "texts = passages(int(sys.argv[1]) + 1)\n"
        "judge = taleward.judge('embedded:judge')\n"
        "judge.invoke(texts.pop())\n"
        "cold = time.perf_counter() - begun\n"
        "begun = time.perf_counter()\n"
        "for text in texts: judge.invoke(text)\n"
        "print(cold, len(texts) / (time.perf_counter() - begun))\n"
    )
    runs = []
    for _ in range(1 if quick else 5):
        done = subprocess.run([sys.executable, "-c", code, "50"], capture_output=True, text=True, check=True)
        runs.append([float(figure) for figure in done.stdout.split()])
    cold, speed = (statistics.median(figures) for figures in zip(*runs, strict=True))
    yield Row("embedded judge, one core: cold start with the first verdict", "s", cold, goal="< 3 s", met=cold < 3)
    yield Row("embedded judge, one core: passages of 150 words", "a second", speed, goal=">= 25", met=speed >= 25)


def ensemble(quick: bool) -> Iterator[Row]:
    """Three judges of 200 ms each."""
    judges = [Fake({}, 0.2) for _ in range(3)]
    together = Ensemble(judges)
    ours, peer = [], []
    for _ in range(3 if quick else 10):
        begun = time.perf_counter()
        together.invoke("x")
        ours.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        for one in judges:
            one.invoke("x")
        peer.append(time.perf_counter() - begun)
    at_once, in_turn = statistics.median(ours) * 1000, statistics.median(peer) * 1000
    name = "one after the other"
    yield Row(
        "ensemble of three judges of 200 ms",
        "ms",
        at_once,
        in_turn,
        name,
        in_turn / at_once,
        "<= 230 ms",
        at_once <= 230,
    )


def cascade() -> Iterator[Row]:
    """A cheap judge with an AUC of 0.95 before an expensive one with an accuracy of 0.97; fitted on one half."""
    chance = random.Random(0)
    count = 10_000
    truth = {f"text {n}": chance.random() < 0.3 for n in range(count)}
    cheap = Fake({t: min(1.0, max(0.0, chance.gauss(0.67 if bad else 0.3, 0.16))) for t, bad in truth.items()})
    expensive = Fake({t: float(bad if chance.random() < 0.97 else not bad) for t, bad in truth.items()})
    train, test = list(truth)[: count // 2], list(truth)[count // 2 :]
    risks = [relative_risk(cheap.invoke(t), cheap.policy, cheap.band) for t in train]
    band = fit_uncertainty_band(risks, [truth[t] for t in train], [not expensive.invoke(t).passed for t in train])
    cascaded = Cascade([cheap, expensive], bands=[band])
    ours = _f1([truth[t] for t in test], [not cascaded.invoke(t).passed for t in test])
    peer = _f1([truth[t] for t in test], [not expensive.invoke(t).passed for t in test])
    alone = _f1([truth[t] for t in test], [not cheap.invoke(t).passed for t in test])
    escalated = cascaded.usage()[1].share
    yield Row(
        "cascade: F1",
        "",
        ours,
        peer,
        "the expensive judge alone",
        ours / peer,
        ">= the peer's - 0.01",
        ours >= peer - 0.01,
    )
    yield Row("cascade: F1", "", ours, alone, "the cheap judge alone", ours / alone)
    yield Row(
        "cascade: texts that reach the expensive judge",
        "share",
        escalated,
        1.0,
        "the expensive judge alone",
        1 / escalated,
        "<= 0.35",
        escalated <= 0.35,
    )


def _f1(truth: list[bool], failed: list[bool]) -> float:
    both = sum(t and f for t, f in zip(truth, failed, strict=True))
    return 2 * both / max(1, sum(truth) + sum(failed))


def measure(quick: bool) -> Iterator[Row]:
    """All rows."""
    yield from one_core(quick)
    yield from ensemble(quick)
    yield from cascade()


if __name__ == "__main__":
    run("judges", measure)
