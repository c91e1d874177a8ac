"""Image models for tests: one that draws one color, and one that hangs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from PIL import Image

from taleward.images.models.base import DrawingTask, ImageModel
from taleward.images.models.capabilities import ImageCapabilities
from taleward.images.models.events import DrawingProgress, FinishedPicture, ImageEvent
from taleward.images.picture import Picture, PictureLineage


def png(color: tuple[int, ...] | str = (200, 30, 30), size: tuple[int, int] = (16, 16), mode: str = "RGB") -> bytes:
    buffer = BytesIO()
    Image.new(mode, size, color).save(buffer, "PNG")
    return buffer.getvalue()


def noise_png(seed: int, size: tuple[int, int] = (32, 32)) -> bytes:
    import numpy as np

    pixels = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


class NoiseModel(ImageModel):
    """Draws noise by the seed; counts its calls, and hangs or fails on demand."""

    default_pixels = 32 * 32

    def __init__(self, *, step_s: float = 0.0, steps: int = 2, blocked: frozenset[int] = frozenset(), **options: Any):
        super().__init__(
            "noise", ImageCapabilities(image_to_image=True, inpainting=True, strength=True, size_multiple=8), **options
        )
        self.step_s, self.steps, self.blocked_indices = step_s, steps, blocked
        self.drawn: list[int] = []
        self.prompts: list[str] = []
        self.stopped = False

    def _draw(self, drawing: DrawingTask) -> Iterator[ImageEvent]:
        self.prompts.append(drawing.request.prompt.prompt)
        try:
            for step in range(self.steps):
                time.sleep(self.step_s)
                drawing.check()
                yield DrawingProgress(step=step + 1, steps=self.steps, indices=tuple(drawing.seeds))
        except BaseException:
            self.stopped = True
            raise
        for index, seed in drawing.seeds.items():
            self.drawn.append(seed)
            is_blocked = index in self.blocked_indices
            data = png("black", drawing.size) if is_blocked else noise_png(seed, drawing.size)
            picture = Picture.from_bytes(
                data,
                prompt=drawing.request.prompt,
                seed=seed,
                lineage=PictureLineage(model=self.spec, parents=drawing.request.parents),
                flags=("blocked",) if is_blocked else (),
            )
            yield FinishedPicture(index=index, picture=picture)
