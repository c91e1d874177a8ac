"""Local models as LangChain's decision models, where LangChain has them (langchain-core 1.8 on)."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from taleward.backends.chat_models import chat_model
from taleward.backends.local.chat import LocalChat
from taleward.backends.local.questions import MultipleChoice, Question, QuestionResult, Scale, YesNo
from taleward.core.errors import ConfigurationError


def decision_model(model: str | LocalChat, **options: Any) -> Any:
    """A model that runs here as a `BaseDecisionModel` of LangChain: typed questions about a state in, answers out.

    `LocalChat.decide` gives the same without LangChain's types, whichever release is installed.

    Args:
        model: A spec such as `hf:Qwen/Qwen3-0.6B`, or a chat model that runs here.
        options: For the model, see `chat_model`.

    Raises:
        ConfigurationError: The model does not run here, or LangChain has no decision models.
    """
    if find_spec("langchain_core.decisions") is None:
        raise ConfigurationError(
            "the installed langchain-core has no decision models; release 1.8 brought them.",
            hint="Ask the chat model itself: taleward.chat_model('hf:...').decide(text, {'scary': 'Is it scary?'}).",
        )
    chat = chat_model(model, **options)
    if not isinstance(chat, LocalChat):
        raise ConfigurationError(
            f"decisions need a model that runs here; a {type(chat).__name__} does not.", hint="Give 'hf:...'."
        )
    return _class()(model=chat.spec, chat=chat)


@lru_cache(maxsize=1)
def _class() -> Any:
    decisions = import_module("langchain_core.decisions")  # not in every release that is taken
    base, response = decisions.BaseDecisionModel, decisions.ClassifierResponse

    class LocalDecisions(base):  # type: ignore[misc, valid-type]
        """Decisions of a model that runs here; confidence runs from 0, all answers equally likely, to 1."""

        chat: LocalChat

        @property
        def _provider(self) -> str:
            return self.chat.spec.partition(":")[0]

        def _classify(self, state: Any, questions: dict[str, Any]) -> Any:
            answers = self.chat.decide(_text(state), {name: _question(q) for name, q in questions.items()})
            told = {name: _answer(questions[name], answers[name]) for name in questions}
            return response.model_validate({"model": self.chat.spec, "answers": told})

    return LocalDecisions


def _text(state: Any) -> Any:
    import json

    from langchain_core.messages import BaseMessage

    if isinstance(state, BaseMessage):
        return [state]
    if isinstance(state, str) or (isinstance(state, list) and all(isinstance(m, BaseMessage) for m in state)):
        return state
    return json.dumps(state, ensure_ascii=False, default=lambda m: {"role": m.type, "content": m.text})


def _question(asked: Any) -> Question:
    said = _said(asked.instructions)
    if asked.type == "noul":
        meant = asked.criteria
        return YesNo(question=said, yes=_said(meant and meant.true), no=_said(meant and meant.false))
    if asked.type == "choice":
        return MultipleChoice(question=said, options={name: _said(text) for name, text in asked.criteria.items()})
    if asked.type == "score":
        return Scale(question=said, levels=tuple(map(_said, asked.criteria)))
    raise ConfigurationError(f"a text model answers noul, choice and score; got a question of type {asked.type!r}.")


def _said(content: Any) -> str:
    import json

    return "" if content is None else content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def _answer(asked: Any, found: QuestionResult) -> dict[str, Any]:
    if asked.type == "noul":
        return {"type": "noul", "noul": min(1.0, found.yes)}
    chances, even = found.probabilities, 1 / len(found.probabilities)
    confidence = min(1.0, max(0.0, (chances[found.best] - even) / (1 - even)))
    if asked.type == "choice":
        return {"type": "choice", "choice": found.best, "probabilities": chances, "confidence": confidence}
    levels = {int(level): chance for level, chance in chances.items()}
    legend = dict(enumerate(asked.criteria))
    return {
        "type": "score",
        "score": found.score,
        "legend": legend,
        "probabilities": levels,
        "confidence": confidence,
    }
