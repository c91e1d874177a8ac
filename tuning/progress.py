"""Show how far a tuning run is, and keep the libraries below it quiet."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence the progress bars of datasets and transformers, and warnings of what they and TRL will rename."""
    import datasets
    from transformers.utils import logging

    bars = not datasets.are_progress_bars_disabled(), logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if bars[0]:
            datasets.enable_progress_bars()
        if bars[1]:
            logging.enable_progress_bar()


@contextmanager
def step_progress(enabled: bool) -> Iterator[Any]:
    """Show a progress bar on standard error if it is a terminal; yield a callback for transformers' trainer."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress
    from transformers import TrainerCallback

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    disable = not (enabled and sys.stderr.isatty())
    bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=disable)
    task = bar.add_task("tuning", total=None)

    class ProgressCallback(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bar.update(task, total=state.max_steps, completed=state.global_step)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bar.update(task, completed=state.global_step)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if logs and "loss" in logs:
                bar.update(task, description=f"tuning, loss {float(logs['loss']):.3f}")

    with bar:
        yield ProgressCallback()
