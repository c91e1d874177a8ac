"""The settings of the page, and the PIN of its grown-ups' side."""

from __future__ import annotations

import os
import re
import secrets
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenModel
from taleward.serving.operations.settings import OperationSettings

PIN_VARIABLE = "TALEWARD_PAGE_PIN"
"""The environment variable with the PIN, if the settings have none."""
_PIN = re.compile(r"[0-9]{4,12}", re.ASCII)
_RANDOM_PIN_DIGITS = 6


def _check_pin(pin: SecretStr) -> SecretStr:
    if not _PIN.fullmatch(pin.get_secret_value()):
        raise ValueError('must be 4 to 12 digits, in quotes, for example "4711"')
    return pin


class PageSettings(FrozenModel):
    """What the page offers and how much.

    Attributes:
        pin: What opens the grown-ups' side, 4 to 12 digits. `null` takes it from the environment, or else draws one,
            which `taleward serve` prints when it starts. It is not part of the settings as JSON.
        public: Whether browsers on other machines may use the page, which needs no API key.
        model: The served model that tells the stories; by default the server's default model.
        reviewer: Under which name the feedback of the page is kept.
        tales_per_minute: Stories that one browser may ask for in a minute.
        session_hours: Hours after its last request at which a browser's stories are forgotten.
        open_minutes: Minutes without a request after which the grown-ups' side closes.
    """

    pin: Annotated[SecretStr, AfterValidator(_check_pin)] | None = Field(default=None, exclude=True)
    public: bool = False
    model: str = ""
    reviewer: str = Field(default="grown-up", min_length=1)
    tales_per_minute: int = Field(default=6, ge=1)
    session_hours: float = Field(default=12.0, gt=0)
    open_minutes: float = Field(default=15.0, gt=0)

    def with_pin(self) -> PageSettings:
        """Return the settings with a PIN: its own, that of the environment, or a random one.

        Raises:
            ConfigurationError: If the environment has one that is not 4 to 12 digits.
        """
        if self.pin is not None:
            return self
        given = os.environ.get(PIN_VARIABLE)
        if given is not None and not _PIN.fullmatch(given):
            raise ConfigurationError(f"the PIN in {PIN_VARIABLE} must be 4 to 12 digits.")
        pin = given or "".join(secrets.choice("0123456789") for _ in range(_RANDOM_PIN_DIGITS))
        return self.model_copy(update={"pin": SecretStr(pin)})


def why_no_page(settings: PageSettings | None, operations: OperationSettings) -> str:
    """Return why a server has no page; empty if it has one.

    Args:
        settings: The settings of the page.
        operations: How the server is run.
    """
    from taleward.serving.operations.authentication import is_loopback

    if settings is None:
        return "the configuration turns it off"
    if operations.workers > 1:
        return f"its sessions live in the memory of one process, and there are {operations.workers} workers"
    if not settings.public and not is_loopback(operations.host):
        return "other machines could use it without an API key; page: {public: true} allows that"
    return ""
