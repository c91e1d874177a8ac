"""How a character looks: what stays the same on every page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from taleward.images.collage.colors import COLORS, color_of
from taleward.images.collage.draws import Draws
from taleward.images.collage.library import Artwork

TOPS = ("#e4572e", "#2e86ab", "#f2b134", "#5b8e7d", "#8e5aa8", "#d1495b", "#3d7ea6", "#66a182", "#ed8f3b", "#4b6cb7")
TROUSERS = ("#3c4f76", "#5a4a42", "#2f5d62", "#6b5b95", "#4a5568", "#7a4e2d")
SHOES = ("#4a3b35", "#7b4b2a", "#34435e", "#8c3b3b")
TONES = ("light", "medium-light", "medium", "medium-dark", "dark")
HAIR: Mapping[str, str] = {
    "black": "#2e2a2b", "brown": "#6d4530", "brunette": "#5a3826", "blond": "#e9c46a", "blonde": "#e9c46a",
    "golden": "#e9bf56", "yellow": "#ecc84f", "red": "#b5482a", "ginger": "#cf6a2e", "auburn": "#8a3a25",
    "gray": "#a9a9ad", "grey": "#a9a9ad", "white": "#e6e6ea", "silver": "#c9cdd4", "dark": "#2e2a2b", "fair": "#e6c27a",
    "blue": "#4c7fc4", "green": "#4f9a64", "pink": "#ef7fb0", "purple": "#8a5bb8", "orange": "#dd7a33",
}  # fmt: skip
"""Colors of hair by their names."""

_USUAL_TOP = {
    "knight": "#8593a1",
    "prince": "#a8324e",
    "pirate": "#8c2f39",
    "robot": "#90a4ae",
    "alien": "#8fa3ad",
    "santa-claus": "#d32f2f",
}
# Combinations that occur, so that a picture with several children shows children as they are.
_NATURAL = (
    ("light", "#e9c46a"), ("light", "#b5482a"), ("light", "#6d4530"), ("light", "#3a2c28"), ("medium-light", "#6d4530"),
    ("medium-light", "#2e2a2b"), ("medium-light", "#8a5a34"), ("medium", "#2e2a2b"), ("medium", "#3b2a22"),
    ("medium-dark", "#2e2423"), ("medium-dark", "#231c1c"), ("dark", "#1f1a1b"), ("dark", "#2a2021"),
)  # fmt: skip
GARMENTS: Mapping[str, str] = {
    "scarf": "scarf", "shawl": "scarf", "muffler": "scarf", "neckerchief": "scarf", "bandana": "scarf",
    "dress": "dress", "gown": "dress", "skirt": "dress", "robe": "dress", "nightgown": "dress", "tunic": "dress",
    "coat": "top", "jacket": "top", "sweater": "top", "pullover": "top", "jumper": "top", "shirt": "top", "t-shirt": "top",
    "raincoat": "top", "vest": "top", "hoodie": "top", "pajamas": "top", "pyjamas": "top", "uniform": "top",
    "overalls": "top", "cardigan": "top", "waistcoat": "top", "suit": "top", "spacesuit": "top",
    "cape": "cape", "cloak": "cape", "trousers": "bottom", "pants": "bottom", "jeans": "bottom", "shorts": "bottom",
    "boots": "shoes", "shoes": "shoes", "wellingtons": "shoes", "slippers": "shoes",
    "hat": "hat", "cap": "hat", "beanie": "hat", "bonnet": "hat",
    "bow tie": "bowtie", "bow": "bow", "ribbon": "bow",
}  # fmt: skip
"""What each garment is drawn as."""

_SKIN: Mapping[str, tuple[str, ...]] = {
    "light": ("pale skin", "light skin", "fair skin", "light-skinned", "fair-skinned", "white skin"),
    "medium-light": ("olive skin", "tanned skin"),
    "medium": ("tan skin", "medium skin", "golden skin", "light brown skin"),
    "medium-dark": ("brown skin", "brown-skinned"),
    "dark": ("dark skin", "dark brown skin", "black skin", "dark-skinned", "ebony skin"),
}


@dataclass(frozen=True)
class Look:
    """How one character looks.

    Attributes:
        drawing: The drawing.
        color: What the drawing's main color becomes; empty for its own.
        tone: The skin tone of a person.
        hair: The color of a person's hair.
        top: The color of what is worn above.
        bottom: The color of the trousers.
        shoes: The color of the shoes.
        dressed: Whether an animal wears clothes.
        dress: Whether the top is a dress.
        scarf: The color of the scarf; empty for none.
        cape: The color of the cape; empty for none.
        hat: The color of the hat; empty for none.
        bow: The color of a bow; empty for none.
        glasses: Whether it wears glasses.
        worn: The garments that are drawn, in words.
    """

    drawing: Artwork
    color: str = ""
    tone: str = "light"
    hair: str = ""
    top: str = "#e4572e"
    bottom: str = "#3c4f76"
    shoes: str = "#4a3b35"
    dressed: bool = False
    dress: bool = False
    scarf: str = ""
    cape: str = ""
    hat: str = ""
    bow: str = ""
    glasses: bool = False
    worn: tuple[str, ...] = ()


def look_of(drawing: Artwork, phrases: tuple[str, ...], key: str, color: str = "") -> Look:
    """Return how a character looks.

    What no phrase says is chosen by the key: the same key gives the same look on every page.

    Args:
        drawing: The drawing.
        phrases: Descriptions, such as `"a blue scarf"` and `"curly red hair"`.
        key: What identifies the character, such as its name and kind.
        color: The color that a phrase gives to the whole, such as a red fox's.
    """
    draws = Draws(f"look/{key}")
    tone, hair = draws.choice(_NATURAL)
    top, bottom, shoes = draws.choice(TOPS), draws.choice(TROUSERS), draws.choice(SHOES)
    dress = drawing.name in ("girl", "princess", "woman", "old-woman", "woman-with-headscarf") and draws.chance(0.65)
    if drawing.name in ("princess", "old-woman"):
        dress = True
    top = _USUAL_TOP.get(drawing.name, top)
    if drawing.name == "fox" and color in (COLORS["red"], COLORS["orange"], COLORS["ginger"]):
        color = ""
    fields: dict[str, object] = {
        "tone": tone, "hair": hair, "top": top, "bottom": bottom, "shoes": shoes, "dress": dress, "color": color,
    }  # fmt: skip
    worn: list[str] = []
    for phrase in phrases:
        _read_look(f" {phrase.casefold()} ", fields, worn, draws)
    if drawing.is_person:
        fields["color"] = ""
    return Look(drawing, worn=tuple(worn), **fields)  # type: ignore[arg-type]


def _read_look(text: str, fields: dict[str, object], worn: list[str], draws: Draws) -> None:
    """Set the fields that a phrase speaks of."""
    for tone, spellings in _SKIN.items():
        if any(spelling in text for spelling in spellings):
            fields["tone"] = tone
    words = text.replace(",", " ").replace(".", " ").split()
    if any(word in ("hair", "haired", "curls", "braids", "pigtails") or word.endswith("-haired") for word in words):
        for index, word in enumerate(words):
            name = word.removesuffix("-haired")
            near = words[index + 1 : index + 4]
            if name in HAIR and (word != name or any(w.startswith(("hair", "curl", "braid", "pigtail")) for w in near)):
                fields["hair"] = HAIR[name]
    if "glasses" in words or "spectacles" in words:
        fields["glasses"] = True
        worn.append("glasses")
    for index, word in enumerate(words):
        name = "bow tie" if word == "tie" and words[index - 1 : index] == ["bow"] else word
        if name not in GARMENTS or (name == "bow" and words[index + 1 : index + 2] in (["tie"], ["and"])):
            continue
        color = next((c for n in (2, 1) for c in [_color_before(words, index, n)] if c), None)
        kind = GARMENTS[name]
        value = color or draws.choice(TOPS)
        said = f"{_color_words(words, index)} {name}".strip() if color else name
        worn.append(said)
        if kind in ("top", "dress", "bottom"):
            fields["dressed"] = True
        if kind == "dress":
            fields["dress"], fields["top"] = True, value
        elif kind == "top":
            fields["dress"], fields["top"] = False, value
        elif kind == "bowtie":
            fields["bow"] = value
        else:
            fields[kind] = value


def _color_before(words: list[str], index: int, count: int) -> str | None:
    for start in range(max(0, index - 3), index):
        if color := color_of(" ".join(words[start : start + count])):
            return color
    return None


def _color_words(words: list[str], index: int) -> str:
    named = [word for word in words[max(0, index - 3) : index] if color_of(word) or word in ("dark", "light", "pale")]
    return " ".join(named)
