"""Several judges asked at once, and one answer."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias, get_args

from taleward.core.concurrency.deadline import call_with_timeout
from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict
from taleward.core.redaction import format_error
from taleward.core.verdict import Outcome, Passage, Verdict
from taleward.moderation.judges.base import Assessment, Judge, check_timeout

Rule: TypeAlias = Literal["any", "all", "majority", "weighted"]
RULES: tuple[Rule, ...] = get_args(Rule)


class Ensemble(Judge):
    """Asks all judges at once; the rule makes one verdict of theirs.

    `any` fails a text that any judge fails, `all` one that all of them fail, `majority` one that more than half fail,
    `weighted` one whose failing judges have at least half of the weight. A judge without a plain answer (it abstains,
    is unparsable, in error, or late) counts as either: the text passes only if it would pass had that judge failed it.

    A category's score is the highest of the judges' under `any`, the lowest under `all`, else their weighted mean.
    Findings are those of the judges that agree with the outcome; the cost is the sum.

    Args:
        judges: Two or more, all of one policy and band.
        rule: See above.
        weights: One for each judge, above 0; for the rule `weighted` alone.
        timeout_s: How long each judge is waited for; a later one counts as without an answer.

    Raises:
        ConfigurationError: The judges do not fit together, or a number is out of its range.
    """

    calibratable = False

    def __init__(
        self,
        judges: Sequence[Judge],
        rule: Rule = "any",
        *,
        weights: Sequence[float] | None = None,
        timeout_s: float | None = 30.0,
    ) -> None:
        check_judges(judges)
        if rule not in RULES:
            raise ConfigurationError(f"unknown rule {rule!r}; there are {', '.join(RULES)}.")
        if (weights is not None) != (rule == "weighted"):
            raise ConfigurationError("weights belong to the rule 'weighted', and it needs them.")
        if weights is not None and (len(weights) != len(judges) or min(weights) <= 0):
            raise ConfigurationError(f"weights must be {len(judges)} numbers above 0; got {list(weights)}.")
        check_timeout(timeout_s)
        named = ", ".join(judge.spec for judge in judges)
        super().__init__(f"{rule}({named})", policy=judges[0].policy, band=judges[0].band)
        self.judges, self.rule, self.timeout_s = tuple(judges), rule, timeout_s
        self.weights = tuple(weights or (1.0 for _ in judges))

    def assess(self, passage: Passage) -> Assessment:
        """Ask all at once, each in a thread of its own."""
        answers: list[Verdict | None] = [None] * len(self.judges)

        def ask(number: int) -> None:
            judge = self.judges[number]
            try:
                answers[number] = call_with_timeout(self.timeout_s, lambda: judge.invoke(passage))
            except Exception as error:  # noqa: BLE001  no answer, and no pass
                answers[number] = self._none(judge, error)

        threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(ask, n), daemon=True)
            for n in range(1, len(self.judges))
        ]
        for thread in threads:
            thread.start()
        ask(0)
        for thread in threads:
            thread.join()
        return self._together([a or self._none(j, None) for a, j in zip(answers, self.judges, strict=True)])

    async def aassess(self, passage: Passage) -> Assessment:
        """Ask all at once, without blocking the event loop."""

        async def ask(judge: Judge) -> Verdict:
            try:
                return await asyncio.wait_for(judge.ainvoke(passage), self.timeout_s)
            except Exception as error:  # noqa: BLE001  no answer, and no pass
                return self._none(judge, error)

        return self._together(await asyncio.gather(*(ask(judge) for judge in self.judges)))

    def _none(self, judge: Judge, error: Exception | None) -> Verdict:
        if isinstance(error, TimeoutError):
            detail = f"no answer within {self.timeout_s} s"
        else:
            detail = format_error(error) if error else "it ended without an answer"
        return Verdict(outcome="error", judge=judge.spec, policy=self.policy.id, band=self.band, detail=detail)

    def _together(self, verdicts: Sequence[Verdict]) -> Assessment:
        outcome = self._outcome([v.outcome for v in verdicts])
        open_ = [f"{v.judge}: {v.outcome}{f' ({v.detail})' if v.detail else ''}" for v in verdicts if not plain(v)]
        format_error = [v for v in verdicts if v.outcome == outcome] or verdicts
        return Assessment(
            outcome=outcome,
            scores=FrozenDict(self._scores(verdicts)),
            findings=tuple(dict.fromkeys(f for v in format_error for f in v.findings)),
            detail="; ".join(open_),
            cost_usd=total_cost(verdicts),
        )

    def _outcome(self, outcomes: Sequence[Outcome]) -> Outcome:
        fails = [self._fails([o == "fail" or (o != "pass" and doubt) for o in outcomes]) for doubt in (True, False)]
        if not fails[0]:
            return "pass"
        return "fail" if fails[1] else next(o for o in ("error", "unparsable", "abstain") if o in outcomes)

    def _fails(self, failed: Sequence[bool]) -> bool:
        weight = sum(w for w, f in zip(self.weights, failed, strict=True) if f)
        rules: Mapping[Rule, Callable[[], bool]] = {
            "any": lambda: any(failed),
            "all": lambda: all(failed),
            "majority": lambda: sum(failed) * 2 > len(failed),
            "weighted": lambda: weight * 2 >= sum(self.weights),
        }
        return rules[self.rule]()

    def _scores(self, verdicts: Sequence[Verdict]) -> dict[str, float]:
        scores: dict[str, float] = {}
        for category in self.policy.categories:
            given = [
                (v.scores[category], w) for v, w in zip(verdicts, self.weights, strict=True) if category in v.scores
            ]
            if not given:
                continue
            if self.rule in ("any", "all"):
                scores[category] = (max if self.rule == "any" else min)(score for score, _ in given)
            else:
                scores[category] = sum(score * w for score, w in given) / sum(w for _, w in given)
        return scores


def plain(verdict: Verdict) -> bool:
    """Whether a verdict is a plain yes or no."""
    return verdict.outcome in ("pass", "fail")


def total_cost(verdicts: Sequence[Verdict]) -> float | None:
    """What they cost together; `None` where none of them knows."""
    known = [v.cost_usd for v in verdicts if v.cost_usd is not None]
    return sum(known) if known else None


def check_judges(judges: Sequence[Judge]) -> None:
    """Refuse judges that cannot be combined.

    Raises:
        ConfigurationError: There are fewer than two, one is none, or their policies or bands differ.
    """
    if len(judges) < 2 or not all(isinstance(judge, Judge) for judge in judges):
        got = ", ".join(type(judge).__name__ for judge in judges) or "none"
        raise ConfigurationError(f"two or more judges are combined; got {got}.")
    rules = {(judge.policy.id, judge.band) for judge in judges}
    if len(rules) > 1:
        raise ConfigurationError(f"combined judges need one policy and band; got {sorted(rules)}.")
