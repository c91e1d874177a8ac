"""Replace a character everywhere in a book: its name, what it is, and, where they are certain, its pronouns."""

from __future__ import annotations

import re

from taleward.books.plan import BookPlan, PlannedPage
from taleward.core.errors import InvalidInputs
from taleward.images.prompt_spec import CastMember
from taleward.images.prompts.cast import cast_of
from taleward.images.prompts.pronouns import find_gender

_TO_HE = {"she": "he", "her": "him", "hers": "his", "herself": "himself"}
_TO_SHE = {"he": "she", "him": "her", "his": "her", "himself": "herself"}
_POSSESSIVE = re.compile(r"\bher(?= (?!and\b|but\b|or\b|in\b|on\b|at\b|to\b|by\b|for\b|with\b|the\b|a\b)[a-z])", re.I)


def swap_in_plan(plan: BookPlan, old: str, new: str) -> BookPlan:
    """Return a plan with another character in place of one of its cast.

    Args:
        plan: The plan.
        old: The character's name, such as `"the fox"` or `"Mia"`.
        new: Who comes in its place: `"a rabbit"`, `"Tom, a boy"`, or `"Tom"` for another name alone.

    Raises:
        InvalidInputs: If there is no such character, or the new one is in the cast already.
    """
    before = plan.member(old)
    after = _member(before, new, plan.seed)
    others = [member for member in plan.cast if member is not before]
    if any(member.name.casefold() == after.name.casefold() for member in others):
        raise InvalidInputs(None, [f"{after.name!r} is in the cast already; choose another name"])
    swap = _Swap(before, after, alone=len({m.name for m in plan.cast}) == 1)
    texts = [page.text for page in plan.pages]
    pronouns = swap.pronouns(" ".join(texts))

    def page_with(page: PlannedPage) -> PlannedPage:
        return page.model_copy(
            update={
                "text": pronouns(swap.in_text(page.text)),
                "shows": pronouns(swap.in_text(page.shows)),
                "things": tuple(swap.in_text(thing) for thing in page.things),
                "changes": tuple(swap.in_text(change) for change in page.changes),
                "cast": tuple(after.name if name == before.name else name for name in page.cast),
            }
        )

    # Pages and cast belong together, so they are checked together.
    return BookPlan.model_validate(
        {
            **dict(plan),
            "title": swap.in_title(plan.title),
            "cast": tuple(after if member is before else member for member in plan.cast),
            "pages": tuple(page_with(page) for page in plan.pages),
        }
    )


class _Swap:
    def __init__(self, before: CastMember, after: CastMember, *, alone: bool) -> None:
        self.before, self.after, self.alone = before, after, alone
        self.old_noun = (before.kind or before.name).split()[-1]
        self.new_noun = (after.kind or after.name).split()[-1]

    def in_text(self, text: str) -> str:
        """Return a text with the name and the noun replaced."""
        named = self.before.name[:1].isupper()
        if named and self.after.name != self.before.name:
            text = re.sub(rf"\b{re.escape(self.before.name)}\b", self.after.name, text)
        if not named and self.after.name[:1].isupper():
            phrase = rf"\b(?:the|an?) (?:[a-z-]+ ){{0,2}}?{self.old_noun}\b"
            text = re.sub(phrase, self.after.name, text, flags=re.IGNORECASE)
        if self.old_noun.islower() and self.new_noun != self.old_noun and self.new_noun.islower():
            text = self._noun(text)
        return text

    def _noun(self, text: str) -> str:
        vowel = self.new_noun[0] in "aeiou"

        def replaced(match: re.Match[str]) -> str:
            article, between, noun = match["article"] or "", match["between"] or "", match["noun"]
            word = self.new_noun + match["plural"]
            word = word.capitalize() if noun[0].isupper() else word
            if article.strip().lower() in ("a", "an") and not between:
                article = ("An " if vowel else "A ") if article[0].isupper() else ("an " if vowel else "a ")
            return f"{article}{between}{word}"

        noun = re.escape(self.old_noun)
        pattern = (
            rf"\b(?P<article>an? )?(?P<between>(?:(?<=an )|(?<=a ))(?:[a-z-]+,? ){{1,2}})?"
            rf"(?P<noun>{noun})(?P<plural>(?:e?s)?)\b"
        )
        return re.sub(pattern, replaced, text, flags=re.IGNORECASE)

    def in_title(self, title: str) -> str:
        """Return the title with the name and the noun replaced."""
        swapped = self.in_text(title)
        if self.after.name[:1].isupper() and not self.before.name[:1].isupper():
            swapped = re.sub(rf"\bThe (?:\w+ )?{self.old_noun}\b", self.after.name, swapped, flags=re.IGNORECASE)
        return swapped

    def pronouns(self, text: str) -> Pronouns:
        """Return what changes pronouns: nothing unless the character is the only one in the tale."""
        old = find_gender(self.before.name, self.before.kind, [text])
        new = find_gender(self.after.name, self.after.kind, [])
        if not self.alone or old == new or new not in ("he", "she"):
            return Pronouns({})
        return Pronouns(_TO_HE if new == "he" else _TO_SHE)


class Pronouns:
    """Replaces pronouns by others.

    Args:
        others: The new ones, by the old ones.
    """

    def __init__(self, others: dict[str, str]) -> None:
        self._others = others

    def __call__(self, text: str) -> str:
        """Return a text with the pronouns replaced."""
        if not self._others:
            return text
        if self._others is _TO_HE:
            text = _POSSESSIVE.sub(lambda m: "His" if m[0][0].isupper() else "his", text)

        def replaced(match: re.Match[str]) -> str:
            word = self._others[match[0].lower()]
            return word.capitalize() if match[0][0].isupper() else word

        return re.sub(rf"\b(?:{'|'.join(self._others)})\b", replaced, text, flags=re.IGNORECASE)


def _member(before: CastMember, new: str, seed: int) -> CastMember:
    """Return the new character; what the request does not say is as before, or chosen by the seed."""
    words = " ".join(new.split()).strip(" .")
    name, _, kind = (part.strip() for part in words.partition(","))
    if not name:
        raise InvalidInputs(None, ["say who comes in, such as 'a rabbit' or 'Tom, a boy'; got nothing"])
    if name.lower().split()[0] in ("a", "an", "the") or (name.islower() and not kind):
        noun = name.split()[-1].lower()
        kind = f"{'an' if noun[0] in 'aeiou' else 'a'} {re.sub(r'^(?:an?|the) ', '', name.lower())}"
        name = before.name if before.name[:1].isupper() else f"the {noun}"
    kind = kind or before.kind
    if kind == before.kind:
        return CastMember(name=name, kind=kind, looks=before.looks)
    invented = cast_of(f"There was {kind} named Pip. Pip sat down.", seed=seed)
    return CastMember(name=name, kind=kind, looks=invented[0].looks if invented else ())
