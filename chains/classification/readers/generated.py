"""Classify by asking a model: let it write the label, constrained if possible, and parse its answer strictly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig

from taleward.backends.capabilities import capabilities
from taleward.chains.classification.label_chain import ClassificationQuery, LabelPrediction
from taleward.chains.classification.prompts import (
    NONE_OF_THESE,
    SEPARATOR,
    chat_prompt,
    completion_prompt,
    label_as_json,
)
from taleward.chains.classification.readers.api_logprobs import label_scores
from taleward.chains.task_definitions import LabelTask
from taleward.core.errors import ConfigurationError
from taleward.moderation.judges.strict_parsing import Unparsable, strict_json

_TOP_LOGPROBS = 20
"""The most that OpenAI's API returns."""


class GeneratedLabelReader:
    """Asks a model for the label and parses its answer.

    A chat model answers with a JSON object; a completion model with the label, ended by a line break or `###`. If
    constrained, an `hf:` or `embedded:` model can generate nothing but the labels, and OpenAI's clients are given a
    JSON schema; other models are only instructed. An answer that does not match the format exactly is unparsable.

    Args:
        model: A LangChain chat model.
        spec: Its name for results.
        task: The labels and the question.
        multi_label: Whether several labels may be given.
        constrained: Whether to constrain the answer to the labels if the model supports it.
        abstains: Whether the model may answer "none of these".
        scored: Whether to request log-probabilities (OpenAI's clients only). If they cannot tell the labels apart,
            there are no scores.
    """

    def __init__(
        self,
        model: BaseChatModel,
        spec: str,
        task: LabelTask,
        *,
        multi_label: bool = False,
        constrained: bool = True,
        abstains: bool = False,
        scored: bool = False,
    ) -> None:
        self.model, self.spec, self.task = model, spec, task
        self.multi_label, self.constrained, self.abstains, self.scored = multi_label, constrained, abstains, scored
        self._allowed_labels = [*task.labels, *([NONE_OF_THESE] if abstains else [])]

    def read(
        self, queries: Sequence[ClassificationQuery], configs: list[RunnableConfig]
    ) -> list[LabelPrediction | Exception]:
        """Return the label that the model gives for each query; a query that fails does not affect the others."""
        prompts: list[Any] = [self._prompt(query) for query in queries]
        responses = self.model.batch(prompts, configs, return_exceptions=True, **self._call_options())
        return [self._prediction(response) for response in responses]

    async def aread(
        self, queries: Sequence[ClassificationQuery], configs: list[RunnableConfig]
    ) -> list[LabelPrediction | Exception]:
        """Async version of `read`."""
        prompts: list[Any] = [self._prompt(query) for query in queries]
        responses = await self.model.abatch(prompts, configs, return_exceptions=True, **self._call_options())
        return [self._prediction(response) for response in responses]

    @property
    def _is_completion_model(self) -> bool:
        completion_only = not capabilities(self.model).follows_instructions
        if completion_only and self.multi_label:
            raise ConfigurationError(
                f"{self.spec} continues texts; it cannot be asked for several labels at once.",
                hint="Read its probabilities: by='probabilities'.",
            )
        return completion_only

    def _prompt(self, query: ClassificationQuery) -> list[BaseMessage]:
        if self._is_completion_model:
            return [AIMessage(completion_prompt(self.task, query))]
        answer_format = "Answer with a single JSON object and nothing else: "
        if self.multi_label:
            answer_format += '{"labels": [every label that fits, or an empty list]}'
        else:
            answer_format += '{"label": the label that fits best}'
            answer_format += f". If none fits, the label is {NONE_OF_THESE!r}." if self.abstains else ""
        return chat_prompt(self.task, query, answer_format, answer=label_as_json)

    def _call_options(self) -> dict[str, Any]:
        can = capabilities(self.model)
        if self._is_completion_model:
            constrain = self.constrained and can.grammar
            grammar = {"grammar": [f" {label}" for label in self._allowed_labels]} if constrain else {}
            return {**grammar, "stop": [SEPARATOR, "\n"], "temperature": 0}
        if self.constrained and can.grammar:
            return {"grammar": self._json_schema(), "temperature": 0}
        if self.constrained and can.json_schema:
            schema = {"name": "classification", "schema": self._json_schema(), "strict": True}
            logprobs: dict[str, Any] = {"logprobs": True, "top_logprobs": _TOP_LOGPROBS} if self.scored else {}
            return {"response_format": {"type": "json_schema", "json_schema": schema}, **logprobs}
        return {}

    def _json_schema(self) -> dict[str, Any]:
        label = {"type": "string", "enum": self._allowed_labels}
        key, value = ("labels", {"type": "array", "items": label}) if self.multi_label else ("label", label)
        return {"type": "object", "properties": {key: value}, "required": [key], "additionalProperties": False}

    def _prediction(self, response: BaseMessage | Exception) -> LabelPrediction | Exception:
        if isinstance(response, Exception):
            return response
        if not isinstance(response, AIMessage):
            raise TypeError(f"{self.spec} answered with a {type(response).__name__}, not an AIMessage")
        try:
            labels = self._parse(response)
        except Unparsable as error:
            return LabelPrediction(None, None, str(error))
        if NONE_OF_THESE in labels:
            return LabelPrediction(None, (), "the model says that none of the labels fits")
        if self.scored:
            logprobs = (response.response_metadata.get("logprobs") or {}).get("content") or ()
            return LabelPrediction(label_scores(response.text, logprobs, list(self.task.labels)), labels)
        return LabelPrediction(None, labels)

    def _parse(self, response: AIMessage) -> tuple[str, ...]:
        if self._is_completion_model:
            # A server without stop sequences goes on and invents more examples: only the first line is the answer.
            label: Any = response.text.strip(" ").partition(SEPARATOR)[0].partition("\n")[0].strip(" ")
            return self._check_allowed([label])
        if response.response_metadata.get("finish_reason") == "length":
            raise Unparsable("the answer was cut off at the token limit")
        answer = strict_json(response.text)
        key = "labels" if self.multi_label else "label"
        if list(answer) != [key]:
            raise Unparsable(f"expected a JSON object with the key {key!r} only; got the keys {sorted(answer)}")
        value = answer[key]
        if isinstance(value, list) != self.multi_label:
            raise Unparsable(f"{key!r} is of the type {type(value).__name__}")
        return self._check_allowed(value if self.multi_label else [value])

    def _check_allowed(self, labels: list[Any]) -> tuple[str, ...]:
        if unknown := [label for label in labels if label not in self._allowed_labels]:
            raise Unparsable(f"unknown labels {unknown}; expected some of {self._allowed_labels}"[:300])
        if len(set(labels)) != len(labels):
            raise Unparsable(f"the same label twice: {labels}")
        return tuple(labels)
