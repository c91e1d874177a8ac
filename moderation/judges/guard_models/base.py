"""What the families of generative guard models share: asking, reading strictly, and deciding by logits."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, convert_to_messages
from langchain_core.runnables.config import ContextThreadPoolExecutor

from taleward.backends.chat_models import chat_model
from taleward.backends.engine.request import GenerationRequest
from taleward.backends.engine.sampling import Sampling
from taleward.backends.local.decisions import AnswerProbabilities, decide
from taleward.backends.local.hub_models import local_model, runs_here
from taleward.core.errors import ConfigurationError, ContextTooLong
from taleward.core.frozen_model import FrozenDict
from taleward.core.policy import HazardCode, Policy
from taleward.core.verdict import Passage
from taleward.moderation.judges.base import Assessment, Judge
from taleward.moderation.judges.hazard_codes import assessed, highest
from taleward.moderation.judges.neutralize import neutralize_markup
from taleward.moderation.judges.strict_parsing import Unparsable

if TYPE_CHECKING:
    from taleward.backends.local.hub_models import HubModel

REQUEST = "Please tell me a story."
"""The user's turn before a story without context: these models judge answers to a user."""


class Question(NamedTuple):
    """One question to the model.

    Attributes:
        turns: The conversation, `role` and `content` each.
        template: What the model's chat template takes beside it.
        code: What is asked about, or the number that the answer must repeat; empty where neither is.
    """

    turns: tuple[Mapping[str, str], ...]
    template: Mapping[str, Any] = FrozenDict()
    code: str = ""


class Answer(NamedTuple):
    """What the model wrote; `cut` where it ran into the limit of tokens."""

    text: str
    cut: bool = False
    cost_usd: float | None = None


