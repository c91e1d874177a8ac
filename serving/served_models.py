"""Served models: the guards that a configuration describes, made once and shared by all requests."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from taleward.backends.capabilities import Capabilities, capabilities
from taleward.backends.chat_models import chat_model
from taleward.backends.local.chat import LocalChat
from taleward.chains.story import StoryChain, StoryInput
from taleward.chains.story_request_parsing import values_from_request
from taleward.chains.template import Template, load_template, template_names
from taleward.core.concurrency.sync_async import run_in_thread
from taleward.core.errors import ConfigurationError, InvalidInputs, UnknownName
from taleward.moderation.chat.guarded_chat import GuardedChat
from taleward.moderation.guard.best_of import BestOf
from taleward.moderation.guard.guard import Guard, Recorder
from taleward.moderation.judges import judge as make_judge
from taleward.serving.config import DEFAULT_TEMPLATE, ServeConfig, ServedModelConfig
from taleward.serving.embedder import WARM_UP_TEXT, make_embedder

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from taleward.moderation.guard.writer import WriterLike
    from taleward.moderation.judges import Judge

_RUNS_HERE = ("embedded:", "hf:", "models:", "lexicon", "reading-level", "personal-data")


class ServedModel:
    """A writer behind a guard, under the name by which clients ask for it.

    Args:
        name: The name.
        config: The settings.
        chat: The model, if it is not to be made from `config.model`.
        writer: A writer of your own instead of a `StoryChain`, for stories; it gets the values or the request.
        judge: A judge of your own for every band.
        recorders: Where finished tales are recorded.

    Attributes:
        name: The name.
        config: The settings.

    Raises:
        ConfigurationError: If a spec, policy, band, template or option is invalid, or a key or library is missing.
    """

    def __init__(
        self,
        name: str,
        config: ServedModelConfig,
        *,
        chat: BaseChatModel | None = None,
        writer: WriterLike | None = None,
        judge: Judge | None = None,
        recorders: Iterable[Recorder] = (),
    ) -> None:
        self.name, self.config = name, config
        self._writer, self._recorders = writer, tuple(recorders)
        self._chat = chat
        self._templates: dict[str, Template] = {}
        if chat is None and writer is None:
            server = {"base_url": config.base_url} if config.base_url else {}
            self._chat = chat_model(config.model, **server, **config.options)
        if judge is not None:
            self._judges = dict.fromkeys(config.allowed_bands, judge)
        else:
            self._judges = {band: _judge_of(config, band) for band in config.allowed_bands}
        if config.template is not None:
            self.template(None)

    @property
    def tells_stories(self) -> bool:
        """Whether the model answers chats with stories, and does not hold conversations."""
        return self.config.template is not None or self._chat is None

    @property
    def inner_chat(self) -> BaseChatModel | None:
        """The chat model behind the guard; `None` for a writer of another kind. What it says is unmoderated."""
        return self._chat

    @property
    def own_writer(self) -> WriterLike | None:
        """The writer of your own, if there is one."""
        return self._writer

    @property
    def capabilities(self) -> Capabilities | None:
        """What the chat model can do; `None` for a writer of another kind. Reading some of them loads the model."""
        return None if self._chat is None else capabilities(self._chat)

    @property
    def judges(self) -> Mapping[str, Judge]:
        """The judge for each age band that may be asked for."""
        return self._judges

    def judge(self, band: str | None = None) -> Judge:
        """Return the judge for an age band, by default the model's own.

        Raises:
            UnknownName: If the model does not serve the band.
        """
        band = self.config.band if band is None else band
        if band not in self._judges:
            raise UnknownName("age band", band, self._judges)
        return self._judges[band]

    def template(self, name: str | None) -> Template:
        """Return a template, by default the model's own.

        Raises:
            UnknownName: If there is no such template.
        """
        name = name or self.config.template or DEFAULT_TEMPLATE
        if name not in self._templates:
            self._templates[name] = load_template(name, self.config.templates)
        return self._templates[name]

    @property
    def templates(self) -> Iterable[Template]:
        """All templates whose values a request may have, the model's own first."""
        own = self.template(None)
        return [own, *(self.template(n) for n in template_names(self.config.templates) if n != own.name)]

    def story_guard(
        self,
        *,
        template: str | None = None,
        band: str | None = None,
        seed: int | None = None,
        streaming: bool = False,
        input_checked: bool = False,
        call_options: Mapping[str, Any] | None = None,
    ) -> Guard:
        """Return the guard that writes one story.

        Args:
            template: A template instead of the model's own.
            band: An age band instead of the model's own.
            seed: Makes the story repeatable.
            streaming: Whether each sentence leaves by itself; if not, the best of several drafts may be chosen.
            input_checked: Whether the input was judged and masked already.
            call_options: Options for each call of the model, such as `temperature`.

        Raises:
            UnknownName: If there is no such template, or the model does not serve the band.
        """
        config, judge = self.config, self.judge(band)
        settings: dict[str, Any] = {
            "timeout_s": config.timeout_s,
            "judge_inputs": config.judge_inputs and not input_checked,
            "mask_personal_data": config.mask_personal_data and not input_checked,
            "max_input_chars": config.max_input_chars,
            "recorder": self._recorders,
        }
        writer = self.story_writer(template=template, band=band, seed=seed, call_options=call_options)
        if config.best_of > 1 and not streaming and seed is None:
            return BestOf(writer, judge, candidates=config.best_of, brevity=config.brevity, **settings)
        return Guard(writer, judge, attempts=config.attempts, **settings)

    def story_writer(
        self,
        *,
        template: str | None = None,
        band: str | None = None,
        seed: int | None = None,
        call_options: Mapping[str, Any] | None = None,
    ) -> WriterLike:
        """Return the writer of one story; for the arguments see `story_guard`."""
        if self._writer is not None:
            writer = self._writer
            if seed is not None and hasattr(writer, "seed"):
                writer = copy.copy(writer)
                writer.seed = seed
            return writer
        if self._chat is None:  # the constructor makes one or the other
            raise ConfigurationError(f"model {self.name!r} has neither a writer nor a chat model.")
        return StoryChain(
            self._chat,
            self.template(template),
            policy=self.judge(band).policy,
            band=band or self.config.band,
            seed=self.config.seed if seed is None else seed,
            call_options=call_options,
        )

    def story_input(self, request: str, template: str | None = None) -> StoryInput:
        """Return what the writer gets for a request in free words.

        A model that only continues text takes no request: it gets the values that rules find in the request, and the
        template's examples for the others. Reading what a local model can do loads it, so call this in a thread.

        Args:
            request: The request.
            template: A template instead of the model's own.

        Raises:
            InvalidInputs: If the request is blank.
        """
        if not request.strip():
            raise InvalidInputs(None, ["the request is blank"], hint="Say what the story is about.")
        can = self.capabilities
        if self._writer is not None or can is None or can.takes_requests:
            return request.strip()
        loaded = self.template(template)
        return {**loaded.example_values[0], **values_from_request(request, loaded)}

    def chat(self, band: str | None = None) -> GuardedChat:
        """Return the guarded chat model for conversations.

        Raises:
            ConfigurationError: If the model only writes stories.
            UnknownName: If the model does not serve the band.
        """
        if self._chat is None or self.tells_stories:
            raise ConfigurationError(f"model {self.name!r} writes stories and holds no conversations.")
        return GuardedChat(self._chat, self.judge(band), timeout_s=self.config.timeout_s)

    async def warm(self) -> None:
        """Load the models that run in this process, so that the first request does not wait for them."""
        if isinstance(self._chat, LocalChat):
            await self._chat.aload()
        if all(spec.startswith(_RUNS_HERE) for spec in self.config.judge):
            for judge in {id(judge): judge for judge in self._judges.values()}.values():
                await run_in_thread(lambda judge=judge: judge.invoke(WARM_UP_TEXT))  # type: ignore[misc]


