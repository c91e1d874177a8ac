"""Take the letters that collages write with out of the npm package of the font Fredoka.

`npm pack @fontsource/fredoka` fetches it; unpacked, `python -m training.collage.letters
package/files/fredoka-latin-600-normal.woff images/collage/data/letters.json` takes each glyph's outline.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.ttLib import TTFont

CHARACTERS = [
    chr(code)
    for code in (*range(0x20, 0x7F), *range(0xC0, 0x100), 0xA1, 0xBF, 0x2013, 0x2018, 0x2019, 0x201C, 0x201D, 0x2026)
]


def main() -> None:
    """Write the letters."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("font", type=Path)
    parser.add_argument("target", type=Path)
    paths = parser.parse_args()
    font = TTFont(paths.font)
    names, outlines = font.getBestCmap(), font.getGlyphSet()
    glyphs = {}
    for character in CHARACTERS:
        if (name := names.get(ord(character))) is None:
            continue
        pen = SVGPathPen(outlines, ntos=lambda number: str(round(number)))
        outlines[name].draw(pen)
        glyphs[character] = [round(outlines[name].width), pen.getCommands()]
    content = {
        "font": "Fredoka SemiBold",
        "license": "OFL-1.1",
        "copyright": "Copyright 2016 The Fredoka Project Authors (https://github.com/hafontia/Fredoka-One)",
        "units": font["head"].unitsPerEm,
        "ascent": font["hhea"].ascent,
        "glyphs": glyphs,
    }
    paths.target.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    print(f"{len(glyphs)} letters, {paths.target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
