"""Where the characters of a scene stand: in a row, or in several if they are many."""

from __future__ import annotations

from taleward.images.collage.arrangement import LIVING, Arrangement
from taleward.images.collage.scene import Thing
from taleward.images.collage.sprites import Sprite, sprite


def place_characters(page: Arrangement, main: list[tuple[int, Thing]]) -> None:
    """Place the characters, given with their numbers in the scene."""
    instances = [(n, t, v) for n, t in main for v in range(t.count)]
    total = len(instances)
    reference = page.main_height(total)
    pieces: list[tuple[int, Thing, Sprite, float]] = []
    first_height = main[0][1].drawing.height if main else 1.0
    for number, thing, variant in instances:
        piece = sprite(thing, f"t{number}v{variant}-", variant=variant)
        height = page.height(thing, reference)
        if total == 1 and thing.drawing.kind in LIVING:
            height = reference * min(1.2, max(0.72, (thing.drawing.height / 1.2) ** 0.25)) * thing.size**0.5
        elif total == 1 and thing.drawing.kind in ("swimmer", "flyer", "fullflyer", "floater"):
            height = page.unit * 0.36 * thing.size**0.4
        elif total == 1 and thing.drawing.kind in ("thing", "food", "flower", "plant"):
            height = page.unit * 0.34 * thing.size**0.4
        elif thing.drawing.kind in LIVING and first_height < 0.3 and thing.drawing.height < 0.5:
            height = max(height, reference * 0.75)
        if thing.pose == "sleep" and thing.has_body:
            height *= 0.5
        if page.flies(thing):
            height = min(height, page.unit * 0.36)
        pieces.append((number, thing, piece, page.scale(piece, height, 0.62 if total == 1 else 0.5)))
    room = page.w * (0.9 if total > 2 else 0.84)
    rows = _rows(page, pieces, room)
    if len(rows) > 1:
        most = page.unit * 0.46 / (1 + 0.72 * (len(rows) - 1))
        rows = [
            [(n, t, piece, min(s, most * s / max(1.0, _tallest(pieces)))) for n, t, piece, s in row] for row in rows
        ]
        page.row_height = min(most, _tallest(pieces))
    for row, members in enumerate(rows):
        _row(page, members, row, len(rows), room, total)


def _tallest(pieces: list[tuple[int, Thing, Sprite, float]]) -> float:
    return max(piece.height * scale for _, _, piece, scale in pieces)


def _rows(
    page: Arrangement, pieces: list[tuple[int, Thing, Sprite, float]], room: float
) -> list[list[tuple[int, Thing, Sprite, float]]]:
    wide = sum(piece.width * scale for _, _, piece, scale in pieces) * 1.12
    number = 1 if len(pieces) < 6 or wide < room * 1.1 else 2 if len(pieces) < 11 else 3
    rows: list[list[tuple[int, Thing, Sprite, float]]] = [[] for _ in range(number)]
    for index, entry in enumerate(pieces):
        rows[index * number // len(pieces)].append(entry)
    return rows


def _row(
    page: Arrangement, members: list[tuple[int, Thing, Sprite, float]], row: int, rows: int, room: float, total: int
) -> None:
    """Place one row of characters; the first row is the nearest."""
    wide = sum(piece.width * scale for _, _, piece, scale in members) * 1.1
    shrink = min(1.0, room / wide) * (0.84**row)
    gap = (room - wide * min(1.0, room / wide)) / (len(members) + 1)
    gap = min(gap, page.w * 0.16)
    span = sum(piece.width * scale * shrink for _, _, piece, scale in members) + gap * (len(members) - 1)
    if total == 1:
        middle = page.w * (0.5 + 0.12 * page.side)
    elif len(page.scene.things) > len({n for n, *_ in members}) and total < 3:
        middle = page.w * (0.5 + 0.06 * page.side)
    else:
        middle = page.w * 0.5
    if row % 2:
        middle += (page.w * 0.04 + span / len(members) * 0.42) * page.side
    x = middle - span / 2
    for index, (number, thing, piece, scale) in enumerate(members):
        s = scale * shrink
        x += piece.left * s
        y = page.baseline(thing, piece.height * s) - row * page.row_height * 0.74
        y += page.draws.between(-0.012, 0.012) * page.h * (1 if total > 1 else 0)
        if page.backdrop.surface in ("air", "deep") and index % 2 and total > 1:
            y -= page.h * 0.12
        x = min(max(x, piece.left * s + page.w * 0.03), page.w * 0.97 - piece.right * s)
        placed = page.put(number, thing, piece, x, y, s)
        if page.backdrop.surface == "air":
            placed.turn = page.draws.between(-9, 9)
        x += piece.right * s + gap
