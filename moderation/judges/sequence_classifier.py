"""Sequence classifiers from Hugging Face, such as Prompt Guard, applied to a whole text in overlapping windows.

Source: the model card meta-llama/Llama-Prompt-Guard-2-86M (512 tokens per window, softmax over its labels).
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from taleward.backends.base.spec import parse_spec
from taleward.backends.transformers.devices import torch_device
from taleward.backends.transformers.hub_files import (
    LOAD_ERRORS,
    expand_home,
    load_weights,
    loading_options,
    model_unavailable,
)
from taleward.core.errors import BackendError, ConfigurationError, MissingExtra
from taleward.core.frozen_model import FrozenDict
from taleward.core.policy import Policy
from taleward.core.verdict import Passage
from taleward.moderation.judges.base import Assessment, Judge
from taleward.moderation.judges.hazard_codes import assessment_from_codes, category_scores
from taleward.moderation.text.windows import Window

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

_NAME = "sequence-classifier"
BENIGN_LABELS = frozenset({"benign", "safe", "neutral", "normal", "clean", "ok", "not_toxic", "non-toxic", "nontoxic"})
"""Labels, in lower case, that mean that a text is harmless."""
_OVERLAP_TOKENS = 64
_MAX_TOKENS = 512
_lock = threading.Lock()


class SequenceClassifierJudge(Judge):
    """Judge with a sequence classifier, for example `sequence-classifier:hf:meta-llama/Llama-Prompt-Guard-2-86M`.

    A label's score is its highest probability in any window: softmax for a single-label model, sigmoid for a
    multi-label one (`problem_type` is `multi_label_classification`). The context is not read.

    Args:
        model: `hf:` followed by a folder or the name of a repository.
        policy: A policy, or the name or path of one.
        band: An age band of the policy.
        taxonomy: The key in the policy's `codes` that maps the model's labels to categories.
        benign_labels: The labels that mean that a text is harmless. Defaults to `BENIGN_LABELS`.
        device: A torch device; `None` uses a GPU if there is one.

    Raises:
        ConfigurationError: If the spec does not name a local model.
    """

    def __init__(
        self,
        model: str,
        *,
        policy: Policy | str = "kids",
        band: str = "6-8",
        taxonomy: str = _NAME,
        benign_labels: Collection[str] | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__(f"{_NAME}:{model}", policy=policy, band=band)
        spec = parse_spec(model)
        if spec.provider != "hf":
            raise ConfigurationError(
                f"a sequence classifier runs in this process; {model!r} does not.",
                hint=f"Give '{_NAME}:hf:REPOSITORY or FOLDER'.",
            )
        self.path, self.taxonomy, self.device = spec.model, taxonomy, device
        self.benign_labels = (
            frozenset(label.lower() for label in benign_labels) if benign_labels is not None else BENIGN_LABELS
        )

    def assess(self, passage: Passage) -> Assessment:
        """Score every window of the text."""
        with _lock:
            classifier = _load(self.path, self.device)
        labels = classifier.labels
        harmful = [i for i, label in enumerate(labels) if label.lower() not in self.benign_labels]
        # Softmax over harmful labels alone sums to 1: the most harmless text would get a high score.
        if not classifier.multi_label and len(harmful) == len(labels):
            raise ConfigurationError(
                f"none of the labels of {self.spec} is known to mean harmless: {', '.join(labels)}.",
                hint=f"Name it: benign_labels=[{labels[0]!r}].",
            )
        windows, probabilities = classifier.window_probabilities(passage.text)
        worst_window = {labels[i]: int(probabilities[:, i].argmax()) for i in harmful}
        scores = {labels[i]: float(probabilities[:, i].max()) for i in harmful}
        if not classifier.multi_label and harmful:
            # Softmax splits the harm among similar labels ("hate", "threat", "insult"), each of which may stay below
            # its threshold. So the likeliest label gets the probability of all of them.
            row = int(probabilities[:, harmful].sum(axis=1).argmax())
            likeliest = labels[max(harmful, key=lambda i: float(probabilities[row, i]))]
            scores[likeliest] = max(scores[likeliest], min(1.0, float(probabilities[row, harmful].sum())))
            worst_window[likeliest] = row
        mapped = self.policy.codes.get(self.taxonomy, FrozenDict())
        flagged = {
            label: f"{self.spec}: {label} (score {score:.2f})"
            for label, score in scores.items()
            if score >= self.policy.threshold(mapped[label].category if label in mapped else "", self.band)
        }
        by_category = category_scores(self.policy, self.band, self.taxonomy, scores)
        assessment = assessment_from_codes(self.policy, self.taxonomy, flagged, scores=by_category)
        findings = []
        for label, finding in zip([c for c in flagged if c in mapped], assessment.findings, strict=True):
            window = windows[worst_window[label]]
            span = {"quote": window.of(passage.text), "start": window.start, "end": window.end}
            findings.append(finding.model_copy(update=span))
        return assessment.model_copy(update={"findings": tuple(findings)})


class _WindowClassifier:
    """A tokenizer and a classification model.

    Attributes:
        labels: The names of the outputs, in order.
        multi_label: Whether each label has a probability of its own, instead of all adding up to 1.
    """

    def __init__(self, path: str, device: str | None) -> None:
        try:
            import transformers
        except ImportError as error:
            raise MissingExtra("a local model", "local") from error
        path = expand_home(path)
        self._device, hub_options = torch_device(device), loading_options(path)
        try:
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(path, **hub_options)
            model = load_weights("AutoModelForSequenceClassification", path, {"dtype": "auto", **hub_options})
        except LOAD_ERRORS as error:
            raise model_unavailable(path, error, what="classifier") from error
        self._model = (model.float() if self._device.type == "cpu" else model).to(self._device).eval()
        names = model.config.id2label
        self.labels = [str(names[i]) for i in range(len(names))]
        self.multi_label = model.config.problem_type == "multi_label_classification" or len(self.labels) == 1
        positions = getattr(model.config, "max_position_embeddings", None) or _MAX_TOKENS
        # A tokenizer without a limit of its own reports 1e30 as `model_max_length`.
        self._window_tokens = min(_MAX_TOKENS, int(positions), int(self._tokenizer.model_max_length))

    def window_probabilities(self, text: str) -> tuple[list[Window], Floats]:
        """Return the windows of a text and their label probabilities, shape (windows, labels)."""
        import torch

        encoded = self._tokenizer(
            text,
            truncation=True,
            max_length=self._window_tokens,
            stride=min(_OVERLAP_TOKENS, self._window_tokens // 4),
            padding=True,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            # Otherwise "[SEP]" in a text would become the control token.
            split_special_tokens=True,
            return_tensors="pt",
        )
        spans = [[(int(a), int(b)) for a, b in row if b > a] for row in encoded["offset_mapping"]]
        windows = [Window(min(a for a, _ in row), max(b for _, b in row)) for row in spans if row]
        if len(windows) != len(spans):
            raise BackendError("the classifier's tokenizer produced no tokens for part of the text.")
        inputs = {k: encoded[k].to(self._device) for k in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            logits = self._model(**inputs).logits.float()
        if bool(logits.isnan().any()):
            raise BackendError("the classifier's logits are not numbers.", hint="Its weights are damaged.")
        probabilities: Floats = (logits.sigmoid() if self.multi_label else logits.softmax(-1)).cpu().numpy()
        return windows, probabilities


@lru_cache(maxsize=4)
def _load(path: str, device: str | None) -> _WindowClassifier:
    return _WindowClassifier(path, device)
