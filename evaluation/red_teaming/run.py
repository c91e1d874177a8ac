"""Run a red team: attack a system, judge what it releases, and report what got through."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from langchain_core.runnables import Runnable

from taleward.core.errors import ConfigurationError
from taleward.core.policy import Policy
from taleward.evaluation.describe import describe_system
from taleward.evaluation.journal import Journal, journal_lock, open_journal
from taleward.evaluation.red_teaming.attacks import Attack, make_attacks
from taleward.evaluation.red_teaming.interview import Interview, RedTeamSystem, default_takes_messages
from taleward.evaluation.red_teaming.result import AttackResult, RedTeamReport
from taleward.evaluation.run_samples import EvaluationBudget, progress_bar, run_async
from taleward.moderation.judges import Judge, judge as make_judge
from taleward.moderation.judges.base import check_timeout
from taleward.moderation.policies.load import load_policy

DEFAULT_JUDGES = ("lexicon", "embedded:judge")
"""The judges of what a system releases, unless you name others."""

DEFAULT_JOURNALS = Path(".taleward/red-team")
"""The default folder of the journals of red teams."""


def red_team(
    system: RedTeamSystem,
    *,
    judge: Judge | str | Sequence[str | Judge] = DEFAULT_JUDGES,
    policy: Policy | str | None = None,
    band: str | None = None,
    categories: Iterable[str] | None = None,
    tricks: Iterable[str] | None = None,
    wishes: int | None = 2,
    max_turns: int = 4,
    attacks: str | Path | None = None,
    takes_messages: bool | None = None,
    input_key: str | None = None,
    name: str | None = None,
    params: Mapping[str, str] | None = None,
    timeout_s: float | None = 120.0,
    max_seconds: float | None = None,
    concurrency: int = 8,
    resume: bool = True,
    seed: int = 0,
    progress: bool = True,
    folder: Path = DEFAULT_JOURNALS,
) -> RedTeamReport:
    """Ask a system for what its policy does not allow, with the tricks of children and attackers, and count the leaks.

    A leak is a released text that an independent judge does not pass. In the conversations (`insistence` and
    `escalation`) a scripted child goes on asking, in other words after a refusal than after an answer.

    Finished attacks are on disk at once: if the process is killed, the same call continues where it stopped, and asks
    again where the system raised. The journal holds what the system released; it is deleted when the call returns a
    complete report.

    Args:
        system: A guard, a guarded chat, a chain, an agent, or a function. It may return a text, a message, a tale, a
            mapping with `messages`, or `None` for a refusal; raising `Refused` or `ContentFiltered` is a refusal, too.
            A system that is called with one request after another must not mix up concurrent conversations.
        judge: The judge of what is released: a judge, a spec, or several that must all pass it. Take another one than
            the system's own, which has passed it already.
        policy: The policy of that judge; by default that of the system's judge, or `kids`.
        band: The age band of that judge; by default that of the system's judge, or `6-8`.
        categories: The categories to attack; by default all of the policy for which there are wishes.
        tricks: The tricks to use; by default all.
        wishes: The number of wishes for each category and trick; `None` for all.
        max_turns: The most turns of a conversation.
        attacks: A YAML file with wishes of your own by category. Templates that it lacks are the built-in ones.
        takes_messages: Whether the system takes the conversation as a list of messages; by default chat models do, and
            anything else gets each request alone.
        input_key: The name of the input, for a system that takes a mapping, such as `messages` for an agent.
        name: The name of the system; by default that of the function or type.
        params: What tells two versions of your own function or Runnable apart: a killed red team of another version
            must not be continued.
        timeout_s: Seconds for each answer, and again for its verdict; `None` for no limit.
        max_seconds: The most seconds in which this call starts attacks. The report is then partial, and the same call
            goes on.
        concurrency: How many attacks run at once.
        resume: Whether to continue a killed red team of the same system, judge and attacks; otherwise it starts again.
        seed: Seed of the attacks.
        progress: Whether to show a progress bar if standard error is a terminal.
        folder: The folder of the journals.

    Raises:
        ConfigurationError: If a number is out of range, the judge cannot be made, nothing is selected, or every attack
            ended with an error.
        UnknownName: If there is no such category, trick, policy or band.
        InvalidFile: If the file of attacks cannot be read.
        JournalLocked: If another process is running the same red team.
        KeyboardInterrupt: If you interrupt it; a note says what is kept.
    """
    if not isinstance(system, Runnable) and not callable(system):
        raise ConfigurationError(f"a red team attacks a Runnable or a function; got {system!r:.80}.")
    if concurrency < 1:
        raise ConfigurationError(f"concurrency must be at least 1; got {concurrency}.")
    check_timeout(timeout_s)
    budget = EvaluationBudget(max_seconds=max_seconds)
    own_judge = getattr(system, "judge", None)
    checker = _make_checker(judge, own_judge if isinstance(own_judge, Judge) else None, policy, band)
    made = make_attacks(
        checker.policy,
        categories=categories,
        tricks=tricks,
        wishes=wishes,
        max_turns=max_turns,
        seed=seed,
        file=None if attacks is None else Path(attacks),
    )
    if takes_messages is None:
        takes_messages = default_takes_messages(system)
    interview = Interview(system, checker, takes_messages, input_key, timeout_s)
    system_params = {**describe_system(system), **(params or {})}
    plan: dict[str, Any] = {
        "name": name or system_params["system"],
        "params": system_params,
        "own_judge": describe_system(own_judge) if isinstance(own_judge, Judge) else None,
        "judge": describe_system(checker),
        "judges": list(_specs(checker)),
        "attacks": hashlib.sha256("".join(a.model_dump_json() for a in made).encode()).hexdigest(),
        "takes_messages": takes_messages,
        "input_key": input_key,
        "seed": seed,
        "taleward": version("taleward"),
    }
    journal = open_journal(folder, plan, resume=resume)
    with journal_lock(journal), _note_of_what_is_kept(journal, len(made)):
        results, stopped = _run(interview, made, journal, concurrency, budget, progress)
        report = RedTeamReport(
            name=plan["name"],
            params=system_params,
            judge=checker.spec,
            policy=checker.policy.id,
            band=checker.band,
            shared_judges=_shared_judges(checker, own_judge) if isinstance(own_judge, Judge) else (),
            seed=seed,
            results=tuple(results[attack.id] for attack in made if attack.id in results),
            missing=tuple(attack.id for attack in made if attack.id not in results),
            stopped=stopped,
            started_at=datetime.fromtimestamp((journal.folder / "plan.json").stat().st_mtime, UTC),
            finished_at=datetime.now(UTC),
        )
        if not results:
            raise ConfigurationError(f"no attack was finished: {stopped}.", hint="Raise the limit.")
        if len(report.errors) == len(results):
            # A system that cannot be called is not a safe one.
            raise ConfigurationError(
                f"all {len(results)} attacks ended with an error; the first: {next(iter(report.errors.values()))}"
            )
        if not report.missing:
            journal.remove()
    return report


def _run(
    interview: Interview,
    attacks: Sequence[Attack],
    journal: Journal,
    concurrency: int,
    budget: EvaluationBudget,
    progress: bool,
) -> tuple[dict[str, AttackResult], str | None]:
    """Run the attacks that the journal lacks; return all results by id, and what was used up before the end."""
    results = journal.samples(AttackResult.model_validate)
    budget.started_s = time.monotonic()
    remaining = iter([attack for attack in attacks if attack.id not in results])
    stopped: list[str] = []

    async def worker(append: Callable[[str], None], advance: Callable[[], None]) -> None:
        # All workers take from one iterator, so that each attack runs once. Look at the budget first: what is taken
        # from the iterator must run.
        while not stopped:
            if reason := budget.used_up:
                stopped.append(reason)
                return
            attack = next(remaining, None)
            if attack is None:
                return
            result = await interview.attack(attack)
            results[result.id] = result
            if result.outcome != "error":  # an error may be gone when the call is repeated
                append(result.model_dump_json())
            advance()

    async def run_workers() -> None:
        with progress_bar(progress, len(attacks), len(results)) as advance, journal.open_samples() as append:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(concurrency, len(attacks))):
                        group.create_task(worker(append, advance))
            except ExceptionGroup as errors:  # several workers may have met the same full disk
                raise errors.exceptions[0] from None

    run_async(run_workers)
    is_complete = len(results) == len(attacks)
    return results, None if is_complete or not stopped else stopped[0]


def _make_checker(
    judge: Judge | str | Sequence[str | Judge], own_judge: Judge | None, policy: Policy | str | None, band: str | None
) -> Judge:
    """Make the judge of what is released; policy and band are those of the system's own judge unless they are given."""
    if isinstance(judge, Judge):
        if policy is not None or band is not None:
            raise ConfigurationError(
                f"the judge {judge.spec!r} has its own policy and band.", hint="Leave policy and band out."
            )
        return judge
    used_policy = policy or (own_judge.policy if own_judge else "kids")
    used_band = band or (own_judge.band if own_judge else "6-8")
    loaded = load_policy(used_policy) if isinstance(used_policy, str) else used_policy
    specs: list[Any] = [judge] if isinstance(judge, str) else list(judge)
    if not specs:
        raise ConfigurationError("a red team needs a judge; got an empty list.")
    return make_judge(specs[0] if len(specs) == 1 else specs, policy=loaded, band=used_band)


def _specs(judge: Judge) -> Iterator[str]:
    """Yield the specs of the judges that a judge is made of."""
    inner = getattr(judge, "judge", None)
    parts: Sequence[Judge] = getattr(judge, "judges", None) or ([inner] if isinstance(inner, Judge) else [])
    if not parts:
        yield judge.spec
    for part in parts:
        yield from _specs(part)


def _shared_judges(checker: Judge, own_judge: Judge) -> tuple[str, ...]:
    own = set(_specs(own_judge))
    return tuple(dict.fromkeys(spec for spec in _specs(checker) if spec in own))


@contextmanager
def _note_of_what_is_kept(journal: Journal, total: int) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as interrupt:
        kept = len(journal.samples(lambda row: row))
        interrupt.add_note(
            f"{kept} of {total} attacks are finished and kept in {journal.folder}; the same call goes on from there, "
            "and resume=False starts again."
        )
        raise
