"""A judged text as a prompt may hold it: what would speak to the judge in the prompt's own signs is spelled otherwise.

Each sign is replaced by one that looks like it and that no normalisation turns back, so that offsets stay. The words
stay too: a judge reads "<|eot_id|>" in a story as what it is, an attempt.
"""

from __future__ import annotations

import re

_SIGNS = str.maketrans({"<": "‹", ">": "›"})
_TAG = re.compile(r"<+(?=[^\s<])|(?<=[^\s>])>+")
_LINE = r"(?:^|(?<=[\r\v\f\x1c-\x1e\x85\u2028\u2029]))[^\S\n]*"
_BRACKET = re.compile(r"\[(?=/?[A-Z_]{2,}\])")
_HEADING = re.compile(rf"{_LINE}#+", re.MULTILINE)
_RULE = re.compile(rf"{_LINE}-{{3,}}[^\S\n]*$", re.MULTILINE)
_SPEAKER = re.compile(
    rf"({_LINE}(?:response: )?"
    r"(?:(?:AI )?(?:user|human|agent|assistant|system|chatbot|model|developer|tool)"
    r"(?: (?:user|question|response|message|safety))?|answers?|safety(?: categories)?|categories|refusal"
    r"|response safety|harmful (?:request|response)|response refusal))(\s*):",
    re.MULTILINE | re.IGNORECASE,
)


def neutralize_markup(text: str) -> str:
    """The text, of the same length, without tags, control tokens, headings, rules and speakers' names of prompts."""
    text = _TAG.sub(lambda m: m[0].translate(_SIGNS), text)
    text = _BRACKET.sub("⁅", text)
    text = _HEADING.sub(lambda m: m[0].replace("#", "♯"), text)
    text = _RULE.sub(lambda m: m[0].replace("-", "–"), text)
    return _SPEAKER.sub(r"\1\2꞉", text)
