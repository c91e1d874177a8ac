"""The background of a scene."""

from __future__ import annotations

from taleward.images.collage.scenery.land import LAND
from taleward.images.collage.scenery.rooms import room
from taleward.images.collage.scenery.settled import SETTLED
from taleward.images.collage.scenery.stage import Backdrop, Stage
from taleward.images.collage.scenery.water import WATERS


def backdrop(stage: Stage) -> Backdrop:
    """Draw the background of a scene."""
    if stage.indoors:
        return room(stage)
    return {**LAND, **SETTLED, **WATERS}[stage.place](stage)
