"""People as judges of an arena: a sheet of pairs to choose from, blind, in any spreadsheet."""

from __future__ import annotations

import csv
import hashlib
import random
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from taleward.core.errors import ConfigurationError, InvalidFile
from taleward.evaluation.arena.arena import Contestants, samples_by_contestant
from taleward.evaluation.arena.preference import Preference, PreferenceJudge, Preferred

_COLUMNS = ("sample", "request", "first", "second", "better", "reason")
_CHOICES: dict[str, Preferred] = {
    "1": "first",
    "first": "first",
    "2": "second",
    "second": "second",
    "=": "tie",
    "tie": "tie",
}


class ChoiceSheet(PreferenceJudge):
    """Reads people's choices from a CSV file that `write_choice_sheet` wrote.

    In the column `better`, `first` or `1`, `second` or `2`, and `tie` or `=` are read; rows left empty have no usable
    answer. A sheet may be filled in by several people one after the other; for a choice of each, give each a copy and
    run an arena per sheet.

    Args:
        path: The file.

    Raises:
        InvalidFile: If it cannot be read, lacks a column, or holds another choice; the message names the line.
    """

    asks_both_orders = False

    def __init__(self, path: str | Path) -> None:
        self.name = Path(path).stem
        self._choices: dict[tuple[str, str], Preference] = {}
        try:
            # Spreadsheets write a byte order mark.
            with Path(path).open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file)
                if missing := [name for name in _COLUMNS[2:5] if name not in (reader.fieldnames or ())]:
                    raise InvalidFile(
                        f"the sheet {path} lacks the columns {missing}.",
                        hint="Write a new one with write_choice_sheet.",
                    )
                for row in reader:
                    self._add(row, f"{path}, line {reader.line_num}")
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InvalidFile(f"the sheet {path} cannot be read: {error}") from error

    def _add(self, row: Mapping[str, str | None], where: str) -> None:
        choice = (row["better"] or "").strip().lower()
        if choice and choice not in _CHOICES:
            raise InvalidFile(
                f"{where}: the choice is {choice[:40]!r}.", hint="Use first, second or tie; or leave it empty."
            )
        preferred = _CHOICES.get(choice)
        reason = (row.get("reason") or "").strip() or ("" if preferred else "nothing was chosen")
        key = (_digest(row["first"] or ""), _digest(row["second"] or ""))
        self._choices[key] = Preference(preferred=preferred, reason=reason)

    async def prefer(self, inputs: Mapping[str, Any], first: str, second: str) -> Preference:
        """Look up the choice between two texts, in whichever order the sheet shows them."""
        here, there = _digest(first), _digest(second)
        if (here, there) in self._choices:
            return self._choices[here, there]
        turned = self._choices.get((there, here))
        if turned is None:
            return Preference(preferred=None, reason="the pair is not in the sheet")
        swapped: dict[Preferred | None, Preferred | None] = {"first": "second", "second": "first"}
        return turned.model_copy(update={"preferred": swapped.get(turned.preferred, turned.preferred)})


def write_choice_sheet(
    contestants: Contestants, path: str | Path, *, max_rows: int | None = None, seed: int = 0
) -> int:
    """Write the pairs of an arena to a CSV file for people to choose from, in random order and without names.

    Equal texts are left out: nobody can choose between them.

    Args:
        contestants: As for `arena`.
        path: The file; an existing one is not overwritten, since it may hold choices.
        max_rows: The most rows; `None` for all pairs.
        seed: Seed of the order.

    Returns:
        The number of rows.

    Raises:
        ConfigurationError: If the file exists, or there is no pair.
    """
    outputs = samples_by_contestant(contestants)
    rng = random.Random(seed)  # noqa: S311
    rows = []
    for a, b in combinations(outputs, 2):
        for sample_id, sample in outputs[a].items():
            other = outputs[b].get(sample_id)
            if other is None or sample.output is None or other.output is None or sample.output == other.output:
                continue
            texts = [_cell(sample.output), _cell(other.output)]
            rng.shuffle(texts)
            request = _cell("\n".join(f"{name}: {value}" for name, value in sample.inputs.items()))
            rows.append((sample_id, request, *texts, "", ""))
    if not rows:
        raise ConfigurationError("there is no pair of different outputs to choose from.")
    rng.shuffle(rows)
    rows = rows[:max_rows]
    try:
        with Path(path).open("x", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            writer.writerows(rows)
    except FileExistsError as error:
        raise ConfigurationError(
            f"{path} exists, and may hold choices.", hint="Give another name, or read it with ChoiceSheet."
        ) from error
    return len(rows)


def _cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _digest(text: str) -> str:
    # Spreadsheets change line ends and trim; the apostrophe is that of `_cell`.
    return hashlib.sha256(" ".join(text.split()).lstrip("'").encode("utf-8", "surrogatepass")).hexdigest()
