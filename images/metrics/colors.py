"""Which colors a picture has, and whether they are those that its prompt names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from taleward.core.errors import ConfigurationError
from taleward.images.metrics.base import PictureMetric, PictureSample, mean
from taleward.images.metrics.features import small_pixels
from taleward.images.picture import Picture

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

_EXAMPLES: Mapping[str, str] = {
    "black": "#000000 #141418 #1c1a22",
    "white": "#ffffff #f5f5f2 #eef2f6",
    "gray": "#808080 #a9a9a9 #505050 #c8c8c8 #6b7078",
    "red": "#ff0000 #c81e1e #8b0000 #e04040",
    "orange": "#ff8c00 #f5a030 #e06a1a #ffb060",
    "yellow": "#ffff00 #ffd700 #f5e050 #d8b030 #fff0a0",
    "green": "#008000 #00c000 #2e8b57 #7cbf4a #1e4d28 #a8e0a0 #6b8e23",
    "blue": "#0000ff #1f6fd0 #87ceeb #0b1f5c #40b0d0 #4060a0 #b8dcf5",
    "purple": "#800080 #7030c0 #b080e0 #4b2070 #9060a0",
    "pink": "#ffc0cb #ff69b4 #f090b0 #e85090",
    "brown": "#8b4513 #5c3317 #a0703c #b08858 #3c2414",
}
"""The eleven basic color terms of English (Berlin & Kay, "Basic color terms", 1969) with some colors of each."""

COLOR_TERMS: tuple[str, ...] = tuple(_EXAMPLES)

_OTHER_WORDS: Mapping[str, str] = {
    "black": "charcoal ebony jet",
    "white": "cream ivory snowy",
    "gray": "grey silver silvery slate",
    "red": "crimson scarlet ruby cherry",
    "orange": "amber peach apricot coral rust",
    "yellow": "gold golden ochre mustard lemon",
    "green": "emerald olive mint lime",
    "blue": "teal turquoise cyan azure navy indigo sapphire",
    "purple": "violet lavender lilac mauve plum",
    "pink": "magenta rose rosy",
    "brown": "tan beige sepia chestnut umber",
}
_TERM_OF = {word: term for term, words in _OTHER_WORDS.items() for word in (term, *words.split())}
_SIDE = 64
DEFAULT_MIN_SHARE = 0.05


def color_shares(picture: Picture) -> dict[str, float]:
    """Return which share of a picture has each of the eleven basic colors.

    A pixel counts for the nearest color in Oklab (Ottosson 2020); the picture is made small first.

    Returns:
        Shares from 0 to 1 by color term, largest first; their sum is 1.

    Raises:
        ConfigurationError: If the picture's file is damaged.
        MissingExtra: If Pillow is not installed.
    """
    import numpy as np

    pixels = _oklab(small_pixels([picture], _SIDE)[0].reshape(-1, 3))
    terms = [(term, color) for term, examples in _EXAMPLES.items() for color in examples.split()]
    colors = _oklab(np.array([[int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)] for _, color in terms]))
    nearest = ((pixels[:, None] - colors) ** 2).sum(axis=-1).argmin(axis=1)
    counts = dict.fromkeys(COLOR_TERMS, 0)
    for index, number in zip(*np.unique(nearest, return_counts=True), strict=True):
        counts[terms[index][0]] += int(number)
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return {term: count / len(pixels) for term, count in ordered}


def color_term(phrase: str) -> str | None:
    """Return the basic color that a phrase names, such as `blue` for `"deep navy"`; `None` if it names none."""
    found = None
    for word in re.findall(r"[a-z]+", phrase.casefold()):
        found = _TERM_OF.get(word, found)  # the last one counts: a yellow green is green
    return found


class PaletteMatch(PictureMetric):
    """The share of the colors in the prompt's `colors` that the picture shows, 0 to 1.

    A prompt whose `colors` name no basic color is left out. It says nothing about colors that were not asked for.

    Args:
        min_share: Which share of the picture a color must cover to be seen, above 0 and up to 1.
    """

    name = "palette_match"
    unit = "share"
    higher_is_better = True

    def __init__(self, *, min_share: float = DEFAULT_MIN_SHARE) -> None:
        if not 0 < min_share <= 1:
            raise ConfigurationError(f"min_share must be above 0 and up to 1; got {min_share}.")
        self.min_share = min_share

    @property
    def options(self) -> Mapping[str, object]:
        """The least share of a color."""
        return {"min_share": self.min_share}

    def number(self, sample: PictureSample) -> float:
        """Return the mean share of the wanted colors that a prompt's pictures show."""
        terms = list(dict.fromkeys(filter(None, map(color_term, sample.prompt.colors))))
        if not terms:
            return float("nan")
        return mean([self._shown(color_shares(picture), terms) for picture in sample.pictures])

    def _shown(self, shares: Mapping[str, float], terms: Sequence[str]) -> float:
        return sum(shares[term] >= self.min_share for term in terms) / len(terms)


def _oklab(srgb: Any) -> Floats:
    """Convert sRGB from 0 to 1 to Oklab, shape (n, 3)."""
    import numpy as np

    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    to_cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    lab: Floats = np.cbrt(linear @ to_cones.T) @ to_lab.T
    return lab
