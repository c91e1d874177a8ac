"""Split text into sentences, complete or while it streams (rules: Wikimedia's sentencex)."""

from __future__ import annotations

from sentencex import segment

from taleward.core.surrogates import replace_surrogates

MAX_SENTENCE_CHARS = 400
"""A run of text without a full stop is cut after this many characters, at white space if there is any."""


class SentenceSplitter:
    """Split a growing text into sentences.

    A sentence is returned when the next one begins. White space belongs to the sentence before it, so the sentences,
    joined, are the text. The boundaries do not depend on how the text is chunked.

    Args:
        max_chars: The most characters in a sentence.

    Raises:
        ValueError: If `max_chars` is below 1.
    """

    def __init__(self, max_chars: int = MAX_SENTENCE_CHARS) -> None:
        if max_chars < 1:
            msg = f"max_chars must be 1 or more; got {max_chars}"
            raise ValueError(msg)
        self._max_chars = max_chars
        self._pending = ""
        self._start = 0  # of the sentence in progress, within `_pending`
        self._read_chars = 0
        self._word_start = 0
        self._word_has_letter = False

    def push(self, text: str) -> list[str]:
        """Add text and return the sentences that are now complete."""
        self._pending += text
        complete: list[str] = []
        while self._read_chars < len(self._pending):
            char = self._pending[self._read_chars]
            if char.isspace():
                self._word_start, self._word_has_letter = self._read_chars + 1, False
            elif not self._word_has_letter and char.isalnum():
                self._word_has_letter = True
                if self._ends_sentence(char):
                    complete.append(self._pop(self._word_start))
            if self._read_chars - self._start >= self._max_chars:
                longest = self._start + self._max_chars
                complete.append(self._pop(self._word_start if self._start < self._word_start <= longest else longest))
            self._read_chars += 1
        # Once per call, not once per sentence: copying what remains of a long text each time takes quadratic time.
        self._drop(self._start)
        return complete

    def finish(self) -> list[str]:
        """Return the rest of the text, at most one sentence."""
        rest, self._pending = self._pending, ""
        self._read_chars, self._word_start, self._word_has_letter = 0, 0, False
        return [rest] if rest else []

    def _ends_sentence(self, first_letter: str) -> bool:
        """Return whether a sentence ends before the word in progress; an opening quotation mark belongs to the word."""
        head = self._pending[self._start : self._word_start]
        if not head.strip():
            return False
        # One letter of the next word is all that sentencex sees, however the text is chunked: so the boundaries in a
        # stream are those of the complete text.
        last_segment: str = segment("en", replace_surrogates(head + first_letter))[-1]
        return last_segment == first_letter

    def _pop(self, end: int) -> str:
        sentence, self._start = self._pending[self._start : end], end
        self._word_start = max(self._word_start, end)
        return sentence

    def _drop(self, count: int) -> None:
        self._pending = self._pending[count:]
        self._start, self._read_chars, self._word_start = 0, self._read_chars - count, self._word_start - count


def sentences(text: str, *, max_chars: int = MAX_SENTENCE_CHARS) -> list[str]:
    """Split a complete text into sentences like `SentenceSplitter`; joined, they are the text."""
    splitter = SentenceSplitter(max_chars)
    return [*splitter.push(text), *splitter.finish()]
