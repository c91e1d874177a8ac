"""Long texts in parts that fit a model: each is summarised, then their summaries are, until one is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from taleward.chains.summarization.extractive import source_spans
from taleward.core.errors import BackendError


class Size(NamedTuple):
    """What a model holds.

    Attributes:
        room: Tokens of a prompt, at most.
        prompt: Tokens of the whole prompt for a text.
        text: Tokens of a text alone.
    """

    room: int
    prompt: Callable[[str], int]
    text: Callable[[str], int]


class Reduction:
    """A text of any length under way to its summary: `while r.texts: r.take(a summary for each of r.texts)`.

    Args:
        text: The text.
        size: What the model holds.
        spec: What the model is called.

    Attributes:
        texts: What to summarise now; a single one is the last, and none are left when the summary is there.
        summary: The summary, once it is there.
        parts: Parts that the text is read in.
        rounds: Times that summaries were put together and cut again.
    """

    def __init__(self, text: str, size: Size, spec: str) -> None:
        self._size, self._spec = size, spec
        self.texts = cut(text, size, spec)
        self.summary = ""
        self.parts, self.rounds = len(self.texts), 0

    def take(self, summaries: Sequence[str]) -> None:
        """Take a summary for each of the texts.

        Raises:
            BackendError: A summary has no words, or they do not get shorter than what they summarise.
        """
        if not all(summary.strip() for summary in summaries):
            raise BackendError(f"{self._spec} answered with nothing.", hint="Ask again, or take another model.")
        before = len(self.texts)
        if before == 1:
            self.texts, self.summary = [], summaries[0]
            return
        self.texts = cut("\n".join(summaries), self._size, self._spec)
        self.rounds += 1
        if len(self.texts) >= before:
            raise BackendError(
                f"{self._spec} wrote summaries of {before} parts that fill {len(self.texts)} parts again.",
                hint="Ask for shorter ones (sentences=, max_tokens=), or take a model with a longer context.",
            )


def cut(text: str, size: Size, spec: str) -> list[str]:
    """Parts of whole sentences of which each fits, counted with the model's own tokens; as few as that allows.

    A sentence that does not fit alone is cut between words, and a word between characters.

    Raises:
        BackendError: Not even one character fits.
    """
    if size.prompt(text) <= size.room:
        return [text]
    frame = size.prompt("")
    if frame >= size.room:
        raise BackendError(
            f"the prompt without a text has {frame} tokens; {spec} has room for {size.room}.",
            hint="Give context_tokens= where the model holds more, or take another model.",
        )
    spans = source_spans(text)
    weights = [size.text(span.quote) for span in spans]
    parts: list[str] = []
    first = 0
    while first < len(spans):
        # Tokens of sentences add up to about those of the whole; the exact count below corrects.
        last, total = first, weights[first]
        while last + 1 < len(spans) and frame + total + weights[last + 1] <= size.room:
            last += 1
            total += weights[last]
        while last > first and size.prompt(text[spans[first].start : spans[last].end]) > size.room:
            last -= 1
        part = text[spans[first].start : spans[last].end]
        parts += [part] if last > first or size.prompt(part) <= size.room else _pieces(part, size, spec)
        first = last + 1
    return parts


def _pieces(sentence: str, size: Size, spec: str) -> list[str]:
    """A sentence that does not fit, halved until its parts do."""
    if size.prompt(sentence) <= size.room:
        return [sentence]
    if len(sentence) < 2:
        raise BackendError(f"{spec} has room for {size.room} tokens, in which not one character fits.")
    middle = len(sentence) // 2
    at = sentence.rfind(" ", 1, middle + 1)
    at = at if at > 0 else middle
    halves = (sentence[:at].strip(), sentence[at:].strip())
    return [piece for half in halves if half for piece in _pieces(half, size, spec)]
