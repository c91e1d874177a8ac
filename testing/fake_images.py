"""A fake server for OpenAI's images API on loopback, with every fault of a real one."""

from __future__ import annotations

import asyncio
import base64
import email.parser
import email.policy
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Literal, TypeAlias, get_args

from taleward.core.errors import MissingExtra
from taleward.testing.fake_openai import FakeOpenAI, Fault
from taleward.testing.http_wire import chunk, response_head, send_response, stream_event

ImageFault = Literal[
    "blocked-input", "blocked-output", "empty-data", "url-only", "not-base64", "not-a-picture", "bare-error"
]
"""What can go wrong with a request for a picture, besides the faults of `FakeOpenAI`.

* `blocked-input`, `blocked-output`: the 400 `moderation_blocked` of a prompt or a picture that the vendor's filter
  rejects. `empty-data`: what some vendors send instead, status 200 without a picture.
* `url-only`: a link instead of the picture. `not-base64`, `not-a-picture`: something that cannot be shown.
* `bare-error`: a 400 whose error is a string, as stable-diffusion.cpp sends it.
"""

PictureReply: TypeAlias = Callable[[Mapping[str, Any]], bytes]
ImageFaultScript: TypeAlias = (
    Iterable[Fault | ImageFault | None] | Callable[[int, Mapping[str, Any]], Fault | ImageFault | None]
)

_USAGE = {
    "input_tokens": 12,
    "input_tokens_details": {"text_tokens": 12, "image_tokens": 0},
    "output_tokens": 272,
    "output_tokens_details": {"image_tokens": 272, "text_tokens": 0},
    "total_tokens": 284,
}


class FakeImages(FakeOpenAI):
    """A fake server for OpenAI's images API; use it as a context manager, which starts and stops it.

    It answers `/images/generations` and `/images/edits` with `n` pictures, one color each, in the size asked for, and
    streams unfinished ones. In `requests`, an edit's files are bytes by the name of their field.

    Example:
        ```python
        def test_a_blocked_prompt_is_not_a_picture():
            with FakeImages(faults=["blocked-input"]) as server:
                model = tw.image_model("openai-image:gpt-image-2", base_url=server.base_url)
                with pytest.raises(PictureBlocked):
                    model.invoke("a fox")
        ```

    Args:
        picture: A function from a request to the bytes of its pictures.
        faults: What goes wrong, as for `FakeOpenAI`.
        reports_usage: Whether answers count tokens, as OpenAI's do.
        options: Options of `FakeOpenAI`: `delay_s`, `slow_s` and `headers`.
    """

    known_faults: ClassVar[tuple[str, ...]] = (*get_args(Fault), *get_args(ImageFault))
    paths: ClassVar[tuple[str, ...]] = ("/images/generations", "/images/edits")

    def __init__(
        self,
        picture: PictureReply | None = None,
        *,
        faults: ImageFaultScript = (),
        reports_usage: bool = True,
        **options: Any,
    ) -> None:
        script: Any = faults
        super().__init__(faults=script, **options)
        self.picture, self.reports_usage = picture or plain_picture, reports_usage

    def _parse(self, body: bytes) -> dict[str, Any]:
        return _parse_form(body) if body.startswith(b"--") else super()._parse(body)

    async def _send_answer(self, path: str, request: dict[str, Any], fault: Any, writer: asyncio.StreamWriter) -> bool:
        if fault in ("blocked-input", "blocked-output"):
            return await send_response(writer, 400, _blocked_body(fault.removeprefix("blocked-")), self._headers)
        if fault == "bare-error":
            return await send_response(writer, 400, b'{"error":"prompt required"}', self._headers)
        if await self._send_failure(fault, writer):
            return True
        count = int(request.get("n") or 1)
        items = [] if fault == "empty-data" else [self._item(request, number, fault) for number in range(count)]
        if request.get("stream"):
            return await self._stream_pictures(request, items, fault, writer)
        body = json.dumps({"created": 1, "data": items, **({"usage": _USAGE} if self.reports_usage else {})}).encode()
        if fault in ("stall", "drip", "reset", "truncated"):
            writer.write(response_head(200, self._headers, "application/json", None) + chunk(body[: len(body) // 2]))
            return await self._break_off(writer, fault)
        return await send_response(writer, 200, body, self._headers)

    def _item(self, request: Mapping[str, Any], number: int, fault: Any) -> dict[str, str]:
        if fault == "url-only":
            return {"url": "http://127.0.0.1:1/picture.png"}
        if fault == "not-base64":
            return {"b64_json": "?!"}
        data = b"hello" if fault == "not-a-picture" else self.picture({**request, "number": number})
        return {"b64_json": base64.b64encode(data).decode()}

    async def _stream_pictures(
        self, request: Mapping[str, Any], items: list[dict[str, str]], fault: Any, writer: asyncio.StreamWriter
    ) -> bool:
        kind = "image_edit" if "image" in request or "image[]" in request else "image_generation"
        writer.write(response_head(200, self._headers, "text/event-stream", None))
        for item in items:
            for number in range(int(request.get("partial_images") or 0)):
                partial = {"type": f"{kind}.partial_image", "partial_image_index": number, "created_at": 1, **item}
                writer.write(stream_event(json.dumps(partial)))
                await writer.drain()
            if fault in ("stall", "drip", "reset", "truncated"):
                return await self._break_off(writer, fault)
            done = {"type": f"{kind}.completed", "created_at": 1, "usage": _USAGE, **item}
            writer.write(stream_event(json.dumps(done)))
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


def plain_picture(request: Mapping[str, Any]) -> bytes:
    """Return a PNG of one color, which follows from the prompt and the picture's number, in the size asked for."""
    from io import BytesIO

    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra("the fake images server", "images") from error
    width, _, height = str(request.get("size") or "").partition("x")
    size = (int(width), int(height)) if height else (64, 64)
    red, green, blue = hashlib.sha256(f"{request.get('prompt')}/{request.get('number')}".encode()).digest()[:3]
    buffer = BytesIO()
    image = Image.new("RGB", size, (red, green, blue))
    # A blank picture would be refused by every check.
    image.paste((255 - red, 255 - green, 255 - blue), (0, 0, size[0] // 2, size[1] // 2))
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _blocked_body(stage: str) -> bytes:
    error = {
        "message": "Your request was rejected by the safety system. safety_violations=[violence].",
        "type": "image_generation_user_error",
        "param": None,
        "code": "moderation_blocked",
        "moderation_details": {"moderation_stage": stage, "categories": ["violence"]},
    }
    return json.dumps({"error": error}).encode()


def _parse_form(body: bytes) -> dict[str, Any]:
    """Parse `multipart/form-data`: files are bytes, and a field that is repeated is a list."""
    boundary = body[2 : body.index(b"\r\n")].decode("latin-1")
    head = f'Content-Type: multipart/form-data; boundary="{boundary}"\r\n\r\n'.encode("latin-1")
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    fields: dict[str, Any] = {}
    for part in message.iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        content = part.get_payload(decode=True)
        value: Any = content if part.get_filename() else bytes(content or b"").decode()
        fields[name] = [*fields[name], value] if name in fields and name.endswith("[]") else value
        if name.endswith("[]") and not isinstance(fields[name], list):
            fields[name] = [fields[name]]
    return fields
