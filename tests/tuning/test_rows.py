"""Rows for tuning: files of them, and the form that the trainers read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from taleward.core.errors import InvalidFile
from taleward.tuning.rows import (
    ChatTurn,
    DpoRow,
    KtoRow,
    RowSource,
    SftRow,
    TuningRow,
    read_tuning_rows,
    trainer_row,
    write_tuning_rows,
)

PROMPT = (ChatTurn(role="system", content="Be kind."), ChatTurn(role="user", content="a fox"))
ROWS: list[TuningRow] = [
    SftRow(prompt=PROMPT, completion="A fox ran.", source=RowSource(tale_id="t1", template="adventure")),
    DpoRow(prompt=PROMPT, chosen="A fox ran home.", rejected="A fox."),
    KtoRow(prompt=PROMPT, completion="A fox ran. “Ünd”", label=False),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.method)
def test_rows_come_back_from_a_file(row: TuningRow, tmp_path: Path) -> None:
    assert write_tuning_rows([row, row], tmp_path / "rows.jsonl") == 2
    assert read_tuning_rows(tmp_path / "rows.jsonl", row.method) == [row, row]


def test_trainers_get_conversations_without_the_source() -> None:
    sft, dpo, kto = (trainer_row(row) for row in ROWS)
    assert sft["prompt"] == [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "a fox"}]
    assert sft["completion"] == [{"role": "assistant", "content": "A fox ran."}]
    assert set(dpo) == {"prompt", "chosen", "rejected"}
    assert kto["label"] is False
    assert all("source" not in row for row in (sft, dpo, kto))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "has no rows"),
        ("\n\n", "has no rows"),
        ("nonsense", "line 1, is not a row for sft"),
        (json.dumps({"prompt": [], "completion": "x"}), "line 1, is not a row for sft: prompt"),
        (json.dumps({"prompt": "a fox", "completion": "x"}), "prompt"),
        (json.dumps({"prompt": [{"role": "user", "content": "x"}], "completion": ""}), "completion"),
        (json.dumps({"prompt": [{"role": "user", "content": "x"}], "chosen": "a", "rejected": "b"}), "completion"),
    ],
)
def test_what_is_no_row_is_named_with_its_line(lines: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(lines, encoding="utf-8")
    with pytest.raises(InvalidFile, match=message) as caught:
        read_tuning_rows(file, "sft")
    assert caught.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match=r"cannot read .*none\.jsonl"):
        read_tuning_rows(tmp_path / "none.jsonl", "kto")
