"""How the page asks: kinds of stories with questions for a child, and ideas with pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from taleward.chains.story import StoryInput
from taleward.chains.template import Template

MAX_SENTENCE_CHARS = 200
_MAX_TITLE_CHARS = 60
_FALLBACK_PICTURE = "star"
_REQUEST = re.compile(
    r"^(?:please\s+)?(?:tell me\s+)?(?:a|an|the)?\s*(?:story|tale)\s+(?:about|of|with)\s+", re.IGNORECASE
)
_ARTICLE = re.compile(r"^(?:an?|the)\s+", re.IGNORECASE)


def story_kinds(templates: Iterable[Template]) -> list[dict[str, Any]]:
    """Return the kinds of stories: for each template its questions, and ideas from its examples."""
    return [_kind(template) for template in templates]


def sentence_ideas() -> list[dict[str, str]]:
    """Return ideas for a free sentence."""
    return [dict(idea) for idea in _data()["sentences"]]


def picture_for(idea: str) -> str:
    """Return the name of the picture that goes with an idea."""
    for picture, pattern in _picture_patterns().items():
        if pattern.search(idea):
            return picture
    return _FALLBACK_PICTURE


def tale_title(asked: StoryInput) -> str:
    """Return a title for a tale, in the words of who asked for it."""
    if isinstance(asked, str):
        return _shortened(_capitalized(_REQUEST.sub("", asked.strip()).rstrip(".!? ")))
    name = next((asked[key] for key in ("name", "character", "hero") if asked.get(key)), None)
    if name is None:
        name = next((value for value in asked.values() if isinstance(value, str) and value), "A story")
    words = str(name).strip()
    # Without an article it may be a person's name, and those are written with a capital.
    return _shortened(words if words[:1].isupper() else f"The {_ARTICLE.sub('', words)}")


def _kind(template: Template) -> dict[str, Any]:
    known: Mapping[str, Any] = _data()["kinds"].get(template.name, {})
    questions: Mapping[str, str] = known.get("questions", {})
    return {
        "name": template.name,
        "title": known.get("title", _capitalized(template.name.replace("_", " ").replace("-", " "))),
        "picture": known.get("picture", _FALLBACK_PICTURE),
        "description": template.description,
        "fields": [
            {
                "name": name,
                "question": questions.get(name, _capitalized(variable.description)),
                "max_length": variable.max_length,
                "ideas": [
                    {"text": values[name], "picture": picture_for(values[name])} for values in template.example_values
                ],
            }
            for name, variable in template.variables.items()
        ],
    }


@cache
def _data() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "questions.yaml").read_text(encoding="utf-8"))
    return data


@cache
def _picture_patterns() -> dict[str, re.Pattern[str]]:
    return {
        picture: re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})s?\b", re.IGNORECASE)
        for picture, words in _data()["pictures"].items()
    }


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _shortened(title: str) -> str:
    if len(title) <= _MAX_TITLE_CHARS:
        return title
    return title[:_MAX_TITLE_CHARS].rsplit(maxsplit=1)[0].rstrip(",;:") + "…"
