"""Sequence classifiers and NLI models in Hugging Face layout (BERT and its family)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig, RunnableSerializable
from langchain_core.runnables.config import get_config_list
from pydantic import Field

from taleward.backends.base.options import build_model
from taleward.backends.engine.batcher import Batcher
from taleward.backends.transformers.encoder import TorchModel, hub_path, loaded_once, padded
from taleward.core.errors import BackendError, ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


def classifier(model: str, **options: Any) -> Classifier:
    """The sequence classifier behind a spec.

    Args:
        model: `hf:` and a folder or the name of a repository.
        options: See `Classifier`.

    Raises:
        ConfigurationError: The spec is none of a model that runs here, or an option is not taken.
    """
    return build_model(Classifier, model, hub_path(model, "a classifier"), options)


class Classifier(RunnableSerializable[str, dict[str, float]]):
    """A sequence classifier as a Runnable from a text to the probability of each label.

    A model of one label a text gives probabilities that sum to one, one of several
    (`problem_type: multi_label_classification`) independent ones. Callers at the same time share its batches.

    Attributes:
        spec: What the model is called.
        path: A local folder, or the name of a repository on the Hugging Face hub.
        cut: Whether a text that is too long is cut at its end; else it is an error. The first of a pair is cut.
        device: A torch device; `None` takes a GPU where there is one.
        load: Options of transformers' `from_pretrained`.
    """

    spec: str
    path: str
    cut: bool = False
    device: str | None = None
    load: dict[str, Any] = Field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the model's order."""
        return self._loaded.labels

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, float]:
        """The probability of each label."""
        return self._call_with_config(lambda text: self._named([text])[0], input, config, run_type="llm")

    async def ainvoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, float]:
        """As `invoke`, without blocking the event loop."""

        async def answer(text: str) -> dict[str, float]:
            model, tokens = await asyncio.to_thread(self._read, text)
            logits = await model.batcher.arun(tokens)
            return _row(model.labels, model.chances(logits)[0])

        return await self._acall_with_config(answer, input, config, run_type="llm")

    def batch(
        self,
        inputs: list[str],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[dict[str, float]]:
        """The probabilities for each text, computed in batches of like length."""
        if return_exceptions:
            return super().batch(inputs, config, return_exceptions=True, **kwargs)
        first = get_config_list(config, len(inputs))[0] if inputs else None
        return self._call_with_config(lambda texts: self._named(list(texts)), inputs, first, run_type="llm")  # type: ignore[arg-type, return-value]

    def scores(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Floats:
        """The probabilities as an array.

        Args:
            texts: Texts.
            pairs: A second text for each, where the model reads two, as for natural language inference.

        Returns:
            Shape (len(texts), len(labels)).

        Raises:
            BackendError: A text is too long, or the model failed.
            ValueError: There are not as many pairs as texts.
        """
        model = self._loaded
        return model.chances(self._logits(texts, pairs))

    def zero_shot(
        self,
        texts: Sequence[str],
        labels: Sequence[str],
        *,
        hypothesis: str = "This example is {}.",
        several: bool = False,
    ) -> list[dict[str, float]]:
        """Classes of one's own by an NLI model: how far each text entails that it is of a class (Yin et al. 2019).

        Args:
            texts: Texts.
            labels: The classes.
            hypothesis: A sentence that says of which class a text is; `{}` stands for it.
            several: Whether a text may be of several classes: then each has a probability of its own, entailment
                against contradiction. Else they share one, by entailment.

        Returns:
            The probability of each class, for each text; the same that transformers' pipeline gives.

        Raises:
            ConfigurationError: The model has no label for entailment, or there are no classes.
        """
        import numpy

        model = self._loaded
        if not labels or "{}" not in hypothesis:
            raise ConfigurationError(f"zero-shot needs classes and '{{}}' in the hypothesis; got {hypothesis!r}.")
        entailed, denied = model.place("entail"), model.place("contra") if several else 0
        claims = [hypothesis.replace("{}", label) for label in labels]
        first, second = [t for t in texts for _ in claims], [c for _ in texts for c in claims]
        logits = self._logits(first, second).reshape(len(texts), len(claims), len(model.labels))
        if several:
            chances = _softmax(logits[:, :, [denied, entailed]])[:, :, 1]
        else:
            chances = _softmax(numpy.asarray(logits[:, :, entailed]))
        return [_row(labels, row) for row in chances]

    def _read(self, text: str) -> tuple[_Loaded, Sequence[Sequence[int]]]:
        """Loads the model where it is not here."""
        return (model := self._loaded), model.encode([text], cut=self.cut)

    def _named(self, texts: Sequence[str]) -> list[dict[str, float]]:
        return [_row(self.labels, row) for row in self.scores(texts)]

    def _logits(self, texts: Sequence[str], pairs: Sequence[str] | None) -> Floats:
        import numpy

        model = self._loaded
        if not texts:
            return numpy.zeros((0, len(model.labels)))
        return numpy.array(model.batcher.run(model.encode(texts, pairs, cut=self.cut or pairs is not None)))

    @property
    def _loaded(self) -> _Loaded:
        return loaded_once(_Loaded, self.path, self.device, self.load)


class _Loaded(TorchModel):
    def __init__(self, path: str, device: str | None, load: Mapping[str, Any]) -> None:
        super().__init__(path, "AutoModelForSequenceClassification", device, load)
        config = self.model.config
        self.path = path
        self.labels = tuple(str(config.id2label[i]) for i in range(len(config.id2label)))
        self.several = config.problem_type == "multi_label_classification" or len(self.labels) == 1
        self.batcher: Batcher[Floats] = Batcher(_runner(self.model, self.tokenizer.pad_token_id), max_batch=128)

    def chances(self, logits: Any) -> Floats:
        import numpy

        rows = numpy.asarray(logits, dtype=numpy.float64).reshape(-1, len(self.labels))
        return 1 / (1 + numpy.exp(-rows)) if self.several else _softmax(rows)

    def place(self, begin: str) -> int:
        for place, label in enumerate(self.labels):
            if label.lower().startswith(begin):
                return place
        raise ConfigurationError(
            f"{self.path!r} is no NLI model: its labels are {', '.join(self.labels)}; none begins with {begin!r}.",
            hint="Give one trained on natural language inference, with a label for entailment.",
        )


def _runner(network: Any, pad: int | None) -> Callable[[list[Sequence[int]], Any], Any]:
    def run(lists: list[Sequence[int]], _: Any) -> Any:
        import torch

        with torch.inference_mode():
            logits = network(**padded(lists, pad, network.device)).logits.float()
        if bool(logits.isnan().any()):
            raise BackendError("the classifier's logits are not numbers.", hint="Its weights are damaged.")
        return logits.cpu().numpy()

    return run


def _softmax(logits: Any) -> Floats:
    import numpy

    raised = numpy.exp(logits - logits.max(axis=-1, keepdims=True))
    chances: Floats = raised / raised.sum(axis=-1, keepdims=True)
    return chances


def _row(labels: Sequence[str], chances: Any) -> dict[str, float]:
    return dict(zip(labels, map(float, chances), strict=True))
