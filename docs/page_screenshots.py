"""Take the screenshots of the page for children in `docs/screenshots/`: `python docs/page_screenshots.py`.

Serves the embedded models on loopback, records in a temporary MLflow store, and takes the pictures with headless
Chromium. Needs `chromium` or `google-chrome` on the `PATH`.
"""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import uvicorn
from PIL import Image
from playwright.sync_api import Page, ViewportSize, sync_playwright
from pydantic import SecretStr

from taleward.evaluation.tracking.tale_recorder import default_tracking_uri
from taleward.serving import ServeConfig, ServedModelConfig, create_app
from taleward.serving.page.settings import PageSettings

FOLDER = Path(__file__).parent / "screenshots"
DESKTOP, TALL, PHONE = (1120, 860), (1120, 1360), (360, 740)
PIN = "4711"
SEED = 8
WISH = {
    "setting": "village at the foot of a mountain",
    "character": "shy dragon",
    "mysterious_object": "silver whistle",
}
REFUSED = "a man who shoots his neighbor with a gun"
TOLD_S = 180_000
COLORS = 200
"""A flat drawing needs no more, and the files stay small."""


def main() -> None:
    """Take all screenshots."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("Neither chromium nor google-chrome is on the PATH; install one of them.")
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, served_page(Path(folder)) as address, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport=size(DESKTOP), reduced_motion="reduce")
        page.set_default_timeout(TOLD_S)
        take_screenshots(page, address)
        dark = chromium.new_page(viewport=size(PHONE), reduced_motion="reduce", color_scheme="dark")
        dark.set_default_timeout(TOLD_S)
        dark.goto(address)
        dark.wait_for_selector("#fields .card")
        save(dark, "page-phone.png")
        chromium.close()


def take_screenshots(page: Page, address: str) -> None:
    """Ask for a story and for one that is refused, and open the grown-ups' side."""
    page.goto(address)
    page.wait_for_selector("#fields .card")
    for idea in WISH.values():
        page.get_by_role("button", name=idea).click()
    save(page, "page-questions.png", top=True)
    page.get_by_role("button", name="Tell me the story").click()
    page.locator("#the-end, #gentle").locator("visible=true").wait_for()
    save(page, "page-story.png")
    page.set_viewport_size(size(PHONE))
    save(page, "page-story-phone.png")
    page.set_viewport_size(size(DESKTOP))
    page.get_by_role("button", name="A new story").click()
    page.get_by_role("button", name="One sentence").click()
    page.get_by_label("A story about").fill(REFUSED)
    page.get_by_role("button", name="Tell me the story").click()
    page.locator("#gentle").wait_for()
    save(page, "page-refusal.png")
    page.get_by_role("link", name="For grown-ups").click()
    page.get_by_label("PIN").fill(PIN)
    page.get_by_role("button", name="Open").click()
    page.locator(".tale summary").first.click()
    page.locator(".tale summary").last.click()
    page.get_by_role("button", name="Suits them").click()
    page.set_viewport_size(size(TALL))
    page.evaluate("window.scrollTo(0, document.querySelector('#tales').offsetTop - 24)")
    save(page, "page-grown-ups.png")


def save(page: Page, name: str, *, top: bool = False) -> None:
    """Save what the window shows as a PNG with few colors."""
    if top:
        page.evaluate("window.scrollTo(0, 0)")
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(300)
    image = Image.open(BytesIO(page.screenshot())).convert("RGB")
    file = FOLDER / name
    image.quantize(COLORS, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{name}: {file.stat().st_size / 1000:.0f} kB")  # noqa: T201


def size(pixels: tuple[int, int]) -> ViewportSize:
    """Return a size as Playwright takes it."""
    return {"width": pixels[0], "height": pixels[1]}


@contextmanager
def served_page(folder: Path) -> Iterator[str]:
    """Serve the page with the embedded models on a free loopback port; yields its address."""
    model = ServedModelConfig(bands=("3-5", "9-12"), seed=SEED)
    config = ServeConfig(
        models={"tales": model},
        embeddings=None,
        tracking_uri=default_tracking_uri(folder),
        page=PageSettings(pin=SecretStr(PIN)),
    )
    server = uvicorn.Server(uvicorn.Config(create_app(config), ws="none", log_level="error"))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            sys.exit("The server did not start.")
        time.sleep(0.1)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


if __name__ == "__main__":
    main()
