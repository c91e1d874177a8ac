"""Make a prompt gentler by what a judge found in the picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from taleward.images.prompt_spec import PromptSpec

_MOOD = "gentle, warm and friendly"
_LEAVE_OUT: Mapping[str, tuple[str, ...]] = {
    "violence": ("weapons", "fighting", "blood", "wounds"),
    "frightening": ("monsters", "scary faces", "darkness", "skulls"),
    "sexual": ("nudity", "bare skin", "underwear"),
    "hate": ("mocking faces", "symbols"),
    "drugs": ("alcohol", "cigarettes", "syringes"),
    "self_harm": ("wounds", "blades"),
    "dangerous_acts": ("fire", "weapons", "dangerous heights"),
    "crime": ("weapons", "broken windows"),
    "profanity": ("letters", "rude gestures"),
    "personal_data": ("letters", "faces of real people"),
    "adult_themes": ("graves", "war", "gambling"),
}
"""What is asked to be left out, by the policy's category; of other categories, only the mood changes."""
_SHOW_INSTEAD: Mapping[str, str] = {
    "sexual": "everybody fully dressed",
    "frightening": "smiling faces",
    "violence": "everybody friendly with each other",
}
_ALWAYS = ("letters",)


def soften(spec: PromptSpec, categories: Iterable[str] = (), *, strongly: bool = False) -> PromptSpec:
    """Return a gentler prompt.

    Args:
        spec: The prompt.
        categories: The categories of the policy in which the picture failed.
        strongly: Whether to drop action, light, camera and artists too, which a second failure calls for.
    """
    found = tuple(dict.fromkeys(categories))
    absent = [words for category in found for words in _LEAVE_OUT.get(category, ())]
    absent += _ALWAYS if spec.text_shown is None else ()
    shown = [_SHOW_INSTEAD[category] for category in found if category in _SHOW_INSTEAD]
    update: dict[str, object] = {
        "mood": _MOOD,
        "negative": tuple(dict.fromkeys((*spec.negative, *absent))),
        "details": tuple(dict.fromkeys((*spec.details, *shown))),
    }
    if strongly:
        update |= {"action": "", "camera": "", "influences": (), "lighting": "soft daylight"}
    return spec.model_copy(update=update)
