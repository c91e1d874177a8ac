"""Judge personal data by its form: what `text/personal_data.py` finds, a school, and a name given as one's own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict
from taleward.core.policy import Policy
from taleward.core.verdict import Finding, Passage
from taleward.moderation.judges.base import Assessment, Judge
from taleward.moderation.judges.lexicon import severity_score, unjudged
from taleward.moderation.text.personal_data import find_personal_data

_CATEGORY = "personal_data"
_CONTEXT = 200
_NAME = r"[A-Z][\w'’-]+"
_FORMS = {
    "school": re.compile(
        rf"\b(?:{_NAME} ){{1,4}}(?:(?:Elementary|Primary|Middle|High|Grammar|Secondary|Infant|Junior|Nursery) School"
        r"|Kindergarten|Academy)\b"
    ),
    "full name": re.compile(rf"\b[Mm]y (?:full |real |whole )?name(?: is|['’]s) {_NAME}(?: {_NAME}){{1,3}}"),
}


class PersonalData(Judge):
    """Fails a text for data by which a real child could be found; each finding has its exact place.

    E-mail, web and street addresses, telephone, card and social security numbers, schools by name, and a first and last
    name that the text's speaker gives as their own. Other names are not told from those of characters.

    Args:
        policy: A policy with the category `personal_data`, or the name or path of one.
        band: A band of the policy.

    Raises:
        ConfigurationError: The policy has no such category.
    """

    def __init__(self, *, policy: Policy | str = "kids", band: str = "6-8") -> None:
        super().__init__("personal-data", policy=policy, band=band)
        if _CATEGORY not in self.policy.categories:
            raise ConfigurationError(
                f"policy {self.policy.id} has no category {_CATEGORY!r}; it has {', '.join(self.policy.categories)}.",
                hint=f"Add {_CATEGORY} to its categories, or leave this judge out.",
            )

    def assess(self, passage: Passage) -> Assessment:
        """A finding for each place that ends in the passage."""
        text, begin = passage.with_context(_CONTEXT)
        findings = [
            Finding(
                category=_CATEGORY, severity="moderate", quote=text[start:end], start=start, end=end, rationale=kind
            ).shifted(-begin)
            for kind, start, end in _outermost(_find(text))
            if end > begin
        ]
        score = severity_score(self.policy, self.band, _CATEGORY, "moderate") if findings else 0.0
        return Assessment(
            scores=FrozenDict({_CATEGORY: score}),
            findings=tuple(findings),
            detail=unjudged(self.policy, (_CATEGORY,)),
        )


def _find(text: str) -> Iterator[tuple[str, int, int]]:
    yield from find_personal_data(text)
    for kind, form in _FORMS.items():
        for match in form.finditer(text):
            yield kind, match.start(), match.end()


def _outermost(places: Iterable[tuple[str, int, int]]) -> Iterator[tuple[str, int, int]]:
    """The places in the text's order, without those within another: a web address in an e-mail address."""
    reached = -1
    for kind, start, end in sorted(places, key=lambda place: (place[1], -place[2])):
        if end > reached:
            yield kind, start, end
            reached = end
