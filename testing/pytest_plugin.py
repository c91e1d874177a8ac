"""Fixtures for pytest; a `conftest.py` turns them on with `pytest_plugins = ["taleward.testing.pytest_plugin"]`.

It has no entry point: pytest would then load it in every run of the environment, rewrite the assertions of all of
Taleward's modules, and `import taleward` turns off the telemetry of other libraries, also for projects that do not
use it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from taleward.testing.fake_openai import FakeOpenAI

# A failure of the suite then shows the compared values.
pytest.register_assert_rewrite("taleward.testing.store_conformance")


@pytest.fixture
def fake_openai(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOpenAI]:
    """A running `taleward.testing.FakeOpenAI` that hosted models of your app use in place of OpenAI.

    `OPENAI_BASE_URL` and `OPENAI_API_KEY` are set for the test, so specs such as `openai:gpt-5-mini` reach the fake
    server. Set its `answer` and `faults` in the test; `requests` has what was asked.
    """
    from taleward.testing.fake_openai import FakeOpenAI

    with FakeOpenAI() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "no-key-needed")
        yield server
