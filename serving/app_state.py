"""What the routes of an app share."""

from __future__ import annotations

from fastapi import FastAPI, Request

from taleward.serving.served_models import ServedModels


def set_served_models(app: FastAPI, models: ServedModels) -> None:
    """Keep the models for the app's routes."""
    app.state.served_models = models


def served_models(request: Request) -> ServedModels:
    """Return the models of the app that answers a request."""
    models: ServedModels = request.app.state.served_models
    return models
