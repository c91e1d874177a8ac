"""A real small instruct model, SmolLM2-135M, finds sentiments and topics, with and without examples."""

from __future__ import annotations

from pathlib import Path

import pytest

from taleward import FewShotClassifier, ZeroShotClassifier
from tests.helpers.smollm import smollm_file

pytestmark = pytest.mark.smollm

SENTIMENTS = {
    "positive": [
        "The soup was hot, the bread fresh, and the waiter remembered our names.",
        "What a lovely book, I read it twice in one week.",
        "The concert was wonderful from the first note to the last.",
        "Best birthday I have had in years!",
        "This phone is fast and the battery lasts for two days.",
        "A delightful little shop with friendly people.",
        "The team played brilliantly and deserved to win.",
        "The puppies were adorable and the children were thrilled.",
        "I could eat this cake every day.",
        "Our guide was funny and knew everything about the castle.",
    ],
    "negative": [
        "The soup was cold and the waiter ignored us for an hour.",
        "What a waste of paper, I gave up after ten pages.",
        "The concert was a mess and far too loud.",
        "Worst birthday I have had in years.",
        "This phone is slow and dies before lunch.",
        "A dingy little shop with grumpy people.",
        "The team played terribly and deserved to lose.",
        "The puppies were sick and the children cried.",
        "I could not finish this cake, it was awful.",
        "Our guide was late and knew nothing about the castle.",
    ],
}
SENTIMENT_EXAMPLES = [
    ("The best day of the holidays.", "positive"),
    ("It rained and nobody came.", "negative"),
    ("I love this song.", "positive"),
    ("The food made me ill.", "negative"),
]
TOPICS = {
    "sport": ["The goalkeeper dived and pushed the ball round the post.", "Our relay team dropped the baton again."],
    "food": ["The dumplings were steamed in a bamboo basket.", "The chef chopped onions until he cried."],
    "weather": ["The fog was so thick that the ferry stayed in port.", "After weeks of drought it finally rained."],
    "music": ["The drummer lost one of his sticks.", "The orchestra tuned their instruments."],
}


def correct(classifier: FewShotClassifier | ZeroShotClassifier, texts: dict[str, list[str]]) -> int:
    labeled = [(text, label) for label, listed in texts.items() for text in listed]
    results = classifier.batch([text for text, _ in labeled])
    return sum(result.label == label for result, (_, label) in zip(results, labeled, strict=True))


@pytest.fixture(autouse=True)
def cache(smollm_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALEWARD_CACHE", str(smollm_cache))


def test_sentiments_with_and_without_examples() -> None:
    spec = f"hf:{smollm_file()}"
    assert correct(FewShotClassifier(spec, list(SENTIMENTS), examples=SENTIMENT_EXAMPLES), SENTIMENTS) >= 19
    assert correct(ZeroShotClassifier(spec, list(SENTIMENTS)), SENTIMENTS) >= 19


def test_topics_without_examples() -> None:
    assert correct(ZeroShotClassifier(f"hf:{smollm_file()}", list(TOPICS)), TOPICS) >= 7
