"""A guarded story by server-sent events: `uvicorn --app-dir examples story_server:app`.

A browser reads it with `EventSource`-like code: it shows the text of `text` events, nothing else; on `retraction` it
takes back what it showed from `start` on.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse

import taleward as tw

app = FastAPI(title="Stories")
writer = tw.StoryChain("embedded:storyteller", template="adventure")
guard = tw.Guard(writer, tw.judge("embedded:judge", policy="kids", band="6-8"), mask_personal_data=True)


@app.post("/stories")
async def story(values: dict[str, str]) -> StreamingResponse:
    """Tell a story; its inputs are the template's variables."""
    try:
        writer.template.render(values)
    except tw.errors.InvalidInputs as error:
        raise HTTPException(422, str(error)) from error
    return StreamingResponse(_events(values), media_type="text/event-stream", headers={"cache-control": "no-store"})


async def _events(values: dict[str, str]) -> AsyncIterator[str]:
    """Judged words, and what a reader must know. A client that goes away closes this, and that stops the model."""
    async with aclosing(guard.astream(values)) as events:  # type: ignore[type-var]
        async for event in events:
            match event.type:
                case "text":
                    yield _sent("text", text=event.text)
                case "retraction":
                    yield _sent("retraction", start=event.start)
                case "refusal":
                    yield _sent("refusal", text=event.refusal.child_message)
                case "done":
                    yield _sent("done", id=event.tale.id, released=event.tale.released)


def _sent(name: str, **data: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
