"""Take the screenshots of a bound book in `docs/screenshots/`: `python docs/book_screenshots.py`.

Makes a book of a short tale with the offline collage, binds it as HTML, and takes the pictures with headless Chromium.
Needs `chromium` or `google-chrome` on the `PATH`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, ViewportSize, sync_playwright

import taleward as tw

FOLDER = Path(__file__).parent / "screenshots"
DESKTOP: ViewportSize = {"width": 1120, "height": 700}
PHONE: ViewportSize = {"width": 360, "height": 740}
COLORS = 200
"""A flat drawing needs no more, and the files stay small."""
TALE = """A little fox lived in a small house in the snowy forest. Every evening the fox lit a lantern.

One night the snow fell so thick that the path was gone. The fox saw an owl in a tree. The owl heard somebody small.

The fox took the lantern and walked into the quiet white forest. Behind a tree sat a rabbit in the snow.

The fox and the rabbit walked home through the snowy forest with the lantern.

Soon there was soup, and the fox, the rabbit and the owl sat in front of the house. The rabbit laughed until her ears
were warm again."""


def main() -> None:
    """Take all screenshots."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("Neither chromium nor google-chrome is on the PATH; install one of them.")
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        book = tw.Book(TALE, images="collage", title="The Fox and the Lantern", pages=5)
        address = book.bind(Path(folder) / "book.html").as_uri()
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        save(chromium, address, "book-cover.png", DESKTOP)
        save(chromium, f"{address}#page-1", "book-page.png", DESKTOP)
        save(chromium, f"{address}#page-4", "book-phone.png", PHONE, dark=True)
        chromium.close()


def save(browser: Browser, address: str, name: str, size: ViewportSize, *, dark: bool = False) -> None:
    """Save what a window shows as a PNG with few colors."""
    page = browser.new_page(viewport=size, reduced_motion="reduce", color_scheme="dark" if dark else "light")
    page.goto(address)
    page.wait_for_timeout(300)
    image = Image.open(BytesIO(page.screenshot())).convert("RGB")
    page.close()
    file = FOLDER / name
    image.quantize(COLORS, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{name}: {file.stat().st_size / 1000:.0f} kB")  # noqa: T201


if __name__ == "__main__":
    main()
