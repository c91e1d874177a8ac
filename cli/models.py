"""The judges in the list of models: families of guard models, and judges without a model."""

from __future__ import annotations

import os
from importlib.util import find_spec

from taleward.backends.discovery import Found
from taleward.moderation.judges import JUDGES

_RULES = {"lexicon": "word list with normalisation", "personal-data": "patterns of names, addresses, numbers"}
_ELSEWHERE = frozenset({"embedded:judge"})


def judges() -> tuple[Found, ...]:
    """What judges beside the chat models, and what it lacks."""
    return tuple(_found(name) for name in JUDGES if name not in _ELSEWHERE)


def _found(name: str) -> Found:
    if name in _RULES:
        return Found(spec=name, kind="judge", usable=True, about=f"{_RULES[name]}; no model")
    if name == "reading-level":
        usable = find_spec("textstat") is not None
        about = "formulas of readability; no model" if usable else "needs: pip install 'taleward[reading]'"
        return Found(spec=name, kind="judge", usable=usable, about=about)
    if name == "openai-moderation":
        usable = "OPENAI_API_KEY" in os.environ
        return Found(
            spec=name, kind="judge", usable=usable, about="OpenAI's endpoint" if usable else "no OPENAI_API_KEY"
        )
    local = find_spec("torch") is not None and find_spec("transformers") is not None
    hosted = name != "encoder"
    about = "SPEC is hf:REPOSITORY of a sequence classifier"
    if hosted:
        about = "a guard model of this family; SPEC is hf:REPOSITORY, or openai:MODEL behind a server"
    if not local:
        about = "needs: pip install 'taleward[local]'" + ("; or openai:MODEL as SPEC" if hosted else "")
    return Found(spec=f"{name}:SPEC", kind="judge", usable=local, about=about)
