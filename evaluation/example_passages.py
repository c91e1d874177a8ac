"""The shipped example datasets, and the labels that follow from a passage's findings in each age band."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taleward.core.errors import UnknownName
from taleward.core.frozen_model import FrozenModel
from taleward.core.policy import Policy, exceeds
from taleward.core.record_files import parse_records, read_content
from taleward.core.verdict import Finding
from taleward.moderation.calibration.labeled_texts import LabeledText
from taleward.moderation.policies.load import load_policy

_DATA = Path(__file__).parent / "data"


class LabeledPassage(FrozenModel):
    """A text with the findings of a person who read it under a policy.

    Attributes:
        id: The passage's id in the dataset.
        text: The text.
        findings: Everything that violates the policy in at least one band, with exact offsets.
    """

    id: str
    text: str
    findings: tuple[Finding, ...] = ()

    def passes(self, policy: Policy, band: str) -> bool:
        """Tell whether the policy tolerates all findings in an age band."""
        return not self._violations(policy, band)

    def labeled_text(self, policy: Policy, band: str) -> LabeledText:
        """Return the text with its label in an age band, for `fit_calibration` and `benchmark_judges`."""
        violations = self._violations(policy, band)
        return LabeledText(self.text, bool(violations), tuple(dict.fromkeys(f.category for f in violations)))

    def _violations(self, policy: Policy, band: str) -> list[Finding]:
        return [f for f in self.findings if exceeds(f.severity, policy.tolerance(f.category, band))]


def example_path(name: str) -> Path:
    """Return the file of a shipped dataset.

    Raises:
        UnknownName: If `name` is not `stories` or `passages`.
    """
    paths = {path.stem: path for path in _DATA.glob("*.jsonl")}
    if name not in paths:
        raise UnknownName("dataset", name, paths)
    return paths[name]


def example_passages() -> tuple[LabeledPassage, ...]:
    """Load the 120 shipped passages, labeled under the policy `kids`."""
    path = example_path("passages")
    records = parse_records(path, read_content(path, "the dataset"), "the dataset")
    return tuple(passage_from_record(record) for _, record in records)


def passage_from_record(record: Mapping[str, Any]) -> LabeledPassage:
    """Convert a record of the shipped file to a passage.

    The record's `labels` are ignored: they follow from the findings.
    """
    return LabeledPassage.model_validate({name: record[name] for name in LabeledPassage.model_fields if name in record})


def sample_fields(record: Mapping[str, Any], band: str) -> dict[str, Any]:
    """Convert a record of the shipped file to the fields of a sample.

    Args:
        record: A record of the file.
        band: The age band in which the text is labeled.

    Returns:
        `id`, `output` (the text) and `label` (`pass` or `fail`).
    """
    passage = passage_from_record(record)
    passed = passage.passes(load_policy("kids"), band)
    return {"id": passage.id, "output": passage.text, "label": "pass" if passed else "fail"}
