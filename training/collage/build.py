"""Take the collage's drawings out of the npm package of Noto Emoji.

`npm pack @iconify-json/noto` fetches the package; then
`python -m training.collage.build iconify-json-noto-*.tgz images/collage/data/drawings.zip`. What is taken, and what each
drawing shows, stands in `drawings.txt`; `own.py` holds those that are made of others or are the collage's own.
"""

from __future__ import annotations

import argparse
import colorsys
import json
import re
import tarfile
import zipfile
from collections import Counter
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from PIL import Image
from scipy.ndimage import label

from training.collage.own import DRAWN, made_of

HERE = Path(__file__).parent
SIZE = 128
TONES = ("light", "medium-light", "medium", "medium-dark", "dark")
HEADS = (
    "boy",
    "girl",
    "child",
    "man",
    "woman",
    "old-man",
    "old-woman",
    "astronaut",
    "farmer",
    "cook",
    "prince",
    "baby",
)
HEX = re.compile(r"#[0-9a-f]{6}\b|#[0-9a-f]{3}\b")
ELLIPSE = re.compile(r"<(?:ellipse|circle)\b[^>]*>")
EYE = "#2b2523"
"""The color that pupils get, so that recoloring hair leaves them as they are."""


@dataclass(frozen=True)
class Row:
    """A line of `drawings.txt`."""

    icon: str
    kind: str
    height: float
    facing: str
    names: tuple[str, ...]


def read_rows(path: Path) -> list[Row]:
    """Read the list of drawings."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            icon, kind, height, facing, names = (part.strip() for part in line.split(";"))
            rows.append(Row(icon, kind, float(height), facing, tuple(name.strip() for name in names.split(","))))
    return rows


def read_icons(tarball: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Return an icon package's drawings by name, and what it says about itself."""
    with tarfile.open(tarball) as archive:

        def load(name: str) -> dict[str, Any]:
            member = archive.extractfile(f"package/{name}")
            if member is None:
                raise SystemExit(f"{tarball} holds no {name}; pass a package of Iconify's.")
            content: dict[str, Any] = json.load(member)
            return content

        icons, info = load("icons.json"), load("info.json")
        version = load("package.json")["version"]
    return {k: v["body"] for k, v in icons["icons"].items()}, {**info, "version": version}


def raster(body: str, size: int = SIZE) -> np.ndarray:
    """Draw a body of 128 by 128 units as an array of RGBA values."""
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" viewBox="0 0 128 128">{body}</svg>'
    image = Image.open(BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True))))
    return np.asarray(image.convert("RGBA"))


def short_ids(body: str) -> str:
    """Number the ids of gradients and clips; `~` stands for the prefix that each copy in a picture gets."""
    for number, name in enumerate(dict.fromkeys(re.findall(r'\bid="([^"]+)"', body))):
        body = re.sub(rf'(id="|url\(#|href="#){re.escape(name)}(["\)])', rf"\g<1>~{number}\2", body)
    return body


def box(pixels: np.ndarray) -> list[int]:
    """Return left, top, right and bottom of what is not transparent."""
    rows, columns = np.nonzero(pixels[..., 3] > 60)
    return [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]


