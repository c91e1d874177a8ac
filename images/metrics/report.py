"""The files of an evaluation of pictures: report, plots, table, the pictures, and a contact sheet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from taleward.core.errors import MissingExtra
from taleward.evaluation.report.html import write_files
from taleward.evaluation.report.plots import comparison_plot
from taleward.evaluation.result import Evaluation
from taleward.images.contact_sheet import contact_sheet
from taleward.images.metrics.base import PictureSample
from taleward.images.picture import Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONTACT_SHEET = "contact-sheet.png"
_MAX_ON_SHEET = 60
_PER_ROW = 6
_SHEET_PICTURE_WIDTH = 220


def write_picture_files(evaluation: Evaluation, folder: Path) -> None:
    """Write the files of an MLflow run.

    Beside those of every evaluation, there are all pictures in `pictures/`, named by prompt and number, the contact
    sheet of the first ones, and the plot `plots/scores.png` of all values with their intervals.

    Args:
        evaluation: The evaluation, whose samples are `PictureSample`.
        folder: The folder.
    """
    folder.mkdir(exist_ok=True)
    samples = [sample for sample in evaluation.samples if isinstance(sample, PictureSample)]
    for number, sample in enumerate(samples, 1):
        for variation, picture in enumerate(sample.pictures, 1):
            (folder / "pictures").mkdir(exist_ok=True)
            picture.save(folder / "pictures" / f"{number:04}-{_file_name(sample.id)}-{variation}{picture.suffix}")
    sheet = sheet_of(samples)
    if sheet is not None:
        sheet.save(folder / CONTACT_SHEET)
    write_files(evaluation, folder, plots=_scores_plot(evaluation), figures=_sheet_html(sheet, samples))


def sheet_of(samples: Sequence[PictureSample]) -> Picture | None:
    """Return the contact sheet of the first pictures, prompt by prompt; `None` if there are none."""
    pictures = [picture for sample in samples for picture in sample.pictures][:_MAX_ON_SHEET]
    if not pictures:
        return None
    most = max(len(sample.pictures) for sample in samples)
    # Whole prompts in a row, so that variations stand side by side.
    columns = most if most >= _PER_ROW else _PER_ROW // most * most
    return contact_sheet(pictures, columns=columns, width=_SHEET_PICTURE_WIDTH)


def _scores_plot(evaluation: Evaluation) -> dict[str, Figure]:
    scores = {name: [score] for name, score in evaluation.scores.items() if score.value is not None}
    try:
        return {"scores.png": comparison_plot([evaluation.name], scores)} if scores else {}
    except MissingExtra:  # the report says that there are no plots, and which extra draws them
        return {}


def _sheet_html(sheet: Picture | None, samples: Sequence[PictureSample]) -> str:
    if sheet is None:
        return "<p>No picture was released.</p>"
    total = sum(len(sample.pictures) for sample in samples)
    shown = f"{min(total, _MAX_ON_SHEET)} of {total} pictures"
    return f'<p><img alt="{escape(sheet.alt_text)}" src="{sheet.data_url}"><br/><small>{shown}</small></p>'


def _file_name(sample_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", sample_id)[:40].strip("-") or "prompt"
