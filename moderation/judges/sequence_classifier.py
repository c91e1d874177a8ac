"""Sequence classifiers in Hugging Face layout, Prompt Guard among them: all of a text, in overlapping windows.

Source: the model card meta-llama/Llama-Prompt-Guard-2-86M (512 tokens a window, softmax of its labels).
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from taleward.backends.base.spec import parse_spec
from taleward.backends.transformers.devices import device_of
from taleward.backends.transformers.hub import ERRORS, expanded, fetching, unavailable
from taleward.core.errors import BackendError, ConfigurationError, MissingExtra
from taleward.core.frozen_model import FrozenDict
from taleward.core.policy import Policy
from taleward.core.verdict import Passage
from taleward.moderation.judges.base import Assessment, Judge
from taleward.moderation.judges.hazard_codes import assessed, highest
from taleward.moderation.text.windows import Window

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

BENIGN = frozenset({"benign", "safe", "neutral", "normal", "clean", "ok", "not_toxic", "non-toxic", "nontoxic"})
"""Labels, in lower case, that say that there is nothing."""
_OVERLAP = 64
_LONGEST = 512
_lock = threading.Lock()


class SequenceClassifierJudge(Judge):
    """Judges with a sequence classifier, for example `encoder:hf:meta-llama/Llama-Prompt-Guard-2-86M`.

    A label's score is the highest that it has in a window. A model of one label a text has softmax scores, one of
    several (`problem_type` `multi_label_classification`) sigmoid scores. Labels are the codes of the taxonomy `codes`.

    Args:
        model: `hf:` and a folder or the name of a repository.
        policy: A policy, or the name or path of one.
        band: A band of the policy.
        codes: The taxonomy in the policy's `codes` that the labels belong to.
        benign: The labels that say that there is nothing; by default the usual ones.
        device: A torch device; `None` takes a GPU where there is one.

    Raises:
        ConfigurationError: The spec is none of a local model.
    """

    def __init__(
        self,
        model: str,
        *,
        policy: Policy | str = "kids",
        band: str = "6-8",
        codes: str = "encoder",
        benign: Collection[str] | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__(f"encoder:{model}", policy=policy, band=band)
        spec = parse_spec(model)
        if spec.provider != "hf":
            raise ConfigurationError(
                f"a classifier runs here; {model!r} does not.", hint="Give 'encoder:hf:REPOSITORY or FOLDER'."
            )
        self.path, self.taxonomy, self.device = spec.model, codes, device
        self._benign = frozenset(label.lower() for label in benign) if benign is not None else BENIGN

    def assess(self, passage: Passage) -> Assessment:
        """Score every window of the text; the context is left out."""
        with _lock:
            model = _load(self.path, self.device)
        harmful = [i for i, label in enumerate(model.labels) if label.lower() not in self._benign]
        if not model.several and len(harmful) == len(model.labels):
            raise ConfigurationError(
                f"none of the labels of {self.spec} is known to say that there is nothing: {', '.join(model.labels)}.",
                hint=f"Name it: benign=[{model.labels[0]!r}].",
            )
        places, chances = model.chances(passage.text)
        worst = {model.labels[i]: int(chances[:, i].argmax()) for i in harmful}
        scores = {model.labels[i]: float(chances[:, i].max()) for i in harmful}
        if not model.several and harmful:
            # Several labels share what is not benign: the likeliest stands for all of it.
            row = int(chances[:, harmful].sum(axis=1).argmax())
            likeliest = model.labels[max(harmful, key=lambda i: float(chances[row, i]))]
            scores[likeliest] = max(scores[likeliest], min(1.0, float(chances[row, harmful].sum())))
            worst[likeliest] = row
        known = self.policy.codes.get(self.taxonomy, FrozenDict())
        flagged = {
            label: f"{self.spec}: {label} (score {score:.2f})"
            for label, score in scores.items()
            if score >= self.policy.threshold(known[label].category if label in known else "", self.band)
        }
        found = assessed(
            self.policy, self.taxonomy, flagged, scores=highest(self.policy, self.band, self.taxonomy, scores)
        )
        quoted = []
        for label, finding in zip([c for c in flagged if c in known], found.findings, strict=True):
            place = places[worst[label]]
            update = {"quote": place.of(passage.text), "start": place.start, "end": place.end}
            quoted.append(finding.model_copy(update=update))
        return found.model_copy(update={"findings": tuple(quoted)})


class _Classifier:
    def __init__(self, path: str, device: str | None) -> None:
        try:
            import transformers
        except ImportError as error:
            raise MissingExtra("a local model", "local") from error
        path = expanded(path)
        self._device, known = device_of(device), fetching(path)
        try:
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(path, **known)
            model = transformers.AutoModelForSequenceClassification.from_pretrained(path, dtype="auto", **known)
        except ERRORS as error:
            raise unavailable(path, error, what="classifier") from error
        self._model = (model.float() if self._device.type == "cpu" else model).to(self._device).eval()
        names = model.config.id2label
        self.labels = [str(names[i]) for i in range(len(names))]
        self.several = model.config.problem_type == "multi_label_classification" or len(self.labels) == 1
        positions = getattr(model.config, "max_position_embeddings", None) or _LONGEST
        self._longest = min(_LONGEST, int(positions), int(self._tokenizer.model_max_length))

    def chances(self, text: str) -> tuple[list[Window], Floats]:
        """Places of the windows, and their labels' probabilities, shape (windows, labels)."""
        import torch

        encoded = self._tokenizer(
            text,
            truncation=True,
            max_length=self._longest,
            stride=min(_OVERLAP, self._longest // 4),
            padding=True,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            split_special_tokens=True,
            return_tensors="pt",
        )
        spans = [[(int(a), int(b)) for a, b in row if b > a] for row in encoded["offset_mapping"]]
        places = [Window(min(a for a, _ in row), max(b for _, b in row)) for row in spans if row]
        if len(places) != len(spans):
            raise BackendError("the classifier's tokenizer reads nothing in a part of the text.")
        inputs = {k: encoded[k].to(self._device) for k in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            logits = self._model(**inputs).logits.float()
        if bool(logits.isnan().any()):
            raise BackendError("the classifier's logits are not numbers.", hint="Its weights are damaged.")
        chances: Floats = (logits.sigmoid() if self.several else logits.softmax(-1)).cpu().numpy()
        return places, chances


@lru_cache(maxsize=4)
def _load(path: str, device: str | None) -> _Classifier:
    return _Classifier(path, device)
