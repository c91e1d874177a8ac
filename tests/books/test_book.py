"""A book as data: only what was judged enters, and a folder reads as it was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

import taleward as tw
from taleward.books import Book, BookPage, Clearance
from taleward.books.clearing import clear_picture, clear_text
from taleward.books.folder import load_book, picture_path
from taleward.core.errors import IntegrityError, InvalidFile, Refused
from taleward.images import Picture
from tests.helpers.books import TALE, judge, small_book
from tests.helpers.image_models import png


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("book")
    small_book(path)
    return path


def test_the_book_is_the_maker_and_the_data(tmp_path: Path) -> None:
    book = tw.Book(TALE, judge=judge(), pages=2)
    assert book.is_complete
    assert [page.number for page in book.pages] == [1, 2]
    assert tw.Book.model_validate_json(book.model_dump_json()) == book


def test_a_folder_reads_as_it_was_written(folder: Path, tmp_path: Path) -> None:
    book = Book.load(folder)
    assert Book.load(book.save(tmp_path)) == book
    assert all(path is not None and path.exists() for path in (picture_path(folder, page) for page in book.pages))


def test_every_word_of_the_tale_is_on_a_page(folder: Path) -> None:
    assert Book.load(folder).text.split() == TALE.split()


@pytest.mark.parametrize("update", [{"title": "Another"}, {"pages": ()}])
def test_unjudged_changes_are_refused(folder: Path, update: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Book.load(folder).model_copy(update=update)


def test_an_unjudged_text_or_picture_is_refused(folder: Path) -> None:
    page = Book.load(folder).pages[0]
    smuggled = Picture.from_bytes(png(), prompt="a fox")
    for update in ({"text": "He took a knife."}, {"picture": smuggled}, {"alt_text": "A knife."}):
        with pytest.raises(ValidationError, match="not the one that was judged"):
            page.model_copy(update=update)
    with pytest.raises(ValidationError, match="text_clearance"):
        BookPage.model_construct(number=1, text="He took a knife.", text_clearance=None)
    failed = judge().invoke("a knife")
    with pytest.raises(ValidationError, match="only what every judge passed"):
        Clearance(sha256="0", verdicts=(failed,))


@pytest.mark.parametrize("place", ["text", "alt_text"])
def test_a_text_that_was_changed_on_disk_is_refused(folder: Path, tmp_path: Path, place: str) -> None:
    Book.load(folder).save(tmp_path)
    plain = json.loads((tmp_path / "book.json").read_text())
    plain["pages"][1][place] = "The secret knife."
    (tmp_path / "book.json").write_text(json.dumps(plain))
    with pytest.raises(IntegrityError, match="judged") as error:
        Book.load(tmp_path)
    assert "knife" not in str(error.value)


def test_a_picture_that_was_changed_on_disk_is_refused(folder: Path, tmp_path: Path) -> None:
    book = Book.load(folder)
    book.save(tmp_path)
    path = picture_path(tmp_path, book.pages[0])
    assert path is not None
    path.write_bytes(png())
    with pytest.raises(IntegrityError, match="not the picture that was judged"):
        Book.load(tmp_path)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", ""])
def test_a_picture_outside_of_the_folder_is_not_read(folder: Path, tmp_path: Path, name: str) -> None:
    Book.load(folder).save(tmp_path)
    plain = json.loads((tmp_path / "book.json").read_text())
    plain["pages"][0]["picture"]["file"] = name
    (tmp_path / "book.json").write_text(json.dumps(plain))
    with pytest.raises(InvalidFile, match="names the picture"):
        Book.load(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"cover": 1, "pages": [1]}'])
def test_a_damaged_book_is_an_invalid_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "book.json").write_text(content)
    with pytest.raises(InvalidFile):
        Book.load(tmp_path)
    with pytest.raises(InvalidFile, match="no book"):
        load_book(tmp_path / "nowhere")


def test_only_released_pictures_are_cleared() -> None:
    guard = tw.ImageGuard("collage", judge(), picture_judges=["picture-checks"])
    result = guard.invoke("a fox in a forest", n=1, seed=1)
    other = Picture.from_bytes(png(), prompt="a fox")
    created = result.lineage.started_at
    with pytest.raises(Refused):
        clear_picture(other, result, "A fox.", created)
    entered, clearance = clear_picture(result.picture, result, "A fox.", created)
    assert clearance.sha256 == entered.sha256
    assert b"algorithmicMedia" in entered.data
    with pytest.raises(Refused, match="the title did not pass"):
        clear_text(judge(), "A knife", "the title")
