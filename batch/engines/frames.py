"""Messages between processes: the lengths, a header of JSON, and bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

_LENGTHS = struct.Struct(">IQ")


def frame(header: Mapping[str, Any], content: bytes) -> bytes:
    """Return a message."""
    encoded = json.dumps(header).encode()
    return _LENGTHS.pack(len(encoded), len(content)) + encoded + content


class FrameReader:
    """Reads messages out of bytes that arrive in pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, content: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Add bytes, and yield the messages that are complete."""
        self._buffer += content
        while len(self._buffer) >= _LENGTHS.size:
            header_length, content_length = _LENGTHS.unpack_from(self._buffer)
            header_end = _LENGTHS.size + header_length
            end = header_end + content_length
            if len(self._buffer) < end:
                return
            header = json.loads(self._buffer[_LENGTHS.size : header_end])
            body = bytes(self._buffer[header_end:end])
            del self._buffer[:end]
            yield header, body
