"""The passages that are shipped as an example: texts with findings, and what those mean in each age band."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taleward.core.errors import UnknownName
from taleward.core.frozen_model import FrozenModel
from taleward.core.policy import Policy, exceeds
from taleward.core.records import parse_records, read_content
from taleward.core.verdict import Finding
from taleward.moderation.calibration.labeled_data import LabeledText
from taleward.moderation.policies.load import load_policy

_DATA = Path(__file__).parent / "data"


class LabeledPassage(FrozenModel):
    """A text that a person has read by a policy.

    Attributes:
        id: Its name in the data set.
        text: The text.
        findings: Every place that speaks against it in some band, with exact offsets.
    """

    id: str
    text: str
    findings: tuple[Finding, ...] = ()

    def passes(self, policy: Policy, band: str) -> bool:
        """Whether the policy tolerates all findings in an age band."""
        return not self._over(policy, band)

    def labelled(self, policy: Policy, band: str) -> LabeledText:
        """The text with its label in a band, as `fit_calibration` and `judge_bench` take it."""
        over = self._over(policy, band)
        return LabeledText(self.text, bool(over), tuple(dict.fromkeys(f.category for f in over)))

    def _over(self, policy: Policy, band: str) -> list[Finding]:
        return [f for f in self.findings if exceeds(f.severity, policy.tolerance(f.category, band))]


def example_path(name: str) -> Path:
    """The file of a shipped data set, `stories` or `passages`."""
    known = {path.stem: path for path in _DATA.glob("*.jsonl")}
    if name not in known:
        raise UnknownName("data set", name, known)
    return known[name]


def example_passages() -> tuple[LabeledPassage, ...]:
    """The 120 passages, labelled by the policy `kids`."""
    path = example_path("passages")
    found = parse_records(path, read_content(path, "the data set"), "the data set")
    return tuple(passage_of(record) for _, record in found)


def passage_of(record: Mapping[str, Any]) -> LabeledPassage:
    """A passage from a record of the file, which also holds the labels that follow from its findings."""
    return LabeledPassage.model_validate({k: record[k] for k in LabeledPassage.model_fields if k in record})


def passage_record(record: Mapping[str, Any], band: str) -> dict[str, Any]:
    """A passage as a sample: its text as output, and `pass` or `fail` in the band as label."""
    passage = passage_of(record)
    passed = passage.passes(load_policy("kids"), band)
    return {"id": passage.id, "output": passage.text, "label": "pass" if passed else "fail"}
