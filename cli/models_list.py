"""What the list of models has beside the backends' own: judges of every kind, and cards."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from taleward.backends.discovery import DiscoveredModel
from taleward.core.errors import UnknownName
from taleward.moderation.judges import JUDGES

_RULES = {"lexicon": "word list with normalisation", "personal-data": "patterns of names, addresses, numbers"}
_ELSEWHERE = frozenset({"embedded:judge"})


def judges() -> tuple[DiscoveredModel, ...]:
    """What judges beside the chat models, and what it lacks."""
    return tuple(_found(name) for name in JUDGES if name not in _ELSEWHERE)


def card(spec: str, found: Sequence[DiscoveredModel]) -> str:
    """The card of a model that lies here, in Markdown.

    Args:
        spec: Its spec.
        found: The models that are known here.

    Raises:
        UnknownName: There is no such model here, or it lies here without a card.
    """
    cards = {model.spec: Path(model.folder, "README.md") for model in found if model.folder}
    there = {name: path for name, path in cards.items() if path.is_file()}
    if spec not in there:
        raise UnknownName("model with a card", spec, there)
    text = there[spec].read_text(encoding="utf-8")
    return text.split("\n---\n", 1)[-1] if text.startswith("---\n") else text


def _found(name: str) -> DiscoveredModel:
    if name in _RULES:
        return DiscoveredModel(spec=name, kind="judge", usable=True, description=f"{_RULES[name]}; no model")
    if name == "reading-level":
        usable = find_spec("textstat") is not None
        about = "formulas of readability; no model" if usable else "needs: pip install 'taleward[reading]'"
        return DiscoveredModel(spec=name, kind="judge", usable=usable, description=about)
    if name == "openai-moderation":
        usable = "OPENAI_API_KEY" in os.environ
        return DiscoveredModel(
            spec=name, kind="judge", usable=usable, description="OpenAI's endpoint" if usable else "no OPENAI_API_KEY"
        )
    local = find_spec("torch") is not None and find_spec("transformers") is not None
    hosted = name != "sequence-classifier"
    about = "SPEC is hf:REPOSITORY of a sequence classifier"
    if hosted:
        about = "a guard model of this family; SPEC is hf:REPOSITORY, or openai:MODEL behind a server"
    if not local:
        about = "needs: pip install 'taleward[local]'" + ("; or openai:MODEL as SPEC" if hosted else "")
    return DiscoveredModel(spec=f"{name}:SPEC", kind="judge", usable=local, description=about)
