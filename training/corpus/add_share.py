"""Check a share of the corpus that was written as plain text, and add it: `python -m training.corpus.add_share FILE`.

Writers type plain text, since quotation marks and offsets in JSON invite mistakes; `WRITING.md` shows the format.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from taleward.core.errors import InvalidFile
from training.corpus.checks import pair_problems, passage_problems, short_text_problems, story_problems
from training.corpus.reader import (
    BANDS,
    FOLDER,
    VARIABLES,
    CorpusPair,
    CorpusPassage,
    CorpusRow,
    CorpusShortText,
    CorpusStory,
)

_ROW = re.compile(r"^=== *(?P<id>[\w-]+) *\n", re.M)
_SECTION = re.compile(r"^---(?: (?P<name>text|draft|beginning))?[ \t]*\n", re.M)
_QUOTED = re.compile(r"\[\[(?P<words>.+?)\]\]", re.S)
_CHANGED = re.compile(r"\[\[(?P<original>.+?)\|\|(?P<words>.+?)\]\]", re.S)
_MARKED = re.compile(r"\[\[(?P<category>\w+):(?P<severity>\w+)\|(?P<words>.+?)\]\]", re.S)
_PLAIN = re.compile(r"-(?:plain|simple)-")
_FOLDERS: Mapping[type[CorpusRow], str] = {
    CorpusStory: "stories", CorpusPair: "pairs", CorpusPassage: "passages", CorpusShortText: "short_texts"
}  # fmt: skip


def parse_share(text: str) -> Iterator[CorpusRow]:
    """The rows of a share.

    Args:
        text: Rows in the format that `WRITING.md` shows.

    Raises:
        InvalidFile: A row is not what it should be; the message names its id and the field.
    """
    ids = list(_ROW.finditer(text))
    for number, match in enumerate(ids):
        end = ids[number + 1].start() if number + 1 < len(ids) else len(text)
        fields, sections = _split(match["id"], text[match.end() : end])
        try:
            yield _row(match["id"], fields, sections)
        except (ValidationError, ValueError, KeyError) as error:
            first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
            msg = f"{match['id']}: {'.'.join(str(part) for part in first['loc'])} {first['msg']}".replace("  ", " ")
            raise InvalidFile(msg, hint="Mend the row; `training/corpus/WRITING.md` shows the format.") from error


def parse_short_texts(text: str, name: str) -> Iterator[CorpusShortText]:
    """The rows of a share of short texts, a line each.

    Args:
        text: Lines `labels | register | text`, as `WRITING.md` shows.
        name: The share's name; an id is this and the number of the line.

    Raises:
        InvalidFile: A line is not what it should be; the message names its number.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            labels, register, words = (part.strip() for part in line.split(" | ", 2))
            by_category = {} if labels == "none" else dict(label.strip().split(":") for label in labels.split(","))
            yield CorpusShortText.model_validate(
                {"id": f"{name}-{number:03}", "register": register, "labels": by_category, "text": words}
            )
        except ValueError as error:
            msg = f"{name}, line {number}: expected `labels | register | text`; got {line[:60]!r}"
            raise InvalidFile(msg, hint="Mend the line; `training/corpus/WRITING.md` shows the format.") from error


def _split(id_: str, body: str) -> tuple[dict[str, str], dict[str, str]]:
    marks = list(_SECTION.finditer(body))
    if not marks:
        msg = f"{id_}: no line `---` between the fields and the text"
        raise InvalidFile(msg, hint="`training/corpus/WRITING.md` shows the format.")
    lines = [line for line in body[: marks[0].start()].splitlines() if line.strip()]
    if wrong := [line for line in lines if ": " not in line]:
        msg = f"{id_}: {wrong[0]!r} is not `key: value`"
        raise InvalidFile(msg, hint="`training/corpus/WRITING.md` shows the format.")
    fields = {key.strip(): value.strip() for key, value in (line.split(": ", 1) for line in lines)}
    ends = [mark.start() for mark in marks[1:]] + [len(body)]
    return fields, {
        mark["name"] or "text": body[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True)
    }


