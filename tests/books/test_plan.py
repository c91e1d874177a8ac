"""Plans: pages at beats, everybody who is named, places that last, and YAML that a person edits."""

from __future__ import annotations

from pathlib import Path

import pytest

from taleward.books import BookPlan, plan_by_rules, words_per_page
from taleward.books.beats import divide
from taleward.books.changes import apply_changes, is_understood
from taleward.books.seen import seen_on
from taleward.core.errors import InvalidFile, InvalidInputs
from taleward.images import CastMember, PromptSpec
from taleward.moderation.policies.load import load_policy
from tests.helpers.books import TALE

KIDS = load_policy("kids")


def plan(text: str = TALE, **options: object) -> BookPlan:
    return plan_by_rules(text, **{"policy": KIDS, "band": "6-8", "pages": 5, "seed": 3, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("pages", [1, 3, 5, 24])
def test_pages_hold_the_tale_in_order(pages: int) -> None:
    parts = divide(TALE, words_per_page(KIDS, "6-8"), pages)
    assert " ".join(parts).split() == TALE.split()
    assert len(parts) == min(pages, len(parts))
    assert all(part.strip() for part in parts)


def test_pages_end_at_beats() -> None:
    assert [part.split()[0] for part in divide(TALE, words_per_page(KIDS, "6-8"), 5)] == [
        "Pip",
        "One",
        "They",
        "In",
        "At",
    ]


def test_older_readers_get_more_words_on_a_page() -> None:
    long = " ".join([TALE.replace("\n\n", " ")] * 6)
    counts = [len(divide(long, words_per_page(KIDS, band))) for band in ("3-5", "6-8", "9-12")]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_a_tale_that_is_too_long_or_empty_is_refused() -> None:
    with pytest.raises(InvalidInputs, match="hold at most"):
        plan("The fox ran. " * 2000)
    with pytest.raises(InvalidInputs, match="no text"):
        plan("  ")
    with pytest.raises(InvalidInputs, match="1 to 24 pages"):
        plan(pages=25)


def test_everybody_named_is_on_the_page() -> None:
    made = plan()
    assert [member.name for member in made.cast] == ["Pip", "Olive"]
    assert [member.kind for member in made.cast] == ["a young rabbit", "a small brown owl"]
    assert made.cast[0].looks == ("gray fur", "a blue scarf")
    for page in made.pages:
        for member in made.cast:
            assert member.name not in page.text or member.name in page.cast
        for name in page.cast:
            assert name in page.shows


def test_places_and_light_last_and_shots_vary() -> None:
    pages = plan().pages
    assert [page.place.split()[-1] for page in pages] == ["house", "river", "forest", "meadow", "house"]
    assert [page.light for page in pages][-1] == "moonlight at night"
    assert len({page.shot for page in plan(pages=9).pages}) >= 2


def test_one_place_is_drawn_with_one_seed() -> None:
    made = plan()
    seeds = [made.picture_seed(number) for number in range(1, 6)]
    assert seeds[0] == seeds[4] != seeds[2]


@pytest.mark.parametrize(
    ("sentence", "shows"),
    [
        ("The fox put the key on a tree.", "The fox put the key by a tree"),
        ("The fox sang, but the key was not there.", "The fox sang"),
        ('"Come here!" said the fox. "Now!"', "The fox talking"),
        ("A clever fox ran away.", "The fox ran away"),
        ("The fox lived with his mother in a forest.", "The fox lived with a big fox in a forest"),
    ],
)
def test_a_picture_shows_what_can_be_seen(sentence: str, shows: str) -> None:
    cast = (CastMember(name="the fox", kind="a fox"),)
    assert seen_on([sentence], cast)[0].shows == shows


def test_the_title_names_whom_and_what_it_is_about() -> None:
    assert plan("A fox found a golden key. The key was big. The fox kept the golden key.").title == (
        "The Fox and the Golden Key"
    )


def test_a_plan_is_edited_as_yaml(tmp_path: Path) -> None:
    made = plan()
    path = made.save(tmp_path)
    assert BookPlan.load(tmp_path) == made
    path.write_text(path.read_text().replace("shot: wide", "shot: close", 1))
    assert BookPlan.load(path).pages[0].shot == "close"
    path.write_text(path.read_text().replace("- Olive\n", "- Oliver\n", 1))
    with pytest.raises(InvalidFile, match="'Oliver', who is not in the cast"):
        BookPlan.load(path)


def test_a_known_cast_keeps_its_looks() -> None:
    known = CastMember(name="Olive", kind="a white owl", looks=("a red hat",))
    assert plan(cast=[known]).cast[1] == known


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ("make the owl smaller", "cast", (CastMember(name="the owl", kind="a tiny owl"),)),
        ("Make the owl much bigger.", "cast", (CastMember(name="the owl", kind="a giant owl"),)),
        ("make the ball red", "subject", "The owl found a red ball"),
        ("add a balloon", "details", ("a tree", "a balloon")),
        ("remove the tree", "details", ()),
        ("closer", "camera", "close-up"),
        ("at night", "lighting", "moonlight at night"),
    ],
)
def test_changes_in_plain_words(change: str, field: str, value: object) -> None:
    spec = PromptSpec(
        subject="The owl found a ball", details=("a tree",), cast=(CastMember(name="the owl", kind="a little owl"),)
    )
    assert is_understood(spec, change)
    assert getattr(apply_changes(spec, [change]), field) == value
    assert not is_understood(spec, "nicer please")
