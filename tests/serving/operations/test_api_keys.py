"""API keys: what is stored, who gets in, and how much they may use."""

from __future__ import annotations

from pathlib import Path

import pytest

from taleward.core.errors import ConfigurationError, IntegrityError, UnknownName
from taleward.serving.operations.api_keys import ApiKeys, KeyLimits
from taleward.serving.operations.authentication import is_loopback, keys_for
from taleward.serving.operations.key_limits import KeyMeter


class Clock:
    """A clock that moves when it is told to; it starts in the middle of a month."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def test_the_key_is_stored_nowhere(tmp_path: Path) -> None:
    keys = ApiKeys(tmp_path / "keys.db")
    key, secret = keys.create("app")
    text = secret.get_secret_value()
    keys.database.close()
    assert keys.find(text) == key
    keys.database.close()
    on_disk = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert text.encode() not in on_disk
    assert text.rpartition("-")[2].encode() not in on_disk
    assert text not in repr((key, secret, keys.list()))
    assert (tmp_path / "keys.db").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "change", [lambda k: k[:-1], lambda k: k + "A", lambda k: k[:-1] + ("A" if k[-1] != "A" else "B"), str.upper]
)
def test_no_other_key_gets_in(tmp_path: Path, change: object) -> None:
    keys = ApiKeys(tmp_path / "keys.db")
    text = keys.create("app")[1].get_secret_value()
    assert callable(change)
    assert keys.find(change(text)) is None
    assert keys.find("") is None
    assert ApiKeys(tmp_path / "others.db").find(text) is None


def test_keys_expire_and_are_revoked_for_every_process(tmp_path: Path) -> None:
    clock = Clock()
    keys = ApiKeys(tmp_path / "keys.db", clock=clock)
    key, secret = keys.create("app", ttl_s=60)
    other, other_secret = keys.create("other")
    elsewhere = ApiKeys(tmp_path / "keys.db", clock=clock)
    clock.now += 59
    assert elsewhere.find(secret.get_secret_value()) is not None
    clock.now += 1
    assert elsewhere.find(secret.get_secret_value()) is None
    assert elsewhere.find(other_secret.get_secret_value()) is not None
    keys.revoke(other.id)
    assert elsewhere.find(other_secret.get_secret_value()) is None
    assert [k.id for k in keys.list()] == sorted([key.id, other.id])


def test_bad_options_are_refused(tmp_path: Path) -> None:
    keys = ApiKeys(tmp_path / "keys.db")
    with pytest.raises(UnknownName, match="Did you mean 'tales'"):
        keys.create("app", scopes=["tale"])
    with pytest.raises(ConfigurationError, match="at least one scope"):
        keys.create("app", scopes=[])
    with pytest.raises(ConfigurationError, match="ttl_s must be above 0"):
        keys.create("app", ttl_s=0)
    with pytest.raises(ConfigurationError, match="a key's name"):
        keys.create("a\nb")
    with pytest.raises(UnknownName, match="unknown API key id"):
        keys.revoke("nobody")
    assert len(keys) == 0
    (tmp_path / "text").write_text("not a database, and long enough to be read as one" * 100)
    with pytest.raises(IntegrityError):
        ApiKeys(tmp_path / "text")


def test_a_server_without_keys_serves_its_own_machine_only(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    assert keys_for(path, "127.0.0.1") is None
    assert keys_for(path, "::1") is None
    assert not path.exists()
    with pytest.raises(ConfigurationError, match="can be reached from other machines") as caught:
        keys_for(path, "0.0.0.0")  # noqa: S104
    assert "taleward keys create" in str(caught.value.hint)
    key, _ = ApiKeys(path).create("app")
    assert keys_for(path, "0.0.0.0") is not None  # noqa: S104
    # Revoking the last key must not open the server.
    ApiKeys(path).revoke(key.id)
    assert keys_for(path, "127.0.0.1") is not None
    assert not is_loopback("example.org")


def test_requests_in_a_minute(tmp_path: Path) -> None:
    clock = Clock()
    keys = ApiKeys(tmp_path / "keys.db", clock=clock)
    key, _ = keys.create("app", limits=KeyLimits(requests_per_minute=3))
    meter = KeyMeter(keys)
    for left in (2, 1, 0):
        admission = meter.admit(key)
        assert admission.rejection is None
        assert admission.headers["x-ratelimit-remaining-requests"] == str(left)
    # Another worker counts in the same file.
    rejection = KeyMeter(ApiKeys(tmp_path / "keys.db", clock=clock)).admit(key).rejection
    assert rejection is not None
    assert (rejection.status, rejection.code) == (429, "rate_limit_exceeded")
    assert rejection.retry_after_s == pytest.approx(20)
    clock.now += rejection.retry_after_s or 0.0
    assert meter.admit(key).rejection is None
    assert meter.admit(key).rejection is not None
    clock.now -= 1000
    assert meter.admit(key).rejection is not None


def test_tokens_are_paid_back(tmp_path: Path) -> None:
    clock = Clock()
    keys = ApiKeys(tmp_path / "keys.db", clock=clock)
    key, _ = keys.create("app", limits=KeyLimits(tokens_per_minute=100))
    meter = KeyMeter(keys)
    assert meter.admit(key).rejection is None
    meter.charge(key, 250, 0.0)
    rejection = meter.admit(key).rejection
    assert rejection is not None
    assert rejection.retry_after_s == pytest.approx((150 + 1) * 60 / 100)
    clock.now += rejection.retry_after_s or 0.0
    assert meter.admit(key).rejection is None


@pytest.mark.parametrize(("period", "wait_s"), [("day", 86_400), ("month", 32 * 86_400), ("total", None)])
def test_a_budget_starts_anew(tmp_path: Path, period: str, wait_s: float | None) -> None:
    clock = Clock()
    keys = ApiKeys(tmp_path / "keys.db", clock=clock)
    limits = KeyLimits.model_validate({"budget_usd": 1.0, "budget_period": period})
    key, _ = keys.create("app", limits=limits)
    meter = KeyMeter(keys)
    meter.charge(key, 0, 0.6)
    assert meter.admit(key).rejection is None
    meter.charge(key, 0, 0.6)
    rejection = meter.admit(key).rejection
    assert rejection is not None
    assert rejection.code == "insufficient_quota"
    assert rejection.retry_after_s is None
    assert meter.spent_usd(key) == pytest.approx(1.2)
    clock.now += wait_s or 3650 * 86_400
    assert (meter.admit(key).rejection is None) == (wait_s is not None)
