"""Ask several judges at once and combine their verdicts by a rule."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias, get_args

from taleward.core.concurrency.timeout import call_with_timeout
from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict
from taleward.core.redaction import format_error
from taleward.core.verdict import Outcome, Passage, Verdict
from taleward.moderation.judges.base import Assessment, Judge, check_timeout

Rule: TypeAlias = Literal["any", "all", "majority", "weighted"]
RULES: tuple[Rule, ...] = get_args(Rule)


class Ensemble(Judge):
    """Ask all judges at once and combine their verdicts by a rule.

    | rule | a text fails if |
    |---|---|
    | `any` | any judge fails it |
    | `all` | all judges fail it |
    | `majority` | more than half of the judges fail it |
    | `weighted` | the judges that fail it have at least half of the total weight |

    A judge without a clear answer (`abstain`, `unparsable`, `error`, or late) never helps a text: the text passes only
    if it would still pass had that judge failed it.

    A category's score is the highest under `any`, the lowest under `all`, and otherwise the weighted mean. The findings
    are those of the judges that agree with the outcome; the cost is the sum.

    Args:
        judges: Two or more judges with the same policy and age band.
        rule: How to combine their verdicts.
        weights: One weight above 0 for each judge; required by the rule `weighted`, invalid with the others.
        timeout_s: Seconds to wait for each judge; a late judge counts as one with the outcome `error`. `None` for no
            limit.

    Raises:
        ConfigurationError: If the judges cannot be combined, or an argument is out of range.
    """

    # The scores of different judges are mixed; calibrate each judge by itself.
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
            raise ConfigurationError(f"unknown rule {rule!r}; choose one of {', '.join(RULES)}.")
        if (weights is not None) != (rule == "weighted"):
            raise ConfigurationError("the rule 'weighted' needs weights, and no other rule takes them.")
        if weights is not None and (len(weights) != len(judges) or min(weights) <= 0):
            raise ConfigurationError(f"weights must be {len(judges)} numbers above 0; got {list(weights)}.")
        check_timeout(timeout_s)
        specs = ", ".join(judge.spec for judge in judges)
        super().__init__(f"{rule}({specs})", policy=judges[0].policy, band=judges[0].band)
        self.max_chars = max(judge.max_chars for judge in judges)
        self.judges, self.rule, self.timeout_s = tuple(judges), rule, timeout_s
        self.weights = tuple(weights or (1.0 for _ in judges))

    def assess(self, passage: Passage) -> Assessment:
        """Ask all judges at once, each in its own thread."""
        verdicts: list[Verdict | None] = [None] * len(self.judges)

        def ask(number: int) -> None:
            judge = self.judges[number]
            try:
                verdicts[number] = call_with_timeout(self.timeout_s, lambda: judge.invoke(passage), judge.left_behind)
            except Exception as error:  # noqa: BLE001  fail closed: no verdict is not a pass
                verdicts[number] = self._error_verdict(judge, error)

        # Not a pool: its threads are joined when the process exits, so one judge that hangs would keep it alive.
        threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(ask, n), daemon=True)
            for n in range(1, len(self.judges))
        ]
        for thread in threads:
            thread.start()
        ask(0)
        for thread in threads:
            thread.join()
        return self._combine([v or self._error_verdict(j, None) for v, j in zip(verdicts, self.judges, strict=True)])

    async def aassess(self, passage: Passage) -> Assessment:
        """Ask all judges at once, without blocking the event loop."""

        async def ask(judge: Judge) -> Verdict:
            try:
                return await asyncio.wait_for(judge.ainvoke(passage), self.timeout_s)
            except Exception as error:  # noqa: BLE001  fail closed: no verdict is not a pass
                return self._error_verdict(judge, error)

        return self._combine(await asyncio.gather(*(ask(judge) for judge in self.judges)))

    def _error_verdict(self, judge: Judge, error: Exception | None) -> Verdict:
        if isinstance(error, TimeoutError):
            detail = f"no answer within {self.timeout_s} s"
        else:
            detail = format_error(error) if error else "the judge ended without a verdict"
        return Verdict(outcome="error", judge=judge.spec, policy=self.policy.id, band=self.band, detail=detail)

    def _combine(self, verdicts: Sequence[Verdict]) -> Assessment:
        outcome = self._outcome([v.outcome for v in verdicts])
        problems = [
            f"{v.judge}: {v.outcome}{f' ({v.detail})' if v.detail else ''}" for v in verdicts if not is_decided(v)
        ]
        agreeing = [v for v in verdicts if v.outcome == outcome] or verdicts
        return Assessment(
            outcome=outcome,
            scores=FrozenDict(self._scores(verdicts)),
            findings=tuple(dict.fromkeys(f for v in agreeing for f in v.findings)),
            detail="; ".join(problems),
            cost_usd=total_cost(verdicts),
        )

    def _outcome(self, outcomes: Sequence[Outcome]) -> Outcome:
        # Judges without a clear answer are counted twice: once as if they failed the text, once as if they passed it.
        # If the results differ, the answer depends on what they would have said, and their outcome stands.
        if not self._fails([outcome != "pass" for outcome in outcomes]):
            return "pass"
        if self._fails([outcome == "fail" for outcome in outcomes]):
            return "fail"
        return next(outcome for outcome in ("error", "unparsable", "abstain") if outcome in outcomes)

    def _fails(self, failed: Sequence[bool]) -> bool:
        failed_weight = sum(weight for weight, f in zip(self.weights, failed, strict=True) if f)
        rules: Mapping[Rule, Callable[[], bool]] = {
            "any": lambda: any(failed),
            "all": lambda: all(failed),
            "majority": lambda: sum(failed) * 2 > len(failed),
            "weighted": lambda: failed_weight * 2 >= sum(self.weights),
        }
        return rules[self.rule]()

    def _scores(self, verdicts: Sequence[Verdict]) -> dict[str, float]:
        scores: dict[str, float] = {}
        for category in self.policy.categories:
            weighted = [
                (v.scores[category], w) for v, w in zip(verdicts, self.weights, strict=True) if category in v.scores
            ]
            if not weighted:
                continue
            if self.rule in ("any", "all"):
                scores[category] = (max if self.rule == "any" else min)(score for score, _ in weighted)
            else:
                scores[category] = sum(score * w for score, w in weighted) / sum(w for _, w in weighted)
        return scores


def is_decided(verdict: Verdict) -> bool:
    """Tell whether a verdict is a pass or a fail."""
    return verdict.outcome in ("pass", "fail")


def total_cost(verdicts: Sequence[Verdict]) -> float | None:
    """Return the sum of the known costs in US dollars; `None` if none is known."""
    costs = [v.cost_usd for v in verdicts if v.cost_usd is not None]
    return sum(costs) if costs else None


def check_judges(judges: Sequence[Judge]) -> None:
    """Check that judges can be combined.

    Raises:
        ConfigurationError: If there are fewer than two, if one is not a judge, or if their policies or age bands
            differ.
    """
    if len(judges) < 2 or not all(isinstance(judge, Judge) for judge in judges):
        types = ", ".join(type(judge).__name__ for judge in judges) or "none"
        raise ConfigurationError(f"combine two or more judges; got {types}.")
    rules = {(judge.policy.id, judge.band) for judge in judges}
    if len(rules) > 1:
        raise ConfigurationError(f"combined judges need one policy and age band; got {sorted(rules)}.")
