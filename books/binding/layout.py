"""Where picture and text stand on a page: next to each other, so that no letter covers a face.

Lengths are in millimeters. A picture is as large as the page and the text allow: across the page with the text below,
as high as the page with the text beside, alone on a page with the text facing it, or inset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Literal, NamedTuple

from taleward.books.binding.content import PageContent
from taleward.books.binding.fonts import READING, FontFace
from taleward.books.binding.typeset import FittedText, fit
from taleward.core.errors import ConfigurationError

MM_PER_POINT = 25.4 / 72
_TEXT_SHARES = (0.24, 0.32, 0.42, 0.52, 0.62, 0.72)
_MIN_COLUMN_SHARE = 0.34
_MARGIN_SHARE, _FOOT_SHARE = 0.085, 0.075
_MAX_CROP = 0.06
_MIN_WIDTH_MM, _MIN_HEIGHT_MM = 180.0, 150.0
_SQUARE_MM, _TEXT_BAND_MM, _TEXT_COLUMN_MM = 210.0, 70.0, 105.0
_SIZES = {"3-5": (29.0, 15.0), "6-8": (25.0, 12.5), "9-12": (19.0, 10.5)}
"""The largest and the smallest letters in points, by age."""
_OTHER_SIZES = (22.0, 11.0)
_ALONE = 1.2
"""Letters with a page of their own may be larger by this factor."""
_STEP = 0.5


class Box(NamedTuple):
    """A rectangle, from the page's top left corner."""

    x: float
    y: float
    width: float
    height: float


class PageSize(NamedTuple):
    """A page's size after trimming."""

    width: float
    height: float


class PageLayout(NamedTuple):
    """A page.

    Attributes:
        kind: Where the text is.
        picture: Where the picture is, `None` if there is none.
        text: Where the text is, if `facing` on the next page.
        fitted: The text in lines.
    """

    kind: Literal["below", "beside", "facing", "inset", "text"]
    picture: Box | None
    text: Box
    fitted: FittedText


def page_size_for(pages: Sequence[PageContent]) -> PageSize:
    """Return the size in which most pictures of a book fill the page with room for the text."""
    ratios = [page.picture.width / page.picture.height for page in pages if page.picture is not None]
    ratio = median(ratios) if ratios else 1.0
    if ratio >= 1:
        return PageSize(_SQUARE_MM, max(_MIN_HEIGHT_MM, round(_SQUARE_MM / ratio + _TEXT_BAND_MM, 1)))
    return PageSize(max(_MIN_WIDTH_MM, round(_SQUARE_MM * ratio + _TEXT_COLUMN_MM, 1)), _SQUARE_MM)


def lay_out(page: PageContent, size: PageSize, *, band: str, facing: bool, face: FontFace = READING) -> PageLayout:
    """Lay out a page.

    Args:
        page: The page.
        size: Its size.
        band: The age band, which says how large letters are.
        facing: Whether a picture may have a page of its own, with the text facing it.
        face: The text's font.

    Raises:
        ConfigurationError: If the text does not fit.
    """
    largest, smallest = (points * MM_PER_POINT for points in _SIZES.get(band, _OTHER_SIZES))
    texts = ["".join(paragraph).strip() for paragraph in page.paragraphs]
    for kind, picture, text in _candidates(page, size, facing=facing):
        most = largest * _ALONE if kind in ("facing", "text") else largest
        fitted = fit(texts, text.width, text.height, face, most, smallest, step=_STEP * MM_PER_POINT)
        if fitted is not None:
            return PageLayout(kind, picture, text, fitted)
    words = sum(len(text.split()) for text in texts)
    raise ConfigurationError(
        f"the text of page {page.number} has {words} words, which do not fit on a page of "
        f"{size.width:g} x {size.height:g} mm in letters of {smallest / MM_PER_POINT:g} pt.",
        hint="Plan more pages, or bind the book as html or epub-reflowable.",
    )


def _candidates(
    page: PageContent, size: PageSize, *, facing: bool
) -> Iterator[tuple[Literal["below", "beside", "facing", "inset", "text"], Box | None, Box]]:
    """Yield where picture and text could be, the largest picture first."""
    margin, foot = size.width * _MARGIN_SHARE, size.height * _FOOT_SHARE
    whole = Box(margin, margin, size.width - 2 * margin, size.height - margin - foot)
    if page.picture is None:
        yield "text", None, whole
        return
    ratio = page.picture.width / page.picture.height
    for share in _TEXT_SHARES:
        top = size.width / ratio
        if size.height - top >= share * size.height:
            yield "below", Box(0, 0, size.width, top), _under(top, size, margin, foot)
            continue
        column = size.width - size.height * ratio
        if column >= _MIN_COLUMN_SHARE * size.width:
            side = Box(size.width - column + margin, margin, column - 1.7 * margin, size.height - margin - foot)
            yield "beside", Box(0, 0, size.height * ratio, size.height), side
        if facing:
            page_ratio = size.width / size.height
            crop = 1 - min(ratio / page_ratio, page_ratio / ratio)
            full = Box(0, 0, size.width, size.height)
            yield "facing", full if crop <= _MAX_CROP else _inside(whole, ratio), whole
        height = min(size.height * (1 - share) - margin, whole.width / ratio)
        inset = Box((size.width - height * ratio) / 2, margin, height * ratio, height)
        yield "inset", inset, _under(inset.y + inset.height, size, margin, foot)


def _under(top: float, size: PageSize, margin: float, foot: float) -> Box:
    gap = margin * 0.55
    return Box(margin, top + gap, size.width - 2 * margin, size.height - top - gap - foot)


def _inside(box: Box, ratio: float) -> Box:
    """Return the largest rectangle of a ratio in the middle of a box."""
    width = min(box.width, box.height * ratio)
    height = width / ratio
    return Box(box.x + (box.width - width) / 2, box.y + (box.height - height) / 2, width, height)
