"""Classifiers of pairs of texts (BERT and its kin with a head of labels), NLI models among them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from taleward.backends.hub import ERRORS, unavailable
from taleward.core.errors import BackendError, MissingExtra

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

_LONGEST = 512
_OVERLAP = 32
_TOKENS_AT_ONCE = 8192
_lock = threading.Lock()


class PairClassifier:
    """A sequence classifier in Hugging Face layout that reads two texts together.

    Args:
        path: A local folder, or the name of a repository on the Hugging Face hub.
        device: A torch device; `None` takes a GPU where there is one.

    Attributes:
        labels: What its logits stand for, in their order.

    Raises:
        BackendError: It could not be loaded.
        MissingExtra: The extra `local` is not installed.
    """

    def __init__(self, path: str, device: str | None = None) -> None:
        try:
            import torch
            import transformers
        except ImportError as error:
            raise MissingExtra("a local model", "local") from error
        transformers.utils.logging.disable_progress_bar()
        try:
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(path)
            model = transformers.AutoModelForSequenceClassification.from_pretrained(path, dtype="auto")
        except ERRORS as error:
            raise unavailable(path, error, what="classifier") from error
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._model = (model.float() if self._device.type == "cpu" else model).to(self._device).eval()
        names = model.config.id2label
        self.labels = tuple(str(names[i]) for i in range(len(names)))
        positions = getattr(model.config, "max_position_embeddings", None) or _LONGEST
        self._longest = min(_LONGEST, int(positions), int(self._tokenizer.model_max_length))

    def logits(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """The logits of each pair, shape (pairs, labels); pairs of like length are read together.

        A first text that is too long is read in windows that overlap, and the pair's logits are their mean.

        Raises:
            BackendError: A second text is too long, or the logits are not numbers.
        """
        import numpy

        sums = numpy.zeros((len(pairs), len(self.labels)), dtype=numpy.float32)
        if not pairs:
            return sums
        rows, owner = self._rows(pairs)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]))
        while order:
            longest = len(rows[order[-1]]["input_ids"])
            taken = order[-max(1, _TOKENS_AT_ONCE // longest) :]
            del order[-len(taken) :]
            for i, row in zip(taken, self._run([rows[i] for i in taken]), strict=True):
                sums[owner[i]] += row
        if not numpy.isfinite(sums).all():
            raise BackendError("the classifier's logits are not numbers.", hint="Its weights are damaged.")
        counts = numpy.bincount(owner, minlength=len(pairs))[:, None]
        means: Floats = (sums / counts).astype(numpy.float32)
        return means

    def _rows(self, pairs: Sequence[tuple[str, str]]) -> tuple[list[dict[str, Any]], list[int]]:
        """The windows' inputs, and the pair that each is of."""
        firsts, seconds = (list(texts) for texts in zip(*pairs, strict=True))
        room = self._longest - self._tokenizer.num_special_tokens_to_add(pair=True)
        longest = max(len(row) for row in self._tokenizer(list(set(seconds)), add_special_tokens=False)["input_ids"])
        if longest > room // 2:
            raise BackendError(
                f"a hypothesis has {longest} tokens; with its text it may have {room} in all.",
                hint="Give shorter labels or descriptions.",
            )
        encoded = self._tokenizer(
            firsts,
            seconds,
            truncation="only_first",
            max_length=self._longest,
            stride=min(_OVERLAP, (room - longest) // 2),
            return_overflowing_tokens=True,
            split_special_tokens=True,
        )
        names = [name for name in self._tokenizer.model_input_names if name in encoded]
        count = len(encoded["input_ids"])
        rows = [{name: encoded[name][i] for name in names} for i in range(count)]
        return rows, [int(i) for i in encoded["overflow_to_sample_mapping"]]

    def _run(self, rows: Sequence[dict[str, Any]]) -> Floats:
        import torch

        padded = self._tokenizer.pad(list(rows), return_tensors="pt").to(self._device)
        with torch.inference_mode():
            found: Floats = self._model(**padded).logits.float().cpu().numpy()
        return found


def pair_classifier(path: str, device: str | None = None) -> PairClassifier:
    """A classifier, loaded on first use; the last four stay."""
    with _lock:
        return _load(path, device)


@lru_cache(maxsize=4)
def _load(path: str, device: str | None) -> PairClassifier:
    return PairClassifier(path, device)