def main_color(pixels: np.ndarray) -> str:
    """Return the color that covers most of a drawing; outlines, whites and pupils count for little."""
    opaque = pixels[pixels[..., 3] > 200][:, :3]
    counts: Counter[tuple[int, int, int]] = Counter(map(tuple, (opaque // 24 * 24 + 12).tolist()))

    def weight(item: tuple[tuple[int, int, int], int]) -> float:
        _, light, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in item[0]))
        return item[1] * (0.25 if light > 0.93 or light < 0.15 else 0.55 + saturation)

    near = max(counts.items(), key=weight)[0]
    close = opaque[np.abs(opaque.astype(int) - near).max(axis=1) <= 12]
    return "#" + "".join(f"{int(v):02x}" for v in close.mean(axis=0).round())


def dark(color: str) -> bool:
    """Whether a fill is that of a pupil."""
    full = color if len(color) == 7 else "#" + "".join(c * 2 for c in color[1:])
    return max(int(full[i : i + 2], 16) for i in (1, 3, 5)) < 0x50


def find_eyes(body: str, pixels: np.ndarray) -> tuple[str, list[list[float]]]:
    """Return the body with its pupils in a color of their own, and each eye's middle, radius and the color around it."""
    found: list[tuple[str, float, float, float]] = []
    for match in ELLIPSE.finditer(body):
        tag = match[0]
        numbers = {name: float(v) for name, v in re.findall(r'\b(cx|cy|rx|ry|r)="([-\d.]+)"', tag)}
        if "cx" not in numbers or "transform" in tag:
            continue
        fill = re.search(r'fill="(#[0-9a-f]+)"', tag)
        group = re.findall(r'<g fill="(#[0-9a-f]+)"', body[: match.start()])
        color = fill[1] if fill else (group[-1] if group else "#000")
        radius = max(numbers.get("rx", 0), numbers.get("ry", 0), numbers.get("r", 0))
        if dark(color) and 2.5 < radius < 13 and 25 < numbers["cy"] < 95:
            found.append((tag, numbers["cx"], numbers["cy"], radius))
    pairs = [
        (a, b)
        for a in found
        for b in found
        if a[1] < b[1] and abs(a[2] - b[2]) < 3 and abs(a[3] - b[3]) < 1.5 and b[1] - a[1] > 12
    ]
    if not pairs:
        return body, []
    eyes = []
    for tag, x, y, radius in max(pairs, key=lambda pair: pair[0][3]):
        recolored = re.sub(r' fill="[^"]*"', "", tag).replace("/>", f' fill="{EYE}"/>')
        body = body.replace(tag, recolored)
        around = pixels[min(127, int(y + radius + 3)), min(127, int(x)), :3]
        eyes.append([x, y, radius, int("".join(f"{v:02x}" for v in around), 16)])
    return body, eyes


def find_dark_pair(pixels: np.ndarray) -> list[list[float]]:
    """Return the eyes of a head whose pupils are no ellipses: two dark spots of one size on one line."""
    spots, count = label((pixels[..., :3].max(axis=2) < 0x58) & (pixels[..., 3] > 200))
    found = []
    for number in range(1, count + 1):
        rows, columns = np.nonzero(spots == number)
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        if 5 <= height <= 24 and 5 <= width <= 24 and 25 < rows.mean() < 95 and 0.55 < width / height < 1.8:
            found.append((float(columns.mean()), float(rows.mean()), float(max(height, width)) / 2))
    pairs = [
        (a, b) for a in found for b in found if 12 < b[0] - a[0] < 90 and abs(a[1] - b[1]) < 3 and abs(a[2] - b[2]) < 2
    ]
    if not pairs:
        return []
    best = min(pairs, key=lambda pair: abs(pair[0][0] + pair[1][0] - SIZE) - pair[0][2])
    eyes = []
    for x, y, radius in best:
        around = pixels[min(127, round(y + radius + 3)), round(x), :3]
        eyes.append([round(x, 1), round(y, 1), radius, int("".join(f"{v:02x}" for v in around), 16)])
    return eyes


def skin_tones(icons: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return for each skin tone what the colors of the light one become; read off the same head in both."""
    maps: dict[str, dict[str, str]] = {}
    for tone in TONES[1:]:
        colors: dict[str, Counter[str]] = {}
        for head in HEADS:
            light, other = icons[f"{head}-light-skin-tone"], icons[f"{head}-{tone}-skin-tone"]
            paths = {d: fill for fill, d in re.findall(r'<path fill="(#[0-9a-f]+)" d="([^"]+)"', other)}
            for fill, d in re.findall(r'<path fill="(#[0-9a-f]+)" d="([^"]+)"', light):
                if d in paths:
                    colors.setdefault(fill, Counter())[paths[d]] += 1
        maps[tone] = {a: b.most_common(1)[0][0] for a, b in colors.items() if b.most_common(1)[0][0] != a}
    return maps


def main() -> None:
    """Write the archive of drawings."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("noto", "target"):
        parser.add_argument(name, type=Path)
    paths = parser.parse_args()
    noto, info = read_icons(paths.noto)
    index: dict[str, Any] = {"drawings": {}, "skin": skin_tones(noto)}
    bodies: dict[str, str] = {}
    for row in read_rows(HERE / "drawings.txt"):
        collection, _, icon = row.icon.rpartition(":")
        made = made_of(icon, noto)
        if collection == "own":
            body = DRAWN[icon]
        elif made is not None:
            body = made
        else:
            toned = f"{icon}-light-skin-tone"
            body = noto[toned] if toned in noto else noto[icon]
        body = short_ids(body)
        pixels = raster(body.replace("~", "z"))
        entry: dict[str, Any] = {
            "names": row.names,
            "kind": row.kind,
            "height": row.height,
            "facing": row.facing,
            "box": box(pixels),
            "color": main_color(pixels),
            "set": collection or "noto",
        }
        if row.kind in ("head", "bust", "beast"):
            body, eyes = find_eyes(body, pixels)
            entry["eyes"] = eyes or find_dark_pair(pixels)
        if row.kind == "bust":
            bottom = entry["box"][3] - 3
            line = pixels[bottom, :, :]
            columns = np.nonzero(line[:, 3] > 200)[0]
            middle = [tuple(int(v) for v in line[x, :3]) for x in columns if 30 < x < 98]
            entry["cloth"] = "#" + "".join(f"{v:02x}" for v in Counter(middle).most_common(1)[0][0])
            entry["shoulders"] = [int(columns.min()), int(columns.max())]
        name = icon.replace("-light-skin-tone", "")
        index["drawings"][name] = entry
        bodies[name] = body
    index["sets"] = {"noto": _credit(info)}
    paths.target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(paths.target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        _write(archive, "index.json", json.dumps(index, separators=(",", ":"), ensure_ascii=False))
        for name, body in bodies.items():
            _write(archive, f"{name}.svg", body)
    print(f"{len(bodies)} drawings, {paths.target.stat().st_size / 1e6:.2f} MB")


def _credit(info: dict[str, Any]) -> dict[str, str]:
    return {
        "name": info["name"],
        "author": info["author"]["name"],
        "url": info["author"]["url"],
        "license": info["license"]["spdx"],
        "version": info["version"],
    }


def _write(archive: zipfile.ZipFile, name: str, text: str) -> None:
    """Add a file with a fixed date, so that the same input gives the same archive."""
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, text)


if __name__ == "__main__":
    main()
