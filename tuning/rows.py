"""The rows that writers are tuned on: conversations, preferences and single votes, each with where it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

from pydantic import Field, ValidationError

from taleward.core.errors import InvalidFile
from taleward.core.frozen_model import FrozenModel
from taleward.core.tale import ChatTurn as ChatTurn

TuningMethod: TypeAlias = Literal["sft", "dpo", "kto"]
"""How a writer is tuned: on good answers (supervised fine-tuning), on pairs, or on single votes."""


class RowSource(FrozenModel):
    """Where a row comes from.

    Attributes:
        tale_id: The recorded tale, or an id in a corpus.
        template: The prompt template, by name.
        template_version: Its version.
        model: The model that wrote the text; empty if a person did.
        by: Whose judgment the row holds.
        rejected_tale_id: The recorded tale that is the worse answer, if it is another one.
        rendered: Whether the prompt was not recorded and is rendered again from the tale's inputs.
    """

    tale_id: str = ""
    template: str = ""
    template_version: str = ""
    model: str = ""
    by: Literal["author", "people", "judge"] = "author"
    rejected_tale_id: str = ""
    rendered: bool = False


class _TuningRow(FrozenModel):
    method: ClassVar[TuningMethod]
    prompt: tuple[ChatTurn, ...] = Field(min_length=1)
    source: RowSource = RowSource()


class SftRow(_TuningRow):
    """A prompt and the answer to learn.

    Attributes:
        prompt: The messages that the writer sees.
        completion: The answer to learn.
    """

    method: ClassVar[TuningMethod] = "sft"
    completion: str = Field(min_length=1)


class DpoRow(_TuningRow):
    """A prompt with a better and a worse answer.

    Attributes:
        prompt: The messages that the writer sees.
        chosen: The better answer.
        rejected: The worse one.
    """

    method: ClassVar[TuningMethod] = "dpo"
    chosen: str = Field(min_length=1)
    rejected: str = Field(min_length=1)


class KtoRow(_TuningRow):
    """A prompt and an answer that somebody liked or did not like.

    Attributes:
        prompt: The messages that the writer sees.
        completion: The answer.
        label: Whether it is liked.
    """

    method: ClassVar[TuningMethod] = "kto"
    completion: str = Field(min_length=1)
    label: bool


TuningRow: TypeAlias = SftRow | DpoRow | KtoRow
ROW_CLASSES: dict[TuningMethod, type[SftRow] | type[DpoRow] | type[KtoRow]] = {
    "sft": SftRow, "dpo": DpoRow, "kto": KtoRow
}  # fmt: skip


def trainer_row(row: TuningRow) -> dict[str, Any]:
    """Return a row in TRL's conversational format, without its source."""
    data = row.model_dump(mode="json", exclude={"source"})
    answers = ("completion", "chosen", "rejected")
    return {k: [{"role": "assistant", "content": v}] if k in answers else v for k, v in data.items()}


def read_tuning_rows(path: Path, method: TuningMethod) -> list[TuningRow]:
    """Read rows from a JSON Lines file, a row a line, with the fields of the method's class.

    Raises:
        InvalidFile: If the file cannot be read, is empty, or a line is not a row of this method.
    """
    return list(_read(path, method))


def _read(path: Path, method: TuningMethod) -> Iterator[TuningRow]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidFile(f"cannot read {path}: {error}") from error
    row_class = ROW_CLASSES[method]
    empty = True
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        empty = False
        try:
            yield row_class.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise InvalidFile(
                f"{path}, line {number}, is not a row for {method}: {where} {first['msg']}".rstrip(),
                hint=f"A row has {', '.join(row_class.model_fields)}. `taleward feedback export` writes such rows.",
            ) from error
    if empty:
        raise InvalidFile(f"{path} has no rows.", hint="`taleward feedback export` writes rows from people's feedback.")


def write_tuning_rows(rows: Iterable[TuningRow], path: Path) -> int:
    """Write rows as JSON Lines; an existing file is replaced. Returns their number."""
    lines = [json.dumps(row.model_dump(mode="json"), ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return len(lines)
