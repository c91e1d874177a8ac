"""Make the pictures of MLflow's pages in `docs/screenshots/`: `python docs/screenshots.py`.

Tells and judges a few tales with the embedded models, says something of one, serves MLflow on loopback, and photographs
its pages with a headless Chromium. Needs `chromium` or `google-chrome` on the path.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import taleward as tw
from taleward.evaluation.recorder import store_uri

HERE = Path(__file__).parent / "screenshots"
SIZE = (1400, 900)
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
        uri = store_uri(Path(folder))
        run_id, experiment, trace_id = fill(uri, Path(folder))
        with served(uri) as address:
            base = f"{address}/#/experiments/{experiment}"
            for name, page in {
                "run": f"{base}/runs/{run_id}",
                "traces": f"{base}/traces?startTimeLabel=ALL",
                "verdict": f"{base}/traces?startTimeLabel=ALL&selectedEvaluationId={trace_id}",
            }.items():
                photograph(browser, page, HERE / f"{name}.png", Path(folder))


def fill(uri: str, folder: Path) -> tuple[str, str, str]:
    """An evaluation of a guard, and a person's feedback on one of its tales: run, experiment, trace."""
    import mlflow

    writer = tw.StoryChain("embedded:storyteller", seed=1)
    guard = tw.Guard(writer, tw.judge("embedded:judge"), attempts=2, keep_drafts=True)
    rows = [{"inputs": {**request, **REST}} for request in REQUESTS]
    names = ["judge_pass_rate", "revision_rate", "length", "latency"]
    found = tw.evaluate(guard, rows, names, name="embedded:storyteller", uri=uri, spool=folder / "spool")
    if found.run_id is None:
        sys.exit(found.undelivered)
    tale = next(s.tale for s in found.samples if s.tale is not None and s.tale.released)
    store = tw.FeedbackStore(uri)
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
            for _ in range(300):
                if _answers(f"{address}/health"):
                    break
                time.sleep(0.2)
            yield address
        finally:
            server.terminate()


def photograph(browser: str, page: str, file: Path, folder: Path) -> None:
    """One page as a PNG."""
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--virtual-time-budget=30000",
    ]
    command += [
        f"--user-data-dir={folder / 'browser'}",
        f"--window-size={SIZE[0]},{SIZE[1]}",
        f"--screenshot={file}",
        page,
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    print(f"{file.relative_to(Path.cwd())}: {file.stat().st_size / 1000:.0f} kB")  # noqa: T201


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2):  # noqa: S310  loopback
            return True
    except OSError:
        return False


if __name__ == "__main__":
    main()
