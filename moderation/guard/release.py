"""The release policy: whether a judged text is released, judged again, revised or refused, and why.

`Guard.invoke`, `Guard.stream`, `BestOf` and `GuardedChat` all use these functions, so that they release the same texts
and give the same reasons:

| outcome              | action                                        | reason, if nothing better follows      |
|----------------------|-----------------------------------------------|----------------------------------------|
| `pass`               | release                                       |                                        |
| `fail`               | revise if drafts are left, else refuse        | `failed`; `input` for inputs           |
| `abstain`            | revise if drafts are left, else refuse        | `unjudged`; `timeout` after the limit  |
| `unparsable`, `error`| ask again if that may be done, else refuse    | `unjudged`; `timeout` after the limit  |
| no draft in time     | refuse                                        | `timeout`                              |
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal

from taleward.core.tale import RefusalReason
from taleward.core.verdict import Passage, Verdict
from taleward.moderation.guard.run import GuardRun
from taleward.moderation.guard.steps import JudgePassage

Action = Literal["release", "ask_again", "revise", "refuse"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a judged text.

    Attributes:
        action: See the table above.
        reason: The reason for a refusal, if nothing better follows; without meaning for a release.
    """

    action: Action
    reason: RefusalReason = "unjudged"

    @property
    def released(self) -> bool:
        """Whether the text may leave."""
        return self.action == "release"


RELEASE = Decision("release")
TIMED_OUT = Decision("refuse", "timeout")
"""The decision if the deadline passes before there is a text to judge."""


def decide(
    verdict: Verdict,
    *,
    timed_out: bool,
    asks_left: int = 0,
    revisions_left: int = 0,
    if_failed: RefusalReason = "failed",
) -> Decision:
    """Decide what to do with a text.

    Args:
        verdict: The verdict on it.
        timed_out: Whether the deadline has passed.
        asks_left: How often the judge may still be asked about this text.
        revisions_left: How many drafts may still be written.
        if_failed: The reason for a refusal if the text was judged and failed.
    """
    # The only way to a release: any other outcome, known or new, ends below.
    if verdict.passed:
        return RELEASE
    unjudged: RefusalReason = "timeout" if timed_out else "unjudged"
    reason = if_failed if verdict.outcome == "fail" else unjudged
    if has_answer(verdict):
        return Decision("revise" if revisions_left > 0 else "refuse", reason)
    return Decision("ask_again" if asks_left > 0 and not timed_out else "refuse", reason)


def has_answer(verdict: Verdict) -> bool:
    """Whether the judge answered; if not (`unparsable`, `error`), asking again may help, and another draft does not."""
    return verdict.outcome not in ("unparsable", "error")


def release(text: str, verdict: Verdict) -> str:
    """Return a text that leaves the guard; all released text passes through this function.

    Raises:
        RuntimeError: If the verdict is not a pass. That is a bug in the caller, and nothing is released.
    """
    if not verdict.passed:
        msg = f"a text with outcome {verdict.outcome!r} must not be released; this is a bug in taleward"
        raise RuntimeError(msg)
    return text


def judge_once(run: GuardRun, passage: Passage) -> Generator[JudgePassage, Any, Verdict]:
    """Ask the judge once; an exception, a time-out or anything but a verdict becomes a verdict with outcome `error`."""
    try:
        answer = yield JudgePassage(passage)
    except Exception as error:  # noqa: BLE001  a judge that fails must not release anything
        if isinstance(error, TimeoutError) and run.timed_out():
            return run.verdict("error", "the time limit passed before the judge answered")
        return run.verdict_from_error(error)
    return run.verdict_from_answer(answer)


def judge_draft(run: GuardRun, draft: str) -> Generator[JudgePassage, Any, Verdict]:
    """Ask the judge once about a draft; one that is too long is not read, and its verdict is `abstain`."""
    if len(draft) > run.max_draft_chars:
        return run.draft_too_long()
    return (yield from judge_once(run, Passage(text=draft)))


def judge_until_answered(
    run: GuardRun,
    passage: Passage,
    *,
    first: Verdict | None = None,
    revisions_left: int = 0,
    if_failed: RefusalReason = "failed",
) -> Generator[JudgePassage, Any, tuple[Verdict, Decision]]:
    """Ask the judge until it answers, at most as often as the run has attempts.

    Args:
        run: The run.
        passage: The text to judge.
        first: The verdict of a first call that was already made.
        revisions_left: As for `decide`.
        if_failed: As for `decide`.

    Returns:
        The last verdict, and what to do with the text: anything but `ask_again`.
    """
    verdict = first if first is not None else (yield from judge_once(run, passage))
    asks_left = run.attempts
    while True:
        asks_left -= 1
        decision = decide(
            verdict,
            timed_out=run.timed_out(),
            asks_left=asks_left,
            revisions_left=revisions_left,
            if_failed=if_failed,
        )
        if decision.action != "ask_again":
            return verdict, decision
        verdict = yield from judge_once(run, passage)
