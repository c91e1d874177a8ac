"""The routes of the page."""

from __future__ import annotations

from fastapi import APIRouter

from taleward.core.errors import ConfigurationError
from taleward.serving.page.gate import GrownUpGate
from taleward.serving.page.grown_ups import GrownUpRoutes
from taleward.serving.page.sessions import PageSessions
from taleward.serving.page.settings import PageSettings
from taleward.serving.page.tales import TaleRoutes
from taleward.serving.served_models import ServedModels


def page_router(served: ServedModels, settings: PageSettings) -> APIRouter:
    """Return the router of the page at `/`, with its own routes below `/page/`.

    The page never holds a key of the server: a browser has a session of its own, and the routes call the guards
    directly. Sessions are in the memory of this process.

    Args:
        served: The served models.
        settings: The settings; see `PageSettings.with_pin` for the PIN.

    Raises:
        ConfigurationError: If the settings have no PIN.
        UnknownName: If there is no such served model.
    """
    if settings.pin is None:
        raise ConfigurationError(
            "the page has no PIN.", hint="Pass settings.with_pin(), and tell the grown-ups the PIN."
        )
    served.get(settings.model or None)
    router, sessions = APIRouter(include_in_schema=False), PageSessions(settings)
    tales = TaleRoutes(served, settings, sessions)
    tales.add_to(router)
    GrownUpRoutes(tales.model, settings, sessions, GrownUpGate(settings.pin)).add_to(router)
    return router
