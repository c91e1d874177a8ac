"""Base class of generative guard models: prompting, strict parsing, and scores from logits."""

from __future__ import annotations

import asyncio
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, convert_to_messages
from langchain_core.runnables.config import ContextThreadPoolExecutor

from taleward.backends.capabilities import capabilities
from taleward.backends.chat_models import chat_model
from taleward.backends.engine.request import GenerationRequest
from taleward.backends.engine.sampling import Sampling
from taleward.backends.local.decisions import AnswerProbabilities, decide
from taleward.backends.local.underlying_model import loaded_model
from taleward.core.errors import ConfigurationError, ContextTooLong
from taleward.core.frozen_model import FrozenDict
from taleward.core.policy import HazardCode, Policy
from taleward.core.verdict import Passage
from taleward.moderation.judges.base import Assessment, Judge
from taleward.moderation.judges.hazard_codes import assessment_from_codes, category_scores
from taleward.moderation.judges.neutralize_markup import neutralize_markup
from taleward.moderation.judges.strict_parsing import Unparsable
from taleward.moderation.text.normalize import normalize

if TYPE_CHECKING:
    from taleward.backends.local.language_model import LanguageModel

DEFAULT_REQUEST = "Please tell me a story."
"""The user's turn before a story without context, since these models judge the answer to a user."""


class GuardQuestion(NamedTuple):
    """One question to a guard model.

    Attributes:
        turns: The conversation; each turn has `role` and `content`.
        template_options: Arguments of the model's chat template, besides the turns.
        code: The code that is asked about, or the random id that the answer must repeat; empty if there is neither.
    """

    turns: tuple[Mapping[str, str], ...]
    template_options: Mapping[str, Any] = FrozenDict()
    code: str = ""


class GuardAnswer(NamedTuple):
    """What a guard model wrote.

    Attributes:
        text: The answer.
        truncated: Whether it reached the token limit.
        cost_usd: Cost in US dollars; `None` if unknown.
    """

    text: str
    truncated: bool = False
    cost_usd: float | None = None


_DICTATED = Assessment(
    outcome="abstain", detail="the text contains a verdict in the judge's own format, which the model may repeat"
)


