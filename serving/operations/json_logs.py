"""Logs as JSON, one object a line, without anybody's words."""

from __future__ import annotations

import json
import logging
import os
import traceback
from datetime import UTC, datetime
from typing import Any

from taleward.core.redaction import redact

ACCESS_LOGGER = "taleward.access"
"""The logger with a line for each request."""

_TRUSTED = ("taleward", "uvicorn")
_WITHHELD = "withheld: a library's message may repeat a text"


class JsonFormatter(logging.Formatter):
    """Formats a log record as JSON.

    Of an exception, its class and its place are shown, not its message, which may repeat a prompt or a draft. The
    messages of other libraries are withheld for the same reason: `where` says where to look. Keys are redacted.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "pid": os.getpid(),
        }
        if record.name.split(".")[0] in _TRUSTED:
            entry["message"] = redact(record.getMessage())
        else:
            entry["message"] = _WITHHELD
            entry["where"] = f"{record.pathname}:{record.lineno}"
        if record.exc_info and record.exc_info[1] is not None:
            entry["exception"] = describe_exception(record.exc_info[1])
        entry |= getattr(record, "fields", {})
        return json.dumps(entry, ensure_ascii=False, default=str)


def describe_exception(error: BaseException) -> list[str]:
    """Return the classes of an exception and of those behind it, each with its innermost places, without messages."""
    lines: list[str] = []
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        frames = traceback.extract_tb(link.__traceback__)[-6:]
        places = " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames))
        lines.append(f"{type(link).__module__}.{type(link).__qualname__} at {places or 'an unknown place'}")
        link = link.__cause__ or link.__context__
    return lines


def logging_config(*, as_json: bool = True, level: str = "INFO") -> dict[str, Any]:
    """Return a configuration for `logging.config.dictConfig`, and for uvicorn, which applies it in every worker.

    Uvicorn's own access log, which quotes paths and queries, is off.

    Args:
        as_json: Whether lines are JSON; otherwise they are plain text for a terminal.
        level: The lowest level of Taleward's and uvicorn's lines; other libraries log warnings and errors.
    """
    name = "taleward.serving.operations.json_logs"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": f"{name}.{'JsonFormatter' if as_json else 'PlainFormatter'}"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "taleward": {"level": level},
            "uvicorn": {"level": level},
            "uvicorn.access": {"level": "CRITICAL", "propagate": False},
        },
    }


class PlainFormatter(JsonFormatter):
    """Formats the same entries for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of text, and one for each exception."""
        entry = json.loads(super().format(record))
        fields = getattr(record, "fields", {})
        details = " ".join(f"{name}={value}" for name, value in fields.items() if value not in (None, "", [], 0, 0.0))
        line = f"{entry['time'][11:19]} {entry['level'].lower():<8} {entry['message']} {details}".rstrip()
        if "where" in entry:
            line += f" ({entry['where']})"
        return "\n  ".join([line, *entry.get("exception", ())])
