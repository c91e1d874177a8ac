"""Nemotron Content Safety 3.5 and the earlier 8B models: safe or unsafe, for the user and for the response.

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
from taleward.moderation.judges.guard_models.base import GuardModel, GuardQuestion
from taleward.moderation.judges.strict_parsing import Unparsable, match_whole, strict_json

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
_VERDICT_FORM = re.compile(r"\b(?:user|response) safety\W*[:=]|\bsafety categories\W*[:=]")
_NAMED_8B = re.compile(r"(?<![\d.])8b(?![a-z\d])", re.IGNORECASE)


class Nemotron(GuardModel):
    """Judge with Nemotron Content Safety, for example `nemotron:hf:nvidia/Nemotron-3.5-Content-Safety`.

    The model defines no score, so its written answer is always parsed: lines, or a JSON object with the same keys. An
    unsafe text without categories gets the code `unsafe`.

    Args:
        model: A model spec, or a LangChain chat model.
        taxonomy_prompt: If true, send the taxonomy and the conversation in a single user turn, as the 8B models expect.
            If false, send the conversation only; the chat template adds the rest. Defaults to whether the model's name
            contains `8B`.
        options: Arguments of `GuardModel`.
    """

    family = "nemotron"
    verdict_form = _VERDICT_FORM

    def __init__(self, model: str | BaseChatModel, *, taxonomy_prompt: bool | None = None, **options: Any) -> None:
        if not isinstance(taxonomy_prompt, bool | None):
            raise ConfigurationError(f"taxonomy_prompt must be True, False or None; got {taxonomy_prompt!r}.")
        super().__init__(model, **options)
        self.taxonomy_prompt = bool(_NAMED_8B.search(self.spec)) if taxonomy_prompt is None else taxonomy_prompt

    def questions(self, passage: Passage) -> list[GuardQuestion]:
        """Return one question about all categories."""
        turns = self.conversation(passage)
        if self.taxonomy_prompt:
            return [GuardQuestion(({"role": "user", "content": _prompt([t["content"] for t in turns])},))]
        return [GuardQuestion(turns)]

    def parse(self, answer: str, question: GuardQuestion) -> Mapping[str, str]:
        """Flag the categories if the judged side is unsafe; keys must be unique, and levels and categories agree."""
        fields = strict_json(answer) if answer.strip(" \n").startswith("{") else _parse_lines(answer)
        judged, other = _KEYS[:2] if self.role == "prompt" else _KEYS[1::-1]
        levels = {key: fields.get(key) for key in _KEYS[:2] if key in fields}
        if judged not in levels or not set(fields) <= set(_KEYS) or (self.role == "prompt" and other in fields):
            raise Unparsable(f"the keys are {sorted(fields)}; expected {judged!r} and no others than {list(_KEYS)}")
        if not all(level in ("safe", "unsafe") for level in levels.values()):
            raise Unparsable(f"the levels are {levels}; each must be 'safe' or 'unsafe'")
        categories = _parse_categories(fields["Safety Categories"]) if "Safety Categories" in fields else []
        if categories and "unsafe" not in levels.values():
            raise Unparsable("there are categories although everything is safe")
        if levels[judged] == "safe":
            return {}
        # Both sides share one list of categories, so some may belong to an unsafe user turn: too many rather than none.
        return {category: f"Nemotron: {category}" for category in categories or ["unsafe"]}


def _parse_lines(answer: str) -> dict[str, str]:
    lines = answer.strip(" \n").split("\n")
    pairs = [(match[1], match[2].rstrip(" ")) for match in (match_whole(_LINE, line) for line in lines)]
    keys = [key for key, _ in pairs]
    if keys != [key for key in _KEYS if key in keys]:
        raise Unparsable("the keys are duplicated or out of order")
    return dict(pairs)


def _parse_categories(value: object) -> list[str]:
    names = [name.strip(" ") for name in value.split(",")] if isinstance(value, str) else []
    if not names or len(set(names)) != len(names) or not set(names) <= set(_CATEGORIES):
        raise Unparsable(f"{value!r} is not a list of distinct categories of the taxonomy")
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
