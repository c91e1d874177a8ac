"""`GET /v1/models` and `GET /v1/models/{id}`: the served models."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from taleward.core.errors import UnknownName
from taleward.serving.app_state import served_images_or_none, served_models
from taleward.serving.served_images import ServedImages
from taleward.serving.served_models import ServedModel, ServedModels

router = APIRouter()


@router.get("/v1/models")
async def list_models(request: Request) -> dict[str, Any]:
    """List the served models, and those for embeddings and for pictures."""
    models = served_models(request)
    data = [_model_data(model, models) for model in models]
    if models.embedder is not None:
        data.append(_base(models.embedder.spec, models))
    if (images := served_images_or_none(request)) is not None:
        data.append(_images_data(images, models))
    return {"object": "list", "data": data}


@router.get("/v1/models/{name:path}")
async def get_model(request: Request, name: str) -> dict[str, Any]:
    """Describe one model."""
    models = served_models(request)
    if models.embedder is not None and name == models.embedder.spec:
        return _base(name, models)
    images = served_images_or_none(request)
    if images is not None and name == images.name:
        return _images_data(images, models)
    if not name:
        raise UnknownName("served model", name, models.names)
    return _model_data(models.get(name), models)


def _base(name: str, models: ServedModels) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": models.created, "owned_by": "taleward"}


def _model_data(model: ServedModel, models: ServedModels) -> dict[str, Any]:
    config = model.config
    details = {
        "description": config.description,
        "answers": "stories" if model.tells_stories else "conversations",
        "template": config.template,
        "policy": model.judge().policy.id,
        "band": config.band,
        "bands": list(config.allowed_bands),
        "judge": model.judge().spec,
        "release": config.release,
        "default": model.name == models.config.default_model_name,
    }
    return {**_base(model.name, models), "taleward": details}


def _images_data(images: ServedImages, models: ServedModels) -> dict[str, Any]:
    guard = images.guard()
    details = {
        "answers": "pictures",
        "image_model": images.model.spec,
        "changes_pictures": images.changes_pictures,
        "policy": guard.prompt_judge.policy.id,
        "band": guard.prompt_judge.band,
        "bands": list(images.guards),
        "judge": guard.prompt_judge.spec,
        "picture_judges": [judge.spec for judge in guard.picture_judges],
    }
    return {**_base(images.name, models), "taleward": details}
