"""The samples of an evaluation: inputs, output and expected values of one row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.core.tale import Tale
from taleward.core.verdict import Verdict
from taleward.core.yaml_files import did_you_mean


class Sample(FrozenModel):
    """One row of an evaluation.

    If `tale` is set, the output, verdict, latency, tokens and cost default to the tale's own.

    Attributes:
        id: Identifies the row in tables and errors; unique within an evaluation.
        inputs: The system's inputs.
        output: The system's output; `None` if it wrote nothing or a guard released nothing.
        references: Reference texts that the output is compared with.
        split: The part of the dataset that the row belongs to, such as `train` or `test`.
        label: The correct class, as text, in a classification.
        prediction: The predicted class.
        ratings: Ratings of this row by rater, for agreement between judges and people.
        tale: The tale that a guard returned.
        verdict: A judge's verdict on the output.
        latency_s: Seconds from inputs to output.
        tokens: Generated tokens; `None` if unknown.
        cost_usd: Cost in US dollars; `None` if unknown.
        error: The system's error, if it raised instead of giving an output.
    """

    id: str = Field(min_length=1)
    inputs: FrozenMapping[str, Any] = FrozenDict()
    output: str | None = None
    references: tuple[str, ...] = ()
    split: str | None = None
    label: str | None = None
    prediction: str | None = None
    ratings: FrozenMapping[str, str] = FrozenDict()
    tale: Tale | None = None
    verdict: Verdict | None = None
    latency_s: float | None = Field(default=None, ge=0.0)
    tokens: int | None = Field(default=None, ge=0)
    cost_usd: float | None = Field(default=None, ge=0.0)
    error: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_from_tale(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or not values.get("tale"):
            return values
        tale = values["tale"] if isinstance(values["tale"], Tale) else Tale.model_validate(values["tale"])
        # Rejected drafts and their verdicts count too: they were paid for.
        calls = [call for attempt in tale.attempts for call in attempt.calls]
        tokens = [call.output_tokens for call in calls if call.output_tokens is not None]
        all_costs = [*(attempt.verdict.cost_usd for attempt in tale.attempts), *(call.cost_usd for call in calls)]
        costs = [cost for cost in all_costs if cost is not None]
        defaults = {
            "output": tale.released_text,
            "verdict": tale.verdict,
            "latency_s": tale.lineage.duration_s,
            "tokens": sum(tokens) if tokens else None,
            "cost_usd": sum(costs) if costs else None,
        }
        return {**defaults, **{name: value for name, value in values.items() if value is not None}, "tale": tale}

    @property
    def text(self) -> str:
        """The output.

        Raises:
            ConfigurationError: If the sample has no output.
        """
        if self.output is None:
            raise ConfigurationError(f"sample {self.id!r} has no output.")
        return self.output

    def with_tale(self, tale: Tale) -> Self:
        """Return the sample with a guard's tale as its output."""
        names = ("inputs", "references", "split", "label", "prediction", "ratings")
        dataset_fields = {name: getattr(self, name) for name in names}
        return type(self).model_validate({"id": self.id, **dataset_fields, "tale": tale})


def as_samples(rows: Iterable[Sample | Mapping[str, Any] | Tale | str]) -> tuple[Sample, ...]:
    """Convert rows to samples.

    Args:
        rows: Samples, mappings with the fields of a sample, tales, or output texts. A row without an id gets its
            number, from 1. A single reference may be a string.

    Raises:
        ConfigurationError: If a row has another type or unknown fields, or if two rows have the same id.
    """
    samples: dict[str, Sample] = {}
    for number, row in enumerate(rows, 1):
        sample = _to_sample(row, number)
        if sample.id in samples:
            raise ConfigurationError(
                f"two samples have the id {sample.id!r}; row {number} is the second.", hint="Give each row its own id."
            )
        samples[sample.id] = sample
    return tuple(samples.values())


def _to_sample(row: Any, number: int) -> Sample:
    if isinstance(row, Sample):
        return row
    if isinstance(row, (Tale, str)):
        row = {"tale": row} if isinstance(row, Tale) else {"output": row}
    if not isinstance(row, Mapping):
        raise ConfigurationError(
            f"row {number} is a {type(row).__name__}; expected a Sample, a mapping of its fields, a Tale or a string."
        )
    fields = list(Sample.model_fields)
    if unknown := [str(name) for name in row if name not in fields]:
        suggestion = did_you_mean(unknown[0], fields)
        raise ConfigurationError(
            f"row {number} has an unknown field {unknown[0]!r};{suggestion} known: {', '.join(fields)}."
        )
    values = {"id": str(number), **row}
    if isinstance(values.get("references"), str):
        values["references"] = (values["references"],)
    try:
        return Sample.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        location = ".".join(str(part) for part in problem["loc"])
        message = f"row {number}: {location}: {problem['msg']}; got {problem['input']!r:.80}."
        raise ConfigurationError(message) from error
