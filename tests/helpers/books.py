"""Tales and books for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from taleward.books import Book, make_book
from taleward.testing import FakeJudge

TALE = """Pip was a young rabbit with gray fur and a blue scarf. He lived in a little house at the edge of the meadow.

One morning Pip walked down the path to the river.
At the river he met Olive, a small brown owl. "I lost my lantern," said Olive.

They walked into the forest together. Olive saw a golden lantern under a tree. "There it is!" said Pip.

In the evening Pip and Olive sat in the meadow. They shared an apple and some cheese.

At night Olive flew home. Pip was asleep in his bed."""


def judge(**options: Any) -> FakeJudge:
    return FakeJudge(failing_words={"knife": "violence"}, band="6-8", **options)


def small_book(folder: Path | None = None, **options: Any) -> Book:
    return make_book(TALE, **{"judge": judge(), "pages": 4, "seed": 3, "folder": folder, **options})
