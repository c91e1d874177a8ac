"""No message contains a key."""

from __future__ import annotations

import pytest

from taleward.core.errors import MissingExtra
from taleward.core.redaction import format_error, redact


def test_statements_of_databases_are_dropped() -> None:
    assert redact("the disk is full  \n [SQL: INSERT ...] [parameters: ('a child said',)]") == "the disk is full"


def test_keys_of_the_environment_and_of_known_shape_are_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWN_API_KEY", "plain-looking-value")
    monkeypatch.setenv("SHORT_KEY", "the")
    message = redact("the key plain-looking-value is wrong, and so are sk-proj-abc123def456 and hf_ABCDEFGHIJKL")
    assert message == "the key [redacted] is wrong, and so are [redacted] and [redacted]"
    assert redact("a risk-taking disk-based story") == "a risk-taking disk-based story"


def test_the_row_of_a_database_error_is_dropped() -> None:
    message = (
        "(sqlite3.OperationalError) attempt to write a readonly database\n[SQL: INSERT ...]\n[parameters: ('Mia',)]"
    )
    assert redact(message) == "(sqlite3.OperationalError) attempt to write a readonly database"


def test_a_formatted_error_keeps_its_hint_and_loses_its_keys() -> None:
    assert format_error(MissingExtra("a local model", "local")) == (
        "MissingExtra: a local model needs libraries that are not installed. Run: pip install 'taleward[local]'"
    )
    assert format_error(OSError("disk is full, sk-proj-abc123def456")) == "OSError: disk is full, [redacted]"
