"""ShieldGemma 2, by transformers: the probability that a picture breaks one policy at a time.

In its output, index 0 of `probabilities` is Yes, the picture breaks the policy: that is how its class defines it, and a
test pins it, because a sentence in its documentation says the opposite.
"""

from __future__ import annotations

import threading
from typing import Any

from taleward.backends.transformers.devices import torch_device
from taleward.backends.transformers.hub_files import LOAD_ERRORS, expand_home, model_unavailable
from taleward.core.errors import BackendError, MissingExtra
from taleward.core.frozen_model import FrozenDict
from taleward.core.policy import Policy
from taleward.images.guard.picture_judge import PictureJudge, views
from taleward.images.picture import Picture
from taleward.moderation.judges.base import Assessment
from taleward.moderation.judges.lexicon import unjudged_remark

_CATEGORIES = {"dangerous": "dangerous_acts", "sexual": "sexual", "violence": "violence"}
"""The policies it was trained on, and what they are in ours."""
_TOLERANCE = 1e-3


class ShieldGemma2Judge(PictureJudge):
    """Score dangerous acts, sexual content and violence with ShieldGemma 2.

    Args:
        model: A repository such as `google/shieldgemma-2-4b-it`, or a folder.
        policy: A policy, or the name or path of one.
        band: An age band of the policy.
        device: A torch device; a GPU by default if there is one.
        dtype: A torch dtype.
    """

    def __init__(
        self,
        model: str,
        *,
        policy: Policy | str = "kids",
        band: str = "6-8",
        device: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(f"shieldgemma-2:{model}", policy=policy, band=band)
        self.path, self.device, self.dtype = model, device, dtype
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None

    def assess(self, picture: Picture) -> Assessment:
        """Score one picture; of a transparent one, the worse of how it looks on white and on black."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            processor, model = self._loaded
            scores = [self._scores(processor, model, view) for view in views(picture)]
        worst = {name: max(each[name] for each in scores) for name in scores[0]}
        judged = tuple(category for category in _CATEGORIES.values() if category in self.policy.categories)
        by_category = {_CATEGORIES[name]: score for name, score in worst.items() if _CATEGORIES[name] in judged}
        return Assessment(scores=FrozenDict(by_category), detail=unjudged_remark(self.policy, judged))

    def _scores(self, processor: Any, model: Any, image: Any) -> dict[str, float]:
        import torch

        names = list(_CATEGORIES)
        inputs = processor(images=[image], policies=names, return_tensors="pt").to(model.device)
        with torch.inference_mode():
            probabilities = model(**inputs).probabilities.float().cpu()
        if probabilities.shape != (len(names), 2) or not torch.allclose(
            probabilities.sum(dim=1), torch.ones(len(names)), atol=_TOLERANCE
        ):
            raise BackendError(f"{self.spec} returned probabilities of an unknown form: {tuple(probabilities.shape)}")
        return {name: float(row[0]) for name, row in zip(names, probabilities, strict=True)}

    def _load(self) -> tuple[Any, Any]:
        try:
            import torch
            from transformers import AutoProcessor, ShieldGemma2ForImageClassification
        except ImportError as error:
            raise MissingExtra("the judge shieldgemma-2", "local") from error
        path = expand_home(self.path)
        try:
            processor = AutoProcessor.from_pretrained(path)
            dtype = getattr(torch, self.dtype) if self.dtype else "auto"
            model = ShieldGemma2ForImageClassification.from_pretrained(path, dtype=dtype, use_safetensors=True)
        except LOAD_ERRORS as error:
            raise model_unavailable(self.path, error) from error
        return processor, model.to(torch_device(self.device)).eval()
