"""One row of an evaluation: what went in, what came out, and what it is held against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict, FrozenModel
from taleward.core.tale import Tale
from taleward.core.verdict import Verdict
from taleward.core.yaml_files import did_you_mean


class Sample(FrozenModel):
    """One row of an evaluation.

    What a tale knows (text, verdict, seconds, tokens, cost) is taken from it where it is not given.

    Attributes:
        id: Names the row in tables and errors; unique within an evaluation.
        inputs: What the system was given.
        output: What it wrote; `None` where it wrote nothing, or nothing was released.
        references: Texts that the output is compared with.
        label: The right class, as text, in a classification.
        prediction: The class that the system gave.
        ratings: Who rated the row how, by name: judges and people whose agreement is asked for.
        tale: What a guard returned.
        verdict: A judge's answer about the output.
        latency_s: Seconds from inputs to output.
        tokens: Tokens that were written, `None` where nobody said.
        cost_usd: What it cost, `None` where nobody said.
        error: Why there is no output: the system raised.
    """

    id: str = Field(min_length=1)
    inputs: FrozenDict[str, Any] = FrozenDict()
    output: str | None = None
    references: tuple[str, ...] = ()
    label: str | None = None
    prediction: str | None = None
    ratings: FrozenDict[str, str] = FrozenDict()
    tale: Tale | None = None
    verdict: Verdict | None = None
    latency_s: float | None = Field(default=None, ge=0.0)
    tokens: int | None = Field(default=None, ge=0)
    cost_usd: float | None = Field(default=None, ge=0.0)
    error: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_tale(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or not values.get("tale"):
            return values
        tale = values["tale"] if isinstance(values["tale"], Tale) else Tale.model_validate(values["tale"])
        calls = [c.output_tokens for a in tale.attempts for c in a.calls if c.output_tokens is not None]
        spent = [*(a.verdict.cost_usd for a in tale.attempts), *(c.cost_usd for a in tale.attempts for c in a.calls)]
        costs = [cost for cost in spent if cost is not None]
        known = {
            "output": tale.released_text,
            "verdict": tale.verdict,
            "latency_s": tale.lineage.duration_s,
            "tokens": sum(calls) if calls else None,
            "cost_usd": sum(costs) if costs else None,
        }
        return {**known, **{k: v for k, v in values.items() if v is not None}, "tale": tale}

    @property
    def text(self) -> str:
        """The output.

        Raises:
            ConfigurationError: There is none.
        """
        if self.output is None:
            raise ConfigurationError(f"sample {self.id!r} has no output.")
        return self.output

    def with_tale(self, tale: Tale) -> Self:
        """The same row with what a guard returned for it."""
        return type(self).model_validate({"id": self.id, **self._given(), "tale": tale})

    def _given(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("inputs", "references", "label", "prediction", "ratings")}


def as_samples(rows: Iterable[Sample | Mapping[str, Any] | Tale | str]) -> tuple[Sample, ...]:
    """Samples from plain values: a mapping has a sample's fields, a tale or a text is an output.

    A row without an id gets its number, from 1. A single reference may be a plain text.

    Raises:
        ConfigurationError: A row is none of these, has other fields, or its id is there already.
    """
    made: dict[str, Sample] = {}
    for number, row in enumerate(rows, 1):
        sample = _sample(row, number)
        if sample.id in made:
            raise ConfigurationError(
                f"two samples have the id {sample.id!r}; row {number} is the second.", hint="Give each row its own id."
            )
        made[sample.id] = sample
    return tuple(made.values())


def _sample(row: Any, number: int) -> Sample:
    if isinstance(row, Sample):
        return row
    if isinstance(row, (Tale, str)):
        row = {"tale": row} if isinstance(row, Tale) else {"output": row}
    if not isinstance(row, Mapping):
        raise ConfigurationError(
            f"row {number} is a {type(row).__name__}; taken: Sample, a mapping of its fields, Tale, or text."
        )
    taken = list(Sample.model_fields)
    if unknown := [str(k) for k in row if k not in taken]:
        near = did_you_mean(unknown[0], taken)
        raise ConfigurationError(f"row {number} has a field {unknown[0]!r};{near} taken: {', '.join(taken)}.")
    values = {"id": str(number), **row}
    if isinstance(values.get("references"), str):
        values["references"] = (values["references"],)
    try:
        return Sample.model_validate(values)
    except ValidationError as error:
        told = error.errors()[0]
        where = ".".join(str(part) for part in told["loc"])
        raise ConfigurationError(f"row {number}: {where}: {told['msg']}; got {told['input']!r:.80}.") from error
