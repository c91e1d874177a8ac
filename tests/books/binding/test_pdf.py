"""PDF: text, tags, fonts, bookmarks, boxes for print, and warnings of small pictures."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from taleward.books.binding.bind import bind
from taleward.books.binding.pdf import PrintWarning
from taleward.core.errors import ConfigurationError
from tests.helpers.bound_books import TEXTS, drawn, make_book

MM = 72 / 25.4


def wide_book() -> Any:
    return make_book(pictures=[drawn(size=(96, 64), seed=n) for n in range(3)], cover=drawn(size=(96, 64)))


def catalog(reader: PdfReader) -> Any:
    return reader.trailer["/Root"]


def elements(reader: PdfReader) -> list[Any]:
    root = catalog(reader)["/StructTreeRoot"]
    document = root["/K"][0].get_object()
    return [kid.get_object() for kid in document["/K"]]


def test_it_is_text_with_tags_language_and_bookmarks(tmp_path: Path) -> None:
    reader = PdfReader(bind(wide_book(), tmp_path / "book.pdf"))
    root = catalog(reader)
    assert root["/Lang"] == "en"
    assert root["/MarkInfo"]["/Marked"]
    assert reader.metadata is not None
    assert reader.metadata.title == "Mira & the <Snow>"
    assert "Made with AI" in str(reader.metadata.subject)
    assert TEXTS[0] in " ".join(reader.pages[1].extract_text().split())
    outline: Any = reader.outline
    expected = ["Cover", "Page 1", "Page 2", "Page 3", "How this book was made", "Back cover"]
    assert [item["/Title"] for item in outline] == expected
    tags = elements(reader)
    figures = [str(tag["/Alt"]) for tag in tags if tag["/S"] == "/Figure"]
    assert figures == ["The cover: a fox.", *(f'Page {n}: a "fox" & snow.' for n in (1, 2, 3))]
    assert [tag["/S"] for tag in tags[:4]] == ["/H1", "/P", "/Figure", "/Figure"]
    assert all(tag["/S"] in ("/H1", "/H2", "/P", "/Figure") for tag in tags)
    assert b"algorithmicMedia" in root["/Metadata"].get_data()


def test_every_font_is_embedded(tmp_path: Path) -> None:
    reader = PdfReader(bind(wide_book(), tmp_path / "book.pdf"))
    resources: list[Any] = [page["/Resources"] for page in reader.pages]
    fonts = [font.get_object() for one in resources for font in one.get("/Font", {}).values()]
    assert fonts
    for font in fonts:
        assert "/FontFile2" in font["/DescendantFonts"][0].get_object()["/FontDescriptor"]


def test_a_square_picture_has_the_left_page_and_its_text_the_right(tmp_path: Path) -> None:
    reader = PdfReader(bind(make_book(), tmp_path / "book.pdf"))
    assert len(reader.pages) == 1 + 2 * 3 + 2
    assert not reader.pages[1].extract_text().strip()
    assert "Mira the fox woke" in reader.pages[2].extract_text()


@pytest.mark.parametrize(
    ("name", "width", "height"), [("21x21cm", 210, 210), ("a4", 210, 297), ("8.5x8.5in", 215.9, 215.9)]
)
def test_page_sizes(tmp_path: Path, name: str, width: float, height: float) -> None:
    box = PdfReader(bind(wide_book(), tmp_path / "book.pdf", page_size=name)).pages[0].mediabox
    assert (float(box.width), float(box.height)) == pytest.approx((width * MM, height * MM), abs=0.1)


def test_with_a_bleed_it_is_ready_for_print(tmp_path: Path) -> None:
    with pytest.warns(PrintWarning, match=r"cover \(\d+ dpi\), page-01 \(12 dpi\)"):
        path = bind(wide_book(), tmp_path / "book.pdf", bleed_mm=3)
    reader = PdfReader(path)
    assert len(reader.pages) % 4 == 0
    for page in reader.pages:
        assert float(page.trimbox.width) == pytest.approx(210 * MM, abs=0.1)
        assert float(page.bleedbox.width) == pytest.approx(216 * MM, abs=0.1)
        assert float(page.mediabox.width) == pytest.approx(230 * MM, abs=0.1)


def test_a_book_for_the_screen_warns_of_nothing(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bind(wide_book(), tmp_path / "book.pdf")


def test_letters_that_the_typeface_has_not_are_never_left_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"has no 'ж', 'и'.*page 1 needs") as caught:
        bind(make_book(["жи"]), tmp_path / "book.pdf")
    assert "html" in str(caught.value.hint)
    assert not list(tmp_path.iterdir())
