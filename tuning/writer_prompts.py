"""The prompt that the writer of a recorded tale saw: as recorded, or rendered again from the tale's inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from taleward.chains.story import StoryChain
from taleward.chains.template import load_template
from taleward.core.errors import InvalidInputs, TalewardError, UnknownName
from taleward.core.tale import ChatTurn, PromptVersion
from taleward.evaluation.feedback.mlflow_store import RecordedTale
from taleward.moderation.guard.call_recorder import chat_turns
from taleward.moderation.policies.load import load_policy

NoPromptReason: TypeAlias = Literal["prompt_unknown", "version_missing", "model_missing"]
"""Why the prompt of a tale is not known.

* `prompt_unknown`: it was not recorded, and the writer was no `StoryChain` with a template.
* `version_missing`: it was not recorded, and the version of its template or policy is not at hand any more.
* `model_missing`: it was not recorded, and what it was depends on a model that cannot be loaded here.
"""


class NoPrompt(Exception):
    """The prompt of a tale is not known.

    Attributes:
        reason: Why.
    """

    def __init__(self, reason: NoPromptReason) -> None:
        super().__init__(reason)
        self.reason = reason


class WriterPrompts:
    """Find the prompts of recorded tales.

    Args:
        templates: A folder with your own templates.
    """

    def __init__(self, templates: str | Path | None = None) -> None:
        self._templates = templates
        self._writers: dict[tuple[str, PromptVersion, str, str], StoryChain | NoPromptReason] = {}

    def find(self, tale: RecordedTale) -> tuple[ChatTurn, ...]:
        """Return the messages of the first draft; later drafts are asked to revise.

        Raises:
            NoPrompt: If they are not known.
        """
        if tale.messages:
            return tale.messages
        # After several calls, nobody knows which one of them wrote the text.
        if tale.lineage is None or tale.lineage.prompt is None or len(tale.calls) != 1:
            raise NoPrompt("prompt_unknown")
        writer = self._writer(tale.calls[0].model, tale.lineage.prompt, tale.policy, tale.band)
        try:
            return chat_turns(writer.messages_for(tale.inputs))
        except InvalidInputs as error:
            raise NoPrompt("version_missing") from error
        except TalewardError as error:
            raise NoPrompt("model_missing") from error

    def _writer(self, model: str, prompt: PromptVersion, policy: str, band: str) -> StoryChain:
        key = (model, prompt, policy, band)
        if key not in self._writers:
            self._writers[key] = self._make_writer(*key)
        writer = self._writers[key]
        if isinstance(writer, StoryChain):
            return writer
        raise NoPrompt(writer)

    def _make_writer(self, model: str, prompt: PromptVersion, policy: str, band: str) -> StoryChain | NoPromptReason:
        try:
            template, rules = load_template(prompt.name, self._templates), load_policy(policy.partition("@")[0])
        except UnknownName:
            return "version_missing"
        if (template.prompt, rules.id) != (prompt, policy):
            return "version_missing"
        try:
            return StoryChain(model, template, policy=rules, band=band)
        except TalewardError:
            return "model_missing"