class GuardModel(Judge):
    """A judge that is a generative guard model, run in this process (`hf:`) or behind a chat API.

    In this process the prompt comes from the chat template of the model's tokenizer. If the family has `choices`, the
    model does not write: the score is read from its logits. Behind an API the server applies the template, and the
    answer is parsed strictly and gives no score.

    Args:
        model: A model spec, or a LangChain chat model.
        policy: A policy, or the name or path of one. Its `codes` map the model's codes to categories.
        band: An age band of the policy.
        role: Judge the text as a model's `response`, or as a user's `prompt`.
        price_usd: US dollars per million input tokens and per million output tokens, to compute the cost of written
            answers.
        min_mass: With logits, the probability in 0..1 that the `choices` must have together. Below it the model would
            have answered something else, and the verdict is `unparsable`.
        options: Options of the model; see `chat_model`.

    Raises:
        ConfigurationError: If the model, policy, band or an option is invalid.
    """

    family: ClassVar[str]
    """The family's name in specs, and the key of its codes in a policy."""
    choices: ClassVar[tuple[str, str] | None] = None
    """The two answers whose logits give the score: first the one that flags. `None` if the family defines no score."""
    max_tokens: ClassVar[int] = 128
    """Maximum number of tokens of an answer."""
    verdict_form: ClassVar[re.Pattern[str] | None] = None
    """What a verdict looks like in the family's format, in a folded text; `None` if the model does not write one. Its
    answers repeat nothing of the prompt, so a text could dictate one: the judge abstains on a text that contains it."""

    def __init__(
        self,
        model: str | BaseChatModel,
        *,
        policy: Policy | str = "kids",
        band: str = "6-8",
        role: Literal["response", "prompt"] = "response",
        price_usd: tuple[float, float] | None = None,
        min_mass: float = 0.5,
        **options: Any,
    ) -> None:
        if isinstance(model, str):
            options.setdefault("temperature", 0)
        if role not in ("response", "prompt"):
            raise ConfigurationError(f"role must be 'response' or 'prompt'; got {role!r}.")
        self.model = chat_model(model, **options)
        name = model if isinstance(model, str) else type(model).__name__
        super().__init__(f"{self.family}:{name}", policy=policy, band=band)
        self.role, self.price_usd, self.min_mass = role, price_usd, min_mass

    @property
    def codes(self) -> Mapping[str, HazardCode]:
        """The model's codes that the policy maps."""
        return self.policy.codes.get(self.family, FrozenDict())

    @abstractmethod
    def questions(self, passage: Passage) -> list[GuardQuestion]:
        """Return one or more questions to ask the model about a passage."""

    @abstractmethod
    def parse(self, answer: str, question: GuardQuestion) -> Mapping[str, str]:
        """Return the codes that an answer flags, with rationales; empty if it flags none.

        Raises:
            Unparsable: If any part of the answer does not match the format.
        """

    def conversation(self, passage: Passage) -> tuple[Mapping[str, str], ...]:
        """Return the turns to judge: the text last, and before a response the context or `DEFAULT_REQUEST`."""
        text = {"role": "user" if self.role == "prompt" else "assistant", "content": neutralize_markup(passage.text)}
        if self.role == "prompt":
            return (text,)
        request = neutralize_markup(passage.context) if passage.context.strip() else DEFAULT_REQUEST
        return {"role": "user", "content": request}, text

    def prompt_tokens(self, local: LanguageModel, question: GuardQuestion) -> list[int]:
        """Return the tokens of the prompt for a model in this process.

        Raises:
            ConfigurationError: If the tokenizer has no chat template.
        """
        if not local.chat_template:
            raise ConfigurationError(
                f"the tokenizer of {self.spec} has no chat template, which {self.family} needs.",
                hint="Use the guard model's own repository or folder, with its tokenizer.",
            )
        return local.prompt(question.turns, **question.template_options)

    def assess(self, passage: Passage) -> Assessment:
        """Score the text by logits if the model runs in this process and has `choices`; else parse its answer.

        Questions to an API are sent at the same time.
        """
        if self._dictates_verdict(passage):
            return _DICTATED
        questions, local = self.questions(passage), loaded_model(self.model)
        if local is None:
            with ContextThreadPoolExecutor(max_workers=len(questions)) as pool:
                messages = pool.map(self._ask, questions)
                return self.assess_answers(questions, [self._answer_from_message(message) for message in messages])
        if self.choices:
            return self.assess_by_logits(local, questions)
        return self.assess_answers(questions, [self.generate_answer(local, q) for q in questions])

    async def aassess(self, passage: Passage) -> Assessment:
        """Judge without blocking the event loop; see `assess`."""
        if self._dictates_verdict(passage):
            return _DICTATED
        if capabilities(self.model).decisions:
            return await asyncio.to_thread(self.assess, passage)
        questions = self.questions(passage)
        calls = (self.model.ainvoke(_messages(q), **self._call_options(q)) for q in questions)
        messages = await asyncio.gather(*calls)
        return self.assess_answers(questions, [self._answer_from_message(message) for message in messages])

    def _dictates_verdict(self, passage: Passage) -> bool:
        return self.verdict_form is not None and self.verdict_form.search(normalize(passage.text).text) is not None

    def assess_answers(self, questions: Sequence[GuardQuestion], answers: Sequence[GuardAnswer]) -> Assessment:
        """Turn written answers into an assessment; `unparsable` if any is truncated or does not match the format."""
        costs = [a.cost_usd for a in answers if a.cost_usd is not None]
        cost = sum(costs) if len(costs) == len(answers) else None
        flagged: dict[str, str] = {}
        try:
            for question, answer in zip(questions, answers, strict=True):
                # Even one that parses: "safe" may be the beginning of more.
                if answer.truncated:
                    raise Unparsable("the answer was cut off at the token limit")
                flagged.update(self.parse(answer.text, question))
        except Unparsable as error:
            return Assessment(outcome="unparsable", detail=f"{self.family}: {error}", cost_usd=cost)
        return self.assess_codes(flagged, cost)

    def assess_codes(self, flagged: Mapping[str, str], cost_usd: float | None) -> Assessment:
        """Turn the codes that answers flag, with their rationales, into an assessment."""
        return assessment_from_codes(self.policy, self.family, flagged, cost_usd=cost_usd)

    def assess_by_logits(self, local: LanguageModel, questions: Sequence[GuardQuestion]) -> Assessment:
        """Score each question's code by logits; `unparsable` if a question's mass is below `min_mass`."""
        decisions = self.choice_probabilities(local, questions)
        if decisions is None:
            return self.low_mass_assessment()
        probabilities = {q.code: d.probabilities[0] for q, d in zip(questions, decisions, strict=True)}
        flagged = {
            code: f"{self.family}: {code} (score {probability:.2f})"
            for code, probability in probabilities.items()
            if probability >= self.policy.threshold(self.codes[code].category if code in self.codes else "", self.band)
        }
        scores = category_scores(self.policy, self.band, self.family, probabilities)
        return assessment_from_codes(self.policy, self.family, flagged, scores=scores)

    def choice_probabilities(
        self, local: LanguageModel, questions: Sequence[GuardQuestion]
    ) -> list[AnswerProbabilities] | None:
        """Return the probabilities of `choices` for each question; `None` if any mass is below `min_mass`."""
        prompts = [self.prompt_tokens(local, question) for question in questions]
        for prompt in prompts:
            self._check_length(local, prompt)
        decisions = decide(local, prompts, self.choices or ())
        # A softmax over two answers always looks confident, even if the model would have written neither of them.
        return decisions if all(d.mass >= self.min_mass for d in decisions) else None

    def low_mass_assessment(self) -> Assessment:
        """Return the assessment for a model that gives `choices` too little probability."""
        return Assessment(
            outcome="unparsable",
            detail=f"{self.family}: the model gives {' and '.join(self.choices or ())} together a probability below "
            f"{self.min_mass}",
        )

    def generate_answer(self, local: LanguageModel, question: GuardQuestion) -> GuardAnswer:
        """Have a model in this process write its answer; control tokens are kept in the text."""
        prompt = self.prompt_tokens(local, question)
        self._check_length(local, prompt)
        request = GenerationRequest(prompt, Sampling(temperature=0.0), None, self.max_tokens)
        tokens = local.engine.write(request).written
        truncated = len(tokens) >= self.max_tokens
        return GuardAnswer(local.decode(tokens, control=True), truncated, self._cost(len(prompt), len(tokens)))

    def _check_length(self, local: LanguageModel, prompt: Sequence[int]) -> None:
        if len(prompt) + self.max_tokens > local.context_length:
            raise ContextTooLong(
                f"the prompt has {len(prompt)} tokens and the answer up to {self.max_tokens}; the context of "
                f"{self.spec} holds {local.context_length}.",
                hint="Judge a shorter text.",
            )

    def _ask(self, question: GuardQuestion) -> BaseMessage:
        return self.model.invoke(_messages(question), **self._call_options(question))

    def _call_options(self, question: GuardQuestion) -> dict[str, Any]:
        # `chat_template_kwargs` is an extension of vLLM and SGLang. Without it a server would silently ask about the
        # template's default instead of `code`, hence the error for clients that cannot send it.
        template_options = {k: v for k, v in question.template_options.items() if k != "add_generation_prompt"}
        if not template_options:
            return {}
        if type(self.model).__name__ not in ("ChatOpenAI", "AzureChatOpenAI"):
            raise ConfigurationError(
                f"the chat template of {self.spec} needs {sorted(template_options)}, which a "
                f"{type(self.model).__name__} cannot send.",
                hint="Use hf:, or openai: with base_url= of a server that takes chat_template_kwargs, such as vLLM.",
            )
        return {"extra_body": {"chat_template_kwargs": template_options}}

    def _answer_from_message(self, message: BaseMessage) -> GuardAnswer:
        usage = getattr(message, "usage_metadata", None) or {}
        reported = message.response_metadata.get("cost_usd")
        cost = self._cost(usage["input_tokens"], usage["output_tokens"]) if usage and self.price_usd else reported
        return GuardAnswer(message.text, message.response_metadata.get("finish_reason") == "length", cost)

    def _cost(self, input_tokens: int, output_tokens: int) -> float | None:
        if self.price_usd is None:
            return None
        return (input_tokens * self.price_usd[0] + output_tokens * self.price_usd[1]) / 1e6


def _messages(question: GuardQuestion) -> list[BaseMessage]:
    return convert_to_messages([dict(turn) for turn in question.turns])
