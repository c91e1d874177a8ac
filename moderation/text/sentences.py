"""A text as sentences, whole or while it is being written (segmenter: Wikimedia's sentencex)."""

from __future__ import annotations

from sentencex import segment

LONGEST = 400
"""Characters after which a run without a full stop is cut, at white space where there is some."""


class Cutter:
    """Cuts a growing text into sentences; where it cuts does not depend on how the text arrives.

    A sentence is given out when the next one begins. White space belongs to the sentence before it, so that the
    sentences, joined, are the text.

    Args:
        longest: Characters in a sentence, at most.
    """

    def __init__(self, longest: int = LONGEST) -> None:
        if longest < 1:
            msg = f"longest must be 1 or more; got {longest}"
            raise ValueError(msg)
        self._longest = longest
        self._open = ""  # what was not given out yet
        self._read = 0  # characters of it that were looked at
        self._word = 0  # where the word begins that is being read
        self._named = False  # whether that word has a letter or digit yet

    def push(self, text: str) -> list[str]:
        """The sentences that are complete now."""
        self._open += text
        done: list[str] = []
        while self._read < len(self._open):
            here = self._open[self._read]
            if here.isspace():
                self._word, self._named = self._read + 1, False
            elif not self._named and here.isalnum():
                self._named = True
                if self._ends_before(self._word, here):
                    done.append(self._take(self._word))
            if self._read >= self._longest:
                done.append(self._take(self._word if 0 < self._word <= self._longest else self._longest))
            self._read += 1
        return done

    def finish(self) -> list[str]:
        """What is left, once no more text can come; at most one sentence."""
        rest, self._open = self._open, ""
        self._read, self._word, self._named = 0, 0, False
        return [rest] if rest else []

    def _ends_before(self, word: int, letter: str) -> bool:
        """Whether a sentence ends where a word begins; an opening quotation mark belongs to the word."""
        head = self._open[:word]
        if not head.strip():
            return False
        last: str = segment("en", head + letter)[-1]
        return last == letter

    def _take(self, end: int) -> str:
        head, self._open = self._open[:end], self._open[end:]
        self._read, self._word = self._read - end, max(0, self._word - end)
        return head


def sentences(text: str, *, longest: int = LONGEST) -> list[str]:
    """The sentences of a whole text, as `Cutter` gives them; joined, they are the text."""
    cutter = Cutter(longest)
    return [*cutter.push(text), *cutter.finish()]
