"""The picture cache: hits, expiry, eviction, deletion, damage, kills."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from taleward.core.errors import ConfigurationError, IntegrityError
from taleward.images.picture import Picture
from taleward.images.picture_cache import PictureCache
from tests.helpers.image_models import NoiseModel, noise_png


def picture(seed: int, **fields: Any) -> Picture:
    return Picture.from_bytes(noise_png(seed), prompt="a fox", seed=seed, **fields)


def test_what_was_put_is_found_again_by_another_object(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path / "pictures.db")
    cache.put("k", picture(1))
    assert PictureCache(tmp_path / "pictures.db").get("k") == picture(1).model_copy(
        update={"lineage": cache.get("k").lineage}  # type: ignore[union-attr]
    )
    assert cache.get("other") is None
    assert (cache.stats().hits, cache.stats().misses) == (1, 1)


def test_equal_files_are_stored_once(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path / "pictures.db")
    for key in "abc":
        cache.put(key, picture(1))
    assert (cache.stats().pictures, cache.stats().files) == (3, 1)


def test_pictures_expire_and_the_least_used_are_evicted(tmp_path: Path) -> None:
    now = [0.0]
    size = len(picture(1).data)
    cache = PictureCache(tmp_path / "pictures.db", ttl_s=1000, max_bytes=2 * size + 200, clock=lambda: now[0])
    for number, key in enumerate("abc"):
        now[0] = 100.0 * number
        cache.put(key, picture(number))
    assert [cache.get(key) is not None for key in "abc"] == [False, True, True]
    now[0] = 1150.0
    assert [cache.get(key) is not None for key in "abc"] == [False, False, True]


def test_deleting_by_id_leaves_no_byte(tmp_path: Path) -> None:
    file = tmp_path / "pictures.db"
    cache = PictureCache(file)
    kept, gone = picture(1), picture(2)
    cache.put("a", kept)
    cache.put("b", gone)
    assert cache.delete([gone.sha256]) == 1
    assert cache.get("b") is None
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert gone.data[60:160] not in content
    assert cache.get("a") is not None
    cache.clear()
    assert cache.stats().pictures == 0


def test_a_blocked_picture_is_not_kept(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path / "pictures.db")
    cache.put("a", picture(1, flags=("blocked",)))
    assert cache.get("a") is None


def test_damaged_bytes_are_a_miss_that_quotes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = PictureCache(tmp_path / "pictures.db")
    cache.put("a", picture(1))
    cache.close()
    with sqlite3.connect(tmp_path / "pictures.db") as connection:
        connection.execute("UPDATE files SET data = ?", (noise_png(2),))
    connection.close()
    assert cache.get("a") is None
    assert cache.stats().failures == 1
    assert "fox" not in caplog.text


def test_another_programs_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(IntegrityError):
        PictureCache(tmp_path / "x.db")
    for options in ({"ttl_s": 0}, {"max_bytes": 0}):
        with pytest.raises(ConfigurationError):
            PictureCache(tmp_path / "y.db", **options)  # type: ignore[arg-type]


def test_a_model_draws_what_is_missing_only(tmp_path: Path) -> None:
    model = NoiseModel(n=2, cache=PictureCache(tmp_path / "pictures.db"))
    first = model.invoke("a fox", seed=1)
    assert model.invoke("a fox", seed=1) == first
    assert len(model.drawn) == 2
    assert [event.type for event in model.stream("a fox", seed=1)] == ["picture", "picture"]
