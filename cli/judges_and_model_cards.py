"""Additions to the list of discovered models: judges of every kind, and model cards."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from taleward.backends.discovery import DiscoveredModel
from taleward.core.errors import UnknownName
from taleward.moderation.judges import JUDGES

_RULE_BASED = {
    "lexicon": "word lists, compared with normalized text",
    "personal-data": "patterns for names, addresses and numbers",
}
_DISCOVERED_ELSEWHERE = frozenset({"embedded:judge"})


def judges() -> tuple[DiscoveredModel, ...]:
    """List the judges other than chat models, and what is missing for those you cannot use."""
    return tuple(_describe(name) for name in JUDGES if name not in _DISCOVERED_ELSEWHERE)


def card(spec: str, models: Sequence[DiscoveredModel]) -> str:
    """Return the model card of a model on this machine, as Markdown without front matter.

    Args:
        spec: The model's spec.
        models: The discovered models.

    Raises:
        UnknownName: If there is no such model on this machine, or it has no card.
    """
    paths = {model.spec: Path(model.folder, "README.md") for model in models if model.folder}
    cards = {name: path for name, path in paths.items() if path.is_file()}
    if spec not in cards:
        raise UnknownName("model with a card", spec, cards)
    text = cards[spec].read_text(encoding="utf-8")
    return text.split("\n---\n", 1)[-1] if text.startswith("---\n") else text


def _describe(name: str) -> DiscoveredModel:
    if name in _RULE_BASED:
        return DiscoveredModel(spec=name, kind="judge", usable=True, description=f"{_RULE_BASED[name]}; no model")
    if name == "reading-level":
        usable = find_spec("textstat") is not None
        description = "readability formulas; no model" if usable else "needs: pip install 'taleward[reading]'"
        return DiscoveredModel(spec=name, kind="judge", usable=usable, description=description)
    if name == "openai-moderation":
        usable = "OPENAI_API_KEY" in os.environ
        description = "OpenAI's moderation endpoint" if usable else "needs: OPENAI_API_KEY in the environment"
        return DiscoveredModel(spec=name, kind="judge", usable=usable, description=description)
    usable = find_spec("torch") is not None and find_spec("transformers") is not None
    can_be_hosted = name != "sequence-classifier"
    description = "a sequence classifier; SPEC is hf:REPOSITORY"
    if can_be_hosted:
        description = "a guard model of this family; SPEC is hf:REPOSITORY, or openai:MODEL on a server"
    if not usable:
        alternative = "; or openai:MODEL as SPEC" if can_be_hosted else ""
        description = f"needs: pip install 'taleward[local]'{alternative}"
    return DiscoveredModel(spec=f"{name}:SPEC", kind="judge", usable=usable, description=description)
