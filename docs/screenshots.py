"""Take the screenshots of MLflow in `docs/screenshots/`: `python docs/screenshots.py`.

Evaluates a guard with the embedded models, records feedback on one of its tales, serves MLflow on loopback, and takes
screenshots of its pages with headless Chromium. Needs `chromium` or `google-chrome` on the `PATH`.
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

FOLDER = Path(__file__).parent / "screenshots"
SIZE = (1400, 900)
CLOSE = ("Close assistant", "Close")
"""Labels of the buttons that close MLflow's pop-ups."""
_CLICK = """(label) => {
  const all = [...document.querySelectorAll("button, [role=button], span, a")];
  const button = all.find((e) => e.getAttribute("aria-label") === label || e.textContent.trim() === label)
    || all.find((e) => e.tagName === "BUTTON" && e.textContent.trim().startsWith(label));
  if (button) button.click();
}"""
REQUESTS = [
    {"setting": setting, "character": character}
    for setting in ("quiet harbor", "enchanted forest", "snowy mountain")
    for character in ("small boat", "brave fox")
]
OTHER_VALUES = {
    "mysterious_object": "glowing map",
    "magical_properties": "the power to show hidden places",
    "action": "follow the map",
    "outcome": "a new friendship",
}


def main() -> None:
    """Take all screenshots."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("Neither chromium nor google-chrome is on the PATH; install one of them.")
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        tracking_uri = tw.evaluation.default_tracking_uri(Path(folder))
        run_id, experiment_id, trace_id = record_example(tracking_uri, Path(folder))
        with closing(Browser(browser, Path(folder) / "browser")) as chromium, mlflow_server(tracking_uri) as address:
            base = f"{address}/#/experiments/{experiment_id}"
            chromium.take_screenshot(f"{base}/runs/{run_id}", FOLDER / "run.png", shows="Finished", clicks=CLOSE)
            traces = f"{base}/traces?startTimeLabel=ALL"
            chromium.take_screenshot(traces, FOLDER / "traces.png", shows="quiet harbor", clicks=CLOSE)
            trace = f"{traces}&selectedEvaluationId={trace_id}"
            chromium.take_screenshot(trace, FOLDER / "verdict.png", shows="attempt 1", clicks=[*CLOSE, "judge"])
            chromium.take_screenshot(trace, FOLDER / "assessment.png", shows="attempt 1", clicks=[*CLOSE, "Assess"])


def record_example(tracking_uri: str, folder: Path) -> tuple[str, str, str]:
    """Record an evaluation of a guard, and feedback on one of its tales.

    Returns:
        The ids of the run, of its experiment, and of the tale's trace.
    """
    import mlflow

    writer = tw.StoryChain("embedded:storyteller", seed=1)
    guard = tw.Guard(writer, tw.judge("embedded:judge"), attempts=2, keep_drafts=True)
    rows = [{"inputs": {**request, **OTHER_VALUES}} for request in REQUESTS]
    metrics = ["judge_pass_rate", "revision_rate", "words", "latency"]
    evaluation = tw.evaluate(
        guard, rows, metrics, name="embedded:storyteller", tracking_uri=tracking_uri, spool=folder / "spool"
    )
    if evaluation.run_id is None:
        sys.exit(evaluation.undelivered)
    tale = next(s.tale for s in evaluation.samples if s.tale is not None and s.tale.released)
    store = tw.evaluation.FeedbackStore(tracking_uri)
    words = " ".join(tale.text.split()[:6])
    store.record(tale.id, person="anna", rating=4, kid_friendly=True, spans=[words], comment="a calm beginning")
    run = mlflow.MlflowClient(tracking_uri=tracking_uri).get_run(evaluation.run_id)
    return evaluation.run_id, run.info.experiment_id, store.tale(tale.id).trace_id


@contextmanager
def mlflow_server(tracking_uri: str) -> Iterator[str]:
    """Serve MLflow on a free loopback port; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", tracking_uri, "--port", str(port)]
    with subprocess.Popen([*command, "--workers", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            wait_until(lambda: _is_healthy(address), "MLflow")
            yield address
        finally:
            server.terminate()


class Browser:
    """A headless Chromium with one page, controlled over the DevTools protocol.

    Args:
        program: The path of the browser.
        profile: A folder for the browser's profile.
    """

    def __init__(self, program: str, profile: Path) -> None:
        width, height = SIZE
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += ["--remote-debugging-port=0", "--remote-allow-origins=*", f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(
            [*command, f"--window-size={width},{height}", "about:blank"], stderr=subprocess.DEVNULL
        )
        port_file = profile / "DevToolsActivePort"
        wait_until(lambda: port_file.exists() and port_file.read_text().count("\n") >= 1, "the browser")
        port = port_file.read_text().splitlines()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=10) as response:
            target = next(t for t in json.load(response) if t["type"] == "page")
        self._socket = connect(target["webSocketDebuggerUrl"], max_size=None)
        self._last_id = 0

    def take_screenshot(self, url: str, file: Path, *, shows: str, clicks: Sequence[str] = ()) -> None:
        """Save a page as a PNG file.

        Args:
            url: The page.
            file: The file to write.
            shows: A text that the page contains once it is rendered.
            clicks: Labels of buttons to press before the screenshot, where they exist.
        """
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)
        wait_until(lambda: shows in str(self.evaluate("document.body.innerText")), f"{shows!r} on {url}")
        for label in ("Got it", *clicks):
            self.evaluate(f"({_CLICK})({json.dumps(label)})")
            time.sleep(1.0)  # until the page's animations end
        screenshot = self.call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(screenshot["data"]))
        print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB")  # noqa: T201

    def evaluate(self, expression: str) -> object:
        """Return the value of a JavaScript expression in the page."""
        return self.call("Runtime.evaluate", expression=expression)["result"].get("value")

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """Send a command of the protocol, and return its result."""
        self._last_id += 1
        self._socket.send(json.dumps({"id": self._last_id, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=300))
            if message.get("id") == self._last_id:
                return dict(message["result"])

    def close(self) -> None:
        """Close the browser."""
        self._socket.close()
        self._process.terminate()
        self._process.wait(30)


def wait_until(condition: Callable[[], bool], subject: str, timeout_s: float = 300.0) -> None:
    """Wait until a condition holds; exit if it does not within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"Waited {timeout_s:.0f} s in vain for {subject}.")
        time.sleep(0.2)


def _is_healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2):  # noqa: S310  loopback
            return True
    except OSError:
        return False


if __name__ == "__main__":
    main()
