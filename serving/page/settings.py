"""The settings of the page, and the PIN of its grown-ups' side."""

from __future__ import annotations

import re
import secrets
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from taleward.core.frozen_model import FrozenModel

_PIN = re.compile(r"[0-9]{4,12}", re.ASCII)
_RANDOM_PIN_DIGITS = 6


def _check_pin(pin: SecretStr) -> SecretStr:
    if not _PIN.fullmatch(pin.get_secret_value()):
        raise ValueError('must be 4 to 12 digits, in quotes, for example "4711"')
    return pin


class PageSettings(FrozenModel):
    """What the page offers and how much.

    Attributes:
        pin: What opens the grown-ups' side, 4 to 12 digits; `null` draws one, which `taleward serve` prints when it
            starts.
        model: The served model that tells the stories; by default the server's default model.
        reviewer: Under which name the feedback of the page is kept.
        tales_per_minute: Stories that one browser may ask for in a minute.
        session_hours: Hours after its last request at which a browser's stories are forgotten.
        open_minutes: Minutes without a request after which the grown-ups' side closes.
    """

    pin: Annotated[SecretStr, AfterValidator(_check_pin)] | None = None
    model: str = ""
    reviewer: str = Field(default="grown-up", min_length=1)
    tales_per_minute: int = Field(default=6, ge=1)
    session_hours: float = Field(default=12.0, gt=0)
    open_minutes: float = Field(default=15.0, gt=0)

    def with_pin(self) -> PageSettings:
        """Return the settings with a PIN: its own, or a random one."""
        if self.pin is not None:
            return self
        pin = "".join(secrets.choice("0123456789") for _ in range(_RANDOM_PIN_DIGITS))
        return self.model_copy(update={"pin": SecretStr(pin)})
