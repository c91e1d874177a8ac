"""Shared by the tests of hosted models."""

from __future__ import annotations

import pytest

from taleward.backends.hosted import resilience


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """No delays between attempts, except those that a server asks for."""
    monkeypatch.setattr(resilience, "_FIRST_DELAY_S", 0.001)
