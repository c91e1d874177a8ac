"""Bodies for animals of which the drawings show the head only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from taleward.images.collage.colors import darker, recolor
from taleward.images.collage.looks import Look
from taleward.images.collage.shapes import circle, ellipse, line, path


@dataclass(frozen=True)
class Coat:
    """The colors of an animal, and its tail.

    Attributes:
        fur: The color of most of it.
        belly: The color of its belly.
        paws: The color of its paws.
        tail_kind: The shape of its tail: `bushy`, `tuft`, `long`, `puff`, `curl` or none.
        tip: The color of the tail's tip.
    """

    fur: str
    belly: str
    paws: str
    tail_kind: str = ""
    tip: str = ""

    def tail(self, hip: float, *, side: int = 1) -> str:
        """Return the tail, at the right."""
        y = hip
        if self.tail_kind == "bushy":
            return path(
                f"M12 {y + 4:.0f}C52 {y + 10:.0f} 84 {y - 14:.0f} 80 {y - 64:.0f}C62 {y - 62:.0f} 44 {y - 34:.0f} 14 {y - 18:.0f}Z",
                fill=self.fur,
            ) + path(
                f"M80 {y - 64:.0f}C58 {y - 62:.0f} 62 {y - 44:.0f} 70 {y - 24:.0f}C80 {y - 34:.0f} 82 {y - 50:.0f} 80 {y - 64:.0f}Z",
                fill=self.tip or self.belly,
            )
        if self.tail_kind == "tuft":
            return path(
                f"M16 {y:.0f}C50 {y + 8:.0f} 66 {y - 14:.0f} 62 {y - 38:.0f}", stroke=self.fur, width=7
            ) + ellipse(62, y - 44, 9, 13, self.tip or darker(self.fur, 0.4))
        if self.tail_kind == "long":
            return path(
                f"M16 {y:.0f}C54 {y + 10:.0f} 74 {y - 16:.0f} 60 {y - 46:.0f}", stroke=self.tip or self.fur, width=9
            )
        if self.tail_kind == "thin":
            return path(
                f"M16 {y:.0f}C54 {y + 10:.0f} 74 {y - 16:.0f} 60 {y - 46:.0f}", stroke=self.tip or self.fur, width=5
            )
        if self.tail_kind == "puff":
            return circle(36, y + 4, 12, self.belly)
        if self.tail_kind == "curl":
            return path(f"M30 {y:.0f}c14 -2 18 -16 8 -18s-12 12 4 12", stroke=darker(self.fur, 0.12), width=5)
        return ""


_COATS: Mapping[str, Coat] = {
    "fox": Coat("#ff7022", "#fff1e2", "#5b3a2e", "bushy", "#fff1e2"),
    "wolf": Coat("#a9a9ad", "#e4e4e7", "#8d8d93", "bushy", "#e4e4e7"),
    "bear": Coat("#855b52", "#a98274", "#6b463f"),
    "panda": Coat("#f4f4f4", "#ffffff", "#3a3a3f"),
    "polar-bear": Coat("#e9eff3", "#ffffff", "#d5e0e7"),
    "koala": Coat("#a9a9ad", "#dedee2", "#8d8d93"),
    "lion": Coat("#f2b04a", "#ffdd9e", "#e0983a", "tuft", "#7a4f41"),
    "hamster": Coat("#f2a159", "#ffe9d0", "#f7c9a0", "puff"),
    "frog": Coat("#a9c41b", "#e3ee9b", "#8fa815"),
    "cat-face": Coat("#ffc022", "#fff0bf", "#f0a500", "long"),
    "dog-face": Coat("#f3d9b4", "#fff6e6", "#a5694f", "long", "#a5694f"),
    "rabbit-face": Coat("#b5c2c8", "#f2f6f8", "#a1b0b7", "puff"),
    "mouse-face": Coat("#b0b0b0", "#e6e6e6", "#f3a9a9", "thin", "#f3a9a9"),
    "pig-face": Coat("#ffcfae", "#ffe3d0", "#f2a98c", "curl"),
    "cow-face": Coat("#e6e0db", "#ffffff", "#7d5a4c", "tuft", "#7d5a4c"),
    "monkey-face": Coat("#a5805d", "#ffd9a3", "#c9a06f", "long"),
    "tiger-face": Coat("#ff8e01", "#fff0dc", "#f07c00", "long"),
    "robot": Coat("#90a4ae", "#cfd8dc", "#607d8b"),
    "alien": Coat("#adbcc3", "#d3dee3", "#90a4ae"),
}


def coat_of(look: Look) -> Coat:
    """Return an animal's colors."""
    coat = _COATS.get(look.drawing.name, Coat("#b08968", "#e6ccb2", "#7f5539"))
    if not look.color:
        return coat
    main = look.drawing.color
    change = {value: recolor(value, main, look.color) for value in (coat.fur, coat.belly, coat.paws, coat.tip) if value}
    return Coat(change[coat.fur], change[coat.belly], change[coat.paws], coat.tail_kind, change.get(coat.tip, ""))


