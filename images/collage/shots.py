"""How much of a scene a picture shows: all of it, or its characters from nearer."""

from __future__ import annotations

import re
from typing import Literal

from taleward.images.collage.placed import Layout, Placed
from taleward.images.collage.scenery.stage import Stage

Shot = Literal["whole", "medium", "close"]

_NEAREST = {"medium": 1.25, "close": 1.75}
_MARGIN = 0.06
_FAR = ("tree", "building", "mountain")
_MUST_SHOW = 0.55
"""How much of a tree or a house has to be in the picture; of all other things, everything."""


def shot_of(camera: str) -> Shot:
    """Return the shot that a viewpoint asks for."""
    if re.search(r"\bclose|\bmacro\b|\bportrait\b", camera, re.IGNORECASE):
        return "close"
    return "medium" if re.search(r"\bmedium\b|\bmid-shot\b", camera, re.IGNORECASE) else "whole"


def zoomed(scene: str, layout: Layout, stage: Stage, shot: Shot) -> str:
    """Return a scene enlarged around its things, which all stay in the picture."""
    if shot == "whole" or not layout.placed:
        return scene
    left, top, right, bottom = _around(layout)
    margin = _MARGIN * min(stage.width, stage.height)
    wide, high = right - left + 2 * margin, bottom - top + 2 * margin
    scale = min(_NEAREST[shot], stage.width / wide, stage.height / high)
    if scale <= 1.02:
        return scene
    width, height = stage.width / scale, stage.height / scale
    x = min(max((left + right - width) / 2, 0.0), stage.width - width)
    y = min(max(bottom + margin - height, 0.0), stage.height - height)
    if y > top - margin:
        y = max(0.0, top - margin)
    return f'<g transform="scale({scale:.4f}) translate({-x:.2f} {-y:.2f})">{scene}</g>'


def _around(layout: Layout) -> tuple[float, float, float, float]:
    boxes = [_needed(placed) for placed in layout.placed]
    return min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)


def _needed(placed: Placed) -> tuple[float, float, float, float]:
    left, top, right, bottom = placed.box
    if placed.string_to is not None:
        top, bottom = min(top, placed.string_to[1]), max(bottom, placed.string_to[1])
    if placed.thing.drawing.kind not in _FAR:
        return left, top, right, bottom
    cut = (right - left) * (1 - _MUST_SHOW) / 2
    return left + cut, top + (bottom - top) * (1 - _MUST_SHOW), right - cut, bottom
