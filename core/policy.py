"""Policies: hazard categories, and what each age band allows."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal, get_args

from pydantic import Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from taleward.core.errors import UnknownName
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.core.html_tables import policy_html

Severity = Literal["none", "mild", "moderate", "severe"]
"""How severe a hazard is, in rising order. `none` is only a tolerance, never the severity of a finding."""

SEVERITIES: tuple[Severity, ...] = get_args(Severity)

Probability = Annotated[float, Field(ge=0.0, le=1.0)]


def exceeds(severity: Severity, tolerance: Severity) -> bool:
    """Return whether a severity is higher than the tolerance allows."""
    return SEVERITIES.index(severity) > SEVERITIES.index(tolerance)


class Category(FrozenModel):
    """A kind of hazard.

    Attributes:
        title: The name to display.
        definition: What belongs to the category, in the words of the judge's prompt.
        allowed: Short examples of text that looks hazardous and is not.
        not_allowed: Short examples of hazardous text.
    """

    title: str = Field(min_length=1)
    definition: str = Field(min_length=1)
    allowed: tuple[str, ...] = ()
    not_allowed: tuple[str, ...] = ()


class Band(FrozenModel):
    """What is allowed for one age band.

    Attributes:
        ages: Youngest and oldest age in years, both inclusive.
        writing: How to write for this age, in the words of the writer's prompt.
        closing: A closing sentence that fits any text for this age, judged like the rest; may be empty.
        tolerance: The highest severity allowed per category; `none` for categories not listed.
        thresholds: The score from 0 to 1 at which a text fails, for the categories that differ from `threshold`.
        threshold: The score from 0 to 1 at which a text fails in every other category.
        reading_level: The highest school grade a text may require, as the judge `reading-level` measures it; `None`
            derives it from `ages`.
    """

    ages: tuple[int, int]
    writing: str = Field(min_length=1)
    closing: str = ""
    tolerance: FrozenMapping[str, Severity] = FrozenDict()
    thresholds: FrozenMapping[str, Probability] = FrozenDict()
    threshold: Probability = 0.5
    reading_level: float | None = Field(default=None, ge=0.0, le=20.0)

    @model_validator(mode="after")
    def _check_ages(self) -> Band:
        if not 0 <= self.ages[0] <= self.ages[1]:
            msg = f"ages must be youngest then oldest, both 0 or more; got {list(self.ages)}"
            raise ValueError(msg)
        return self


class HazardCode(FrozenModel):
    """The meaning of a guard model's own hazard code under a policy.

    Attributes:
        category: A category of the policy.
        severity: The severity to assume, since guard models report none.
    """

    category: str
    severity: Literal["mild", "moderate", "severe"]


class Policy(FrozenModel):
    """Hazard categories, and what each age band allows.

    Attributes:
        name: The policy's name, for example `kids`.
        version: Changes whenever a verdict under the policy could change.
        description: One sentence to display.
        severities: What `mild`, `moderate` and `severe` mean, in the words of the judge's prompt.
        categories: Categories by name.
        bands: Bands by name, for example `6-8`.
        ending: What happens to a streaming text when no attempts are left: `close` ends it with sentences that are
            judged like the rest, `refuse` withdraws it.
        parent: The id of the policy that this one extends; `None` if it extends none.
        codes: For each guard model taxonomy (`llama-guard`, `openai-moderation`, ...) the meaning of its codes. A
            flagged code that is not listed fails the text.
    """

    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    description: str = Field(min_length=1)
    severities: FrozenMapping[Severity, str]
    categories: FrozenMapping[str, Category]
    bands: FrozenMapping[str, Band]
    ending: Literal["close", "refuse"] = "refuse"
    parent: str | None = None
    codes: FrozenMapping[str, FrozenMapping[str, HazardCode]] = FrozenDict()

    # All unknown categories are reported at once, each with its place, so that `YamlFile` can name the lines.
    @model_validator(mode="after")
    def _check_consistency(self) -> Policy:
        if not self.categories or not self.bands:
            msg = "a policy needs at least one category and one band"
            raise ValueError(msg)
        if set(self.severities) != set(SEVERITIES[1:]):
            msg = f"severities must define exactly {list(SEVERITIES[1:])}; got {sorted(self.severities)}"
            raise ValueError(msg)
        unknown = [
            self._unknown_category(("bands", name, field, category), category)
            for name, band in self.bands.items()
            for field in ("tolerance", "thresholds")
            for category in getattr(band, field)
            if category not in self.categories
        ]
        unknown += [
            self._unknown_category(("codes", taxonomy, name, "category"), code.category)
            for taxonomy, codes in self.codes.items()
            for name, code in codes.items()
            if code.category not in self.categories
        ]
        if unknown:
            raise ValidationError.from_exception_data("Policy", unknown)
        return self

    def _unknown_category(self, location: tuple[str, ...], name: str) -> InitErrorDetails:
        message = "is not a category of this policy; known: {known}"
        error = PydanticCustomError("unknown_category", message, {"known": ", ".join(self.categories)})
        return InitErrorDetails(type=error, loc=location, input=name)

    def _repr_html_(self) -> str:
        return policy_html(self)

    @property
    def id(self) -> str:
        """Name and version, for example `kids@1`."""
        return f"{self.name}@{self.version}"

    @property
    def sha256(self) -> str:
        """SHA-256 of the policy's content, in hexadecimal: changes with every word, even under the same version."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def band(self, name: str) -> Band:
        """Return the band with this name.

        Raises:
            UnknownName: If the policy has no such band.
        """
        if name not in self.bands:
            raise UnknownName(f"band of policy {self.name!r}", name, self.bands)
        return self.bands[name]

    def threshold(self, category: str, band: str) -> float:
        """Return the score from 0 to 1 at which a text fails in this category for the band."""
        rules = self.band(band)
        return rules.thresholds.get(category, rules.threshold)

    def tolerance(self, category: str, band: str) -> Severity:
        """Return the highest severity that the band allows in this category."""
        return self.band(band).tolerance.get(category, "none")
