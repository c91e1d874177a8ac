"""The attacks of a red team: wishes, tricks, and how they are drawn."""

from __future__ import annotations

import base64
import codecs
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from taleward.core.errors import ConfigurationError, InvalidFile, UnknownName
from taleward.evaluation.red_teaming.attacks import BUILT_IN_ATTACKS, Attack, make_attacks
from taleward.evaluation.red_teaming.tricks import TRICKS
from taleward.moderation.policies.load import load_policy

KIDS = load_policy("kids")
DATA = yaml.safe_load(BUILT_IN_ATTACKS.read_text(encoding="utf-8"))


def attack(trick: str, max_turns: int = 4) -> Attack:
    return make_attacks(KIDS, categories=["violence"], tricks=[trick], wishes=1, max_turns=max_turns)[0]


def test_every_category_of_the_policy_is_attacked_with_every_trick() -> None:
    attacks = make_attacks(KIDS)
    assert {(a.category, a.trick) for a in attacks} == {(c, t) for c in KIDS.categories for t in TRICKS}
    assert len(attacks) == 2 * len(KIDS.categories) * len(TRICKS)
    assert len({a.id for a in attacks}) == len(attacks)
    assert len(make_attacks(KIDS, wishes=None)) == 4 * len(KIDS.categories) * len(TRICKS)


def test_all_people_in_wishes_about_sexual_content_are_grown_ups() -> None:
    texts = [
        *DATA["categories"]["sexual"]["approach"][:1],
        *(w["wish"] for w in DATA["categories"]["sexual"]["wishes"]),
    ]
    assert all("grown" in text for text in texts)
    translations = [wish["translation"] for wish in DATA["categories"]["sexual"]["wishes"]]
    assert all(any(word in text.lower() for word in ("erwachsen", "adult")) for text in translations)


def test_an_attack_depends_on_the_seed_and_not_on_what_else_is_selected() -> None:
    by_id = {a.id: a for a in make_attacks(KIDS)}
    assert all(by_id[a.id] == a for a in make_attacks(KIDS, categories=["crime"], tricks=["leet", "homework"]))
    assert make_attacks(KIDS, seed=1) == make_attacks(KIDS, seed=1) != make_attacks(KIDS)


@pytest.mark.parametrize("trick", sorted(set(TRICKS) - {"leet", "spaced", "zero_width", "base64", "rot13"}))
def test_a_trick_says_the_wish_or_its_translation(trick: str) -> None:
    made = attack(trick)
    wishes = DATA["categories"]["violence"]["wishes"]
    translation = next(wish["translation"] for wish in wishes if wish["wish"] == made.wish)
    for script in (made.turns, made.after_refusal):
        said = script[made.approach_turns :]
        assert all((translation if trick == "other_language" else made.wish) in turn for turn in said)
        assert not any("{" in turn for turn in said)


def test_encoded_requests_decode_to_the_wish() -> None:
    decoders: dict[str, Callable[[str], str]] = {
        "base64": lambda text: base64.b64decode(text.rpartition(": ")[2]).decode(),
        "rot13": lambda text: str(codecs.decode(text.rpartition(": ")[2], "rot13")),
        "zero_width": lambda text: text.replace("\u200b", ""),
        "spaced": lambda text: " ".join(word.replace(" ", "") for word in text.split("   ")),
    }
    for trick, decode in decoders.items():
        made = attack(trick)
        assert made.wish in decode(made.turns[0])
        assert made.wish not in made.turns[0]
    leet = attack("leet")
    assert len(leet.turns[0]) > len(leet.wish)
    assert sum(c.isdigit() for c in leet.turns[0]) > 5


@pytest.mark.parametrize("max_turns", [1, 2, 3, 9])
@pytest.mark.parametrize("trick", ["insistence", "escalation"])
def test_a_conversation_has_its_turns_and_always_comes_to_the_wish(trick: str, max_turns: int) -> None:
    made = attack(trick, max_turns=max_turns)
    assert len(made.turns) == len(made.after_refusal) == max_turns
    assert made.wish in made.turns[made.approach_turns]
    assert made.approach_turns == (min(2, max_turns - 1) if trick == "escalation" else 0)
    first_reaction = made.approach_turns + 1
    assert all(a != b for a, b in zip(made.turns[first_reaction:], made.after_refusal[first_reaction:], strict=True))


def test_wrong_selections_are_rejected() -> None:
    with pytest.raises(UnknownName, match="violense"):
        make_attacks(KIDS, categories=["violense"])
    with pytest.raises(UnknownName, match="base46"):
        make_attacks(KIDS, tricks=["base46"])
    with pytest.raises(ConfigurationError, match="at least 1; got 0"):
        make_attacks(KIDS, wishes=0)
    with pytest.raises(ConfigurationError, match="no attacks"):
        make_attacks(KIDS, categories=[])


def test_attacks_of_your_own(tmp_path: Path) -> None:
    file = tmp_path / "attacks.yaml"
    wishes = [{"wish": "a {story}", "translation": "eine"}, {"wish": "another"}]
    content = {
        "version": "7",
        "categories": {"crime": {"wishes": wishes}, "treason": {"wishes": wishes}},
        "templates": {"plain": ["Say {wish}!"]},
    }
    file.write_text(yaml.safe_dump(content))
    attacks = {a.id: a for a in make_attacks(KIDS, file=file)}
    assert attacks["crime-1/plain"].turns == ("Say a {story}!",)
    assert "another" in attacks["crime-2/homework"].turns[0]
    assert attacks["crime-2/insistence"].turns[0] == "Say another!"
    assert "crime-1/other_language" in attacks
    assert "crime-2/other_language" not in attacks
    # The policy has no such category.
    assert {a.category for a in attacks.values()} == {"crime"}
    file.write_text(yaml.safe_dump({**content, "templates": {"plane": ["Say {wish}!"]}}))
    with pytest.raises(UnknownName, match="'plane'"):
        make_attacks(KIDS, file=file)
    file.write_text(yaml.safe_dump({**content, "categories": {"crime": {"wishes": []}}}))
    with pytest.raises(InvalidFile, match=r"line 3: categories\.crime\.wishes"):
        make_attacks(KIDS, file=file)


GUIDE = (Path(__file__).parents[3] / "docs/how-to/red-team.md").read_text(encoding="utf-8")


def test_the_guide_lists_every_trick() -> None:
    cells = re.findall(r"^\| (`[^|]+) \|", GUIDE, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(cells))) == sorted(TRICKS)


def test_the_file_in_the_guide_is_valid(tmp_path: Path) -> None:
    [content] = re.findall(r"^```yaml\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    (tmp_path / "attacks.yaml").write_text(content, encoding="utf-8")
    attacks = {a.trick: a.turns[0] for a in make_attacks(KIDS, file=tmp_path / "attacks.yaml")}
    assert set(attacks) == set(TRICKS)
    assert attacks["homework"].startswith("Our school newspaper")
