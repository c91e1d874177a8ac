"""Labels in a model's own words: constrained to the labels where the model can be, read by one strict grammar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig

from taleward.chains.classification.chain import Question, Reading
from taleward.chains.classification.prompts import NONE, SEPARATOR, as_json, continued, talked
from taleward.chains.classification.readers.api_logprobs import label_scores
from taleward.chains.model_kind import is_local
from taleward.chains.task import LabelTask
from taleward.core.errors import ConfigurationError
from taleward.moderation.judges.strict_parsing import Unparsable, strict_json

OPENAI = ("ChatOpenAI", "AzureChatOpenAI")
"""Clients that take a JSON schema and give log-probabilities."""
_LIKELIEST = 20


class AnswerReader:
    """Asks a model for the label and reads its answer; it has scores only where log-probabilities are asked for.

    A chat model answers with a JSON object, a completion model with the label, ended by a line or the separator `###`.
    Constrained, an `hf:` or `embedded:` model can write nothing else, and OpenAI's client is given a JSON schema; other
    models are told. An answer that is not wholly of the form is unparsable.

    Args:
        model: A LangChain chat model.
        spec: What it is called.
        task: What is asked.
        multi_label: Whether several labels may be given.
        constrained: Whether the model is held to the labels where it can be.
        abstains: Whether "none of these" is an answer.
        scored: Whether OpenAI's client is asked for log-probabilities. Where they do not tell the labels apart there
            are no scores.
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
        self._labels = [*task.labels, *([NONE] if abstains else [])]

    def read(self, questions: Sequence[Question], configs: list[RunnableConfig]) -> list[Reading | Exception]:
        """The label that the model gives for each question; one question's failure is not another's."""
        asked = [self._prompt(question) for question in questions]
        answers = self.model.batch(asked, configs, return_exceptions=True, **self._options())  # type: ignore[arg-type]
        return [self._read(answer) for answer in answers]

    async def aread(self, questions: Sequence[Question], configs: list[RunnableConfig]) -> list[Reading | Exception]:
        """As `read`, without blocking the event loop."""
        asked = [self._prompt(question) for question in questions]
        answers = await self.model.abatch(asked, configs, return_exceptions=True, **self._options())  # type: ignore[arg-type]
        return [self._read(answer) for answer in answers]

    @property
    def _continues(self) -> bool:
        continues = bool(getattr(self.model, "completion_only", False))
        if continues and self.multi_label:
            raise ConfigurationError(
                f"{self.spec} continues texts; it cannot be asked for several labels at once.",
                hint="Read its probabilities: by='probabilities'.",
            )
        return continues

    def _prompt(self, question: Question) -> list[BaseMessage]:
        if self._continues:
            return [AIMessage(continued(self.task, question))]
        if self.multi_label:
            form = 'Answer with one JSON object and nothing else: {"labels": [every label that fits, or none]}'
        else:
            form = 'Answer with one JSON object and nothing else: {"label": the label that fits best}'
            form += f". Where none fits, the label is {NONE!r}." if self.abstains else ""
        return talked(self.task, question, form, answer=as_json)

    def _options(self) -> dict[str, Any]:
        """What holds the model to the labels, and where it stops."""
        if self._continues:
            held = self.constrained and is_local(self.model)
            grammar = {"grammar": [f" {label}" for label in self._labels]} if held else {}
            return {**grammar, "stop": [SEPARATOR, "\n"], "temperature": 0}
        if self.constrained and is_local(self.model):
            return {"grammar": self._schema(), "temperature": 0}
        if self.constrained and type(self.model).__name__ in OPENAI:
            schema = {"name": "classification", "schema": self._schema(), "strict": True}
            asked: dict[str, Any] = {"logprobs": True, "top_logprobs": _LIKELIEST} if self.scored else {}
            return {"response_format": {"type": "json_schema", "json_schema": schema}, **asked}
        return {}

    def _schema(self) -> dict[str, Any]:
        one = {"type": "string", "enum": self._labels}
        name, kind = ("labels", {"type": "array", "items": one}) if self.multi_label else ("label", one)
        return {"type": "object", "properties": {name: kind}, "required": [name], "additionalProperties": False}

    def _read(self, answer: BaseMessage | Exception) -> Reading | Exception:
        if isinstance(answer, Exception):
            return answer
        if not isinstance(answer, AIMessage):
            raise TypeError(f"{self.spec} answered with a {type(answer).__name__}, not with an AIMessage")
        try:
            chosen = self._chosen(answer)
        except Unparsable as error:
            return Reading(None, None, str(error))
        if NONE in chosen:
            return Reading(None, (), "the model says that none of the labels fits")
        if self.scored:
            told = (answer.response_metadata.get("logprobs") or {}).get("content") or ()
            return Reading(label_scores(answer.text, told, list(self.task.labels)), chosen)
        return Reading(None, chosen)

    def _chosen(self, answer: AIMessage) -> tuple[str, ...]:
        if self._continues:
            # A server that knows no stop sequences goes on with examples of its own: the answer is what stands first.
            said: Any = answer.text.strip(" ").partition(SEPARATOR)[0].partition("\n")[0].strip(" ")
            return self._known([said])
        if answer.response_metadata.get("finish_reason") == "length":
            raise Unparsable("the answer was cut off at the token limit")
        data = strict_json(answer.text)
        name = "labels" if self.multi_label else "label"
        if list(data) != [name]:
            raise Unparsable(f"a JSON object with the key {name!r} was asked for; it has {sorted(data)}")
        found = data[name]
        if isinstance(found, list) != self.multi_label:
            raise Unparsable(f"{name!r} holds a {type(found).__name__}")
        return self._known(found if self.multi_label else [found])

    def _known(self, said: list[Any]) -> tuple[str, ...]:
        if unknown := [label for label in said if label not in self._labels]:
            raise Unparsable(f"the answer names {unknown}, which are none of {self._labels}"[:300])
        if len(set(said)) != len(said):
            raise Unparsable(f"the answer names a label twice: {said}")
        return tuple(said)