class GuardModel(Judge):
    """A judge that is a generative guard model, run here (`hf:`) or behind a chat API.

    Run here, the prompt comes from the chat template of the model's tokenizer, and a family with `choices` is not asked
    to write: the score is read from its logits. Behind an API the server applies the template, and the answer is read
    by the family's grammar; it has no score.

    Args:
        model: A model spec, or a LangChain chat model.
        policy: A policy, or the name or path of one; its `codes` say what the model's codes mean.
        band: A band of the policy.
        role: Whether the text is judged as a model's `response` or as a user's `prompt`.
        price_usd: US dollars for a million tokens read and a million written, for the cost of written answers.
        least_mass: With logits, the probability in 0..1 that the format's answers must have together; below it the
            model would have said something else, and the verdict is `unparsable`.
        options: For the model, see `chat_model`.

    Raises:
        ConfigurationError: The model, the policy or the band cannot be used.
    """

    family: ClassVar[str]
    """The family's name in specs and its taxonomy's in a policy's `codes`."""
    choices: ClassVar[tuple[str, str] | None] = None
    """The answers of a decision: what flags, and what does not."""
    max_tokens: ClassVar[int] = 128
    """Tokens of an answer."""

    def __init__(
        self,
        model: str | BaseChatModel,
        *,
        policy: Policy | str = "kids",
        band: str = "6-8",
        role: Literal["response", "prompt"] = "response",
        price_usd: tuple[float, float] | None = None,
        least_mass: float = 0.5,
        **options: Any,
    ) -> None:
        if isinstance(model, str):
            options.setdefault("temperature", 0)
        if role not in ("response", "prompt"):
            raise ConfigurationError(f"role is 'response' or 'prompt'; got {role!r}.")
        self.model = chat_model(model, **options)
        name = model if isinstance(model, str) else type(model).__name__
        super().__init__(f"{self.family}:{name}", policy=policy, band=band)
        self.role, self.price_usd, self.least_mass = role, price_usd, least_mass

    @property
    def codes(self) -> Mapping[str, HazardCode]:
        """The model's codes that the policy maps."""
        return self.policy.codes.get(self.family, FrozenDict())

    @abstractmethod
    def questions(self, passage: Passage) -> list[Question]:
        """What the model is asked about a passage, one question or more."""

    @abstractmethod
    def read(self, answer: str, question: Question) -> Mapping[str, str]:
        """The codes that an answer flags, with rationales; empty where it flags none.

        Raises:
            Unparsable: The answer is not wholly one of the format.
        """

    def conversation(self, passage: Passage) -> tuple[Mapping[str, str], ...]:
        """The text as the last turn, behind its context or a request where it is judged as a response."""
        text = {"role": "user" if self.role == "prompt" else "assistant", "content": neutralize_markup(passage.text)}
        if self.role == "prompt":
            return (text,)
        return {
            "role": "user",
            "content": neutralize_markup(passage.context) if passage.context.strip() else REQUEST,
        }, text

    def tokens(self, local: HubModel, question: Question) -> list[int]:
        """The prompt's tokens for a model that runs here."""
        if not local.chat_template:
            raise ConfigurationError(
                f"the tokenizer of {self.spec} brings no chat template, which {self.family} needs.",
                hint="Take the guard model's own repository or folder, with its tokenizer.",
            )
        return local.prompt(question.turns, **question.template)

    def assess(self, passage: Passage) -> Assessment:
        """Decide by logits where the model runs here and its format has a score; else read what it writes.

        Several questions to an API are asked at the same time.
        """
        questions, local = self.questions(passage), local_model(self.model)
        if local is None:
            with ContextThreadPoolExecutor(max_workers=len(questions)) as pool:
                return self.conclude(questions, [self._said(message) for message in pool.map(self._ask, questions)])
        if self.choices:
            return self.decided(local, questions)
        return self.conclude(questions, [self.written(local, q) for q in questions])

    async def aassess(self, passage: Passage) -> Assessment:
        """As `assess`, without blocking the event loop."""
        if runs_here(self.model):
            return await asyncio.to_thread(self.assess, passage)
        questions = self.questions(passage)
        calls = (self.model.ainvoke(_messages(q), **self._extra(q)) for q in questions)
        return self.conclude(questions, [self._said(message) for message in await asyncio.gather(*calls)])

    def conclude(self, questions: Sequence[Question], answers: Sequence[Answer]) -> Assessment:
        """The assessment from the answers; one that is cut off or not wholly of the format makes it `unparsable`."""
        costs = [a.cost_usd for a in answers if a.cost_usd is not None]
        cost = sum(costs) if len(costs) == len(answers) else None
        flagged: dict[str, str] = {}
        try:
            for question, answer in zip(questions, answers, strict=True):
                if answer.cut:
                    raise Unparsable("the answer was cut off at the token limit")
                flagged.update(self.read(answer.text, question))
        except Unparsable as error:
            return Assessment(outcome="unparsable", detail=f"{self.family}: {error}", cost_usd=cost)
        return self.found(flagged, cost)

    def found(self, flagged: Mapping[str, str], cost_usd: float | None) -> Assessment:
        """The assessment from the codes that answers flag, with their rationales."""
        return assessed(self.policy, self.family, flagged, cost_usd=cost_usd)

    def decided(self, local: HubModel, questions: Sequence[Question]) -> Assessment:
        """The assessment by logits, one decision for each code that is asked about."""
        decisions = self.decide(local, questions)
        if decisions is None:
            return self.undecided()
        chances = {q.code: d.probabilities[0] for q, d in zip(questions, decisions, strict=True)}
        flagged = {
            code: f"{self.family}: {code} (score {chance:.2f})"
            for code, chance in chances.items()
            if chance >= self.policy.threshold(self.codes[code].category if code in self.codes else "", self.band)
        }
        return assessed(self.policy, self.family, flagged, scores=highest(self.policy, self.band, self.family, chances))

    def decide(self, local: HubModel, questions: Sequence[Question]) -> list[AnswerProbabilities] | None:
        """A decision for each question; `None` where the model would have answered out of its format."""
        prompts = [self.tokens(local, question) for question in questions]
        for prompt in prompts:
            self._fits(local, prompt)
        decisions = decide(local, prompts, self.choices or ())
        return decisions if all(d.mass >= self.least_mass for d in decisions) else None

    def undecided(self) -> Assessment:
        """What comes of a model that gives the answers of its format too little weight."""
        return Assessment(
            outcome="unparsable",
            detail=f"{self.family}: the model gives {' and '.join(self.choices or ())} together a probability below "
            f"{self.least_mass}",
        )

    def written(self, local: HubModel, question: Question) -> Answer:
        """What a model that runs here writes, control tokens spelled out."""
        prompt = self.tokens(local, question)
        self._fits(local, prompt)
        said = local.engine.write(GenerationRequest(prompt, Sampling(temperature=0.0), None, self.max_tokens)).written
        return Answer(
            local.decode(said, control=True), len(said) >= self.max_tokens, self._cost(len(prompt), len(said))
        )

    def _fits(self, local: HubModel, prompt: Sequence[int]) -> None:
        if len(prompt) + self.max_tokens > local.context_length:
            raise ContextTooLong(
                f"the prompt has {len(prompt)} tokens and the answer up to {self.max_tokens}; {self.spec} holds "
                f"{local.context_length}.",
                hint="Judge a shorter text.",
            )

    def _ask(self, question: Question) -> BaseMessage:
        return self.model.invoke(_messages(question), **self._extra(question))

    def _extra(self, question: Question) -> dict[str, Any]:
        """The template's options for a server that applies the template: a field of vLLM's and SGLang's."""
        told = {name: value for name, value in question.template.items() if name != "add_generation_prompt"}
        if not told:
            return {}
        if type(self.model).__name__ not in ("ChatOpenAI", "AzureChatOpenAI"):
            raise ConfigurationError(
                f"{self.spec} must be told {sorted(told)} for its chat template, and a "
                f"{type(self.model).__name__} has no way to.",
                hint="Use hf:, or openai: with base_url= of a server that takes chat_template_kwargs, such as vLLM.",
            )
        return {"extra_body": {"chat_template_kwargs": told}}

    def _said(self, message: BaseMessage) -> Answer:
        usage = getattr(message, "usage_metadata", None) or {}
        known = message.response_metadata.get("cost_usd")
        cost = self._cost(usage["input_tokens"], usage["output_tokens"]) if usage and self.price_usd else known
        return Answer(message.text, message.response_metadata.get("finish_reason") == "length", cost)

    def _cost(self, read: int, written: int) -> float | None:
        return None if self.price_usd is None else (read * self.price_usd[0] + written * self.price_usd[1]) / 1e6


def _messages(question: Question) -> list[BaseMessage]:
    return convert_to_messages([dict(turn) for turn in question.turns])
