"""Requests in the format of OpenAI's Batch API: `custom_id`, `url` and `body` on each line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from taleward.batch.sources.base import RowFormat
from taleward.batch.sources.jsonl import JsonLinesSource

CUSTOM_ID = "custom_id"


class OpenAIBatchSource(JsonLinesSource):
    """Requests of an OpenAI batch file: a chat's only user message is the request; `input` and `prompt` are texts."""

    format: ClassVar[RowFormat] = "openai"

    def check(self, record: Mapping[str, Any]) -> None:
        """Check that a line is a request.

        Raises:
            ValueError: If it has no body.
        """
        if not isinstance(record.get("body"), Mapping):
            msg = "body: expected an object with `messages` or `input`"
            raise ValueError(msg)
