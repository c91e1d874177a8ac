"""The configuration of `/v1/images`: an image model behind a guard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from taleward.core.errors import TalewardError
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel
from taleward.core.redaction import is_secret_name
from taleward.core.yaml_files import Location
from taleward.moderation.policies.load import load_policy

_WITH_SERVER = "openai-image:"


def as_list(value: object) -> object:
    """Return a single text as a list of one, for settings that take either."""
    return [value] if isinstance(value, str) else value


Specs = Annotated[tuple[str, ...], BeforeValidator(as_list), Field(min_length=1)]


class ServedImagesConfig(FrozenModel):
    """An image model behind a guard, as clients of `/v1/images` see it.

    Attributes:
        name: The name by which clients ask for it; by default the model's spec. OpenAI's names of image models stand
            for it, too.
        model: The spec of the image model.
        base_url: The server of an `openai-image:` model.
        options: Further options for `taleward.image_model`, such as `budget_usd`.
        style: Art style of pictures whose prompt names none.
        judge: Specs of the judges of prompts; a prompt must pass all of them. By default those of the default model.
        picture_judges: Specs of the judges of pictures, cheap ones first. By default `picture-checks`, and `open-nsfw`
            unless the model is the collage; neither knows the policy.
        policy: The name of a policy, or the path of its file; by default the default model's.
        band: The only age band; by default those of the default model, of which a request may name one.
        attempts: How often the model draws at most, each time by a gentler prompt.
        fallback: Who draws if no picture of the model passes; `null` for nobody.
        timeout_s: Time limit for a request in seconds.
        mask_personal_data: Whether personal data in prompts is replaced by its kind before anything reads it.
        max_pixels: Pixels in a picture that clients may ask for.
        max_upload_bytes: Bytes in the body of a request to change pictures, which are read into memory.
    """

    name: str = ""
    model: str = "collage"
    base_url: str | None = None
    options: FrozenMapping[str, Any] = FrozenDict()
    style: str = ""
    judge: Specs | None = None
    picture_judges: Specs | None = None
    policy: str | None = None
    band: str | None = None
    attempts: int = Field(default=3, ge=1, le=20)
    fallback: str | None = "collage"
    timeout_s: float = Field(default=240.0, gt=0)
    mask_personal_data: bool = True
    max_pixels: int = Field(default=2048 * 2048, ge=64 * 64)
    max_upload_bytes: int = Field(default=16 * 1_048_576, ge=1)

    @property
    def served_name(self) -> str:
        """The name by which clients ask for it."""
        return self.name or self.model

    @property
    def is_collage(self) -> bool:
        """Whether the model is the collage, which draws nothing that its own drawings do not show."""
        return self.model.partition(":")[0] == "collage"

    @property
    def judges_of_pictures(self) -> tuple[str, ...]:
        """The specs of the picture judges."""
        if self.picture_judges is not None:
            return self.picture_judges
        return ("picture-checks",) if self.is_collage else ("picture-checks", "open-nsfw")

    def problems(self, default_policy: str) -> Iterator[tuple[Location, str]]:
        """Yield what no type can check, each with its key.

        Args:
            default_policy: The policy of the default model.
        """
        try:
            policy = load_policy(self.policy or default_policy)
            if self.band is not None:
                policy.band(self.band)
        except TalewardError as error:
            yield ("policy",) if self.band is None else ("band",), str(error)
        if self.base_url is not None and not self.model.startswith(_WITH_SERVER):
            yield ("base_url",), f"is the server of an {_WITH_SERVER} model; got model {self.model!r}"
        for key in filter(is_secret_name, self.options):
            yield ("options", key), "is a secret; keys come from the environment, for example OPENAI_API_KEY"
