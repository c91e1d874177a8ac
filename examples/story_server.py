"""A web service that streams a guarded story as server-sent events: `uvicorn --app-dir examples story_server:app`.

A browser appends the text of each `text` event to the page, and on `retraction` removes what it has shown from
`start` on.
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
    """Stream a story; the request has the values of the template's variables."""
    try:
        # Once the stream has begun, it is too late for a status code.
        writer.template.render(values)
    except tw.errors.InvalidInputs as error:
        raise HTTPException(422, str(error)) from error
    return StreamingResponse(_events(values), media_type="text/event-stream", headers={"cache-control": "no-store"})


async def _events(values: dict[str, str]) -> AsyncIterator[str]:
    """Yield released text and what the reader must know."""
    # A client that disconnects closes this generator; closing the guard's stream then stops the model.
    async with aclosing(guard.astream(values)) as events:  # type: ignore[type-var]
        async for event in events:
            match event.type:
                case "text":
                    yield _format_event("text", text=event.text)
                case "retraction":
                    yield _format_event("retraction", start=event.start)
                case "refusal":
                    yield _format_event("refusal", text=event.refusal.child_message)
                case "done":
                    yield _format_event("done", id=event.tale.id, released=event.tale.released)


def _format_event(name: str, **data: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
