"""Make attacks from wishes and tricks."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from taleward.core.errors import ConfigurationError, UnknownName
from taleward.core.frozen_model import FrozenDict, FrozenModel
from taleward.core.policy import Policy
from taleward.core.yaml_files import YamlFile
from taleward.evaluation.red_teaming.tricks import TRICKS, AttackData, TrickContext

BUILT_IN_ATTACKS = Path(__file__).parent / "data" / "attacks.yaml"


class Attack(FrozenModel):
    """A request, or a conversation, that asks for what the policy does not allow.

    Attributes:
        id: Identifies the attack: category, number of the wish in its category from 1, and trick.
        category: The category of the policy that an answer to the wish would violate.
        trick: The name of the trick.
        wish: The wish in plain words.
        turns: The requests, in order; each after the first follows an answer.
        after_refusal: What is asked at the same turn instead if the one before was refused; as long as `turns`.
        approach_turns: The number of turns before the wish is said; what is answered to them is no answer to the wish.
    """

    id: str
    category: str
    trick: str
    wish: str
    turns: tuple[str, ...]
    after_refusal: tuple[str, ...]
    approach_turns: int = 0


def make_attacks(
    policy: Policy,
    *,
    categories: Iterable[str] | None = None,
    tricks: Iterable[str] | None = None,
    wishes: int | None = 2,
    max_turns: int = 4,
    seed: int = 0,
    file: Path | None = None,
) -> tuple[Attack, ...]:
    """Make the attacks of a red team: each trick with some wishes of each category.

    Args:
        policy: The policy; categories that it lacks are left out.
        categories: The categories; by default all that have wishes.
        tricks: The tricks; by default all.
        wishes: The number of wishes for each category and trick, drawn among those of the category; `None` for all.
        max_turns: The most turns of a conversation.
        seed: Seed of all draws. An attack depends on it and its own id alone, not on what else is selected.
        file: A file of attacks of your own, with wishes by category; see `AttackData`.

    Raises:
        UnknownName: If there is no such category or trick.
        InvalidFile: If the file cannot be read.
        ConfigurationError: If a number is below 1, or nothing is selected.
    """
    if min(max_turns, 1 if wishes is None else wishes) < 1:
        raise ConfigurationError(f"wishes and max_turns must be at least 1; got {wishes} and {max_turns}.")
    data = _read_attacks(file)
    known = [name for name in data.categories if name in policy.categories]
    selected = _known_names(f"category with attacks for policy {policy.id!r}", categories, known)
    selected_tricks = _known_names("trick", tricks, list(TRICKS))
    attacks = [
        attack
        for category in selected
        for trick in selected_tricks
        for number in _drawn_wishes(len(data.categories[category].wishes), wishes, f"{seed} {category} {trick}")
        if (attack := _make_attack(data, category, number, trick, max_turns, seed)) is not None
    ]
    if not attacks:
        raise ConfigurationError(
            f"there are no attacks for the categories of policy {policy.id!r}: {', '.join(policy.categories)}.",
            hint="Write a file of attacks for them, and name it as file.",
        )
    return tuple(attacks)


def _read_attacks(file: Path | None) -> AttackData:
    """Read a file of attacks, and complete its tricks with those of the built-in one."""
    built_in = YamlFile(BUILT_IN_ATTACKS, "attacks").validate(AttackData)
    if file is None:
        return built_in
    own = YamlFile(file, "attacks").validate(AttackData)
    for kind in ("templates", "conversations"):
        _known_names(f"trick under {kind} in {file}", getattr(own, kind), list(getattr(built_in, kind)))
    return own.model_copy(
        update={
            "templates": FrozenDict({**built_in.templates, **own.templates}),
            "conversations": FrozenDict({**built_in.conversations, **own.conversations}),
        }
    )


def _known_names(kind: str, names: Iterable[str] | None, known: list[str]) -> list[str]:
    selected = known if names is None else list(dict.fromkeys(names))
    for name in selected:
        if name not in known:
            raise UnknownName(kind, name, known)
    return selected


def _drawn_wishes(available: int, wanted: int | None, seed: str) -> list[int]:
    """Draw indexes of wishes, in ascending order."""
    if wanted is None or wanted >= available:
        return list(range(available))
    # A generator of its own for each category and trick: leaving one out does not change the others.
    return sorted(random.Random(seed).sample(range(available), wanted))  # noqa: S311


def _make_attack(data: AttackData, category: str, number: int, trick: str, max_turns: int, seed: int) -> Attack | None:
    attack_id = f"{category}-{number + 1}/{trick}"
    rng = random.Random(f"{seed} {attack_id}")  # noqa: S311
    wishes = data.categories[category]
    script = TRICKS[trick](TrickContext(wishes.wishes[number], wishes.approach, data, rng, max_turns))
    if script is None:
        return None
    return Attack(
        id=attack_id,
        category=category,
        trick=trick,
        wish=wishes.wishes[number].wish,
        turns=script.turns,
        after_refusal=script.after_refusal,
        approach_turns=script.approach_turns,
    )