class ServedModels:
    """The models of a server by name.

    Args:
        config: The configuration.
        models: Models of your own, by name; the configuration's are made from it.
        recorders: Where finished tales are recorded.

    Attributes:
        config: The configuration.
        created: When the models were made, in seconds since the epoch.
        embedder: The model for embeddings, if there is one.

    Raises:
        ConfigurationError: If a model cannot be made; a note names it.
    """

    def __init__(
        self,
        config: ServeConfig,
        models: Mapping[str, ServedModel] | None = None,
        recorders: Iterable[Recorder] = (),
    ) -> None:
        self.config = config
        self.created = int(time.time())
        self.embedder = make_embedder(config)
        self._models = dict(models or {})
        for name, model_config in config.models.items():
            if name not in self._models:
                try:
                    self._models[name] = ServedModel(name, model_config, recorders=recorders)
                except ConfigurationError as error:
                    error.add_note(f"while making the served model {name!r}")
                    raise

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the models."""
        return tuple(self._models)

    def get(self, name: str | None = None) -> ServedModel:
        """Return a model, by default the default one.

        Raises:
            UnknownName: If there is no such model.
        """
        name = name or self.config.default_model_name
        if name not in self._models:
            raise UnknownName("served model", name, self._models)
        return self._models[name]

    async def warm(self) -> None:
        """Load what runs in this process; several models often share a writer or a judge, which load once."""
        for model in self:
            await model.warm()
        if self.embedder is not None and self.embedder.spec.startswith(_RUNS_HERE):
            await self.embedder.embed([WARM_UP_TEXT])


def judge_of_specs(specs: Iterable[str], policy: str, band: str) -> Judge:
    """Return the judge that passes what all judges of a list pass.

    Raises:
        ConfigurationError: If a spec, the policy or the band is invalid.
    """
    judges = [make_judge(spec, policy=policy, band=band) for spec in specs]
    return judges[0] if len(judges) == 1 else make_judge(judges, policy=policy, band=band)


def _judge_of(config: ServedModelConfig, band: str) -> Judge:
    combined = judge_of_specs(config.judge, config.policy, band)
    return combined if config.calibration is None else combined.calibrated(config.calibration)


async def prepare_story_input(model: ServedModel, request: str, template: str | None = None) -> StoryInput:
    """Return `model.story_input` without blocking the event loop while the model loads."""
    return await asyncio.to_thread(model.story_input, request, template)
