"""The unicorn, which no icon set draws whole: a white horse with a pink mane and a horn."""

from __future__ import annotations

COLORS = {
    "#feaf5f": "#fbf8ff",
    "#b3875d": "#d9d0ea",
    "#a87c5b": "#cfc4e4",
    "#a4785a": "#cfc4e4",
    "#916656": "#bfb2da",
    "#865b52": "#f08fc0",
    "#895d52": "#eed7ea",
    "#946554": "#f0dcec",
    "#a67255": "#f2e2ef",
    "#c08358": "#f4e9f3",
    "#e09a5c": "#f8f1f9",
    "#9f6c55": "#e2d6ee",
    "#dd985b": "#f1eaf7",
    "#523226": "#b06a92",
    "#6b4733": "#b89ad0",
}
HORN = (
    '<path fill="#ffd54f" d="M19.5 25.5L17 1.5L27.5 21.5Z"/>'
    '<path fill="none" stroke="#f0a72c" stroke-width="1.7" d="M18.3 9.5l3-1M18.6 14.5l5-2M19.2 20l6.4-3"/>'
)


def unicorn(horse: str) -> str:
    """Return the drawing of a unicorn, made of that of a horse."""
    for old, new in COLORS.items():
        horse = horse.replace(old, new)
    return horse + HORN
