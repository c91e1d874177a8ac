"""Labels' probabilities from the log-probabilities that an API sends with a JSON answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def label_scores(text: str, tokens: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> dict[str, float] | None:
    """How likely each label was where the answer's label begins; together 1.

    Args:
        text: The answer, `{"label": "..."}`.
        tokens: Its tokens in OpenAI's form, each with `token`, `logprob` and `top_logprobs`.
        labels: The labels.

    Returns:
        `None` where the likeliest tokens do not tell the labels apart: they begin with the same one, or no
        log-probabilities came.
    """
    begin = text.find('"', text.find(":")) + 1
    at = 0
    for told in tokens:
        token = str(told["token"])
        if at <= begin < at + len(token):
            return _shared(told, begin - at, labels)
        at += len(token)
    return None


def _shared(told: Mapping[str, Any], offset: int, labels: Sequence[str]) -> dict[str, float] | None:
    """The probability of the likeliest tokens, shared out among the labels that each begins."""
    before = str(told["token"])[:offset]
    scores = dict.fromkeys(labels, 0.0)
    for other in told.get("top_logprobs") or ():
        token = str(other["token"])
        begun = token[offset:].partition('"')[0]
        if not token.startswith(before) or not begun:
            continue
        mine = [label for label in labels if label.startswith(begun)]
        if len(mine) > 1:
            return None
        for label in mine:
            scores[label] += math.exp(float(other["logprob"]))
    total = sum(scores.values())
    return {label: score / total for label, score in scores.items()} if total else None
