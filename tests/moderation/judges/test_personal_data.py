"""Personal data recognized by its form, with exact spans."""

from __future__ import annotations

import pytest

from taleward.core.errors import ConfigurationError
from taleward.core.policy import Policy
from taleward.core.verdict import Passage
from taleward.moderation.judges import judge
from taleward.moderation.policies.load import load_policy

QUOTES = {
    "Call me at 555-201-3344 tonight.": "555-201-3344",
    "Write to ella.smith@example.org soon.": "ella.smith@example.org",
    "I live at 12 Oak Street.": "12 Oak Street",
    "She goes to Maple Hill Elementary School.": "Maple Hill Elementary School",
    "Look at fox-tales.co.uk now.": "fox-tales.co.uk",
    "Hello, my name is Ella Smith and I am six.": "my name is Ella Smith",
}
HARMLESS = [
    "Ella lived at the end of the village.",
    "My name is Fox.",
    "He went to school.",
    "There were 12 oak trees.",
]


@pytest.mark.parametrize(("text", "quote"), QUOTES.items())
def test_personal_data_is_quoted(text: str, quote: str) -> None:
    verdict = judge("personal-data").invoke(text)
    assert verdict.outcome == "fail"
    [finding] = verdict.findings
    assert finding.quote == quote == text[finding.start : finding.end]


@pytest.mark.parametrize("text", HARMLESS)
def test_prose_without_personal_data_passes(text: str) -> None:
    verdict = judge("personal-data").invoke(text)
    assert verdict.outcome == "pass"
    assert verdict.scores == {"personal_data": 0.0}


def test_a_number_that_starts_in_the_context_is_found() -> None:
    verdict = judge("personal-data").invoke(Passage(context="Call me at 555-", text="201-3344 tonight."))
    assert verdict.outcome == "fail"
    assert verdict.findings[0].quote == "201-3344"


def test_a_policy_without_the_category_is_rejected() -> None:
    data = load_policy("kids").model_dump()
    data["codes"] = {}
    data["categories"] = {"violence": data["categories"]["violence"]}
    data["bands"] = {"all": {"ages": (3, 12), "writing": "Gently."}}
    with pytest.raises(ConfigurationError, match="has no category 'personal_data'; it has violence"):
        judge("personal-data", policy=Policy.model_validate(data), band="all")
