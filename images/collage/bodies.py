"""Bodies of the collage's own, of persons and of animals in clothes, in poses.

Coordinates: the middle between the feet is (0, 0), up is negative; an adult is about 230 units tall.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from taleward.images.collage.animal_bodies import coat_of
from taleward.images.collage.colors import darker, lighter
from taleward.images.collage.library import library
from taleward.images.collage.looks import Look
from taleward.images.collage.shapes import circle, ellipse, line, path

Pose = Literal["stand", "wave", "walk", "run", "sit", "hold", "dance", "sleep"]

_CLOTHES = {"firefighter": "#d62f2f"}
"""The color of clothes whose lower edge has another."""


@dataclass(frozen=True)
class Body:
    """The body of a person, or of an animal in clothes."""

    tall: bool
    is_bust: bool
    baby: bool = False

    def draw(self, look: Look, pose: Pose) -> tuple[str, float, tuple[float, float], float]:
        """Return the body, the height of its neck, where its hand is, and half its width."""
        drawing = look.drawing
        is_beast = drawing.kind == "beast"
        coat = coat_of(look) if is_beast else None
        skin = coat.fur if coat else library().skin.get(look.tone, {}).get("#f9ddbd", "#f9ddbd")
        cloth = (
            look.top
            if not (self.is_bust and not look.dressed)
            else _CLOTHES.get(drawing.name, drawing.cloth) or look.top
        )
        legs = 26 if self.baby else 62 if self.tall else 38
        trunk = 44 if self.baby else 76 if self.tall else 58
        half = 30 if self.baby else 35 if self.tall else 31
        if self.is_bust:
            legs, trunk, half = 46, 40, 43
        sitting = pose == "sit"
        hip = -(16.0 if sitting else legs)
        neck = hip - trunk
        sleeve, limb = darker(cloth, 0.1), 15.0 if self.tall or self.is_bust else 14.0
        parts = [coat.tail(hip) if coat else "", self._cape(look, neck, hip, half)]
        parts.append(self._legs(look, pose, hip, limb, cloth, half))
        arms, hand = self._arms(pose, neck, half, limb, sleeve, skin, trunk)
        back, front = arms
        parts += [back, self._trunk(look, cloth, neck, hip, half, sitting), front]
        reach = {"dance": 22, "wave": 20, "run": 24}.get(pose, 12)
        if look.dress and not sitting:
            reach = max(reach, 22)
        return "".join(parts), neck, hand, half + reach

    def _trunk(self, look: Look, cloth: str, neck: float, hip: float, half: float, sitting: bool) -> str:
        shoulder = 12 if not self.is_bust else 2
        if look.dress:
            hem = hip + (4 if sitting else min(-hip - 10, 24))
            flare = half + (20 if not sitting else 12)
            shape = (
                f"M{-half + shoulder:.0f} {neck:.0f}Q{-half - 2:.0f} {neck + 8:.0f} {-half + 4:.0f} {neck + 34:.0f}"
                f"L{-flare:.0f} {hem - 4:.0f}Q0 {hem + 10:.0f} {flare:.0f} {hem - 4:.0f}L{half - 4:.0f} {neck + 34:.0f}"
                f"Q{half + 2:.0f} {neck + 8:.0f} {half - shoulder:.0f} {neck:.0f}Z"
            )
            fold = f"M-14 {neck + 44:.0f}Q-18 {hem - 24:.0f} -22 {hem - 4:.0f}M12 {neck + 44:.0f}Q17 {hem - 24:.0f} 20 {hem - 4:.0f}"
            return path(shape, fill=cloth) + path(fold, stroke=darker(cloth, 0.15), width=3)
        low = hip + 8
        shape = (
            f"M{-half + shoulder:.0f} {neck:.0f}Q{-half - 3:.0f} {neck + 4:.0f} {-half:.0f} {neck + 26:.0f}L{-half + 1:.0f} {low:.0f}"
            f"Q0 {low + 7:.0f} {half - 1:.0f} {low:.0f}L{half:.0f} {neck + 26:.0f}Q{half + 3:.0f} {neck + 4:.0f} {half - shoulder:.0f} {neck:.0f}Z"
        )
        trim = path(
            f"M{-half + 1:.0f} {low - 3:.0f}Q0 {low + 4:.0f} {half - 1:.0f} {low - 3:.0f}",
            stroke=darker(cloth, 0.2),
            width=5,
        )
        collar = (
            ""
            if self.is_bust
            else path(f"M-14 {neck + 1:.0f}Q0 {neck + 13:.0f} 14 {neck + 1:.0f}", stroke=lighter(cloth, 0.4), width=5)
        )
        return path(shape, fill=cloth) + trim + collar

    def _cape(self, look: Look, neck: float, hip: float, half: float) -> str:
        if not look.cape:
            return ""
        low = min(-6.0, hip + 26)
        return path(
            f"M{-half + 6:.0f} {neck:.0f}L{-half - 20:.0f} {low:.0f}Q0 {low + 12:.0f} {half + 20:.0f} {low:.0f}L{half - 6:.0f} {neck:.0f}Z",
            fill=look.cape,
        )

    def _legs(self, look: Look, pose: Pose, hip: float, limb: float, cloth: str, half: float) -> str:
        trousers = look.bottom
        if look.dress:
            trousers = (
                library().skin.get(look.tone, {}).get("#f9ddbd", "#f9ddbd") if look.drawing.is_person else trousers
            )
        elif self.is_bust and not look.dressed:
            trousers = darker(cloth, 0.45)
        spread = half * 0.46
        if pose == "sit":
            return "".join(
                line(side * spread * 0.9, hip - 4, side * (spread + 9), -9, limb + 3, trousers)
                + ellipse(side * (spread + 12), -9, 12, 10, look.shoes)
                + ellipse(side * (spread + 12), -6, 8.5, 6, lighter(look.shoes, 0.15))
                for side in (-1, 1)
            )
        ends = {
            "run": ((-1, -spread - 22, -16.0), (1, spread + 15, -5.0)),
            "walk": ((-1, -spread - 9, -5.0), (1, spread + 8, -5.0)),
            "dance": ((-1, -spread - 16, -22.0), (1, spread, -5.0)),
        }.get(pose, ((-1, -spread, -5.0), (1, spread, -5.0)))
        parts = []
        for side, x, y in ends:
            color = darker(trousers, 0.12) if side < 0 else trousers
            parts.append(line(side * spread, hip, x, y, limb + 2, color))
            toe = -5 if pose in ("run", "walk") else side * 3
            parts.append(path(f"M{x - 12 + toe:.1f} {y + 5:.1f}q0 -13 12 -13t12 13Z", fill=look.shoes))
        return "".join(parts)

    def _arms(
        self, pose: Pose, neck: float, half: float, limb: float, sleeve: str, skin: str, trunk: float
    ) -> tuple[tuple[str, str], tuple[float, float]]:
        shoulder_x, shoulder_y = half - limb / 2 + 1, neck + limb / 2 + (2 if not self.is_bust else 6)
        down = shoulder_y + trunk * 0.62
        places = {
            "wave": ((-shoulder_x - 11, down), (shoulder_x + 24, neck - 22)),
            "dance": ((-shoulder_x - 26, neck - 14), (shoulder_x + 26, neck - 18)),
            "run": ((-shoulder_x - 24, shoulder_y + 22), (shoulder_x + 20, shoulder_y + 30)),
            "walk": ((-shoulder_x - 14, down - 4), (shoulder_x + 12, down - 2)),
            "hold": ((-shoulder_x - 9, down), (shoulder_x + 4, shoulder_y + trunk * 0.42)),
            "sit": ((-shoulder_x - 5, down + 2), (shoulder_x + 5, down + 2)),
        }
        ends = places.get(pose, ((-shoulder_x - 9, down), (shoulder_x + 9, down)))
        drawn = []
        for side, (x, y) in zip((-1, 1), ends, strict=True):
            start = side * shoulder_x
            elbow_x = start + (x - start) * 0.45 + side * 5
            elbow_y = shoulder_y + (y - shoulder_y) * 0.55
            drawn.append(
                circle(x, y, limb * 0.56, skin)
                + path(
                    f"M{start:.1f} {shoulder_y:.1f}Q{elbow_x:.1f} {elbow_y:.1f} {x:.1f} {y:.1f}",
                    stroke=sleeve,
                    width=limb - 1,
                )
                + circle(x + (x - elbow_x) * 0.16, y + (y - elbow_y) * 0.16, limb * 0.55, skin)
            )
        return (drawn[0], drawn[1]), ends[1]
