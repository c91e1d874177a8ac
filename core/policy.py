"""What may be told to whom: a policy with hazard categories and age bands."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal, get_args

from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from taleward.core.errors import UnknownName
from taleward.core.frozen_model import FrozenDict, FrozenModel

Severity = Literal["none", "mild", "moderate", "severe"]
"""How strong a hazard is, in rising order; `none` is only a tolerance, never a finding's severity."""

SEVERITIES: tuple[Severity, ...] = get_args(Severity)

Probability = Annotated[float, Field(ge=0.0, le=1.0)]


def exceeds(severity: Severity, tolerance: Severity) -> bool:
    """Whether a hazard of this severity is more than the tolerance allows."""
    return SEVERITIES.index(severity) > SEVERITIES.index(tolerance)


class Category(FrozenModel):
    """A kind of hazard.

    Attributes:
        title: The category's name for people.
        definition: What belongs to it, as a judge is told.
        allowed: Short examples of what looks like it and does not belong to it.
        not_allowed: Short examples of what belongs to it.
    """

    title: str = Field(min_length=1)
    definition: str = Field(min_length=1)
    allowed: tuple[str, ...] = ()
    not_allowed: tuple[str, ...] = ()


class Band(FrozenModel):
    """What one age band may read.

    Attributes:
        ages: Youngest and oldest age in years, both included.
        writing: How to write for this age, as a writer is told.
        closing: Words that can end any text for this age; judged like all others. Empty where there are none.
        tolerance: The strongest severity allowed in each category; `none` where a category is not named.
        thresholds: The score in 0..1 from which a classifier's answer fails, one for each category that
            differs from `threshold`.
        threshold: The score from which every other category fails.
        reading_level: The highest school grade that a text may ask for, as the judge `reading-level` measures it;
            `None` leaves it to the band's ages.
    """

    ages: tuple[int, int]
    writing: str = Field(min_length=1)
    closing: str = ""
    tolerance: FrozenDict[str, Severity] = FrozenDict()
    thresholds: FrozenDict[str, Probability] = FrozenDict()
    threshold: Probability = 0.5
    reading_level: float | None = Field(default=None, ge=0.0, le=20.0)

    @model_validator(mode="after")
    def _ages_rise(self) -> Band:
        if not 0 <= self.ages[0] <= self.ages[1]:
            msg = f"ages must be youngest then oldest, both from 0 up; got {list(self.ages)}"
            raise ValueError(msg)
        return self


class HazardCode(FrozenModel):
    """What a guard model's own code means under a policy.

    Attributes:
        category: A category of the policy.
        severity: How strong what the model flags is taken to be; guard models do not say.
    """

    category: str
    severity: Literal["mild", "moderate", "severe"]


class Policy(FrozenModel):
    """Hazard categories, and what each age band allows of them.

    Attributes:
        name: The policy's name, for example `kids`.
        version: Changes whenever a verdict under the policy could change.
        description: One sentence for people.
        severities: What `mild`, `moderate` and `severe` mean, as a judge is told.
        categories: Category names to categories.
        bands: Band names, for example `6-8`, to bands.
        ending: What becomes of a text that streams when the attempts are spent: `close` has it brought to an end that
            is judged like the rest, `refuse` withdraws it.
        parent: The id of the policy that this one extends, for lineage; `None` where it stands alone.
        codes: Taxonomy of a guard model (`llama-guard`, `openai-moderation`, ...) to its codes to what they mean here.
            A code that is missing here still fails a text when a model flags it.
    """

    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    description: str = Field(min_length=1)
    severities: FrozenDict[Severity, str]
    categories: FrozenDict[str, Category]
    bands: FrozenDict[str, Band]
    ending: Literal["close", "refuse"] = "refuse"
    parent: str | None = None
    codes: FrozenDict[str, FrozenDict[str, HazardCode]] = FrozenDict()

    @model_validator(mode="after")
    def _is_whole(self) -> Policy:
        if not self.categories or not self.bands:
            msg = "a policy needs at least one category and one band"
            raise ValueError(msg)
        if set(self.severities) != set(SEVERITIES[1:]):
            msg = f"severities must define exactly {list(SEVERITIES[1:])}; got {sorted(self.severities)}"
            raise ValueError(msg)
        unknown = [
            self._no_category(("bands", name, field, category), category)
            for name, band in self.bands.items()
            for field in ("tolerance", "thresholds")
            for category in getattr(band, field)
            if category not in self.categories
        ]
        unknown += [
            self._no_category(("codes", taxonomy, name, "category"), code.category)
            for taxonomy, codes in self.codes.items()
            for name, code in codes.items()
            if code.category not in self.categories
        ]
        if unknown:
            raise ValidationError.from_exception_data("Policy", unknown)
        return self

    def _no_category(self, place: tuple[str, ...], name: str) -> InitErrorDetails:
        said = "is no category here; known: {known}"
        kind = PydanticCustomError("unknown_category", said, {"known": ", ".join(self.categories)})
        return InitErrorDetails(type=kind, loc=place, input=name)

    @property
    def id(self) -> str:
        """Name and version, for example `kids@1`."""
        return f"{self.name}@{self.version}"

    @property
    def sha256(self) -> str:
        """SHA-256 in hexadecimal of all that the policy says: changes with every word, whatever its version."""
        said = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()

    def band(self, name: str) -> Band:
        """The band of that name.

        Raises:
            UnknownName: There is no such band; the message lists those there are.
        """
        if name not in self.bands:
            raise UnknownName(f"band of policy {self.name!r}", name, self.bands)
        return self.bands[name]

    def threshold(self, category: str, band: str) -> float:
        """The score in 0..1 from which a classifier's answer in this category fails for the band."""
        rules = self.band(band)
        return rules.thresholds.get(category, rules.threshold)

    def tolerance(self, category: str, band: str) -> Severity:
        """The strongest severity in this category that the band allows."""
        return self.band(band).tolerance.get(category, "none")
