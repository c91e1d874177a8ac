"""Compute label probabilities from the log-probabilities that an API returns with a JSON answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def label_scores(text: str, tokens: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> dict[str, float] | None:
    """Return the probability of each label at the token where the answer's label begins.

    Args:
        text: The answer, `{"label": "..."}`.
        tokens: The answer's tokens in OpenAI's format, each with `token`, `logprob` and `top_logprobs`.
        labels: The labels.

    Returns:
        Probabilities that sum to 1, or `None` if the most likely tokens cannot tell the labels apart: two labels begin
        with the same token, or there are no log-probabilities.
    """
    label_start = text.find('"', text.find(":")) + 1
    token_start = 0
    for entry in tokens:
        token = str(entry["token"])
        if token_start <= label_start < token_start + len(token):
            return _scores_from_alternatives(entry, label_start - token_start, labels)
        token_start += len(token)
    return None


def _scores_from_alternatives(entry: Mapping[str, Any], offset: int, labels: Sequence[str]) -> dict[str, float] | None:
    """Assign the probability of each alternative token to the label that begins with it.

    A token may also contain characters before the label, such as the quotation mark: `offset` is their number.
    """
    before_label = str(entry["token"])[:offset]
    scores = dict.fromkeys(labels, 0.0)
    for alternative in entry.get("top_logprobs") or ():
        token = str(alternative["token"])
        label_prefix = token[offset:].partition('"')[0]
        if not token.startswith(before_label) or not label_prefix:
            continue
        matches = [label for label in labels if label.startswith(label_prefix)]
        if len(matches) > 1:
            return None
        for label in matches:
            scores[label] += math.exp(float(alternative["logprob"]))
    total = sum(scores.values())
    return {label: score / total for label, score in scores.items()} if total else None
