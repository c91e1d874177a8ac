"""Look up what the policy says."""

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

_BAND = re.compile(r"\b(\d{1,2})\s*(?:-|to|and)\s*(\d{1,2})\b")
_WORDS = dict(
    zip(
        ("three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"), range(3, 13), strict=True
    )
)
_AGE = re.compile(rf"\b(\d{{1,2}}|{'|'.join(_WORDS)})[- ]?(?:year|yr)?s?\b", re.IGNORECASE)


class _Arguments(ToolArguments):
    topic: str = Field(default="", description="What to look up: 'violence'; empty for all.", max_length=100)
    band: str = Field(default="", description="An age band such as '6-8'; empty for the one in force.", max_length=10)


class LookUpPolicy(TaleTool):
    """Reads out what the policy says about a topic for an age band."""

    name: str = "look_up_policy"
    description: str = (
        "Look up what the policy in force allows children of an age band to read. Give it a topic, a band, both or "
        "neither."
    )
    args_schema: type[BaseModel] = _Arguments
    title: ClassVar[str] = "look up the policy"
    example: ClassVar[Mapping[str, Any]] = {"topic": "violence", "band": "6-8"}

    def arguments(self, request: RoutingRequest) -> dict[str, Any]:
        """The category with the most words in common with the request, and the band that it names or means."""
        policy, text = self.box.judge.policy, request.text
        topic = _closest(policy, text)
        named = _BAND.search(text)
        band = f"{named[1]}-{named[2]}" if named and f"{named[1]}-{named[2]}" in policy.bands else ""
        if not band and not named and (age := _AGE.search(text)):
            years = _WORDS.get(age[1].lower()) or int(age[1])
            fitting = (name for name, b in policy.bands.items() if b.ages[0] <= years <= b.ages[1])
            band = next(fitting, "")
        return {"topic": topic, "band": band}

    async def work(self, runtime: ToolRuntime, topic: str = "", band: str = "") -> str:
        """The band's rules, of one category or of all."""
        policy, band = self.box.judge.policy, band or self.box.judge.band
        if band not in policy.bands:
            raise UnknownName("age band", band, policy.bands, hint='Call look_up_policy(topic="violence", band="6-8").')
        name = topic if topic in policy.categories else _closest(policy, topic)
        if topic and not name:
            known = ", ".join(policy.categories)
            return f"The policy {policy.id} has no category for that. Its categories are: {known}."
        youngest, oldest = policy.band(band).ages
        head = f"The policy {policy.id} for children of {youngest} to {oldest} years:"
        lines = [_rule(policy, category, band) for category in ([name] if name else policy.categories)]
        return "\n".join([head, *lines])


def _rule(policy: Policy, category: str, band: str) -> str:
    tolerated = policy.tolerance(category, band)
    most = "nothing of it is tolerated" if tolerated == "none" else f"tolerated up to {tolerated}"
    return f"- {category.replace('_', ' ')}: {policy.categories[category].definition} Here {most}."


def _closest(policy: Policy, text: str) -> str:
    """The category that shares most word beginnings with a text, its name counted thrice; empty where none does."""
    words = {_MEANT.get(word[:5], word[:5]) for word in re.findall(r"[a-z]{4,}", text.lower())}

    def score(category: str) -> int:
        told = policy.categories[category]
        own = {w[:5] for w in re.findall(r"[a-z]{4,}", category.replace("_", " "))}
        rest = {w[:5] for w in re.findall(r"[a-z]{4,}", f"{told.definition} {' '.join(told.not_allowed)}".lower())}
        return 3 * len(words & own) + len((words - _COMMON) & rest)

    best = max(policy.categories, key=score)
    return best if score(best) else ""


_COMMON = frozenset(
    {
        *(
            "what",
            "does",
            "polic",
            "about",
            "says",
            "rules",
            "which",
            "apply",
            "ages",
            "child",
            "stori",
            "story",
            "allow",
        ),
        *(
            "tales",
            "kids",
            "year",
            "years",
            "old",
            "shoul",
            "with",
            "that",
            "they",
            "from",
            "text",
            "have",
            "them",
            "your",
        ),
        *("show", "tell", "look", "this", "there", "where", "when", "than", "more"),
    }
)
_MEANT = dict.fromkeys(("scary", "scare", "ghost", "monst", "creep", "spook", "fear"), "frigh")
