"""`taleward draw` as a user runs it: files, JSON, refusals, wrong use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from taleward.cli.app import app
from taleward.core.errors import ConfigurationError, InvalidFile, InvalidInputs, TalewardError, UnknownName
from taleward.images.picture import Picture
from taleward.testing import FakeImages
from tests.helpers.image_models import noise_png

FAST = ("--judge", "lexicon", "--no-record")


def draw(*args: str) -> Any:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["draw", *args])
    if isinstance(done.exception, TalewardError):
        raise done.exception
    return done


def test_pictures_are_files_with_a_contact_sheet_and_can_be_drawn_again(in_tmp: Path) -> None:
    args = ("a fox asleep in a snowy forest", "--style", "watercolor", "--ar", "2:1", "--n", "2", "--seed", "3", *FAST)
    done = draw(*args, "--manifest", "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    first, second = (Picture.open(picture["file"]) for picture in result["released_pictures"])
    assert first.width == pytest.approx(2 * first.height, abs=2)
    assert result["released_pictures"][0]["seed"] == 3
    assert result["released_pictures"][0]["prompt"]["art_style"] == "watercolor"
    assert Picture.open(result["sheet"]).width > 400
    assert first.sha256 != second.sha256
    names = {path.name for path in (in_tmp / "pictures").iterdir()}
    assert len([name for name in names if name.endswith(".c2pa.json")]) == 2
    again = json.loads(draw(*args, "--json").stdout)
    assert [p["sha256"] for p in again["released_pictures"]] == [p["sha256"] for p in result["released_pictures"]]


def test_what_is_printed_names_seeds_files_and_credits(in_tmp: Path) -> None:
    done = draw("a fox", "--n", "1", "--seed", "3", "--out", "mine", *FAST)
    assert done.exit_code == 0
    assert "mine/a-fox-" in done.stdout.replace("\n", "")
    assert "verdict: pass by picture-checks" in done.stdout
    assert "1 of 1 pictures released" in done.stdout
    assert not list((in_tmp / "mine").glob("*sheet*"))


def test_a_prompt_that_does_not_pass_draws_nothing(in_tmp: Path) -> None:
    done = draw("he stabbed the guard and blood ran down the wall", *FAST)
    assert done.exit_code == 3
    assert "the prompt did not pass" in done.stdout
    assert "nothing drawn" in done.stdout
    assert not (in_tmp / "pictures").exists()


def test_a_hosted_model_changes_a_picture_and_uses_the_cache(in_tmp: Path) -> None:
    (in_tmp / "barn.png").write_bytes(noise_png(1, (64, 64)))
    with FakeImages() as server:
        args = (
            "a red hat",
            "--model",
            "openai-image:any",
            "--base-url",
            server.base_url,
            "--from",
            "barn.png",
            "--n",
            "1",
        )
        more = ("--picture-judge", "picture-checks", "--cache", "cache.db")
        assert draw(*args, *more, *FAST).exit_code == 0
        assert draw(*args, *more, *FAST).exit_code == 0
    [request] = server.requests
    assert request["image"] == noise_png(1, (64, 64))


def test_what_the_vendor_blocks_is_drawn_by_the_collage_or_refused(in_tmp: Path) -> None:
    with FakeImages(faults=lambda *_: "blocked-output") as server:
        args = ("a fox", "--model", "openai-image:any", "--base-url", server.base_url, "--attempts", "2", "--n", "1")
        judged = ("--picture-judge", "picture-checks", *FAST)
        done = draw(*args, *judged)
        assert (done.exit_code, len(server.requests)) == (0, 2)
        assert "the collage drew" in done.stderr
        assert draw(*args, "--no-fallback", *judged).exit_code == 3


def test_a_prompt_for_midjourney_is_printed_to_copy(in_tmp: Path) -> None:
    done = draw("a fox --chaos 100", "--model", "midjourney", "--ar", "16:9", "--option", "stylize=750")
    assert "/imagine prompt: a fox - chaos 100 --ar 16:9 --stylize 750" in done.stdout


@pytest.mark.parametrize(
    ("args", "error", "match"),
    [
        (("a fox", "--from", "missing.png"), InvalidFile, "missing.png"),
        (("a fox", "--from", "text.png"), InvalidFile, "text.png"),
        (("a fox", "--strength", "0.5"), ConfigurationError, "--strength"),
        (("a fox", "--ar", "16x9"), InvalidInputs, "16x9"),
        (("a fox", "--model", "dalle:3"), UnknownName, "dalle"),
        (("a fox", "--picture-judge", "nsfw"), UnknownName, "open-nsfw"),
        (("a fox", "--base-url", "http://127.0.0.1:1/v1"), ConfigurationError, "--base-url"),
        (("",), InvalidInputs, "description"),
    ],
)
def test_wrong_use_is_explained(args: tuple[str, ...], error: type[Exception], match: str, in_tmp: Path) -> None:
    (in_tmp / "text.png").write_text("no picture")
    with pytest.raises(error, match=match):
        draw(*args, *FAST)