def _row(id_: str, fields: Mapping[str, str], sections: Mapping[str, str]) -> CorpusRow:
    if "place" in fields:
        twin, changes = _unmark(sections["text"], _CHANGED)
        return CorpusPair.model_validate(
            {**fields, "id": id_, "keyword": fields["keyword"] == "yes"}
            | {"text": _CHANGED.sub(r"\g<original>", sections["text"])}
            | {"twin": twin, "spans": [(start, end) for start, end, _ in changes]}
        )
    if "labels" in fields:
        labels = dict(zip(BANDS, fields["labels"].split(), strict=True))
        passage, findings = _unmark_findings(sections["text"])
        return CorpusPassage.model_validate(
            {"id": id_, "register": fields["register"], "labels": labels, "text": passage, "findings": findings}
        )
    return _story(id_, fields, sections)


def _story(id_: str, fields: Mapping[str, str], sections: Mapping[str, str]) -> CorpusStory:
    band = {"35": "3-5", "68": "6-8", "912": "9-12"}[id_.split("-")[0]]
    row: dict[str, object] = {"id": id_, "band": band, "kind": fields["kind"], "text": sections["text"]}
    row["request"] = fields.get("request") or {name: fields[name] for name in VARIABLES}
    if fields.get("typo") == "yes":
        row["typo"] = True
    if "beginning" in sections:
        row["beginning"] = sections["beginning"]
    if "draft" in sections:
        draft, marked = _unmark(sections["draft"], _QUOTED)
        quote = marked[0][2]["words"] if marked else ""
        row |= {"draft": draft, "finding": {"category": fields["category"], "quote": quote, "why": fields["why"]}}
    return CorpusStory.model_validate(row)


def _unmark(text: str, mark: re.Pattern[str]) -> tuple[str, list[tuple[int, int, re.Match[str]]]]:
    """Return the text without its marks, and for each the start and end of its words in that text."""
    plain, marked, at = "", list[tuple[int, int, re.Match[str]]](), 0
    for match in mark.finditer(text):
        plain += text[at : match.start()]
        marked.append((len(plain), len(plain) + len(match["words"]), match))
        plain += match["words"]
        at = match.end()
    return plain + text[at:], marked


def _unmark_findings(text: str) -> tuple[str, list[dict[str, object]]]:
    plain, marked = _unmark(text, _MARKED)
    if "[[" in plain or "]]" in plain:
        msg = "a mark is not `[[category:severity|words]]`"
        raise ValueError(msg)
    return plain, [
        {"category": match["category"], "severity": match["severity"], "start": start, "end": end}
        for start, end, match in marked
    ]


def row_problems(row: CorpusRow) -> Iterator[str]:
    """What is wrong with a row by itself; `training/corpus/checks.py` checks the corpus as a whole."""
    if isinstance(row, CorpusPair):
        yield from pair_problems(row)
    elif isinstance(row, CorpusPassage):
        yield from passage_problems(row)
    elif isinstance(row, CorpusShortText):
        yield from short_text_problems(row)
    elif isinstance(row, CorpusStory):
        yield from story_problems(row)


def add_share(file: Path, *, write: bool = True) -> list[str]:
    """Check a share, and write it as JSON lines into the folder of its kind if nothing is wrong.

    Args:
        file: The share; its name, without the suffix, becomes the name of the JSON lines.
        write: `False` to check only.

    Returns:
        What is wrong, a line each; empty when the share was added.
    """
    text = file.read_text(encoding="utf-8")
    rows: list[CorpusRow] = list(parse_share(text) if _ROW.search(text) else parse_short_texts(text, file.stem))
    kinds = {type(row) for row in rows}
    if len(kinds) != 1:
        return [f"{file.name} holds {len(rows)} rows of {len(kinds)} kinds; a share holds rows of one kind"]
    problems = [f"{row.id}: {problem}" for row in rows for problem in row_problems(row)]
    if write and not problems:
        folder = FOLDER / ("plain_stories" if _PLAIN.search(file.stem) else _FOLDERS[kinds.pop()])
        lines = [
            json.dumps(row.model_dump(mode="json", by_alias=True, exclude_defaults=True), ensure_ascii=False)
            for row in rows
        ]
        (folder / f"{file.stem}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return problems


def main() -> int:
    """Run from the command line; the exit status is 1 when something is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("`")[0].rstrip(": "))
    parser.add_argument("files", nargs="+", type=Path, help="shares in plain text")
    parser.add_argument("--check", action="store_true", help="check only, write nothing")
    options = parser.parse_args()
    problems = []
    for file in options.files:
        try:
            problems += add_share(file, write=not options.check)
        except InvalidFile as error:
            problems.append(f"{file.name}: {error}")
    print("\n".join(problems) or "no problems")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
