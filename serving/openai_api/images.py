"""`POST /v1/images/generations` and `/v1/images/edits`: pictures behind an image guard."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from taleward.core.concurrency.sync_async import run_in_thread
from taleward.images.guard.events import GuardedPictureEvent, ImageGuardEvent, PictureVerdictEvent
from taleward.images.guard.guarded_picture import GuardedPicture
from taleward.images.models.request import ImageRequest
from taleward.images.picture import Picture
from taleward.serving.app_state import served_images, served_models
from taleward.serving.disconnect import unless_disconnected
from taleward.serving.errors import ApiError, api_error, validation_error
from taleward.serving.openai_api.image_objects import EventKind, ImageObjects, raise_refusal
from taleward.serving.openai_api.image_request import ImageFields, check_supported, drawing_request, read_picture
from taleward.serving.openai_api.unsupported import unsupported
from taleward.serving.operations.request_record import current_request
from taleward.serving.served_images import ServedImages
from taleward.serving.server_sent_events import event_stream, format_event

router = APIRouter()

MAX_UPLOADS = 16
_MAX_FIELDS = 64
Events = AsyncGenerator[ImageGuardEvent, None]


@router.post("/v1/images/generations")
async def create_images(request: Request, body: ImageFields) -> Response:
    """Draw pictures from a prompt."""
    images = served_images(request)
    current_request().model = images.name
    check_supported(body, images)
    prepare = partial(drawing_request, body, images)
    drawing = await unless_disconnected(request, run_in_thread(prepare))
    return await _answer(request, images, body, drawing, "image_generation")


@router.post("/v1/images/edits")
async def edit_images(request: Request) -> Response:
    """Change a picture by a prompt, everywhere or where a mask says."""
    images = served_images(request)
    current_request().model = images.name
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise ApiError(400, "Send a form (multipart/form-data) with an image and a prompt.", code="invalid_value")
    async with request.form(max_files=MAX_UPLOADS + 1, max_fields=_MAX_FIELDS) as form:
        body = _fields_of(form)
        check_supported(body, images)
        uploads, mask = await _files_of(form, images)

    def prepare() -> ImageRequest:
        pictures = tuple(_read_all(uploads, "image"))
        return drawing_request(body, images, pictures, None if mask is None else read_picture(mask, "mask"))

    drawing = await unless_disconnected(request, run_in_thread(prepare))
    return await _answer(request, images, body, drawing, "image_edit")


def _fields_of(form: FormData) -> ImageFields:
    fields: dict[str, Any] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            if name in fields:
                raise ApiError(400, f"{name} is given twice.", code="invalid_value", param=name)
            fields[name] = value
    try:
        return ImageFields.model_validate(fields)
    except ValidationError as error:
        raise validation_error(error.errors()) from None


async def _files_of(form: FormData, images: ServedImages) -> tuple[list[bytes], bytes | None]:
    """Return the pictures and the mask of a form, if the model can use them."""
    files = [(name, value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
    for name, _ in files:
        if name not in ("image", "image[]", "mask"):
            raise unsupported(name, "files are image, image[] and mask", kind="unknown_parameter")
    pictures = [file for name, file in files if name != "mask"]
    masks = [file for name, file in files if name == "mask"]
    can = images.model.capabilities
    if not can.image_to_image:
        raise unsupported("image", f"{images.model.spec} draws from prompts only")
    if not pictures:
        raise ApiError(400, "Send at least one file as image.", code="invalid_value", param="image")
    if len(masks) > 1:
        raise ApiError(400, "mask is given twice.", code="invalid_value", param="mask")
    if masks and not can.inpainting:
        raise unsupported("mask", f"{images.model.spec} changes whole pictures only")
    if len(pictures) > 1 + can.references:
        raise unsupported("image", f"{images.model.spec} takes up to {1 + can.references} pictures")
    uploads = [await file.read() for file in pictures]
    return uploads, await masks[0].read() if masks else None


def _read_all(uploads: list[bytes], param: str) -> list[Picture]:
    return [read_picture(data, param) for data in uploads]


async def _answer(
    request: Request, images: ServedImages, body: ImageFields, drawing: ImageRequest, kind: EventKind
) -> Response:
    objects = ImageObjects(body, kind)
    events: Any = images.guard(body.band).astream(drawing)
    if not body.stream:
        result = await unless_disconnected(request, _result(events))
        answer = await unless_disconnected(request, run_in_thread(partial(objects.response, result)))
        return Response(answer, media_type="application/json")
    # What does not pass is a status code, since the stream has not begun.
    inputs = 1 + len(drawing.references) + (drawing.init_image is not None)
    await unless_disconnected(request, _pass_inputs(events, inputs))
    return event_stream(_stream(events, objects), served_models(request).config.keep_alive_s)


async def _pass_inputs(events: Events, count: int) -> None:
    """Read the verdicts on what came with the request; raise the refusal if one is no pass."""
    for _ in range(count):
        event = await anext(events)
        if not isinstance(event, PictureVerdictEvent) or not event.verdict.passed:
            await _result(events, event)


async def _stream(events: Events, objects: ImageObjects) -> AsyncGenerator[str, None]:
    try:
        result = await _result(events)
        made = objects.events(result)
        while (event := await run_in_thread(lambda: next(made, None))) is not None:
            yield event
    except Exception as error:  # noqa: BLE001  the status has been sent, so the error is the last event
        yield format_event(api_error(error).body(), "error")


async def _result(events: Events, first: ImageGuardEvent | None = None) -> GuardedPicture:
    """Return the result of a guard; raise its refusal."""
    result = first.result if isinstance(first, GuardedPictureEvent) else None
    async with aclosing(events) as all_events:
        async for event in all_events:
            if isinstance(event, GuardedPictureEvent):
                result = event.result
    if result is None:
        msg = "the image guard ended without a result; this is a bug in taleward"
        raise RuntimeError(msg)
    current_request().observe_pictures(result)
    if not result.released:
        raise_refusal(result)
    return result
