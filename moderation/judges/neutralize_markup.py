"""Neutralize prompt markup in a judged text, so that the text cannot imitate the structure of the judge's prompt.

A story may contain `<|im_end|>`, `[/INST]`, `### System` or `Safety: Safe`, by accident or to dictate its own verdict.
Each character that gives such markup its meaning is replaced by a look-alike. Deleting it would hide the attempt from
the judge, and deleting or escaping it would shift the offsets of the findings.
"""

from __future__ import annotations

import re

# The look-alikes have no compatibility decomposition: NFKC, which some tokenizers apply, turns a full-width "＜" back
# into "<", but leaves "‹" alone. All are single code points, like what they replace.
_ANGLE_BRACKETS = str.maketrans({"<": "‹", ">": "›"})
# Only next to a non-space: "3 < 5" in a story is left as it is.
_TAG = re.compile(r"(?<!<)<++(?=\S)|(?<=[^\s>])>+")
# `^` knows "\n" only, but a model may take any of these for a new line.
_LINE_BREAKS = r"\r\v\f\x1c-\x1e\x85\u2028\u2029"
# A line break begins a line and is no indentation: read as both, a run of n of them would take n² steps.
_LINE_START = rf"(?:^|(?<=[{_LINE_BREAKS}]))[^\S\n{_LINE_BREAKS}]*+"
# Llama and Mistral mark turns with [INST], [/INST] and [SYSTEM_PROMPT]; "[aged 7]" is prose.
_BRACKET = re.compile(r"\[(?=/?[A-Z_]{2,}\])")
_HEADING = re.compile(rf"{_LINE_START}#+", re.MULTILINE)
_RULE = re.compile(rf"{_LINE_START}-{{3,}}+[^\S\n]*+$", re.MULTILINE)
# Speaker labels of chat transcripts, and the field names that guard models answer with. Only at the start of a line:
# "The user of the boat: a fox" stays.
_SPEAKER = re.compile(
    rf"({_LINE_START}(?:response: )?"
    r"(?:(?:AI )?(?:user|human|agent|assistant|system|chatbot|model|developer|tool)"
    r"(?: (?:user|question|response|message|safety))?|answers?|safety(?: categories)?|categories|refusal"
    r"|response safety|harmful (?:request|response)|response refusal))(\s*+):",
    re.MULTILINE | re.IGNORECASE,
)


def neutralize_markup(text: str) -> str:
    """Replace tags, control tokens, headings, rules and speaker labels of prompts by look-alikes.

    Returns:
        A text of the same length, so that offsets stay valid. Applying the function twice changes nothing more.
    """
    text = _TAG.sub(lambda m: m[0].translate(_ANGLE_BRACKETS), text)
    text = _BRACKET.sub("⁅", text)
    text = _HEADING.sub(lambda m: m[0].replace("#", "♯"), text)
    text = _RULE.sub(lambda m: m[0].replace("-", "–"), text)
    return _SPEAKER.sub(r"\1\2꞉", text)
