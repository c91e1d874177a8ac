"""A book as PDF, for the screen and for print: tagged, and with its typefaces in it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from xml.sax.saxutils import escape

from taleward.books.binding.colophon_layout import HEADING_SHARE, lay_out_colophon
from taleward.books.binding.content import BookContent, PageContent
from taleward.books.binding.cover_layout import TITLE_LEADING, lay_out_cover
from taleward.books.binding.fonts import BOLD, READING, TITLES, check_letters
from taleward.books.binding.layout import Box, PageSize, lay_out
from taleward.books.binding.palette import CREAM, INK, PAPER, SOFT, Palette, palette_of
from taleward.books.binding.pdf_document import PdfDocument
from taleward.books.binding.picture_files import bitmap
from taleward.books.binding.typeset import LEADING, PARAGRAPH_GAP, even_lines
from taleward.books.folder import write_whole
from taleward.core.errors import ConfigurationError, MissingExtra, UnknownName
from taleward.images.picture import Picture
from taleward.images.picture_metadata import source_type

PAGE_SIZES: Mapping[str, PageSize] = {
    "21x21cm": PageSize(210.0, 210.0),
    "8.5x8.5in": PageSize(215.9, 215.9),
    "A4": PageSize(210.0, 297.0),
}
"""Page sizes after trimming."""

MAX_BLEED_MM = 10.0
PRINT_DPI = 300
_MM_PER_INCH = 25.4
_FOLDED = 4
_NUMBER_MM = 4.2
_END_SIZE, _END_HEIGHT = 3.4, 7.3


class PrintWarning(UserWarning):
    """Warns of pictures too small for print."""


def bind_pdf(book: BookContent, path: Path, *, page_size: str = "21x21cm", bleed_mm: float = 0.0) -> None:
    """Write a book as PDF; see `bind`.

    With a bleed the book is for print: it has crop marks, and empty pages make their number a multiple of four.

    Args:
        book: The book.
        path: The file.
        page_size: `21x21cm`, `A4` or `8.5x8.5in`.
        bleed_mm: By how much colors and pictures run over the edge, 0 to 10; printers ask for 3.

    Warns:
        PrintWarning: If the book is for print and a picture has fewer than 300 dots per inch.

    Raises:
        ConfigurationError: If an option is invalid, a text does not fit its page, or the typeface lacks a letter.
        MissingExtra: If fpdf2 is not installed.
    """
    size = next((size for name, size in PAGE_SIZES.items() if name.lower() == page_size.lower()), None)
    if size is None:
        raise UnknownName("page size", page_size, PAGE_SIZES)
    if not 0 <= bleed_mm <= MAX_BLEED_MM:
        raise ConfigurationError(
            f"bleed_mm is 0 to {MAX_BLEED_MM:g}; got {bleed_mm}.", hint="Printers usually ask for 3."
        )
    try:
        import_module("fpdf")
    except ImportError as error:
        raise MissingExtra("binding a PDF", "books") from error
    _check_letters(book)
    binding = _Binding(book, size, bleed_mm)
    try:
        data = binding.bind()
    finally:
        binding.document.close()
    write_whole(path, data)


class _Binding:
    def __init__(self, book: BookContent, size: PageSize, bleed: float) -> None:
        self.book, self.size = book, size
        self.palette: Palette = palette_of(book.cover)
        self.document = PdfDocument(size, bleed)
        self.pdf = self.document.pdf
        self.small: list[str] = []

    def bind(self) -> bytes:
        self._describe()
        self._cover()
        for page in self.book.pages:
            self._page(page)
        self._colophon()
        if self.document.bleed:
            while (self.pdf.pages_count + 1) % _FOLDED:
                self.document.add_page(PAPER)
        self._back()
        if self.document.bleed and self.small:
            warnings.warn(
                f"in print these pictures have fewer than {PRINT_DPI} dots per inch: {', '.join(self.small)}. Draw "
                "them larger, or as svg drawings, or bind a smaller page.",
                PrintWarning,
                stacklevel=6,
            )
        return bytes(self.pdf.output())

    def _describe(self) -> None:
        book, pdf = self.book, self.pdf
        pdf.set_title(book.title)
        pdf.set_lang(book.language)
        pdf.set_subject(f"{book.subtitle}. {book.summary}")
        pdf.set_keywords("AI-generated")
        pdf.set_creator(f"Taleward {book.book.colophon.taleward}")
        pdf.set_producer("fpdf2")
        pdf.set_creation_date(book.modified)
        pdf.set_xmp_metadata(_xmp(book))
        from fpdf import ViewerPreferences

        pdf.viewer_preferences = ViewerPreferences(display_doc_title=True)

    def _cover(self) -> None:
        cover = lay_out_cover(self.book, self.size)
        self.document.add_page(self.palette.board)
        self.pdf.start_section("Cover")
        self.document.lines(
            cover.lines, cover.title, TITLES, cover.title_size, CREAM, leading=TITLE_LEADING, align="C", tag="h1"
        )
        self.document.lines(
            (self.book.subtitle,), cover.subtitle, READING, cover.subtitle_size, CREAM, leading=1.4, align="C"
        )
        if cover.picture and self.book.cover:
            self._draw("cover", self.book.cover, cover.picture, self.book.cover_alt)

    def _page(self, page: PageContent) -> None:
        layout = lay_out(page, self.size, band=self.book.book.band, facing=True)
        if layout.kind == "facing" and self.pdf.pages_count % 2 == 0:
            # A picture stands on the left and its text on the right, so both are seen at once.
            self.document.add_page(PAPER)
        self.document.add_page(PAPER)
        self.pdf.start_section(f"Page {page.number}")
        if page.picture and layout.picture:
            self._draw(page.name, page.picture, layout.picture, page.alt_text)
        if layout.kind == "facing":
            self.document.add_page(PAPER)
        text, fitted = layout.text, layout.fitted
        top = text.y + (text.height - fitted.height) / 2
        for lines in fitted.paragraphs:
            box = text._replace(y=top)
            align = "C" if fitted.centered else "R" if self.book.direction == "rtl" else "L"
            top += self.document.lines(lines, box, READING, fitted.size, INK, leading=LEADING, align=align)
            top += PARAGRAPH_GAP * fitted.size
        number = Box(text.x, self.size.height - 2.3 * _NUMBER_MM, text.width, _NUMBER_MM)
        self.document.lines(
            (str(page.number),), number, TITLES, _NUMBER_MM, self.palette.accent, leading=1.2, align="C"
        )

    def _colophon(self) -> None:
        for index, page in enumerate(lay_out_colophon(self.book, self.size)):
            self.document.add_page(PAPER)
            box, letters = page.box, page.size
            top = box.y
            if index == 0:
                self.pdf.start_section("How this book was made")
                if not self.book.ends_by_itself:
                    end = box._replace(y=top)
                    self.document.lines(
                        ("The End",), end, TITLES, _END_SIZE * letters, self.palette.accent, leading=1.15, align="C"
                    )
                    top += _END_HEIGHT * letters
                at = box._replace(y=top)
                heading = ("How this book was made",)
                top += self.document.lines(heading, at, BOLD, 1.2 * letters, INK, leading=1.9, tag="h2")
                at = box._replace(y=top)
                top += self.document.lines(page.summary, at, READING, letters, INK, leading=LEADING)
                top += letters * 0.8
            column = box.width * HEADING_SHARE
            for heading_text, lines in page.rows:
                left = Box(box.x, top, column, 0)
                right = Box(box.x + column, top, box.width - column, 0)
                self.document.lines((heading_text,), left, READING, letters, SOFT, leading=LEADING)
                top += self.document.lines(lines, right, READING, letters, INK, leading=LEADING)

    def _back(self) -> None:
        self.document.add_page(self.palette.board)
        self.pdf.start_section("Back cover")
        middle = Box(self.size.width * 0.15, self.size.height * 0.44, self.size.width * 0.7, 0)
        letters = self.size.width * 0.055
        lines = even_lines(self.book.title, middle.width / letters, TITLES)
        height = self.document.lines(lines, middle, TITLES, letters, CREAM, leading=1.25, align="C")
        below = middle._replace(y=middle.y + height + letters * 0.5)
        self.document.lines(("Made with AI",), below, READING, letters * 0.45, CREAM, leading=LEADING, align="C")

    def _draw(self, name: str, picture: Picture, box: Box, alt_text: str) -> None:
        inches = max(box.width / picture.width, box.height / picture.height) / _MM_PER_INCH
        longest = round(max(box.width, box.height) / _MM_PER_INCH * PRINT_DPI)
        if picture.media_type != "image/svg+xml" and round(1 / inches) < PRINT_DPI:
            self.small.append(f"{name} ({1 / inches:.0f} dpi)")
        self.document.picture(bitmap(picture, longest), box, alt_text)


def _check_letters(book: BookContent) -> None:
    check_letters(book.title, TITLES, "the title")
    for page in book.book.pages:
        check_letters(page.text, READING, f"page {page.number}")
    check_letters(" ".join(text for row in book.colophon for text in row), READING, "the colophon")


def _xmp(book: BookContent) -> str:
    """Return the label that says the book was made by AI."""
    # Of both kinds, the one of trained models ranks last in the alphabet, and says more.
    kinds = sorted({source_type(picture) for picture in book.book.pictures})
    sources = "".join(
        f"<Iptc4xmpExt:DigitalSourceType>{escape(kind)}</Iptc4xmpExt:DigitalSourceType>" for kind in kinds[-1:]
    )
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
        f'<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{escape(book.title)}</rdf:li></rdf:Alt></dc:title>'
        f'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{escape(book.summary)}</rdf:li></rdf:Alt>'
        "</dc:description>"
        f"{sources}</rdf:Description></rdf:RDF></x:xmpmeta>"
    )
