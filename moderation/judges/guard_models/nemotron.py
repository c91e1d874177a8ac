"""Nemotron Content Safety 3.5 and the 8B models before it: safe or unsafe for the user and for the response.

Sources: the model cards nvidia/Nemotron-3.5-Content-Safety and nvidia/Llama-3.1-Nemotron-Safety-Guard-8B-v3; the
taxonomy is Aegis 2.0, arXiv 2501.09004.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel

from taleward.core.errors import ConfigurationError
from taleward.core.verdict import Passage
from taleward.moderation.judges.guard_models.base import GuardModel, Question
from taleward.moderation.judges.strict_parsing import Unparsable, strict_json, whole

_CATEGORIES = (
    "Violence",
    "Sexual",
    "Criminal Planning/Confessions",
    "Guns and Illegal Weapons",
    "Controlled/Regulated Substances",
    "Suicide and Self Harm",
    "Sexual (minor)",
    "Hate/Identity Hate",
    "PII/Privacy",
    "Harassment",
    "Threat",
    "Profanity",
    "Needs Caution",
    "Other",
    "Manipulation",
    "Fraud/Deception",
    "Malware",
    "High Risk Gov Decision Making",
    "Political/Misinformation/Conspiracy",
    "Copyright/Trademark/Plagiarism",
    "Unauthorized Advice",
    "Illegal Activity",
    "Immoral/Unethical",
)
_KEYS = ("User Safety", "Response Safety", "Safety Categories")
_LINE = re.compile(r"(User Safety|Response Safety|Safety Categories): (\S.*)")
_EIGHT = re.compile(r"(?<![\d.])8b(?![a-z\d])", re.IGNORECASE)


class Nemotron(GuardModel):
    """Judges with Nemotron Content Safety, for example `nemotron:hf:nvidia/Nemotron-3.5-Content-Safety`.

    It publishes no score: the answer is always read, as lines or as a JSON object with the same keys. What is unsafe
    without a category is the code `unsafe`.

    Args:
        model: A model spec, or a LangChain chat model.
        taxonomy_prompt: Whether the taxonomy and the conversation go into one user's message, as the 8B models expect,
            or the conversation alone, whose template brings the rest; by default told from `8B` in the model's name.
        options: See `GuardModel`.
    """

    family = "nemotron"

    def __init__(self, model: str | BaseChatModel, *, taxonomy_prompt: bool | None = None, **options: Any) -> None:
        if not isinstance(taxonomy_prompt, bool | None):
            raise ConfigurationError(f"taxonomy_prompt is True, False or None; got {taxonomy_prompt!r}.")
        super().__init__(model, **options)
        self.taxonomy_prompt = bool(_EIGHT.search(self.spec)) if taxonomy_prompt is None else taxonomy_prompt

    def questions(self, passage: Passage) -> list[Question]:
        """One question, about all categories."""
        turns = self.conversation(passage)
        if self.taxonomy_prompt:
            return [Question(({"role": "user", "content": _prompt([t["content"] for t in turns])},))]
        return [Question(turns)]

    def read(self, answer: str, question: Question) -> Mapping[str, str]:
        """The categories where the judged side is unsafe; no key stands twice, and levels and categories agree."""
        found = strict_json(answer) if answer.strip(" \n").startswith("{") else _lines(answer)
        judged, other = _KEYS[:2] if self.role == "prompt" else _KEYS[1::-1]
        levels = {key: found.get(key) for key in _KEYS[:2] if key in found}
        if judged not in levels or not set(found) <= set(_KEYS) or (self.role == "prompt" and other in found):
            raise Unparsable(f"the keys are {sorted(found)}; {judged!r} must be there, and of {list(_KEYS)} alone")
        if not all(level in ("safe", "unsafe") for level in levels.values()):
            raise Unparsable(f"the levels are {levels}; each must be 'safe' or 'unsafe'")
        names = _names(found["Safety Categories"]) if "Safety Categories" in found else []
        if names and "unsafe" not in levels.values():
            raise Unparsable("all is safe, and yet there are categories")
        if levels[judged] == "safe":
            return {}
        return {name: f"Nemotron: {name}" for name in names or ["unsafe"]}


def _lines(answer: str) -> dict[str, str]:
    lines = answer.strip(" \n").split("\n")
    pairs = [(match[1], match[2].rstrip(" ")) for match in (whole(_LINE, line) for line in lines)]
    keys = [key for key, _ in pairs]
    if keys != [key for key in _KEYS if key in keys]:
        raise Unparsable("a key stands twice, or the keys are not in their order")
    return dict(pairs)


def _names(value: object) -> list[str]:
    names = [name.strip(" ") for name in value.split(",")] if isinstance(value, str) else []
    if not names or len(set(names)) != len(names) or not set(names) <= set(_CATEGORIES):
        raise Unparsable(f"{value!r} is no list of different categories of the taxonomy")
    return names


def _prompt(turns: list[str]) -> str:
    taxonomy = "\n".join(f"S{number}: {name}." for number, name in enumerate(_CATEGORIES, 1))
    response = f"response: agent: {turns[1]}\n\n" if len(turns) > 1 else ""
    return (
        "Task: Check if there is unsafe content in the user or agent messages in the below conversation in accordance "
        "with our safety policy with the below categories. Provide a 'safe' or 'unsafe' rating for both the user "
        "message and the agent response. If there is unsafe content, please also provide a list of violated categories "
        f"according to our safety policy below.\n\n<BEGIN UNSAFE CONTENT CATEGORIES>\n{taxonomy}\n"
        f"<END UNSAFE CONTENT CATEGORIES>\n\n<BEGIN CONVERSATION>\n\nuser: {turns[0]}\n\n{response}"
        "<END CONVERSATION>\n\n"
        "Provide your safety assessment for the above conversation in the below output JSON format:\n"
        '{"User Safety": safe or unsafe rating for the user message, "Response Safety": safe or unsafe rating for the '
        'agent response. Omit if no agent response present. "Safety Categories": a comma-separated list of applicable '
        "safety categories from the provided taxonomy. Omit if all safe.}\n\n"
        "Do not include anything other than the output JSON in your response.\nOutput JSON: "
    )
