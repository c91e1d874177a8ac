"""The page in a real Chromium, against an app on loopback."""

from __future__ import annotations

import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="neither chromium nor google-chrome is on the PATH")
_START_S = 60.0
_PATIENCE_MS = 30_000
# A busy machine needs more than the five seconds that Playwright allows.
expect.set_options(timeout=_PATIENCE_MS)

# What was ever to be read on the page, also for a moment.
_WITNESS = """
window.everShown = "";
new MutationObserver(() => { window.everShown += "\\n" + (document.body?.innerText ?? ""); })
  .observe(document, { childList: true, subtree: true, characterData: true });
"""


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Serve an app on a free loopback port; yields its address."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, ws="none", log_config=None)
    server = uvicorn.Server(config)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + _START_S
    while not server.started:
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(_START_S)
        listener.close()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, app: FastAPI, *, script: str = "", console: str = "", **context: Any) -> Iterator[Page]:
    """Open the page of an app; at the end there must be no error in the console and no request to elsewhere.

    Args:
        browser: The browser.
        app: The app.
        script: JavaScript to run before the page's own.
        console: A pattern of messages in the console that are expected.
        context: Options of the browser's context, such as `color_scheme`.
    """
    problems: list[str] = []
    with served(app) as address:
        page = browser.new_context(**context).new_page()
        page.set_default_timeout(_PATIENCE_MS)
        page.on("console", lambda message: problems.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(address) else problems.append(request.url))
        page.add_init_script(_WITNESS + script)
        page.goto(address)
        page.wait_for_selector("#fields .card")
        yield page
        page.context.close()
    assert [problem for problem in problems if not (console and re.search(console, problem))] == []


def ask(page: Page, sentence: str = "a fox") -> None:
    """Ask for a story with one sentence."""
    page.get_by_role("button", name="One sentence").click()
    page.get_by_label("A story about").fill(sentence)
    page.get_by_role("button", name="Tell me the story").click()


def wait_for_the_end(page: Page) -> None:
    """Wait until a story has ended well."""
    page.get_by_text("The end", exact=True).wait_for()
