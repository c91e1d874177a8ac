"""A PDF document with tagged text and pictures, colors, bleed and crop marks; see fpdf2 for the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from taleward.books.binding.fonts import FACES, FontFace
from taleward.books.binding.layout import MM_PER_POINT, Box, PageSize
from taleward.books.binding.palette import Color

if TYPE_CHECKING:
    from fpdf import FPDF

_MARK_MM, _MARK_GAP_MM, _MARK_WIDTH_MM = 5.0, 2.0, 0.09
_TAGS = {"h1": "/H1", "h2": "/H2", "p": "/P"}


class PdfDocument:
    """Pages of one size. Lengths are in millimeters from the corner of the trimmed page.

    Args:
        size: The size after trimming.
        bleed: By how much colors and pictures run over the edge; above 0 there are crop marks.
    """

    def __init__(self, size: PageSize, bleed: float) -> None:
        from fpdf import FPDF

        self.size, self.bleed = size, bleed
        self.slug = bleed + _MARK_GAP_MM + _MARK_MM if bleed else 0.0
        whole = (size.width + 2 * self.slug, size.height + 2 * self.slug)
        self.pdf: FPDF = FPDF(unit="mm", format=whole)
        self.pdf.set_auto_page_break(False)
        self.pdf.set_margin(0)
        self.pdf.c_margin = 0
        for face in FACES:
            self.pdf.add_font(face.family, "B" if face.weight == 700 else "", face.path)

    def close(self) -> None:
        """Close the files of the fonts, which fpdf2 leaves open."""
        from fpdf.fonts import TTFFont

        for font in self.pdf.fonts.values():
            if isinstance(font, TTFFont):
                font.close()

    def add_page(self, paper: Color) -> None:
        """Begin a page of a color, with its boxes and crop marks."""
        self.pdf.add_page()
        if self.bleed:
            self._set_boxes()
            self._draw_marks()
        self.fill(Box(0, 0, *self.size), paper)

    def fill(self, box: Box, color: Color) -> None:
        """Fill a rectangle; at the edges of the page it runs into the bleed."""
        self.pdf.set_fill_color(*color)
        with self._artifact():
            self.pdf.rect(*self._on_sheet(self._bled(box)), style="F")

    def picture(self, image: Any, box: Box, alt_text: str) -> None:
        """Draw a Pillow image so that it covers a rectangle, into the bleed where that is at the page's edge."""
        x, y, width, height = self._on_sheet(self._bled(box))
        scale = max(width / image.width, height / image.height)
        wide, high = image.width * scale, image.height * scale
        with self.pdf.rect_clip(x, y, width, height):
            self.pdf.image(
                image, x - (wide - width) / 2, y - (high - height) / 2, wide, high, alt_text=alt_text or None
            )

    def lines(
        self,
        lines: tuple[str, ...],
        box: Box,
        face: FontFace,
        letters: float,
        color: Color,
        *,
        leading: float,
        align: str = "L",
        tag: str = "p",
    ) -> float:
        """Write lines from the top of a rectangle as one tagged paragraph; returns the height they take."""
        self.pdf.set_font(face.family, "B" if face.weight == 700 else "", letters / MM_PER_POINT)
        self.pdf.set_text_color(*color)
        x, y, width, _ = self._on_sheet(box)
        with self._tagged(tag):
            for index, line in enumerate(lines):
                self.pdf.set_xy(x, y + index * leading * letters)
                self.pdf.cell(width, leading * letters, line, align=align)
        return len(lines) * leading * letters

    @contextmanager
    def _tagged(self, tag: str) -> Iterator[None]:
        # fpdf2 has no public way to tag text; what it marks for pictures gets the type of a paragraph or heading.
        with self.pdf._marked_sequence() as element:
            element.s = _TAGS[tag]
            yield

    @contextmanager
    def _artifact(self) -> Iterator[None]:
        self.pdf._out("/Artifact BMC")
        yield
        self.pdf._out("EMC")

    def _bled(self, box: Box) -> Box:
        left = self.bleed if box.x <= 0 else 0.0
        top = self.bleed if box.y <= 0 else 0.0
        right = self.bleed if box.x + box.width >= self.size.width - 0.01 else 0.0
        bottom = self.bleed if box.y + box.height >= self.size.height - 0.01 else 0.0
        return Box(box.x - left, box.y - top, box.width + left + right, box.height + top + bottom)

    def _on_sheet(self, box: Box) -> Box:
        return box._replace(x=box.x + self.slug, y=box.y + self.slug)

    def _set_boxes(self) -> None:
        width, height = ((length + 2 * self.slug) / MM_PER_POINT for length in self.size)

        def inside(distance: float) -> str:
            inset = distance / MM_PER_POINT
            return f"[{inset:.2f} {inset:.2f} {width - inset:.2f} {height - inset:.2f}]"

        # fpdf2 writes only the MediaBox; what is written after it becomes part of the page's dictionary.
        boxes = f"/TrimBox {inside(self.slug)}\n/BleedBox {inside(self.slug - self.bleed)}"
        self.pdf.pages[self.pdf.page].media_box = f"[0 0 {width:.2f} {height:.2f}]\n{boxes}"

    def _draw_marks(self) -> None:
        width, height = self.size
        self.pdf.set_draw_color(0, 0, 0)
        self.pdf.set_line_width(_MARK_WIDTH_MM)
        with self._artifact():
            for x in (self.slug, self.slug + width):
                for y, end in ((0.0, _MARK_MM), (2 * self.slug + height - _MARK_MM, 2 * self.slug + height)):
                    self.pdf.line(x, y, x, end)
            for y in (self.slug, self.slug + height):
                for x, end in ((0.0, _MARK_MM), (2 * self.slug + width - _MARK_MM, 2 * self.slug + width)):
                    self.pdf.line(x, y, end, y)
