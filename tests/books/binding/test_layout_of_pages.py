"""Pages: text and picture never overlap, stay on the page, and letters are as large as fits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from taleward.books.binding.content import BookContent
from taleward.books.binding.cover_layout import lay_out_cover
from taleward.books.binding.fonts import READING, text_width
from taleward.books.binding.layout import Box, PageSize, lay_out, page_size_for
from taleward.books.binding.palette import CREAM, NIGHT_PAPER, PAPER, contrast, palette_of
from taleward.books.binding.pdf import PAGE_SIZES
from taleward.books.binding.typeset import break_lines, even_lines
from taleward.core.errors import ConfigurationError
from tests.helpers.bound_books import drawn, make_book


def overlap(one: Box, other: Box) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


def inside(box: Box, size: PageSize) -> bool:
    right, bottom = box.x + box.width, box.y + box.height
    return box.x >= 0 and box.y >= 0 and right <= size.width + 0.01 and bottom <= size.height + 0.01


@settings(max_examples=100, deadline=None)
@given(
    width=st.integers(20, 100),
    height=st.integers(20, 100),
    words=st.integers(1, 100),
    facing=st.booleans(),
    size=st.sampled_from([*PAGE_SIZES.values(), None]),
)
def test_letters_never_cover_a_picture(
    width: int, height: int, words: int, facing: bool, size: PageSize | None
) -> None:
    content = BookContent(make_book(["Snow fell. " * words], [drawn(size=(width, height))], band="9-12"))
    size = size or page_size_for(content.pages)
    layout = lay_out(content.pages[0], size, band="9-12", facing=facing)
    assert layout.picture is not None
    assert inside(layout.picture, size)
    assert inside(layout.text, size)
    assert layout.fitted.height <= layout.text.height
    assert layout.kind == "facing" or not overlap(layout.picture, layout.text)
    assert sum(len(line.split()) for part in layout.fitted.paragraphs for line in part) == 2 * words


def test_a_picture_is_as_large_as_the_page_allows() -> None:
    page = BookContent(make_book(["Snow fell."], [drawn()])).pages[0]
    assert lay_out(page, PAGE_SIZES["A4"], band="6-8", facing=True).picture == Box(0, 0, 210, 210)
    square = lay_out(page, PAGE_SIZES["21x21cm"], band="6-8", facing=True)
    assert (square.kind, square.picture) == ("facing", Box(0, 0, 210, 210))
    assert lay_out(page, PAGE_SIZES["21x21cm"], band="6-8", facing=False).kind == "inset"


def test_letters_are_larger_for_younger_children_and_smaller_for_longer_texts() -> None:
    def letters(words: int, band: str) -> float:
        page = BookContent(make_book(["Snow fell. " * words], [drawn()])).pages[0]
        return lay_out(page, PAGE_SIZES["A4"], band=band, facing=False).fitted.size

    assert letters(2, "3-5") > letters(2, "6-8") > letters(2, "9-12")
    assert letters(2, "6-8") > letters(40, "6-8")


@pytest.mark.parametrize("title", ["Snow", "Mira and the Lantern", "The Very Long Way Home through the Snow " * 4])
@pytest.mark.parametrize("size", PAGE_SIZES.values(), ids=PAGE_SIZES)
def test_a_title_stands_above_the_cover_picture(title: str, size: PageSize) -> None:
    cover = lay_out_cover(BookContent(make_book(title=title)), size)
    assert cover.picture is not None
    assert inside(cover.title, size)
    assert inside(cover.picture, size)
    assert not overlap(cover.title, cover.picture)
    assert not overlap(cover.subtitle, cover.picture)
    assert " ".join(cover.lines).split() == title.split()


def test_a_title_too_long_for_a_cover_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="too long for a cover"):
        lay_out_cover(BookContent(make_book(title="Hm" * 100)), PAGE_SIZES["A4"])


@given(st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255)))
@settings(max_examples=40, deadline=None)
def test_titles_and_numbers_can_be_read_on_every_color(color: tuple[int, int, int]) -> None:
    palette = palette_of(drawn(color))
    assert contrast(palette.board, CREAM) >= 7
    assert contrast(palette.accent, PAPER) >= 4.5
    assert contrast(palette.night_accent, NIGHT_PAPER) >= 4.5


def test_no_word_stands_alone_on_a_last_line_if_lines_can_be_shorter() -> None:
    text = "Soon there was soup, and there were three bowls. Owl told the story of the snowflake to all of them."
    for width in range(14, 30):
        lines = even_lines(text, width, READING, all_even=False)
        assert " ".join(lines) == text
        assert len(lines) == len(break_lines(text, width, READING))
        assert max(text_width(line, READING) for line in lines) <= width
    assert " " not in break_lines("Owl told the story of the snowflake and then slept.", 23, READING)[-1]
    assert " " in even_lines("Owl told the story of the snowflake and then slept.", 23, READING, all_even=False)[-1]
