"""Tool: look up what the policy allows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from langgraph.prebuilt import ToolRuntime
from pydantic import BaseModel, Field

from taleward.agents.routing.strategy import RoutingRequest
from taleward.agents.tools.base import TaleTool, ToolArguments
from taleward.core.errors import UnknownName
from taleward.core.policy import Policy

_AGE_RANGE = re.compile(r"\b(\d{1,2})\s*(?:-|to|and)\s*(\d{1,2})\b")
_NUMBER_WORDS = dict(
    zip(
        ("three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"), range(3, 13), strict=True
    )
)
_AGE = re.compile(rf"\b(\d{{1,2}}|{'|'.join(_NUMBER_WORDS)})[- ]?(?:year|yr)?s?\b", re.IGNORECASE)

# Stems are the first five letters of a word: enough to match "violent" with "violence", without a stemmer.
_STEM_LENGTH = 5
_SYNONYM_STEMS = dict.fromkeys(("scary", "scare", "ghost", "monst", "creep", "spook", "fear"), "frigh")
_COMMON = (
    "what does polic about says rules which apply ages child stori story allow tales kids year years old shoul with "
    "that they from text have them your show tell look this there where when than more"
)
_COMMON_STEMS = frozenset(_COMMON.split())


class LookUpPolicyArguments(ToolArguments):
    """Arguments of `look_up_policy`."""

    topic: str = Field(default="", description="What to look up: 'violence'; empty for all.", max_length=100)
    band: str = Field(default="", description="An age band such as '6-8'; empty for the current one.", max_length=10)


class LookUpPolicy(TaleTool):
    """Returns what the policy allows an age band to read."""

    name: str = "look_up_policy"
    description: str = (
        "Look up what the current policy allows children of an age band to read. Pass a topic, an age band, both or "
        "neither."
    )
    args_schema: type[BaseModel] = LookUpPolicyArguments
    title: ClassVar[str] = "look up what the policy allows"
    example: ClassVar[Mapping[str, Any]] = {"topic": "violence", "band": "6-8"}

    def arguments(self, request: RoutingRequest) -> dict[str, Any]:
        """Find the category with the most words in common with the request, and the age band that it mentions."""
        policy, text = self.toolbox.judge.policy, request.text
        age_range = _AGE_RANGE.search(text)
        band = f"{age_range[1]}-{age_range[2]}" if age_range else ""
        if band not in policy.bands:
            band = ""
        if not age_range and (age := _AGE.search(text)):
            years = _NUMBER_WORDS.get(age[1].lower()) or int(age[1])
            matching = (name for name, b in policy.bands.items() if b.ages[0] <= years <= b.ages[1])
            band = next(matching, "")
        return {"topic": _closest_category(policy, text), "band": band}

    async def execute(self, runtime: ToolRuntime, topic: str = "", band: str = "") -> str:
        """Return the band's rules, for one category or for all."""
        policy, band = self.toolbox.judge.policy, band or self.toolbox.judge.band
        if band not in policy.bands:
            raise UnknownName("age band", band, policy.bands, hint='Call look_up_policy(topic="violence", band="6-8").')
        category = topic if topic in policy.categories else _closest_category(policy, topic)
        if topic and not category:
            known = ", ".join(policy.categories)
            return f"The policy {policy.id} has no category for that. Its categories are: {known}."
        youngest, oldest = policy.band(band).ages
        heading = f"The policy {policy.id} for children aged {youngest} to {oldest}:"
        rules = [_rule(policy, name, band) for name in ([category] if category else policy.categories)]
        return "\n".join([heading, *rules])


def _rule(policy: Policy, category: str, band: str) -> str:
    tolerance = policy.tolerance(category, band)
    allowed = (
        "None of it is allowed at this age." if tolerance == "none" else f"Allowed at this age: up to {tolerance}."
    )
    return f"- {category.replace('_', ' ')}: {policy.categories[category].definition} {allowed}"


def _closest_category(policy: Policy, text: str) -> str:
    """Return the category that shares the most word stems with a text, empty if none does; its name counts triple."""
    stems = {_SYNONYM_STEMS.get(stem, stem) for stem in _stems(text.lower())}

    def score(name: str) -> int:
        category = policy.categories[name]
        name_stems = _stems(name.replace("_", " "))
        rule_stems = _stems(f"{category.definition} {' '.join(category.not_allowed)}".lower())
        return 3 * len(stems & name_stems) + len((stems - _COMMON_STEMS) & rule_stems)

    best = max(policy.categories, key=score)
    return best if score(best) else ""


def _stems(text: str) -> set[str]:
    """Return the stems of a lower-case text's words of four letters or more."""
    return {word[:_STEM_LENGTH] for word in re.findall(r"[a-z]{4,}", text)}
