"""Transcript of a turn as the reader sees it: tales streamed from within tools, and answers, as one text."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage

from taleward.agents.result import TurnEvent
from taleward.core.events import RetractionEvent, TextEvent
from taleward.moderation.chat.messages import MARK


class Transcript:
    """The text that a turn shows to the reader, built from guard events and messages.

    Args:
        events: The queue that receives a turn event for every change of the text.

    Attributes:
        events: That queue.
        text: The text that is visible now.
    """

    def __init__(self, events: asyncio.Queue[TurnEvent | None]) -> None:
        self.events, self.text = events, ""
        self._tale_start = self._message_start = 0
        self._message_id: str | None = None
        self._tales: list[str] = []

    def show(self, text: str) -> None:
        """Append a text."""
        if text:
            self.events.put_nowait(TextEvent(text=text, start=len(self.text)))
            self.text += text

    def add_guard_event(self, event: dict[str, Any]) -> None:
        """Add a `text` or `retraction` event of a guard within a tool, as JSON."""
        if event["type"] == "text":
            if event["start"] == 0:
                self._break_paragraph()
                self._tale_start = len(self.text)
                self._tales.append("")
            self.show(event["text"])
            self._tales[-1] += event["text"]
        else:
            self._retract_from(self._tale_start + event["start"])
            self._tales[-1] = self._tales[-1][: event["start"]]

    def add_message(self, message: BaseMessage) -> None:
        """Add a chunk of an AI message, or a complete one; other messages are ignored."""
        if not isinstance(message, AIMessage) or not message.content:
            return
        if isinstance(message, AIMessageChunk):
            if message.id != self._message_id:
                self._break_paragraph()
                self._message_id, self._message_start = message.id, len(self.text)
            if (message.response_metadata.get(MARK) or {}).get("retraction"):
                self._retract_from(self._message_start)
                self.show(str(message.text).lstrip())
                return
            self.show(str(message.text))
        # A streamed message arrives once more when it is complete; by then the reader has seen all of it.
        elif message.id != self._message_id or self._message_id is None:
            self._show_unseen(str(message.text))

    def _show_unseen(self, text: str) -> None:
        """Show a complete message, without the tales in it that were streamed while their tools ran."""
        for tale in self._tales:
            if tale.strip():
                text = text.replace(tale.strip(), "", 1)
        if text.strip():
            self._break_paragraph()
            self.show(text.strip())

    def _break_paragraph(self) -> None:
        if self.text and not self.text.endswith("\n\n"):
            self.show("\n\n")

    def _retract_from(self, start: int) -> None:
        self.events.put_nowait(RetractionEvent(start=start, end=len(self.text)))
        self.text = self.text[:start]
