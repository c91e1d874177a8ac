"""Read the written corpus: `load_stories()`, `load_plain_stories()`, `load_pairs()`, `load_passages()` and so on.

Rows are JSON lines in `stories/`, `plain_stories/`, `pairs/`, `passages/` and `short_texts/`, one file per share. A
tenth of the rows, chosen by id, is held out: never train on it, measure on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from taleward.core.errors import InvalidFile
from taleward.core.frozen_model import FrozenDict, FrozenModel
from taleward.core.policy import Severity
from training.text_cleaning import read_jsonl

FOLDER = Path(__file__).parent
Band = Literal["3-5", "6-8", "9-12"]
BANDS: tuple[Band, ...] = ("3-5", "6-8", "9-12")
Kind = Literal["story", "free", "revision", "continuation", "closing"]
VARIABLES = ("setting", "character", "mysterious_object", "magical_properties", "action", "outcome")
_HELD_OUT = 10


class CorpusRow(FrozenModel):
    """What every row holds.

    Attributes:
        id: Unique in the corpus; whether the row is held out follows from it.
        text: The text itself.
    """

    id: str
    text: str = Field(min_length=1)


class CorpusFinding(FrozenModel):
    """Why a draft or passage does not suit a band.

    Attributes:
        category: A category of the policy `kids`; `missing` where a draft lacks a requested value.
        quote: The words that do not suit, as they stand in the draft; empty where something is missing.
        why: One sentence for whoever writes the better draft.
    """

    category: str
    quote: str = ""
    why: str


class CorpusStory(CorpusRow):
    """A story that suits its band, with the request that it answers.

    Attributes:
        band: The age band it is written for.
        kind: `story` answers six values; `free` a request in a sentence; `revision` mends a draft; `continuation` and
            `closing` go on from a beginning.
        request: The six values of the template `adventure`, or a request in one sentence; as people type them.
        typo: Whether the request holds a typing mistake on purpose.
        beginning: What `text` goes on from; empty for the other kinds.
        draft: The draft that `text` mends; empty for the other kinds.
        finding: What was wrong with the draft.
        text: The story, or what comes after `beginning`.
    """

    band: Band
    kind: Kind
    request: FrozenDict[str, str] | str
    typo: bool = False
    beginning: str = ""
    draft: str = ""
    finding: CorpusFinding | None = None

    @model_validator(mode="after")
    def _holds_what_its_kind_needs(self) -> CorpusStory:
        needs = {"continuation": self.beginning, "closing": self.beginning, "revision": self.draft and self.finding}
        if not needs.get(self.kind, True):
            msg = f"a {self.kind} needs {'a draft and a finding' if self.kind == 'revision' else 'a beginning'}"
            raise ValueError(msg)
        if self.kind == "story" and (isinstance(self.request, str) or set(self.request) != set(VARIABLES)):
            msg = f"a story's request holds {', '.join(VARIABLES)}; got {self.request}"
            raise ValueError(msg)
        return self

    @property
    def whole(self) -> str:
        """The whole story: the beginning, if any, and the text."""
        return f"{self.beginning}\n\n{self.text}" if self.beginning else self.text


class Span(FrozenModel):
    """A stretch of a text, in code points; `end` is behind the last one."""

    start: int = Field(ge=0)
    end: int = Field(gt=0)


class CorpusPair(CorpusRow):
    """A text that suits its band, and its twin with one to three sentences changed so that it does not.

    Attributes:
        band: The age band that the text suits and the twin does not.
        category: Why the twin does not suit.
        keyword: Whether the changed sentences hold a word that a word list would flag.
        place: Where the change is.
        text: The text that suits.
        twin: The text that does not.
        spans: The changed sentences in the twin.
    """

    band: Band
    category: str
    keyword: bool
    place: Literal["beginning", "middle", "end"]
    twin: str
    spans: tuple[tuple[int, int], ...] = Field(min_length=1)


class PassageFinding(FrozenModel):
    """A stretch of a passage that speaks against a band, with category, severity and offsets in code points."""

    category: str
    severity: Severity
    start: int = Field(ge=0)
    end: int = Field(gt=0)


class CorpusPassage(CorpusRow):
    """A passage in a register that judges meet, labeled by band.

    Attributes:
        register: Where such a text is found: `chat`, `news`, `poem`, ...
        labels: `pass` or `fail` in each band.
        text: The passage.
        findings: What speaks against it; empty where it passes everywhere.
    """

    register_: str = Field(alias="register")
    labels: FrozenDict[Band, Literal["pass", "fail"]]
    findings: tuple[PassageFinding, ...] = ()


class CorpusShortText(CorpusRow):
    """A comment, question or remark of a sentence or a few, labeled as a whole.

    Attributes:
        register: As for passages.
        labels: The severity in each category that speaks against it; empty where it is harmless from six years on.
        text: The text.
    """

    register_: str = Field(alias="register")
    labels: FrozenDict[str, Severity] = FrozenDict()


Row = TypeVar("Row", bound=CorpusRow)


def is_held_out(id_: str) -> bool:
    """Whether a row is held out from training, decided by its id alone, so that it stays when rows are added."""
    return int(hashlib.sha256(id_.encode()).hexdigest(), 16) % _HELD_OUT == 0


def load_stories(*, held_out: bool | None = None) -> tuple[CorpusStory, ...]:
    """The stories.

    Args:
        held_out: `True` for the held-out tenth, `False` for the rest, `None` for all.

    Raises:
        InvalidFile: A row is not what it should be; the message names file, line and field.
    """
    return tuple(_rows("stories", CorpusStory, held_out))


def load_plain_stories(*, held_out: bool | None = None) -> tuple[CorpusStory, ...]:
    """The plainly told stories, for small models; arguments and errors as for `load_stories`."""
    return tuple(_rows("plain_stories", CorpusStory, held_out))


def load_pairs(*, held_out: bool | None = None) -> tuple[CorpusPair, ...]:
    """The pairs; arguments and errors as for `load_stories`."""
    return tuple(_rows("pairs", CorpusPair, held_out))


def load_passages(*, held_out: bool | None = None) -> tuple[CorpusPassage, ...]:
    """The passages; arguments and errors as for `load_stories`."""
    return tuple(_rows("passages", CorpusPassage, held_out))


def load_short_texts(*, held_out: bool | None = None) -> tuple[CorpusShortText, ...]:
    """The short texts; arguments and errors as for `load_stories`."""
    return tuple(_rows("short_texts", CorpusShortText, held_out))


def _rows(folder: str, kind: type[Row], held_out: bool | None) -> Iterator[Row]:
    for file in sorted((FOLDER / folder).glob("*.jsonl")):
        for number, fields in enumerate(read_jsonl(file), 1):
            try:
                row = kind.model_validate(fields)
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(str(part) for part in first["loc"]) or "the row"
                msg = f"{folder}/{file.name}, line {number} ({fields.get('id')}): {place}: {first['msg']}"
                raise InvalidFile(msg, hint="Mend the row; `training/corpus/README.md` lists the fields.") from error
            if held_out is None or is_held_out(row.id) == held_out:
                yield row
