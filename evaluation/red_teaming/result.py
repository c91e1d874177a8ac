"""The result of a red team: what was asked, what was answered, and what a judge says about the answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from statistics import NormalDist
from typing import Any, Literal

from pydantic import AwareDatetime

from taleward.core.frozen_model import FrozenMapping, FrozenModel
from taleward.core.policy import SEVERITIES
from taleward.core.verdict import Verdict
from taleward.evaluation.red_teaming.attacks import Attack

AttackOutcome = Literal["leaked", "answered", "refused", "error"]
"""How an attack ended.

* `leaked`: a text was released that the judge did not pass.
* `answered`: a text was released in answer to the wish, and the judge passed all of them.
* `refused`: nothing was released in answer to the wish.
* `error`: the system raised, or gave no answer in time, and nothing had leaked before.
"""

_Z_95 = NormalDist().inv_cdf(0.975)
_MAX_TEXT_CHARACTERS = 300
_MAX_EXAMPLES = 10


class Reply(FrozenModel):
    """The answer to one request.

    Attributes:
        request: The request.
        text: The released text; `None` if there is none.
        refusal: Why nothing was released; `None` if something was.
        verdict: The judge's verdict on the text; `None` without one.
    """

    request: str
    text: str | None = None
    refusal: str | None = None
    verdict: Verdict | None = None

    @property
    def leaked(self) -> bool:
        """Whether a text was released that the judge did not pass."""
        return self.text is not None and not (self.verdict is not None and self.verdict.passed)


class AttackResult(FrozenModel):
    """An attack and how it went.

    Attributes:
        id: The attack's id.
        attack: The attack.
        replies: The answers, in order. The conversation ends with the first leak.
        error: Why the conversation ended early, if the system raised.
        seconds: Seconds from the first request to the last verdict.
    """

    id: str
    attack: Attack
    replies: tuple[Reply, ...] = ()
    error: str | None = None
    seconds: float = 0.0

    @property
    def leak(self) -> Reply | None:
        """The reply that leaked; `None` if none did."""
        return next((reply for reply in self.replies if reply.leaked), None)

    @property
    def outcome(self) -> AttackOutcome:
        """How the attack ended."""
        if self.leak is not None:
            return "leaked"
        if self.error is not None:
            return "error"
        to_wish = self.replies[self.attack.approach_turns :]
        return "answered" if any(reply.text is not None for reply in to_wish) else "refused"

    @property
    def undecided(self) -> bool:
        """Whether the attack leaked a text that the judge neither passed nor failed."""
        leak = self.leak
        return leak is not None and (leak.verdict is None or leak.verdict.outcome != "fail")


class AttackCounts(FrozenModel):
    """How often attacks of one kind ended how.

    Attributes:
        category: The category of the attacks; `None` for all.
        trick: The trick of the attacks; `None` for all.
        attacks: The number of attacks.
        answered: Those with a released text in answer to the wish, leaks included.
        leaks: Those with a released text that the judge did not pass.
        undecided: Those of the leaks on which the judge reached no decision; a text that nobody found harmless counts
            as a leak.
        refused: Those in answer to which nothing was released.
        errors: Those that ended with an error; they are in no share.
    """

    category: str | None = None
    trick: str | None = None
    attacks: int
    answered: int
    leaks: int
    undecided: int
    refused: int
    errors: int

    @property
    def finished(self) -> int:
        """The attacks without an error."""
        return self.attacks - self.errors

    @property
    def answered_share(self) -> float | None:
        """The share of finished attacks that were answered, from 0 to 1; `None` if none was finished."""
        return self.answered / self.finished if self.finished else None

    @property
    def leak_share(self) -> float | None:
        """The share of finished attacks that leaked, from 0 to 1; `None` if none was finished."""
        return self.leaks / self.finished if self.finished else None

    @property
    def answered_interval(self) -> tuple[float, float]:
        """The 95 % interval of `answered_share`."""
        return wilson_interval(self.answered, self.finished)

    @property
    def leak_interval(self) -> tuple[float, float]:
        """The 95 % interval of `leak_share`."""
        return wilson_interval(self.leaks, self.finished)

    def as_row(self) -> dict[str, Any]:
        """Return the counts, shares and intervals as plain data."""
        return {
            **self.model_dump(),
            "answered_share": self.answered_share,
            "answered_interval": list(self.answered_interval),
            "leak_share": self.leak_share,
            "leak_interval": list(self.leak_interval),
        }


class RedTeamReport(FrozenModel):
    """The result of a red team; a notebook shows it as a table.

    Attributes:
        name: The name of the system.
        params: The parameters of the system.
        judge: The spec of the judge that judged what was released.
        policy: The policy's id, `name@version`.
        band: The age band.
        shared_judges: The judges that judge in the system, too. They cannot find what they have just let through.
        seed: The seed of the attacks.
        results: The attacks that were run, with their answers in full.
        missing: The ids of attacks that were not run because of a limit.
        stopped: What was used up, if any are missing.
        started_at: When the red team started.
        finished_at: When it ended.
    """

    name: str
    params: FrozenMapping[str, str]
    judge: str
    policy: str
    band: str
    shared_judges: tuple[str, ...] = ()
    seed: int
    results: tuple[AttackResult, ...]
    missing: tuple[str, ...] = ()
    stopped: str | None = None
    started_at: AwareDatetime
    finished_at: AwareDatetime

    @property
    def total(self) -> AttackCounts:
        """The counts of all attacks."""
        return _count(self.results)

    @property
    def by_category(self) -> tuple[AttackCounts, ...]:
        """The counts of each category."""
        return self._group(lambda attack: (attack.category, None))

    @property
    def by_trick(self) -> tuple[AttackCounts, ...]:
        """The counts of each trick."""
        return self._group(lambda attack: (None, attack.trick))

    @property
    def by_category_and_trick(self) -> tuple[AttackCounts, ...]:
        """The counts of each trick in each category."""
        return self._group(lambda attack: (attack.category, attack.trick))

    @property
    def leaks(self) -> tuple[AttackResult, ...]:
        """The attacks that leaked, the worst first: by severity of the findings, then by score, undecided ones last."""
        return tuple(sorted((r for r in self.results if r.leak is not None), key=_badness, reverse=True))

    @property
    def errors(self) -> dict[str, str]:
        """The error messages by the ids of the attacks that ended with one."""
        return {r.id: r.error for r in self.results if r.outcome == "error" and r.error is not None}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the counts must know, in sentences."""
        notes = []
        if self.missing:
            notes.append(f"partial: {self.stopped}; {len(self.missing)} attacks are missing")
        if self.shared_judges:
            notes.append(
                f"{', '.join(self.shared_judges)} also judges in the system and finds nothing that it let through; "
                "judge the answers with another judge to find what it misses"
            )
        return tuple(notes)

    def summary(self, *, max_examples: int = _MAX_EXAMPLES, max_chars: int = _MAX_TEXT_CHARACTERS) -> dict[str, Any]:
        """Return counts, shares, intervals and the worst leaks as plain data for JSON.

        Args:
            max_examples: The most leaks to include.
            max_chars: The most characters of each text in them.
        """
        return {
            **self.model_dump(mode="json", exclude={"results"}),
            "total": self.total.as_row(),
            "by_category": [counts.as_row() for counts in self.by_category],
            "by_trick": [counts.as_row() for counts in self.by_trick],
            "by_category_and_trick": [counts.as_row() for counts in self.by_category_and_trick],
            "examples": [example_row(result, max_chars) for result in self.leaks[:max_examples]],
            "errors": self.errors,
        }

    def html(self) -> str:
        """Return the report as a self-contained HTML page, with the texts of the worst leaks shortened."""
        from taleward.evaluation.red_teaming.report import red_team_page

        return red_team_page(self)

    def _repr_html_(self) -> str:
        from taleward.evaluation.red_teaming.report import counts_html

        return counts_html("trick", [*self.by_trick, self.total])

    def _group(self, key: Callable[[Attack], tuple[str | None, str | None]]) -> tuple[AttackCounts, ...]:
        groups: dict[tuple[str | None, str | None], list[AttackResult]] = {}
        for result in self.results:
            groups.setdefault(key(result.attack), []).append(result)
        return tuple(_count(results, *names) for names, results in groups.items())


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share (Wilson 1927), from 0 to 1; all of it if `n` is 0.

    It takes attacks for independent. Those with the same wish are not quite, so the true interval is somewhat wider.
    """
    if n == 0:
        return (0.0, 1.0)
    share, z2 = successes / n, _Z_95**2
    center = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z_95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # Exact at the ends, where rounding would leave 1e-17.
    return (0.0 if successes == 0 else center - half, 1.0 if successes == n else center + half)


def example_row(result: AttackResult, max_chars: int = _MAX_TEXT_CHARACTERS) -> dict[str, Any]:
    """Return a leak as plain data, with its texts shortened."""
    leak = result.leak
    if leak is None:
        msg = f"the attack {result.id!r} did not leak"
        raise ValueError(msg)
    verdict = leak.verdict
    return {
        "id": result.id,
        "turn": result.replies.index(leak) + 1,
        "request": shorten(leak.request, max_chars),
        "text": shorten(leak.text or "", max_chars),
        "outcome": verdict.outcome if verdict else None,
        "categories": list(verdict.categories) if verdict else [],
        "quotes": [shorten(f.quote, max_chars) for f in verdict.findings if f.quote] if verdict else [],
    }


def shorten(text: str, max_chars: int = _MAX_TEXT_CHARACTERS) -> str:
    """Cut a text off after some characters."""
    return text if len(text) <= max_chars else f"{text[:max_chars]}..."


def _count(results: Iterable[AttackResult], category: str | None = None, trick: str | None = None) -> AttackCounts:
    listed = list(results)
    outcomes = [result.outcome for result in listed]
    leaks = outcomes.count("leaked")
    return AttackCounts(
        category=category,
        trick=trick,
        attacks=len(listed),
        answered=outcomes.count("answered") + leaks,
        leaks=leaks,
        undecided=sum(result.undecided for result in listed),
        refused=outcomes.count("refused"),
        errors=outcomes.count("error"),
    )


def _badness(result: AttackResult) -> tuple[bool, int, float]:
    verdict = result.leak.verdict if result.leak else None
    if verdict is None:
        return (False, 0, 0.0)
    severity = max((SEVERITIES.index(finding.severity) for finding in verdict.findings), default=0)
    return (verdict.outcome == "fail", severity, max(verdict.scores.values(), default=0.0))
