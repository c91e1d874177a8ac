"""Plan a book by rules, offline: where pages end, who and what is on them, and from where it is seen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from taleward.books.beats import MOST_PAGES, divide, words_per_page
from taleward.books.book import Shot
from taleward.books.book_cast import known_looks, whole_cast
from taleward.books.places_told import kind_of_place
from taleward.books.plan import DEFAULT_STYLE, BookPlan, Place, PlannedPage
from taleward.books.seen import Seen, seen_on
from taleward.core.errors import InvalidInputs
from taleward.core.policy import Policy
from taleward.images.prompt_spec import CastMember

_SHOTS: tuple[Shot, ...] = ("wide", "medium", "close", "medium", "wide", "close", "medium")
_SMALL_WORDS = ("a", "an", "the", "of", "and", "in", "on", "with", "to", "for", "at", "by")
_MAX_TITLE = 60


def plan_by_rules(
    text: str,
    *,
    policy: Policy,
    band: str,
    pages: int | None = None,
    title: str | None = None,
    style: str = DEFAULT_STYLE,
    seed: int = 0,
    cast: Sequence[CastMember] | None = None,
    **fields: Any,
) -> BookPlan:
    """Plan a book by rules, offline: pages end at beats, shots vary, characters and places look the same throughout.

    Args:
        text: The tale.
        policy: The policy.
        band: The age band, which says how much text a page has.
        pages: The number of pages; by the length of the tale if `None`.
        title: The title; by the main character and what the tale is about if `None`.
        style: The pictures' style.
        seed: Chooses looks that the tale does not mention.
        cast: Characters that the reader knows already; their looks stay.
        fields: Other fields of the plan.

    Raises:
        InvalidInputs: If there is no text, too much of it for a picture book, or `pages` is not from 1 to 24.
    """
    words = words_per_page(policy, band)
    if (count := len(text.split())) > MOST_PAGES * words.most:
        raise InvalidInputs(
            None,
            [f"the tale has {count:,} words; {MOST_PAGES} pages for {band} hold at most {MOST_PAGES * words.most:,}"],
            hint="Shorten it with `taleward summarize`, or make a book of its first part.",
        )
    texts = divide(text, words, pages)
    members = known_looks(text, whole_cast(text, seed=seed), cast or ())
    seen = _same_places(seen_on(texts, members))
    planned = [
        PlannedPage(
            text=page, shows=s.shows[:1000], things=s.things, cast=s.cast, place=s.place, light=s.light,
            shot=_shot(number, s, seen[number - 1] if number else None, len(texts)),
        )
        for number, (page, s) in enumerate(zip(texts, seen, strict=True))
    ]  # fmt: skip
    plan = BookPlan(
        title=title or "A Story",
        band=band,
        style=style,
        seed=seed,
        cast=members,
        places=tuple(Place(name=name) for name in dict.fromkeys(s.place for s in seen if s.place)),
        pages=tuple(planned),
        **fields,
    )
    return plan if title else plan.model_copy(update={"title": title_of(plan)})


def title_of(plan: BookPlan) -> str:
    """Return a title: the main character, and the thing or character that the tale is about."""
    if not plan.cast:
        return "A Story"
    main = plan.cast[0]
    name = main.name if main.name[0].isupper() else _without_article(main.kind or main.name)
    lead = name if main.name[0].isupper() else f"the {name}"
    thing = next((t for t in plan.main_things if t.split()[-1] not in lead), "")
    second = next((m.name for m in plan.cast[1:] if sum(m.name in p.cast for p in plan.pages) > 1), "")
    if thing:
        lead += f" and the {_without_article(thing)}"
    elif second:
        lead += f" and {second}"
    return _title_case(lead)[:_MAX_TITLE]


def _shot(number: int, seen: Seen, before: Seen | None, total: int) -> Shot:
    """Return a page's shot: wide where the book or a place begins and at the end, near where somebody is alone."""
    if number in (0, total - 1) or before is None or kind_of_place(before.place) != kind_of_place(seen.place):
        return "wide"
    if re.search(r"\b(?:flew|looked down|from the top|high up|far below)\b", seen.shows, re.IGNORECASE):
        return "from above"
    shot = _SHOTS[number % len(_SHOTS)]
    return "medium" if shot == "close" and len(seen.cast) + len(seen.things) > 3 else shot


def _same_places(seen: Sequence[Seen]) -> list[Seen]:
    """Give a place one name throughout: `in a castle` and `in the castle` are one."""
    names: dict[str, str] = {}
    result = []
    for page in seen:
        if page.place:
            name = names.setdefault(kind_of_place(page.place), page.place)
            page = page.model_copy(update={"place": name})
        result.append(page)
    return result


def _without_article(phrase: str) -> str:
    return re.sub(r"^(?:an?|the) ", "", phrase)


def _title_case(text: str) -> str:
    words = text.split()
    return " ".join(word if n and word in _SMALL_WORDS else word[:1].upper() + word[1:] for n, word in enumerate(words))
