"""What a reader sees of a turn while it goes on: tales from within tools, and answers, in one text."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage

from taleward.agents.result import TurnEvent
from taleward.core.events import RetractionEvent, TextEvent
from taleward.moderation.chat.messages import MARK


class Transcript:
    """What the reader has seen of a turn.

    Attributes:
        ready: Where events go.
        text: All that is to be seen now.
    """

    def __init__(self, ready: asyncio.Queue[TurnEvent | None]) -> None:
        self.ready, self.text = ready, ""
        self._tale = self._message = 0
        self._id: str | None = None
        self._tales: list[str] = []

    def say(self, text: str) -> None:
        """Show a piece."""
        if text:
            self.ready.put_nowait(TextEvent(text=text, start=len(self.text)))
            self.text += text

    def told(self, event: dict[str, Any]) -> None:
        """An event of a guard within a tool."""
        if event["type"] == "text":
            if event["start"] == 0:
                self._gap()
                self._tale = len(self.text)
                self._tales.append("")
            self.say(event["text"])
            self._tales[-1] += event["text"]
        else:
            self._withdraw(self._tale + event["start"])
            self._tales[-1] = self._tales[-1][: event["start"]]

    def message(self, message: BaseMessage) -> None:
        """A piece of an answer, or a whole one."""
        if not isinstance(message, AIMessage) or not message.content:
            return
        if isinstance(message, AIMessageChunk):
            if message.id != self._id:
                self._gap()
                self._id, self._message = message.id, len(self.text)
            if (message.response_metadata.get(MARK) or {}).get("retraction"):
                self._withdraw(self._message)
                self.say(str(message.text).lstrip())
                return
            self.say(str(message.text))
        elif message.id != self._id or self._id is None:
            self._rest(str(message.text))

    def _rest(self, text: str) -> None:
        """What of an answer that came whole was not told while its tool ran."""
        for tale in self._tales:
            if tale.strip():
                text = text.replace(tale.strip(), "", 1)
        if text.strip():
            self._gap()
            self.say(text.strip())

    def _gap(self) -> None:
        if self.text and not self.text.endswith("\n\n"):
            self.say("\n\n")

    def _withdraw(self, start: int) -> None:
        self.ready.put_nowait(RetractionEvent(start=start, end=len(self.text)))
        self.text = self.text[:start]
