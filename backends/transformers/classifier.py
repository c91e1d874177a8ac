"""Sequence classifiers and NLI models in Hugging Face layout (BERT and similar encoders)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig, RunnableSerializable
from langchain_core.runnables.config import get_config_list
from pydantic import Field

from taleward.backends.base.option_validation import build_model
from taleward.backends.engine.single_pass_batcher import Batcher
from taleward.backends.transformers.single_pass_model import TransformersModel, hub_path, load_once, pad_batch
from taleward.core.errors import BackendError, ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


def classifier(model: str, **options: Any) -> Classifier:
    """Create the sequence classifier for a spec.

    Args:
        model: `hf:` followed by a folder or the name of a repository.
        options: See `Classifier`.

    Raises:
        ConfigurationError: If the spec does not name a local model, an option is unknown, or a value is invalid.
    """
    return build_model(Classifier, model, hub_path(model, "a classifier"), options)


class Classifier(RunnableSerializable[str, dict[str, float]]):
    """A sequence classifier as a Runnable from a text to the probability of each label.

    The probabilities of a single-label model sum to 1; those of a multi-label model
    (`problem_type: multi_label_classification`) are independent. Concurrent callers share its batches.

    Attributes:
        spec: The model's spec.
        path: A local folder, or the name of a repository on the Hugging Face Hub.
        truncate: Whether to cut a text that is too long at its end instead of raising; of a pair, the first text is
            cut in any case.
        device: A torch device; `None` uses a GPU if there is one.
        load: Options of transformers' `from_pretrained`.
    """

    spec: str
    path: str
    truncate: bool = False
    device: str | None = None
    load: dict[str, Any] = Field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the model's order."""
        return self._loaded.labels

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, float]:
        """Return the probability of each label."""
        return self._call_with_config(lambda text: self._classify([text])[0], input, config, run_type="llm")

    async def ainvoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, float]:
        """Async version of `invoke`."""

        async def classify(text: str) -> dict[str, float]:
            model, tokens = await asyncio.to_thread(self._load_and_encode, text)
            logits = await model.batcher.arun(tokens)
            return _by_label(model.labels, model.probabilities(logits)[0])

        return await self._acall_with_config(classify, input, config, run_type="llm")

    def batch(
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[dict[str, float]]:
        """Classify many texts, in batches of similar length."""
        if return_exceptions:
            return super().batch(inputs, config, return_exceptions=True, **kwargs)
        first_config = get_config_list(config, len(inputs))[0] if inputs else None
        return self._call_with_config(lambda texts: self._classify(list(texts)), inputs, first_config, run_type="llm")  # type: ignore[arg-type, return-value]

    def scores(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Floats:
        """Return the probabilities as an array.

        Args:
            texts: Texts.
            pairs: A second text for each, for a model that reads two, as for natural language inference.

        Returns:
            Shape (len(texts), len(labels)).

        Raises:
            BackendError: If a text is too long, or the model fails.
            ValueError: If there are not as many pairs as texts.
        """
        return self._loaded.probabilities(self._logits(texts, pairs))

    def zero_shot(
        self,
        texts: Sequence[str],
        labels: Sequence[str],
        *,
        hypothesis: str = "This example is {}.",
        multi_label: bool = False,
    ) -> list[dict[str, float]]:
        """Classify texts into classes of your own with an NLI model, by entailment (Yin et al. 2019).

        Args:
            texts: Texts.
            labels: The classes.
            hypothesis: A sentence that states a text's class; `{}` is replaced by the class.
            multi_label: Whether a text can have several classes. Then each class has a probability of its own, from
                entailment and contradiction; otherwise the probabilities, from entailment alone, sum to 1.

        Returns:
            The probability of each class, for each text; equal to those of transformers' pipeline.

        Raises:
            ConfigurationError: If the model has no entailment label, there are no classes, or `hypothesis` lacks `{}`.
        """
        import numpy

        model = self._loaded
        if not labels or "{}" not in hypothesis:
            raise ConfigurationError(
                f"zero-shot classification needs classes, and '{{}}' in the hypothesis; got {list(labels)} and "
                f"{hypothesis!r}."
            )
        entailment = model.label_index("entail")
        contradiction = model.label_index("contra") if multi_label else 0
        hypotheses = [hypothesis.replace("{}", label) for label in labels]
        premises = [text for text in texts for _ in hypotheses]
        logits = self._logits(premises, hypotheses * len(texts))
        logits = logits.reshape(len(texts), len(hypotheses), len(model.labels))
        if multi_label:
            probabilities = _softmax(logits[:, :, [contradiction, entailment]])[:, :, 1]
        else:
            probabilities = _softmax(numpy.asarray(logits[:, :, entailment]))
        return [_by_label(labels, row) for row in probabilities]

    def _load_and_encode(self, text: str) -> tuple[_LoadedClassifier, Sequence[Sequence[int]]]:
        return (model := self._loaded), model.encode([text], truncate=self.truncate)

    def _classify(self, texts: Sequence[str]) -> list[dict[str, float]]:
        return [_by_label(self.labels, row) for row in self.scores(texts)]

    def _logits(self, texts: Sequence[str], pairs: Sequence[str] | None) -> Floats:
        import numpy

        model = self._loaded
        if not texts:
            return numpy.zeros((0, len(model.labels)))
        token_lists = model.encode(texts, pairs, truncate=self.truncate or pairs is not None)
        return numpy.array(model.batcher.run(token_lists))

    @property
    def _loaded(self) -> _LoadedClassifier:
        return load_once(_LoadedClassifier, self.path, self.device, self.load)


class _LoadedClassifier(TransformersModel):
    def __init__(self, path: str, device: str | None, load: Mapping[str, Any]) -> None:
        super().__init__(path, "AutoModelForSequenceClassification", device, load)
        config = self.model.config
        self.path = path
        self.labels = tuple(str(config.id2label[i]) for i in range(len(config.id2label)))
        self.is_multi_label = config.problem_type == "multi_label_classification" or len(self.labels) == 1
        self.batcher: Batcher[Floats] = Batcher(_batch_function(self.model, self.tokenizer.pad_token_id), max_batch=128)

    def probabilities(self, logits: Any) -> Floats:
        import numpy

        rows = numpy.asarray(logits, dtype=numpy.float64).reshape(-1, len(self.labels))
        return 1 / (1 + numpy.exp(-rows)) if self.is_multi_label else _softmax(rows)

    def label_index(self, prefix: str) -> int:
        for index, label in enumerate(self.labels):
            if label.lower().startswith(prefix):
                return index
        raise ConfigurationError(
            f"{self.path!r} is not an NLI model: none of its labels ({', '.join(self.labels)}) begins with {prefix!r}.",
            hint="Pass a model trained on natural language inference, with a label for entailment.",
        )


def _batch_function(network: Any, pad_token_id: int | None) -> Callable[[list[Sequence[int]], Any], Any]:
    # A closure over the network, not a method: the batcher must not hold a reference to its owner.
    def run(token_lists: list[Sequence[int]], _key: Any) -> Any:
        import torch

        with torch.inference_mode():
            logits = network(**pad_batch(token_lists, pad_token_id, network.device)).logits.float()
        if bool(logits.isnan().any()):
            raise BackendError("the classifier's logits are not numbers.", hint="Its weights may be damaged.")
        return logits.cpu().numpy()

    return run


def _softmax(logits: Any) -> Floats:
    import numpy

    exponentials = numpy.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: Floats = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities


def _by_label(labels: Sequence[str], probabilities: Any) -> dict[str, float]:
    return dict(zip(labels, map(float, probabilities), strict=True))
