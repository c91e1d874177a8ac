"""No key in a message."""

from __future__ import annotations

import pytest

from taleward.core.errors import MissingExtra
from taleward.core.redaction import format_error, redact


def test_keys_of_the_environment_and_of_known_shape_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWN_API_KEY", "plain-looking-value")
    monkeypatch.setenv("SHORT_KEY", "the")
    said = redact("the key plain-looking-value is wrong, and so are sk-proj-abc123def456 and hf_ABCDEFGHIJKL")
    assert said == "the key [redacted] is wrong, and so are [redacted] and [redacted]"
    assert redact("a risk-taking disk-based story") == "a risk-taking disk-based story"


def test_a_row_that_could_not_be_written_is_left_out() -> None:
    said = "(sqlite3.OperationalError) attempt to write a readonly database\n[SQL: INSERT ...]\n[parameters: ('Mia',)]"
    assert redact(said) == "(sqlite3.OperationalError) attempt to write a readonly database"


def test_an_error_that_became_a_verdict_still_says_what_to_type() -> None:
    assert format_error(MissingExtra("a local model", "local")) == (
        "MissingExtra: a local model needs libraries that are not installed here. Type: pip install 'taleward[local]'"
    )
    assert format_error(OSError("disk is full, sk-proj-abc123def456")) == "OSError: disk is full, [redacted]"
