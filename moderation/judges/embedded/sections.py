"""Sections: as many sentences as the encoder reads at once, so that each is read in the light of those around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Section(NamedTuple):
    """A run of sentences that is read at once.

    Attributes:
        first: The first sentence that is read.
        start: The first sentence that is scored; those before it are context, scored in the section before.
        end: The index after the last sentence.
    """

    first: int
    start: int
    end: int


def split_into_sections(lengths: Sequence[int], max_pieces: int, context_pieces: int) -> list[Section]:
    """Divide a text into sections; each sentence is scored in exactly one.

    Args:
        lengths: Word pieces of each sentence.
        max_pieces: The most word pieces in a section. A longer sentence has a section of its own.
        context_pieces: The most word pieces that a section repeats of the one before it.
    """
    sections: list[Section] = []
    start = 0
    while start < len(lengths):
        first, context = start, 0
        while first > 0 and context + lengths[first - 1] <= context_pieces:
            first -= 1
            context += lengths[first]
        end, size = start + 1, context + lengths[start]
        while end < len(lengths) and size + lengths[end] <= max_pieces:
            size += lengths[end]
            end += 1
        sections.append(Section(first, start, end))
        start = end
    return sections
