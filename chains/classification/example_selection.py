"""Select the examples of a few-shot prompt: fixed, balanced by label, or similar to the text."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

from taleward.chains.task_definitions import LabelTask
from taleward.core.errors import ConfigurationError
from taleward.stores.example_retriever import ExampleRetriever, LabeledExample
from taleward.stores.vector.base import TalewardStore

SelectionMethod = Literal["fixed", "balanced", "similar"]
"""`fixed`: the first examples, in their order. `balanced`: as many of each label, drawn with the seed, in mixed order.
`similar`: those most similar to the text, from a store."""


class ExampleSelector:
    """Selects the examples for each text.

    Args:
        task: The labels, and the examples to use if `examples` is `None`.
        examples: Labeled texts, or a store or `ExampleRetriever` that contains them.
        select: How to select them; `None` means `similar` for a store and `fixed` otherwise.
        k: Maximum number of examples; `None` means all, or the retriever's own `k` (4 by default) for a store.
        seed: Seed of the balanced draw.

    Raises:
        ConfigurationError: If there are no examples, they have unknown labels, or `select` or `k` is invalid for them.
    """

    def __init__(
        self,
        task: LabelTask,
        examples: Iterable[LabeledExample | tuple[str, str] | Mapping[str, str]]
        | TalewardStore
        | ExampleRetriever
        | None,
        *,
        select: SelectionMethod | None,
        k: int | None,
        seed: int,
    ) -> None:
        in_store = isinstance(examples, TalewardStore | ExampleRetriever)
        select = select or ("similar" if in_store else "fixed")
        methods = get_args(SelectionMethod)
        if select not in methods:
            raise ConfigurationError(f"select must be one of {', '.join(methods)}; got {select!r}.")
        if k is not None and k < 1:
            raise ConfigurationError(f"k must be 1 or more, or None; got {k}.")
        if in_store != (select == "similar"):
            raise ConfigurationError(
                f"select={select!r} cannot be used with examples of type {type(examples).__name__}.",
                hint="'similar' needs a store: FewShotClassifier(..., examples=taleward.FaissStore(...)); "
                "'fixed' and 'balanced' need a list of (text, label).",
            )
        self._labels, self._k = frozenset(task.labels), k
        self._retriever: ExampleRetriever | None = None
        if isinstance(examples, TalewardStore):
            self._retriever = ExampleRetriever(examples)
        elif isinstance(examples, ExampleRetriever):
            self._retriever = examples
        else:
            pool = [_to_example(item) for item in (task.examples if examples is None else examples)]
            self._check_labels(pool)
            if not pool:
                raise ConfigurationError(
                    "a few-shot classifier needs examples; got none.",
                    hint="Give examples=[(text, label), ...], a store, or a task that has examples.",
                )
            self._examples = tuple(_balanced(pool, list(task.labels), k, seed) if select == "balanced" else pool[:k])

    def select(self, texts: Sequence[str]) -> list[tuple[LabeledExample, ...]]:
        """Select the examples for each text.

        Raises:
            ConfigurationError: If the store's examples have unknown labels.
        """
        if self._retriever is None:
            return [self._examples] * len(texts)
        selections = [tuple(self._retriever.examples(text, self._k)) for text in texts]
        for selection in selections:
            self._check_labels(selection)
        return selections

    def _check_labels(self, examples: Iterable[LabeledExample]) -> None:
        if unknown := sorted({example.label for example in examples} - self._labels):
            raise ConfigurationError(f"examples have unknown labels {unknown}; the task has {sorted(self._labels)}.")


def _to_example(item: LabeledExample | tuple[str, str] | Mapping[str, str]) -> LabeledExample:
    if isinstance(item, LabeledExample):
        return item
    if isinstance(item, Mapping) and {"text", "label"} <= set(item):
        return LabeledExample(text=item["text"], label=item["label"])
    if isinstance(item, tuple | list) and len(item) == 2:
        return LabeledExample(text=item[0], label=item[1])
    raise ConfigurationError(
        f"an example must be (text, label), or a mapping with the keys text and label; got {item!r}."
    )


def _balanced(pool: Sequence[LabeledExample], labels: Sequence[str], k: int | None, seed: int) -> list[LabeledExample]:
    """Draw as many examples of each label as the rarest has, at most `k` in all.

    The examples come in rounds with one of each label, so that cutting at `k` keeps the balance.
    """
    rng = random.Random(seed)  # noqa: S311  repeatable, not secret
    by_label = {label: [example for example in pool if example.label == label] for label in labels}
    if missing := [label for label, examples in by_label.items() if not examples]:
        raise ConfigurationError(f"a balanced selection needs examples of every label; there are none of {missing}.")
    per_label = min(map(len, by_label.values()))
    draws = [rng.sample(examples, per_label) for examples in by_label.values()]
    balanced: list[LabeledExample] = []
    for one_of_each in zip(*draws, strict=True):
        # Shuffled: models favor the label shown last, so it must not be the same one in every round.
        balanced += rng.sample(one_of_each, len(one_of_each))
    return balanced[:k]
