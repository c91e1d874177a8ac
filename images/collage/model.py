"""`image_model("collage")`: pictures composed from drawings, offline."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

from taleward.core.errors import ConfigurationError, MissingExtra
from taleward.images.collage.captions import describe, noun_phrase
from taleward.images.collage.compose import Composition, compose
from taleward.images.collage.library import library
from taleward.images.collage.plan import plan_scene
from taleward.images.collage.scene import CollageScene
from taleward.images.collage.shots import shot_of
from taleward.images.collage.styles import style_of
from taleward.images.models.base import DEFAULT_VARIATIONS, DrawingTask, ImageModel, PictureStore
from taleward.images.models.capabilities import ImageCapabilities
from taleward.images.models.events import FinishedPicture, ImageEvent
from taleward.images.picture import Picture, PictureLineage
from taleward.images.prompt_spec import PromptSpec

CollageFormat = Literal["png", "svg"]

_VERSION = 2
"""Raised whenever the same seed gives another picture; a part of the cache's key."""


class CollageModel(ImageModel):
    """An image model that composes scenes from drawings: offline, in a fraction of a second, the same for the same seed.

    It draws what its lexicon knows: some 500 drawings, 30 kinds of scenery, times of day, weather, poses, colors, sizes
    and how things stand to each other. A picture's `alt_text` says exactly what is in it. Its lineage says what was asked
    for and what could not be drawn, in the parameters `drawn`, `not_drawn`, `place`, `time`, `weather` and `style`.

    Args:
        format: `png`, or `svg` for a drawing that scales.
        n: Variations per call, 1 to 64.
        timeout_s: Time limit of a call in seconds; `None` for none.
        pixels: Area of a picture whose request names no size.
        cache: Where finished pictures are kept, and looked up before they are drawn.

    Raises:
        ConfigurationError: If an option is out of range.
    """

    def __init__(
        self,
        format: CollageFormat = "png",
        *,
        n: int = DEFAULT_VARIATIONS,
        timeout_s: float | None = 60.0,
        pixels: int | None = None,
        cache: PictureStore | None = None,
    ) -> None:
        if format not in ("png", "svg"):
            raise ConfigurationError(
                f"a collage is a png or an svg file; got {format!r}.", hint="For example image_model('collage:svg')."
            )
        spec = "collage" if format == "png" else "collage:svg"
        able = ImageCapabilities(negative_prompt=True, size_multiple=1, max_pixels=16_000_000)
        super().__init__(spec, able, n=n, timeout_s=timeout_s, pixels=pixels, cache=cache)
        self.format = format

    def _parameters(self) -> dict[str, Any]:
        return {"format": self.format, "version": _VERSION}

    def _draw(self, drawing: DrawingTask) -> Iterator[ImageEvent]:
        for index, seed in drawing.seeds.items():
            drawing.check()
            started = time.perf_counter()
            spec = drawing.request.prompt
            scene = plan_scene(spec, seed)
            style = style_of(spec)
            composition = compose(scene, drawing.size, seed, style, text=spec.text_shown, shot=shot_of(spec.camera))
            drawn = _drawn(composition)
            caption = describe(
                scene, drawn, spec.text_shown.words if spec.text_shown and composition.text_drawn else ""
            )
            svg = composition.titled(caption)
            data = svg.encode() if self.format == "svg" else rasterize(svg)
            lineage = PictureLineage(
                model=self.spec,
                prompt=spec.prompt,
                negative_prompt=", ".join(spec.negative),
                parameters={**self._parameters(), "style": style.name, **_account(spec, scene, composition, drawn)},
                versions=_versions(self.format),
                request_sha256=drawing.request.sha256(model=self.spec, parameters=self._parameters()),
                duration_s=time.perf_counter() - started,
                cost_usd=0.0,
            )
            picture = Picture.from_bytes(
                data,
                prompt=spec,
                lineage=lineage,
                alt_text=caption,
                seed=seed,
                credits=library().credit(set(composition.collections)),
            )
            yield FinishedPicture(index=index, picture=picture)


def rasterize(svg: str) -> bytes:
    """Draw an SVG picture as PNG; no font of the system is used, so that it is the same everywhere.

    Raises:
        MissingExtra: If `resvg_py` is not installed.
    """
    try:
        import resvg_py
    except ImportError as error:
        raise MissingExtra("drawing a collage as PNG", "images") from error
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True))


def _drawn(composition: Composition) -> dict[int, int]:
    """Return how many of each thing are in a picture."""
    return dict(Counter(composition.layout.shown))


def _account(spec: PromptSpec, scene: CollageScene, composition: Composition, drawn: dict[int, int]) -> dict[str, str]:
    """Return what is drawn and what is not, as words."""
    things = "; ".join(noun_phrase(thing, count=drawn[i]) for i, thing in enumerate(scene.things) if i in drawn)
    missing = [thing.noun for number, thing in enumerate(scene.things) if number not in drawn]
    if spec.text_shown and not composition.text_drawn:
        missing.append(f'the words "{spec.text_shown.words}"')
    return {
        "place": scene.place,
        "time": scene.time,
        "weather": scene.weather or "fair",
        "drawn": things,
        "not_drawn": "; ".join(dict.fromkeys([*missing, *scene.unknown, *scene.omitted])),
    }


def _versions(format: CollageFormat) -> dict[str, str]:
    from importlib.metadata import version

    return {"resvg-py": version("resvg-py")} if format == "png" else {}
