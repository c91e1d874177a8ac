"""Select samples of a dataset by an expression such as `split=test` or `id=fox-*`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from taleward.core.errors import ConfigurationError
from taleward.core.yaml_files import did_you_mean
from taleward.evaluation.sample import Sample

_FIELDS = ("id", "split", "label", "prediction")


def select_samples(samples: Sequence[Sample], where: Iterable[str]) -> tuple[Sample, ...]:
    """Return the samples that match all expressions, in order.

    Args:
        samples: The samples.
        where: Expressions `FIELD=VALUE`. The field is `id`, `split`, `label`, `prediction` or the name of an input; in
            the value `*` stands for any characters and `?` for one. Upper and lower case differ.

    Raises:
        ConfigurationError: If an expression is invalid, names a field that no sample has, or nothing matches.
    """
    expressions = tuple(where)
    selected = tuple(samples)
    for expression in expressions:
        name, equals, value = (part.strip() for part in expression.partition("="))
        if not name or not equals:
            raise ConfigurationError(
                f"the filter {expression!r} is not of the form FIELD=VALUE.",
                hint="For example: split=test, label=fail, id=fox-*.",
            )
        inputs = dict.fromkeys(str(key) for sample in samples for key in sample.inputs)
        if name not in _FIELDS and name not in inputs:
            known = [*_FIELDS, *inputs]
            raise ConfigurationError(
                f"the filter {expression!r} names an unknown field {name!r};{did_you_mean(name, known)} "
                f"known: {', '.join(known)}."
            )
        # Brackets stand for themselves: a range of characters is more than a filter needs.
        pattern = value.replace("[", "[[]")
        selected = tuple(sample for sample in selected if _matches(sample, name, pattern))
    if expressions and not selected:
        raise ConfigurationError(
            f"none of {len(samples)} samples matches {' and '.join(map(repr, expressions))}.",
            hint=_values_hint(samples, expressions[0].partition("=")[0].strip()),
        )
    return selected


def _matches(sample: Sample, name: str, pattern: str) -> bool:
    value = _value(sample, name)
    return value is not None and fnmatchcase(value, pattern)


def _value(sample: Sample, name: str) -> str | None:
    """Return a field or an input as text; `None` if the sample lacks it."""
    value = getattr(sample, name) if name in _FIELDS else sample.inputs.get(name)
    return None if value is None else str(value)


def _values_hint(samples: Sequence[Sample], name: str) -> str:
    """Name some values that the field has."""
    values = list(dict.fromkeys(value for sample in samples if (value := _value(sample, name)) is not None))
    if not values:
        return f"No sample has the field {name!r}."
    return f"Values of {name!r}: {', '.join(f'{value:.40}' for value in values[:5])}{', ...' if values[5:] else ''}."
