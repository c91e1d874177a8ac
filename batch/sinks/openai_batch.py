"""Results in the format of OpenAI's Batch API: an answer or an error for each `custom_id`."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from taleward.batch.sinks.jsonl import JsonLinesSink
from taleward.core.tale import digest

_ID_LENGTH = 24
_OK, _FAILED = 200, 500


class OpenAIBatchSink(JsonLinesSink):
    """Writes lines as OpenAI's batches return them.

    A tale is a chat completion, a refused one with the words for the child as its `refusal`; a verdict is a moderation;
    a vector is an embedding. Other results are chat completions with their text, or their label.
    """

    def record(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the line for a row."""
        request_id = digest(f"{self.manifest.job_id} {row['id']}")[:_ID_LENGTH]
        line: dict[str, Any] = {
            "id": f"batch_req_{request_id}",
            "custom_id": row["id"],
            "response": None,
            "error": None,
        }
        if row["error_type"] is not None:
            message = f"{row['error_type']}: {row['error']}"
            body: dict[str, Any] = {"error": {"message": message, "type": "server_error", "code": row["error_type"]}}
            return {**line, "response": {"status_code": _FAILED, "request_id": request_id, "body": body}, "error": None}
        body = self._body(row, request_id)
        return {**line, "response": {"status_code": _OK, "request_id": request_id, "body": body}}

    def _body(self, row: dict[str, Any], request_id: str) -> dict[str, Any]:
        settings = self.manifest.settings
        judges = settings.get("judge")
        model = settings.get("model") or ", ".join(judges or [self.manifest.task])
        if row.get("vector") is not None:
            data = [{"object": "embedding", "index": 0, "embedding": row["vector"]}]
            return {"object": "list", "model": model, "data": data, "usage": {"prompt_tokens": 0, "total_tokens": 0}}
        result = json.loads(row["result"] or "{}")
        if self.manifest.task == "judge":
            scores = result.get("scores", {})
            flagged = dict.fromkeys([*scores, *row["categories"]], False) | dict.fromkeys(row["categories"], True)
            verdict = {"flagged": row["outcome"] != "pass", "categories": flagged, "category_scores": scores}
            return {"id": f"modr-{request_id}", "model": model, "results": [verdict]}
        text = row["text"] or row["label"]
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if text is None:
            message["refusal"] = (result.get("refusal") or {}).get("child_message") or row["outcome"]
        tokens = row["tokens"] or 0
        return {
            "id": f"chatcmpl-{request_id}",
            "object": "chat.completion",
            "created": int(datetime.fromisoformat(self.manifest.created_at).timestamp()),
            "model": model,
            "choices": [
                {"index": 0, "message": message, "finish_reason": "stop" if text is not None else "content_filter"}
            ],
            "usage": {"prompt_tokens": 0, "completion_tokens": tokens, "total_tokens": tokens},
        }
