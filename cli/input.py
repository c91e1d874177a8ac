"""Read the texts that a command works on: standard input, files, folders, and the rows of CSV and JSON Lines files."""

from __future__ import annotations

import codecs
import glob
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taleward.core.errors import InvalidFile, UnknownName
from taleward.core.record_files import (
    TEXT_SUFFIXES,
    format_line_numbers,
    parse_records,
    problems_error,
    read_content,
    suffix_without_gz,
)
from taleward.core.surrogates import replace_surrogates

FOLDER_SUFFIXES = (".txt", ".md")
"""Suffixes of the files that are read in a folder."""

_STDIN = "-"
_WHAT = "the file"
_MAX_LISTED_FILES = 8


@dataclass(frozen=True)
class TextInput:
    """A text to work on.

    Attributes:
        source: The path of its file, or `-` for standard input.
        text: The text. The line ends of a text file are line feeds, as if read by Python's `open`.
        line: The line of a CSV or JSON Lines file on which its row begins, from 1; `None` if the text is a whole file.
    """

    source: str
    text: str
    line: int | None = None

    @property
    def place(self) -> str:
        """The source with the line, for example `rows.jsonl:12`."""
        return self.source if self.line is None else f"{self.source}:{self.line}"


def read_text(file: str, encoding: str = "utf-8") -> str:
    """Read a text from a file, or from standard input.

    Args:
        file: The path of a text file, or `-` for standard input.
        encoding: Its encoding, by a name that Python knows.

    Raises:
        UnknownName: If there is no such file or encoding.
        InvalidFile: If the file is binary or not in this encoding; the message says at which byte.
    """
    _check_encoding(encoding)
    if file != _STDIN and not _is_readable(Path(file)):
        raise _no_such_file(file)
    return _read_text_file(file, encoding)


def read_texts(arguments: Sequence[str], *, column: str = "text", encoding: str = "utf-8") -> list[TextInput]:
    """Read the texts that arguments name, in their order; a file that is named twice is read once.

    Args:
        arguments: Paths of text files; of CSV, TSV or JSON Lines files, with or without `.gz`, whose rows are texts; or
            of folders, of which all `.txt` and `.md` files are read, those of subfolders too, but nothing hidden.
            Also patterns such as `stories/**/*.txt`, and `-` for standard input.
        column: The column or field of the text in CSV, TSV and JSON Lines files.
        encoding: The encoding of all files, by a name that Python knows.

    Raises:
        UnknownName: If there is no such file or encoding, or nothing that matches a pattern.
        InvalidFile: If files or rows cannot be read; the message names all of them, or the first eight.
    """
    _check_encoding(encoding)
    files = list(_expand(arguments))
    texts: list[TextInput] = []
    errors: list[InvalidFile] = []
    for file in files:
        try:
            texts += _read_file(file, column, encoding)
        except InvalidFile as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        more = len(errors) - _MAX_LISTED_FILES
        listed = [*(str(error) for error in errors[:_MAX_LISTED_FILES]), *([f"and {more} more"] if more > 0 else [])]
        lines = "".join(f"\n  - {line}" for line in listed)
        raise InvalidFile(f"{len(errors)} of {len(files)} files cannot be read:{lines}", hint=errors[0].hint)
    return texts


