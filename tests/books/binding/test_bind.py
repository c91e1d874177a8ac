"""Binding: formats by name or ending, wrong options, the same bytes for the same book, and the folder's manifest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from taleward.books.binding.bind import BINDERS, bind
from taleward.books.binding.content import BookContent
from taleward.core.errors import ConfigurationError, UnknownName
from tests.helpers.bound_books import TEXTS, drawn, make_book


@pytest.mark.parametrize(
    ("name", "starts"), [("b.html", b"<!DOCTYPE html>"), ("b.EPUB", b"PK"), ("b.pdf", b"%PDF-"), ("b", b"")]
)
def test_the_ending_says_the_format(tmp_path: Path, name: str, starts: bytes) -> None:
    path = bind(make_book(), tmp_path / name)
    assert path == tmp_path / name
    assert path.is_dir() if not starts else path.read_bytes().startswith(starts)


@pytest.mark.parametrize("format", BINDERS)
def test_the_same_book_gives_the_same_bytes(tmp_path: Path, format: str) -> None:
    def digests(folder: Path) -> dict[str, str]:
        bind(make_book(), folder / "book", format=format)
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first = digests(tmp_path / "one")
    assert first
    assert first == digests(tmp_path / "two")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("b.docx", {}, "named '.docx'"),
        ("b.html", {"format": "epubs"}, "Did you mean 'epub'"),
        ("b.html", {"bleed_mm": 3}, "html takes no options; got bleed_mm"),
        ("b.pdf", {"bleed": 3}, "pdf takes page_size, bleed_mm; got bleed"),
        ("b.pdf", {"bleed_mm": -1}, "bleed_mm is 0 to 10; got -1"),
        ("b.pdf", {"page_size": "A5"}, "unknown page size 'A5'"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(
    tmp_path: Path, name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises((ConfigurationError, UnknownName), match=message):
        bind(make_book(), tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_a_folder_has_pictures_text_and_a_manifest(tmp_path: Path) -> None:
    folder = bind(make_book(), tmp_path / "book")
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert manifest["made_with_ai"] is True
    assert [page["text"] for page in manifest["pages"]] == list(TEXTS)
    assert manifest["pages"][0]["verdicts"][0]["outcome"] == "pass"
    assert [picture["seed"] for picture in manifest["pictures"]] == [99, 1, 2, 3]
    for picture in manifest["pictures"]:
        data = (folder / picture["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == picture["file_sha256"]
        assert b"DigitalSourceType" in data
        assert picture["credits"] == ["Noto"]
    assert TEXTS[2] in (folder / "text.txt").read_text("utf-8")
    bind(make_book(title="Again"), folder)
    assert json.loads((folder / "manifest.json").read_text("utf-8"))["title"] == "Again"


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="not a folder with a bound book"):
        bind(make_book(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_the_colophon_says_how_the_book_was_made() -> None:
    content = BookContent(make_book())
    rows = dict(content.colophon)
    assert content.summary.startswith("Made with AI: software wrote its story and composed its pictures from drawings")
    assert rows["Story"] == "embedded:storyteller"
    assert rows["Texts judged by"] == "lexicon (policy kids@1, ages 6-8)"
    assert rows["Seeds, by page"] == "cover: 99, 1: 1, 2: 2, 3: 3"
    assert rows["Credits"] == "Noto Emoji by Google Inc, Apache-2.0. Noto"
    assert "Open Font License" in rows["Typefaces"]
    assert rows["Made"] == "29 November 2026 with Taleward 0.1.0"


def test_a_page_without_a_picture_has_its_text(tmp_path: Path) -> None:
    book = make_book(pictures=[None, drawn(), None])
    for name in BINDERS:
        assert bind(book, tmp_path / name, format=name).exists()
