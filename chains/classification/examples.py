"""Which examples a few-shot prompt shows."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from taleward.chains.task import LabelTask
from taleward.core.errors import ConfigurationError
from taleward.stores.example_retriever import ExampleRetriever, LabeledExample
from taleward.stores.vector.base import TalewardStore

Select = Literal["fixed", "balanced", "similar"]
"""`fixed`: the first ones, as they come. `balanced`: as many of each label, drawn by the seed, in mixed order.
`similar`: those most like the text, from a store."""
_WAYS = ("fixed", "balanced", "similar")


class ExampleSelector:
    """Picks the examples for a text.

    Args:
        task: The labels, and the examples where none are given.
        examples: Labeled texts; or, to pick by likeness, a store or an `ExampleRetriever` that holds them.
        select: How they are picked; `None` takes `similar` for a store and `fixed` otherwise.
        k: How many; `None` takes all, or four of a store's.
        seed: For the balanced draw.

    Raises:
        ConfigurationError: There are none, they have unknown labels, or they cannot be picked so.
    """

    def __init__(
        self,
        task: LabelTask,
        examples: Iterable[LabeledExample | tuple[str, str] | Mapping[str, str]]
        | TalewardStore
        | ExampleRetriever
        | None,
        *,
        select: Select | None,
        k: int | None,
        seed: int,
    ) -> None:
        stored = isinstance(examples, TalewardStore | ExampleRetriever)
        select = select or ("similar" if stored else "fixed")
        if select not in _WAYS:
            raise ConfigurationError(f"select is one of {', '.join(_WAYS)}; got {select!r}.")
        if k is not None and k < 1:
            raise ConfigurationError(f"k must be 1 or more, or None; got {k}.")
        if stored != (select == "similar"):
            raise ConfigurationError(
                f"select={select!r} does not go with examples in a {type(examples).__name__}.",
                hint="'similar' looks in a store: FewShotClassifier(..., examples=taleward.FaissStore(...)); "
                "'fixed' and 'balanced' take a list of (text, label).",
            )
        self._labels, self._k = frozenset(task.labels), k
        self._retriever: ExampleRetriever | None = None
        if isinstance(examples, TalewardStore):
            self._retriever = ExampleRetriever(examples)
        elif isinstance(examples, ExampleRetriever):
            self._retriever = examples
        else:
            given = [_example(each) for each in (task.examples if examples is None else examples)]
            self._check(given)
            if not given:
                raise ConfigurationError("a few-shot classifier needs examples; got none.")
            self._fixed = tuple(_balanced(given, list(task.labels), k, seed) if select == "balanced" else given[:k])

    def pick(self, texts: Sequence[str]) -> list[tuple[LabeledExample, ...]]:
        """The examples for each text.

        Raises:
            ConfigurationError: The store's examples have unknown labels.
        """
        if self._retriever is None:
            return [self._fixed] * len(texts)
        found = [tuple(self._retriever.examples(text, self._k)) for text in texts]
        for examples in found:
            self._check(examples)
        return found

    def _check(self, examples: Iterable[LabeledExample]) -> None:
        if unknown := sorted({example.label for example in examples} - self._labels):
            raise ConfigurationError(f"examples have the labels {unknown}; the task has {sorted(self._labels)}.")


def _example(given: LabeledExample | tuple[str, str] | Mapping[str, str]) -> LabeledExample:
    if isinstance(given, LabeledExample):
        return given
    if isinstance(given, Mapping) and {"text", "label"} <= set(given):
        return LabeledExample(text=given["text"], label=given["label"])
    if isinstance(given, tuple | list) and len(given) == 2:
        return LabeledExample(text=given[0], label=given[1])
    raise ConfigurationError(f"an example is a (text, label), or has the keys text and label; got {given!r}.")


def _balanced(given: Sequence[LabeledExample], labels: Sequence[str], k: int | None, seed: int) -> list[LabeledExample]:
    """As many examples of each label as there are of the rarest, k in all at most, round by round."""
    chance = random.Random(seed)  # noqa: S311  a draw that can be repeated
    of = {label: [example for example in given if example.label == label] for label in labels}
    if missing := [label for label, mine in of.items() if not mine]:
        raise ConfigurationError(f"a balanced choice needs examples of every label; there are none of {missing}.")
    rounds = [chance.sample(mine, min(map(len, of.values()))) for mine in of.values()]
    drawn: list[LabeledExample] = []
    for row in zip(*rounds, strict=True):
        drawn += chance.sample(row, len(row))
    return drawn[:k]
