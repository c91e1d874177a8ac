"""What the routes of an app share."""

from __future__ import annotations

from fastapi import FastAPI, Request

from taleward.serving.errors import ApiError
from taleward.serving.served_images import ServedImages
from taleward.serving.served_models import ServedModels


def set_served_models(app: FastAPI, models: ServedModels) -> None:
    """Keep the models for the app's routes."""
    app.state.served_models = models


def served_models(request: Request) -> ServedModels:
    """Return the models of the app that answers a request."""
    models: ServedModels = request.app.state.served_models
    return models


def set_served_images(app: FastAPI, images: ServedImages | None, why_not: str = "") -> None:
    """Keep the image guards for the app's routes, or why there are none."""
    app.state.served_images, app.state.why_no_images = images, why_not


def served_images(request: Request) -> ServedImages:
    """Return the image guards of the app that answers a request.

    Raises:
        ApiError: If it draws no pictures.
    """
    images: ServedImages | None = request.app.state.served_images
    if images is None:
        raise ApiError(
            404, f"This server draws no pictures. {request.app.state.why_no_images}", code="images_not_served"
        )
    return images


def served_images_or_none(request: Request) -> ServedImages | None:
    """Return the image guards of the app that answers a request, if there are any."""
    images: ServedImages | None = request.app.state.served_images
    return images
