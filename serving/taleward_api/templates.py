"""`GET /v1/templates`: what the templates ask for, with examples, for pages that show a form."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from taleward.chains.template import Template
from taleward.serving.app_state import served_models

router = APIRouter()


@router.get("/v1/templates")
async def list_templates(request: Request, model: str | None = None) -> dict[str, Any]:
    """List the templates of a served model, its own first, with the age bands that a request may name."""
    served = served_models(request).get(model)
    bands = served.config.allowed_bands
    templates = [template_data(template, bands) for template in served.templates]
    return {"object": "list", "model": served.name, "band": bands[0], "bands": list(bands), "data": templates}


def template_data(template: Template, bands: tuple[str, ...]) -> dict[str, Any]:
    """Return a template as JSON data.

    Args:
        template: The template.
        bands: The age bands whose openings are listed.
    """
    return {
        "name": template.name,
        "title": template.name.replace("_", " ").capitalize(),
        "description": template.description,
        "version": template.version,
        "variables": [
            {
                "name": name,
                "label": name.replace("_", " ").capitalize(),
                "description": variable.description,
                "example": variable.example,
                "max_length": variable.max_length,
            }
            for name, variable in template.variables.items()
        ],
        "examples": list(template.example_values),
        "openings": {band: template.text_for(band) for band in bands},
    }
