"""Make the pictures of MLflow's pages in `docs/screenshots/`: `python docs/screenshots.py`.

Tells and judges a few tales with the embedded models, says something of one, serves MLflow on loopback, and photographs
its pages with a headless Chromium. Needs `chromium` or `google-chrome` on the path.
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

import taleward as tw
from taleward.evaluation.tracking.recorder import default_tracking_uri

HERE = Path(__file__).parent / "screenshots"
SIZE = (1400, 900)
CLOSE = ("Close assistant", "Close")
"""What MLflow lays over its pages."""
_CLICK = """(label) => {
  const all = [...document.querySelectorAll("button, [role=button], span, a")];
  const found = all.find((e) => e.getAttribute("aria-label") === label || e.textContent.trim() === label)
    || all.find((e) => e.tagName === "BUTTON" && e.textContent.trim().startsWith(label));
  if (found) found.click();
}"""
REQUESTS = [
    {"setting": setting, "character": character}
    for setting in ("quiet harbour", "enchanted forest", "snowy mountain")
    for character in ("small boat", "brave fox")
]
REST = {
    "mysterious_object": "glowing map",
    "magical_properties": "the power to show hidden places",
    "action": "follow the map",
    "outcome": "a new friendship",
}


def main() -> None:
    """Make all pictures."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("there is no chromium and no google-chrome on the path")
    HERE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        uri = default_tracking_uri(Path(folder))
        run_id, experiment, trace_id = fill(uri, Path(folder))
        with closing(Browser(browser, Path(folder) / "browser")) as chromium, served(uri) as address:
            base = f"{address}/#/experiments/{experiment}"
            chromium.photograph(f"{base}/runs/{run_id}", HERE / "run.png", shows="Finished", clicks=CLOSE)
            traces = f"{base}/traces?startTimeLabel=ALL"
            chromium.photograph(traces, HERE / "traces.png", shows="quiet harbour", clicks=CLOSE)
            one = f"{traces}&selectedEvaluationId={trace_id}"
            chromium.photograph(one, HERE / "verdict.png", shows="attempt 1", clicks=[*CLOSE, "judge"])
            chromium.photograph(one, HERE / "assessment.png", shows="attempt 1", clicks=[*CLOSE, "Assess"])


def fill(uri: str, folder: Path) -> tuple[str, str, str]:
    """An evaluation of a guard, and a person's feedback on one of its tales: run, experiment, trace."""
    import mlflow

    writer = tw.StoryChain("embedded:storyteller", seed=1)
    guard = tw.Guard(writer, tw.judge("embedded:judge"), attempts=2, keep_drafts=True)
    rows = [{"inputs": {**request, **REST}} for request in REQUESTS]
    names = ["judge_pass_rate", "revision_rate", "words", "latency"]
    found = tw.evaluate(guard, rows, names, name="embedded:storyteller", tracking_uri=uri, spool=folder / "spool")
    if found.run_id is None:
        sys.exit(found.undelivered)
    tale = next(s.tale for s in found.samples if s.tale is not None and s.tale.released)
    store = tw.evaluation.FeedbackStore(uri)
    words = " ".join(tale.text.split()[:6])
    store.record(tale.id, person="anna", rating=4, kid_friendly=True, spans=[words], comment="a calm beginning")
    experiment = mlflow.MlflowClient(tracking_uri=uri).get_run(found.run_id).info.experiment_id
    return found.run_id, experiment, store.tale(tale.id).trace_id


@contextmanager
def served(uri: str) -> Iterator[str]:
    """MLflow's pages on a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--port", str(port)]
    with subprocess.Popen([*command, "--workers", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            until(lambda: _answers(f"{address}/health"), "MLflow")
            yield address
        finally:
            server.terminate()


class Browser:
    """A headless Chromium with one page, spoken to over its DevTools protocol.

    Args:
        program: The browser.
        folder: For its profile.
    """

    def __init__(self, program: str, folder: Path) -> None:
        width, height = SIZE
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += ["--remote-debugging-port=0", "--remote-allow-origins=*", f"--user-data-dir={folder}"]
        self._process = subprocess.Popen(
            [*command, f"--window-size={width},{height}", "about:blank"], stderr=subprocess.DEVNULL
        )
        port_file = folder / "DevToolsActivePort"
        until(lambda: port_file.exists() and port_file.read_text().count("\n") >= 1, "the browser")
        port = port_file.read_text().splitlines()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=10) as answer:
            page = next(p for p in json.load(answer) if p["type"] == "page")
        self._socket = connect(page["webSocketDebuggerUrl"], max_size=None)
        self._sent = 0

    def photograph(self, page: str, file: Path, *, shows: str, clicks: Sequence[str] = ()) -> None:
        """A page as a PNG.

        Args:
            page: Its address.
            file: The file to write.
            shows: A text that is there once the page is drawn.
            clicks: Texts or labels of buttons to press then, where they are there.
        """
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=page)
        until(lambda: shows in str(self.run("document.body.innerText")), f"{shows!r} on {page}")
        for label in ("Got it", *clicks):
            self.run(f"({_CLICK})({json.dumps(label)})")
            time.sleep(1.0)  # the page's own fading
        shot = self.call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(shot["data"]))
        print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB")  # noqa: T201

    def run(self, code: str) -> object:
        """What an expression in the page is."""
        return self.call("Runtime.evaluate", expression=code)["result"].get("value")

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """One command of the protocol."""
        self._sent += 1
        self._socket.send(json.dumps({"id": self._sent, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=300))
            if answer.get("id") == self._sent:
                return dict(answer["result"])

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.terminate()
        self._process.wait(30)


def until(done: Callable[[], bool], what: str, seconds: float = 300.0) -> None:
    """Wait for something."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            sys.exit(f"{what} did not come within {seconds:.0f} s")
        time.sleep(0.2)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2):  # noqa: S310  loopback
            return True
    except OSError:
        return False


if __name__ == "__main__":
    main()