def _expand(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the paths that arguments stand for, each file once."""
    seen: set[str] = set()
    for argument in arguments:
        for file in _matches(argument):
            identity = file if file == _STDIN else os.path.realpath(file)
            if identity not in seen:
                seen.add(identity)
                yield file


def _matches(argument: str) -> list[str]:
    path = Path(argument)
    if argument == _STDIN or _is_readable(path):
        return [argument]
    if path.is_dir():
        files = _folder_files(argument)
        expected = f"a folder with {' or '.join(FOLDER_SUFFIXES)} files"
    elif glob.has_magic(argument):
        # `Path.glob` takes no absolute patterns.
        matched = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207
        files = [file for match in matched for file in (_folder_files(match) if Path(match).is_dir() else [match])]
        expected = "a pattern that matches text files"
    else:
        raise _no_such_file(argument)
    if not files:
        raise InvalidFile(f"{argument} contains no texts; expected {expected}.", hint="Name the files themselves.")
    return files


def _folder_files(folder: str) -> list[str]:
    def fail(error: OSError) -> None:
        # `os.walk` would leave an unreadable folder out, and its texts would count as judged.
        raise InvalidFile(f"the folder {error.filename} cannot be read: {error.strerror}.") from error

    files: list[str] = []
    for parent, folders, names in os.walk(folder, onerror=fail):
        # Hidden folders are not a user's texts: .git, .venv, .taleward.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        texts = (n for n in sorted(names) if n.lower().endswith(FOLDER_SUFFIXES) and not n.startswith("."))
        files += (str(Path(parent, name)) for name in texts)
    return files


def _is_readable(path: Path) -> bool:
    # Not `is_file`: a shell's <(command) is a pipe.
    return path.exists() and not path.is_dir()


def _no_such_file(file: str) -> UnknownName:
    hint = "Pass the path of a text file, or - for standard input."
    return UnknownName("text file", file, None, hint=hint)


def _read_file(file: str, column: str, encoding: str) -> list[TextInput]:
    if file != _STDIN and suffix_without_gz(Path(file)).lower() in TEXT_SUFFIXES:
        return _read_rows(file, column, encoding)
    return [TextInput(replace_surrogates(file), _read_text_file(file, encoding))]


def _read_text_file(file: str, encoding: str) -> str:
    content = sys.stdin.buffer.read() if file == _STDIN else read_content(Path(file), _WHAT)
    return _decode(content, file, encoding).replace("\r\n", "\n").replace("\r", "\n")


def _read_rows(file: str, column: str, encoding: str) -> list[TextInput]:
    path = Path(file)
    # `parse_records` takes UTF-8, and names no byte and no next step if it is not.
    content = _decode(read_content(path, _WHAT), file, encoding).encode()
    texts: list[TextInput] = []
    lines_by_problem: dict[str, list[int]] = {}
    for line, record in parse_records(path, content, _WHAT):
        if problem := _row_problem(record, column):
            lines_by_problem.setdefault(problem, []).append(line)
        else:
            texts.append(TextInput(replace_surrogates(file), record[column], line))
    problems = [f"{format_line_numbers(numbers)}: {problem}" for problem, numbers in lines_by_problem.items()]
    if not texts and not problems:
        problems = ["the file has no rows"]
    if problems:
        error = problems_error(path, _WHAT, problems)
        error.hint = "Name the column of the text with --column."
        raise error
    return texts


def _row_problem(record: Any, column: str) -> str | None:
    """Return what is wrong with a row, or `None`."""
    if isinstance(record, ValueError):
        return str(record)
    if not isinstance(record, Mapping):
        return f"is a {type(record).__name__}; expected a JSON object"
    if column not in record:
        return f"column {column!r} is missing; columns of the row: {', '.join(str(name) for name in record)}"
    if not isinstance(record[column], str):
        return f"{column}: got a {type(record[column]).__name__}; expected a text"
    return None


def _check_encoding(encoding: str) -> None:
    try:
        b" ".decode(encoding)
    except UnicodeDecodeError:  # a character of UTF-16 has two bytes
        pass
    except LookupError as error:  # also for codecs such as hex, which do not decode to text
        hint = "Names that Python knows: utf-8, latin-1, cp1252, utf-16 and others."
        raise UnknownName("encoding", encoding, None, hint=hint) from error


def _decode(content: bytes, file: str, encoding: str) -> str:
    """Decode a file, without its byte order mark.

    Raises:
        InvalidFile: If it is not in this encoding, or contains zero bytes that are not a part of characters.
    """
    name = "standard input" if file == _STDIN else file
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        # PDF files, pictures and archives have zero bytes, which no text has.
        if 0 in content and not content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise _binary_error(content, name) from error
        message = f"{name} is not {encoding.upper()}: byte 0x{content[error.start]:02x} at offset {error.start:,}."
        raise InvalidFile(message, hint=_encoding_hint(content, file, encoding)) from error
    if "\0" in text:
        raise _binary_error(content, name)
    return text


def _binary_error(content: bytes, name: str) -> InvalidFile:
    return InvalidFile(
        f"{name} is a binary file, not a text: byte 0x00 at offset {content.index(0):,}.",
        hint="Save its text as UTF-8 first, for example with pdftotext or pandoc; for UTF-16, add --encoding utf-16.",
    )


def _encoding_hint(content: bytes, file: str, encoding: str) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "It begins like UTF-16: add --encoding utf-16."
    if codecs.lookup(encoding).name != "utf-8":
        return "Name its encoding with --encoding; by default it is utf-8."
    if file == _STDIN or file.endswith(".gz"):
        return "If it is Latin-1, add --encoding latin-1."
    path = Path(file)
    converted = path.with_name(f"{path.stem}.utf8{path.suffix}")
    command = f"iconv -f LATIN1 -t UTF-8 {shlex.quote(file)} > {shlex.quote(str(converted))}"
    return f"If it is Latin-1, add --encoding latin-1, or convert it: {command}"
