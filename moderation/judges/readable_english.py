"""What a judge that understands English only reads of a passage, and whether it can read all of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from taleward.core.verdict import Finding, Passage
from taleward.moderation.text.non_english import looks_foreign
from taleward.moderation.text.normalize import NormalizedText
from taleward.moderation.text.unescape import decode, looks_encoded


@dataclass(frozen=True, slots=True)
class ReadablePassage:
    """A passage with some of its context, decoded as a page shows it.

    Attributes:
        text: What the judge reads.
        start: Where the judged part starts in `text`.
        unread: Why a part of it cannot be read; empty if all can be.
    """

    text: str
    start: int
    unread: str
    _original: str
    _original_start: int
    _decoded: NormalizedText

    @classmethod
    def of(cls, passage: Passage, context_characters: int) -> ReadablePassage:
        """Decode a passage and at most the given number of characters before it."""
        original, original_start = passage.with_context(context_characters)
        decoded = decode(original)
        text, start = decoded.text, decoded.position(original_start)
        unread = ""
        if looks_foreign(text, start):
            unread = "part of the text is not in English"
        elif looks_encoded(text[start:]):
            unread = "part of the text is in a code or a script that nobody reads as it stands"
        return cls(text, start, unread, original, original_start, decoded)

    def in_passage(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """Return findings in `text` with the quotes and the offsets that they have in the passage."""
        return tuple(self._in_original(finding).shifted(-self._original_start) for finding in findings)

    def _in_original(self, finding: Finding) -> Finding:
        if finding.start is None or finding.end is None or self._decoded.starts is None:
            return finding
        start, end = self._decoded.span(finding.start, finding.end)
        return finding.model_copy(update={"quote": self._original[start:end], "start": start, "end": end})
