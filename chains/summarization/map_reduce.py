"""Map-reduce for texts that exceed a model's context: summarize the parts, then the summaries, until one is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from taleward.chains.summarization.extractive import source_spans
from taleward.core.errors import BackendError


class PromptBudget(NamedTuple):
    """How long a prompt may be, and how to count its tokens.

    Attributes:
        max_tokens: Maximum tokens of a prompt.
        count_prompt: Counts the tokens of the whole prompt for a text.
        count_text: Counts the tokens of a text alone.
    """

    max_tokens: int
    count_prompt: Callable[[str], int]
    count_text: Callable[[str], int]


class SummaryReduction:
    """The state of a map-reduce summary: `while r.texts: r.add([summarize(text) for text in r.texts])`.

    Args:
        text: The text to summarize.
        budget: The size of the model's prompts.
        spec: The model's name for error messages.

    Attributes:
        texts: The texts to summarize next. The summary of a single one is the result; afterwards the list is empty.
        summary: The result, empty until it is complete.
        parts: Number of parts that the text was split into.
        rounds: How many times summaries were joined and split again.

    Raises:
        BackendError: If the model's context is too small for the prompt.
    """

    def __init__(self, text: str, budget: PromptBudget, spec: str) -> None:
        self._budget, self._spec = budget, spec
        self.texts = split_text(text, budget, spec)
        self.summary = ""
        self.parts, self.rounds = len(self.texts), 0

    def add(self, summaries: Sequence[str]) -> None:
        """Add a summary for each of `texts`.

        Raises:
            BackendError: If a summary is blank, or the summaries need as many parts as the texts before.
        """
        if not all(summary.strip() for summary in summaries):
            raise BackendError(f"{self._spec} returned an empty summary.", hint="Try again, or use another model.")
        previous_count = len(self.texts)
        if previous_count == 1:
            self.texts, self.summary = [], summaries[0]
            return
        self.texts = split_text("\n".join(summaries), self._budget, self._spec)
        self.rounds += 1
        # Without progress the rounds would never end.
        if len(self.texts) >= previous_count:
            raise BackendError(
                f"{self._spec} wrote summaries of {previous_count} parts that again fill {len(self.texts)} parts.",
                hint="Ask for shorter summaries (sentences=, max_tokens=), or use a model with a longer context.",
            )


def split_text(text: str, budget: PromptBudget, spec: str) -> list[str]:
    """Split a text into as few parts of whole sentences as fit into a prompt each.

    A sentence that does not fit on its own is split between words, and a word between characters.

    Raises:
        BackendError: If not even one character fits.
    """
    if budget.count_prompt(text) <= budget.max_tokens:
        return [text]
    overhead = budget.count_prompt("")
    if overhead >= budget.max_tokens:
        raise BackendError(
            f"the prompt without a text has {overhead} tokens; the maximum for {spec} is {budget.max_tokens}.",
            hint="Set context_tokens= if the model's context is longer, or use another model.",
        )
    spans = source_spans(text)
    token_counts = [budget.count_text(span.quote) for span in spans]
    parts: list[str] = []
    first = 0
    while first < len(spans):
        # The sum of the sentences' tokens only approximates that of the whole; the exact count below corrects it.
        last, total = first, token_counts[first]
        while last + 1 < len(spans) and overhead + total + token_counts[last + 1] <= budget.max_tokens:
            last += 1
            total += token_counts[last]
        while last > first and budget.count_prompt(text[spans[first].start : spans[last].end]) > budget.max_tokens:
            last -= 1
        part = text[spans[first].start : spans[last].end]
        fits = last > first or budget.count_prompt(part) <= budget.max_tokens
        parts += [part] if fits else _halve_until_fitting(part, budget, spec)
        first = last + 1
    return parts


def _halve_until_fitting(sentence: str, budget: PromptBudget, spec: str) -> list[str]:
    if budget.count_prompt(sentence) <= budget.max_tokens:
        return [sentence]
    if len(sentence) < 2:
        raise BackendError(
            f"not even one character fits into the prompt of {spec}, which has {budget.max_tokens} tokens.",
            hint="Set context_tokens= if the model's context is longer, or use another model.",
        )
    middle = len(sentence) // 2
    space = sentence.rfind(" ", 1, middle + 1)
    cut = space if space > 0 else middle
    halves = (sentence[:cut].strip(), sentence[cut:].strip())
    return [piece for half in halves if half for piece in _halve_until_fitting(half, budget, spec)]
