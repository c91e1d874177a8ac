"""Token buckets, and durations as servers write them."""

from __future__ import annotations

import pytest

from taleward.backends.hosted.rate_limits import TokenBucket, parse_duration_s


def test_a_bucket_refills_steadily_and_keeps_a_configured_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("taleward.backends.hosted.rate_limits.time.monotonic", lambda: now[0])
    bucket = TokenBucket(60)
    bucket.take(60)
    assert bucket.wait_s(2) == pytest.approx(2)
    assert bucket.wait_s(1000) == pytest.approx(60)  # more than it holds: when it is full
    bucket.update(10_000, 9_000, 6)  # the server allows more than was configured
    now[0] = 2
    assert bucket.wait_s(2) == 0
    assert TokenBucket().wait_s(1e9) == 0


@pytest.mark.parametrize(
    ("text", "seconds"), [("6m0s", 360), ("1h2m3.5s", 3723.5), ("20ms", 0.02), ("1.5", 1.5), ("", None), ("soon", None)]
)
def test_durations_are_parsed(text: str, seconds: float | None) -> None:
    assert parse_duration_s(text) == (None if seconds is None else pytest.approx(seconds))