def animal_body(look: Look, pose: str) -> tuple[str, float, tuple[float, float], float]:
    """Return an animal's body from the front, the height of its neck, where its paw is, and half its width.

    It sits on its haunches, or stands on its hind legs where its pose needs its arms.
    """
    coat = coat_of(look)
    if pose in ("stand", "sit"):
        return _sitting(coat)
    neck, hip = -92.0, -30.0
    arm_y = neck + 18
    places = {
        "wave": ((-44.0, neck + 56), (56.0, neck - 16)),
        "dance": ((-56.0, neck - 6), (56.0, neck - 10)),
        "run": ((-54.0, neck + 34), (50.0, neck + 40)),
        "hold": ((-42.0, neck + 54), (36.0, neck + 40)),
    }.get(pose, ((-44.0, neck + 54), (44.0, neck + 54)))
    legs = {
        "run": ((-36.0, -14.0), (28.0, -4.0)),
        "walk": ((-28.0, -4.0), (26.0, -6.0)),
        "dance": ((-34.0, -18.0), (18.0, -4.0)),
    }
    parts = [coat.tail(hip)]
    for side, (x, y) in zip((-1, 1), legs.get(pose, ((-19.0, -4.0), (19.0, -4.0))), strict=True):
        parts.append(line(side * 17, hip, x, y - 6, 24, darker(coat.fur, 0.1) if side < 0 else coat.fur))
        parts.append(ellipse(x + side * 3, y - 2, 15, 8, coat.paws))
    parts.append(_arm(-1, arm_y, places[0], coat))
    parts.append(
        path(
            f"M-24 {neck}C-46 {neck + 26} -46 {hip + 10} -20 {hip + 14}Q0 {hip + 20} 20 {hip + 14}C46 {hip + 10} 46 {neck + 26} 24 {neck}Z",
            fill=coat.fur,
        )
    )
    parts.append(ellipse(0, (neck + hip) / 2 + 10, 23, 31, coat.belly))
    parts.append(_arm(1, arm_y, places[1], coat))
    return "".join(parts), neck, places[1], 62.0


def _arm(side: int, y: float, end: tuple[float, float], coat: Coat) -> str:
    x2, y2 = end
    return path(
        f"M{side * 26} {y:.0f}Q{side * 44} {(y + y2) / 2:.0f} {x2:.0f} {y2:.0f}",
        stroke=darker(coat.fur, 0.08),
        width=18,
    ) + circle(x2, y2, 9.5, coat.paws)


def _sitting(coat: Coat) -> tuple[str, float, tuple[float, float], float]:
    neck = -88.0
    parts = [
        coat.tail(-10.0),
        ellipse(-30, -18, 25, 22, darker(coat.fur, 0.1)),
        ellipse(30, -18, 25, 22, darker(coat.fur, 0.1)),
        path(f"M-24 {neck}C-44 -58 -44 -10 -26 -6L26 -6C44 -10 44 -58 24 {neck}Z", fill=coat.fur),
        path(f"M-15 {neck + 4}C-24 -58 -20 -24 0 -22C20 -24 24 -58 15 {neck + 4}Z", fill=coat.belly),
        line(-13, -46, -14, -8, 17, coat.fur),
        line(13, -46, 14, -8, 17, coat.fur),
        ellipse(-15, -5, 13, 8, coat.paws),
        ellipse(15, -5, 13, 8, coat.paws),
        ellipse(-40, -4, 14, 7, coat.paws),
        ellipse(40, -4, 14, 7, coat.paws),
    ]
    return "".join(parts), neck, (34.0, -34.0), 58.0


def animal_curled(look: Look) -> tuple[str, float, float, float]:
    """Return an animal's body curled up in sleep, where the head goes (middle and lower edge), and the head's scale."""
    coat = coat_of(look)
    tail = ""
    if coat.tail_kind == "bushy":
        tail = path("M104 -16C112 4 40 12 -20 0C-30 -8 -20 -20 -4 -18C40 -14 70 -20 84 -34Z", fill=coat.fur) + path(
            "M-20 0C-34 -6 -26 -22 -4 -18C6 -14 4 -4 -4 2Z", fill=coat.tip or coat.belly
        )
    elif coat.tail_kind in ("long", "thin", "tuft"):
        tail = path("M100 -14C90 2 40 4 0 -4", stroke=coat.tip or coat.fur, width=10 if coat.tail_kind == "long" else 6)
    body = (
        path("M-86 -2C-104 -44 -60 -84 8 -84C74 -84 118 -54 112 -20C110 -6 98 0 84 0Z", fill=coat.fur)
        + path("M52 -2C34 -14 34 -40 56 -50C82 -60 106 -44 108 -24C108 -10 100 -2 90 0Z", fill=darker(coat.fur, 0.1))
        + ellipse(44, -6, 22, 9, coat.paws)
        + tail
    )
    return body, -52.0, 2.0, 0.84
