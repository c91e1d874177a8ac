"""A picture: the file's bytes, the prompt it was drawn from, and how it was made."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any, Self

from pydantic import AwareDatetime, Field, field_serializer, field_validator, model_validator

from taleward.core.errors import ConfigurationError
from taleward.core.frozen_model import FrozenDict, FrozenMapping, FrozenModel, ValidatedModel
from taleward.images.picture_formats import SUFFIXES, MediaType, open_bitmap, rasterize_svg, read_header
from taleward.images.prompt_spec import PromptSpec

ParameterValue = str | int | float | bool | None


class PictureLineage(FrozenModel):
    """How a picture was made.

    Attributes:
        model: The image model's spec.
        parameters: What the model was asked for, such as `steps` and `guidance_scale`.
        versions: Versions of the libraries that drew it, by name.
        scheduler: The diffusion scheduler's class, `None` for other models.
        prompt: What the model was sent, as rendered from the prompt.
        negative_prompt: What the model was told to leave out.
        notes: What the model ignores or draws otherwise than asked.
        request_sha256: Identifies the request, see `ImageRequest.sha256`.
        parents: The SHA-256 of the pictures it was made from.
        created: When it was drawn.
        duration_s: Seconds it took, its share of a batch's.
        cost_usd: Its cost in US dollars, `None` if unknown.
        tokens: Its share of the tokens of a hosted model's request, by kind: `input_text`, `input_image` and
            `output_image`; empty if unknown.
    """

    model: str = Field(min_length=1)
    parameters: FrozenMapping[str, ParameterValue] = FrozenDict()
    versions: FrozenMapping[str, str] = FrozenDict()
    scheduler: str | None = None
    prompt: str = ""
    negative_prompt: str = ""
    notes: tuple[str, ...] = ()
    request_sha256: str = ""
    parents: tuple[str, ...] = ()
    created: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    duration_s: float = Field(default=0.0, ge=0.0)
    cost_usd: float | None = Field(default=None, ge=0.0)
    tokens: FrozenMapping[str, int] = FrozenDict()


class Picture(ValidatedModel):
    """A picture that an image model returned. It has not been judged: `ImageGuard` does that.

    Format, size and digest are read from the bytes; what is given and disagrees is an error. In JSON the bytes are
    Base64.

    Attributes:
        data: The file: PNG, JPEG, WebP or SVG.
        media_type: Its format.
        width: Its width in pixels.
        height: Its height in pixels.
        sha256: The SHA-256 of `data` in hexadecimal.
        prompt: The prompt.
        alt_text: What it shows, for readers who cannot see it; the prompt's by default.
        seed: The seed it was drawn with; `None` if the model takes none.
        lineage: How it was made.
        flags: What the model's own filter reported, such as `"blocked"`; a picture with any is not released.
        credits: Whose drawings it contains, with their licenses.
    """

    data: bytes = Field(repr=False)
    media_type: MediaType
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    sha256: str
    prompt: PromptSpec
    alt_text: str
    seed: int | None = None
    lineage: PictureLineage
    flags: tuple[str, ...] = ()
    credits: tuple[str, ...] = ()

    @classmethod
    def from_bytes(
        cls,
        data: bytes,
        *,
        prompt: PromptSpec | str,
        lineage: PictureLineage | None = None,
        **fields: Any,
    ) -> Self:
        """Create a picture from a file's bytes; format, size and digest are read from them.

        Args:
            data: The file.
            prompt: What it shows.
            lineage: How it was made; by default it says `file`.
            fields: The other fields.

        Raises:
            ConfigurationError: If the bytes are not a PNG, JPEG, WebP or SVG file.
        """
        try:
            header = read_header(data)
        except ValueError as error:
            raise ConfigurationError(f"{error}.", hint="Pass the bytes of a PNG, JPEG, WebP or SVG file.") from error
        spec = PromptSpec.of(prompt) if isinstance(prompt, str) else prompt
        return cls(
            data=data,
            media_type=header.media_type,
            width=header.width,
            height=header.height,
            sha256=hashlib.sha256(data).hexdigest(),
            prompt=spec,
            lineage=lineage or PictureLineage(model="file"),
            **{"alt_text": spec.alt_text, **fields},
        )

    @classmethod
    def open(cls, path: Path | str, *, prompt: PromptSpec | str = "a picture", **fields: Any) -> Self:
        """Read a picture file.

        Args:
            path: The file.
            prompt: What it shows.
            fields: The other fields, see `from_bytes`.

        Raises:
            ConfigurationError: If it is not a PNG, JPEG, WebP or SVG file.
            OSError: If it cannot be read.
        """
        return cls.from_bytes(Path(path).read_bytes(), prompt=prompt, **fields)

    @field_validator("data", mode="before")
    @classmethod
    def _decode(cls, data: object) -> object:
        return base64.b64decode(data, validate=True) if isinstance(data, str) else data

    @field_serializer("data", when_used="json")
    def _encode(self, data: bytes) -> str:
        return base64.b64encode(data).decode("ascii")

    @model_validator(mode="after")
    def _check_bytes(self) -> Self:
        if (actual := read_header(self.data)) != (self.media_type, self.width, self.height):
            claimed = f"{self.media_type} of {self.width}x{self.height}"
            msg = f"the bytes are {actual.media_type} of {actual.width}x{actual.height}, not {claimed}"
            raise ValueError(msg)
        if self.sha256 != hashlib.sha256(self.data).hexdigest():
            msg = "the bytes do not have the SHA-256 that the picture claims"
            raise ValueError(msg)
        return self

    @property
    def suffix(self) -> str:
        """The file name's ending, such as `.png`."""
        return SUFFIXES[self.media_type]

    @property
    def blocked(self) -> bool:
        """Whether the model's own filter withheld the picture, so that there is nothing to see in it."""
        return "blocked" in self.flags

    @property
    def data_url(self) -> str:
        """The picture as a `data:` URL."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode('ascii')}"

    def to_pil(self) -> Any:
        """Return the picture as a Pillow `Image`; an SVG picture is drawn at its own size.

        Raises:
            ConfigurationError: If the file is damaged.
            MissingExtra: If Pillow is not installed.
        """
        try:
            return open_bitmap(self.data)
        except ValueError as error:
            raise ConfigurationError(f"{error}.", hint="Draw the picture again.") from error

    def save(self, path: Path | str) -> Path:
        """Write the picture to a file, marked as made by AI.

        The label is in the metadata: XMP with IPTC's `trainedAlgorithmicMedia`. The pixels are not changed.

        Args:
            path: The file, or an existing folder, where the name is the beginning of the digest. A name without an
                ending gets the format's.

        Returns:
            The file.

        Raises:
            ConfigurationError: If the name's ending is another format's.
            OSError: If the file cannot be written.
        """
        from taleward.images.picture_metadata import write_picture

        return write_picture(self, Path(path))

    def _repr_png_(self) -> bytes | None:
        if self.media_type == "image/svg+xml":
            return rasterize_svg(self.data)
        return self.data if self.media_type == "image/png" else None

    def _repr_html_(self) -> str:
        seed = "" if self.seed is None else f", seed {self.seed}"
        caption = f"{self.width}x{self.height}{seed}, {self.lineage.model}"
        # In an `img` element no script of an SVG file runs.
        return (
            f'<figure style="margin:.4em 0;display:inline-block"><img src="{self.data_url}" alt="'
            f'{escape(self.alt_text)}" style="max-width:100%;max-height:32em;border-radius:6px"/>'
            f'<figcaption style="font-size:85%;opacity:.75">{escape(caption)}</figcaption></figure>'
        )

    def __repr__(self) -> str:
        flags = f", flags {', '.join(self.flags)}" if self.flags else ""
        kind = self.media_type.removeprefix("image/")
        return f"<Picture {self.sha256[:12]}: {kind} {self.width}x{self.height}, seed {self.seed}{flags}>"

    __str__ = __repr__
