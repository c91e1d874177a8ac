"""Personal-data judge: addresses, numbers, schools and full names, recognized by their form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict
from taleward.core.policy import Policy
from taleward.core.verdict import Finding, Passage
from taleward.moderation.judges.base import Assessment, Judge
from taleward.moderation.judges.lexicon import severity_score, unjudged_remark
from taleward.moderation.text.personal_data import find_personal_data

_CATEGORY = "personal_data"
_CONTEXT_CHARACTERS = 200
# Bounded, so that "A-A-A-", where a name may begin at every letter, takes linear time.
_NAME = r"[A-Z][\w'’-]{1,40}"
_PATTERNS = {
    "school": re.compile(
        rf"\b(?:{_NAME} ){{1,4}}(?:(?:Elementary|Primary|Middle|High|Grammar|Secondary|Infant|Junior|Nursery) School"
        r"|Kindergarten|Academy)\b"
    ),
    # Only with "my name is": a bare first and last name is usually a character's.
    "full name": re.compile(rf"\b[Mm]y (?:full |real |whole )?name(?: is|['’]s) {_NAME}(?: {_NAME}){{1,3}}"),
}


class PersonalDataJudge(Judge):
    """Fail a text for data that could identify or locate a real child; each finding has its exact span.

    It finds email, web and street addresses, phone, card and social security numbers, names of schools, and a first
    and last name that the speaker gives as their own. Other names cannot be told from those of characters.

    Args:
        policy: A policy with the category `personal_data`, or the name or path of one.
        band: An age band of the policy.

    Raises:
        ConfigurationError: If the policy has no such category.
    """

    def __init__(self, *, policy: Policy | str = "kids", band: str = "6-8") -> None:
        super().__init__("personal-data", policy=policy, band=band)
        if _CATEGORY not in self.policy.categories:
            raise ConfigurationError(
                f"policy {self.policy.id} has no category {_CATEGORY!r}; it has {', '.join(self.policy.categories)}.",
                hint=f"Add {_CATEGORY} to its categories, or leave this judge out.",
            )

    def assess(self, passage: Passage) -> Assessment:
        """Report every match that ends within the passage."""
        text, passage_start = passage.with_context(_CONTEXT_CHARACTERS)
        findings = [
            Finding(
                category=_CATEGORY, severity="moderate", quote=text[start:end], start=start, end=end, rationale=kind
            ).shifted(-passage_start)
            for kind, start, end in _outermost(_find_matches(text))
            if end > passage_start
        ]
        score = severity_score(self.policy, self.band, _CATEGORY, "moderate") if findings else 0.0
        return Assessment(
            scores=FrozenDict({_CATEGORY: score}),
            findings=tuple(findings),
            detail=unjudged_remark(self.policy, (_CATEGORY,)),
        )


def _find_matches(text: str) -> Iterator[tuple[str, int, int]]:
    yield from find_personal_data(text)
    for kind, pattern in _PATTERNS.items():
        for match in pattern.finditer(text):
            yield kind, match.start(), match.end()


def _outermost(matches: Iterable[tuple[str, int, int]]) -> Iterator[tuple[str, int, int]]:
    """Yield matches in text order, without those inside another, such as the web address in an email address."""
    covered_until = -1
    for kind, start, end in sorted(matches, key=lambda match: (match[1], -match[2])):
        if end > covered_until:
            yield kind, start, end
            covered_until = end
