"""Making and changing books: resuming, the best candidate, the fallback, the price, and nothing unjudged."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from taleward.books import Book, BookEditor, BookPlan, BookProgress, Illustrator, finish_book, make_book, measure_book
from taleward.books.series import series_cast
from taleward.core.errors import BackendError, ConfigurationError, InvalidInputs, Refused
from taleward.testing import FakeJudge
from tests.helpers.books import TALE, judge, small_book
from tests.helpers.image_models import NoiseModel


def files(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((folder / "pages").iterdir())}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("original")
    small_book(path)
    return path


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    from shutil import copytree

    return copytree(original, tmp_path / "book")


class Killed(BaseException):
    """Ends a run as a signal would, wherever it is."""


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    whole = small_book(tmp_path / "whole")
    drawn: list[int | None] = []

    def kill(progress: BookProgress) -> None:
        drawn.append(progress.page if progress.step == "drawn" else None)
        if len([page for page in drawn if page is not None]) == after:
            raise Killed

    with pytest.raises(Killed):
        small_book(tmp_path / "killed", on_progress=kill)
    assert not Book.load(tmp_path / "killed").is_complete
    steps: list[BookProgress] = []
    book = small_book(tmp_path / "killed", on_progress=steps.append)
    assert sum(step.step == "drawn" for step in steps) == len(whole.pages) + 1 - after
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert book.pictures == whole.pictures or [p.data for p in book.pictures] == [p.data for p in whole.pictures]


def test_a_finished_book_draws_nothing_again(folder: Path) -> None:
    steps: list[BookProgress] = []
    book = small_book(folder, on_progress=steps.append)
    assert {step.step for step in steps} == {"judged", "kept", "done"}
    assert book == Book.load(folder)


def test_another_tale_does_not_overwrite_a_book(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="of another tale"):
        make_book("A cat slept on a mat.", judge=judge(), folder=folder)


def test_an_unsafe_tale_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="the tale did not pass"):
        make_book(TALE + " He took a knife.", judge=judge(), folder=tmp_path / "book")
    assert not (tmp_path / "book").exists()


def test_an_unsafe_text_in_an_edited_plan_is_refused(folder: Path) -> None:
    plan = BookPlan.load(folder)
    pages = (plan.pages[0].model_copy(update={"text": "Pip took a knife."}), *plan.pages[1:])
    with pytest.raises(Refused, match="the text of page 1"):
        finish_book(plan.model_copy(update={"pages": pages}), Illustrator("collage", judge()), folder=folder)
    assert "knife" not in (folder / "book.json").read_text() + (folder / "plan.yaml").read_text()


def test_an_unsafe_prompt_gets_a_plainer_picture(tmp_path: Path) -> None:
    plan = BookPlan.load(small_book(tmp_path).save(tmp_path))
    pages = (plan.pages[0].model_copy(update={"shows": "Pip with a knife"}), *plan.pages[1:])
    book = finish_book(plan.model_copy(update={"pages": pages}), Illustrator("collage", judge()), folder=tmp_path)
    assert "knife" not in book.pages[0].alt_text
    assert "the prompt did not pass" in (book.pages[0].drawing.reason if book.pages[0].drawing else "")


class BrokenModel(NoiseModel):
    def _draw(self, drawing: Any) -> Any:
        raise BackendError("the server is down")


@pytest.mark.filterwarnings("ignore")
def test_the_collage_draws_when_the_model_fails(tmp_path: Path) -> None:
    book = small_book(images=BrokenModel(n=1), picture_judges=["picture-checks"], pages=2)
    assert book.is_complete
    assert {place.drawing.drawer for _, place in book.illustrated() if place.drawing} == {"fallback"}
    assert measure_book(book).fallbacks == 3
    assert book.colophon.image_models == ("collage",)


def test_a_page_without_any_picture_is_told_and_the_rest_is_kept(tmp_path: Path) -> None:
    strict = FakeJudge(
        lambda passage: "fail" if "In watercolor" in passage.text or "Style:" in passage.text else "pass"
    )
    with pytest.raises(Refused, match="these pictures did not pass"):
        small_book(tmp_path, judge=strict)
    assert Book.load(tmp_path).text.split() == TALE.split()


def test_the_price_is_checked_before_anything_is_bought(tmp_path: Path) -> None:
    model = NoiseModel(n=1)
    model.price_usd = 0.1  # type: ignore[attr-defined]
    with pytest.raises(ConfigurationError, match=r"5 pictures of noise cost 0\.50 US dollars"):
        small_book(tmp_path / "dear", images=model, max_cost_usd=0.4)
    assert model.drawn == []
    assert not (tmp_path / "dear").exists()
    with pytest.raises(ConfigurationError, match="the price of noise is unknown"):
        Illustrator(NoiseModel(), judge(), max_cost_usd=1.0)
    assert Illustrator("collage", judge(), max_cost_usd=0.0).estimate_usd(9) == 0.0


def test_the_best_candidate_is_kept(folder: Path) -> None:
    book = small_book(candidates=3, pages=2)
    for page in book.pages:
        assert page.drawing is not None
        assert page.picture is not None
        scores = [(c.coverage or 0) + (c.likeness or 0) for c in page.drawing.candidates]
        assert len(scores) == 3
        chosen = [c for c in page.drawing.candidates if c.chosen]
        assert len(chosen) == 1
        assert (chosen[0].coverage or 0) + (chosen[0].likeness or 0) == max(scores)


def test_redo_changes_one_picture_and_keeps_history(folder: Path) -> None:
    before = Book.load(folder)
    book = BookEditor(folder, judge=judge()).redo(2, "make Olive smaller")
    changed = [n for n, (old, new) in enumerate(zip(before.pages, book.pages, strict=True), 1) if old != new]
    assert changed == [2]
    assert book.pages[1].text == before.pages[1].text
    assert book.cover == before.cover
    assert [(e.kind, e.page, e.request) for e in book.edits] == [("redo", 2, "make Olive smaller")]
    from taleward.books.folder import load_book

    assert load_book(folder, book.edits[0].before) == before
    again = BookEditor(folder, judge=judge()).redo(2)
    assert again.pages[1].picture != book.pages[1].picture
    assert Book.load(folder) == again


def test_a_text_is_judged_again_and_its_picture_follows(folder: Path) -> None:
    before = Book.load(folder)
    book = BookEditor(folder, judge=judge()).change_text(3, "Pip and Olive found a red balloon in the forest.")
    assert "balloon" in book.pages[2].alt_text
    assert [p for p in book.pages if p.number != 3] == [p for p in before.pages if p.number != 3]
    with pytest.raises(Refused):
        BookEditor(folder, judge=judge()).change_text(3, "Olive had a knife.")
    assert Book.load(folder) == book
    assert len(list((folder / "history").glob("*.json"))) == 1


def test_swap_replaces_a_character_everywhere(folder: Path) -> None:
    book = BookEditor(folder, judge=judge()).swap("Pip", "Tom, a boy")
    assert "Pip" not in book.text
    assert "rabbit" not in book.text
    assert "Tom" in book.text
    assert "a young boy" in book.text
    assert [member.name for member in book.cast] == ["Tom", "Olive"]
    for page in book.pages:
        assert "Pip" not in page.alt_text
        assert "Tom" not in page.text or "Tom, a boy" in page.alt_text
    with pytest.raises(InvalidInputs, match="there is no 'the bear' in the book; its cast: Tom, Olive"):
        BookEditor(folder, judge=judge()).swap("the bear", "a fox")


def test_another_style_draws_everything_again(folder: Path) -> None:
    before = Book.load(folder)
    book = BookEditor(folder, judge=judge()).restyle("crayon")
    assert book.text == before.text
    assert book.style == "crayon"
    assert all(new.picture != old.picture for new, old in zip(book.pages, before.pages, strict=True))


def test_another_band_needs_a_writer(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="no writer"):
        BookEditor(folder, judge=judge()).reband("3-5")


def test_pages_out_of_range_are_refused(folder: Path) -> None:
    with pytest.raises(InvalidInputs, match="pages 1 to 4; got 9"):
        BookEditor(folder, judge=judge()).redo(9, "closer")


def test_a_series_keeps_its_cast(folder: Path) -> None:
    cast = series_cast([folder])
    book = make_book("Olive found a cup. Olive drank tea.", judge=judge(), cast=cast, pages=2)
    assert book.cast == (next(member for member in cast if member.name == "Olive"),)


def test_metrics_say_what_pictures_show(folder: Path) -> None:
    metrics = measure_book(Book.load(folder))
    assert metrics.cast_shown == 1.0
    assert metrics.cast_consistency == 1.0
    assert metrics.coverage is not None
    assert metrics.coverage > 0.6
    assert 0 < metrics.page_balance <= 1
    assert metrics.reading_grade < 6
    assert metrics.fallbacks == 0
