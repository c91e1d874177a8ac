"""Undo what a page or a reader undoes, so that a judge reads what a child would: entities, tags, URL-encoding, emoji.

`decode` keeps the offsets of the original. `looks_encoded` finds what no child reads as it stands, such as base64:
a judge abstains from it.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from html import unescape
from pathlib import Path
from urllib.parse import unquote_to_bytes

from taleward.core.yaml_files import YamlFile
from taleward.moderation.text.foreign_words import shipped_model
from taleward.moderation.text.normalize import NormalizedText, squeeze

_EMOJI_FILE = Path(__file__).parent / "data" / "emoji.yaml"
_MAX_PASSES = 4
"""How often an encoding within an encoding is undone."""
_BLOCK_TAGS = frozenset(
    re.findall(
        r"\S+",
        "address article aside blockquote body br caption dd details div dl dt figcaption figure footer form h1 h2 h3 "
        "h4 h5 h6 head header hr html img input li main nav ol option p pre section summary table tbody td tfoot th "
        "thead title tr ul",
    )
)
_INLINE_TAGS = frozenset(
    re.findall(
        r"\S+",
        "a abbr acronym b bdi bdo big button center cite code data del dfn em font i ins kbd label mark q rp rt ruby "
        "s samp small span strike strong sub sup time tt u var wbr",
    )
)
_ENCODED = re.compile(
    r"(?P<entity>&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});?)"
    r"|(?P<tag></?(?P<name>[a-zA-Z][a-zA-Z0-9]{0,9})(?=[\s/>])(?P<attributes>[^<>]{0,400})>)"
    r"|(?P<percent>(?:%[0-9a-fA-F]{2})+)"
    r"|(?P<hyphen>(?<=[^\W\d_])[-‐\u00ad][ \t]{0,20}\r?\n[ \t]{0,20}(?=[^\W\d_]))"
    r"|(?P<plus>(?<=[^\W\d_])\+(?=[^\W\d_]))"
    r"|(?P<emoji>[\u2620-\u26b0\U0001f300-\U0001faff][\ufe0f\U0001f3fb-\U0001f3ff]*)"
)
_MAY_BE_ENCODED = re.compile(r"[&<%+\n\u2620-\u26b0\U0001f300-\U0001faff]")
_PROSE_ATTRIBUTE = re.compile(r"=\s*(?:\"([^\"]*\s[^\"]*)\"|'([^']*\s[^']*)')")
_LETTERS_BEFORE = re.compile(r"[^\W\d_]{1,40}\Z")
_LETTERS_AFTER = re.compile(r"[^\W\d_]{1,40}")

_TOKEN = re.compile(r"(?<![^\s\"“(\['])[A-Za-z0-9+/_=-]{12,}")
_CHANGE = re.compile(r"[a-z](?=[A-Z])|[A-Za-z](?=[0-9])|[0-9](?=[A-Za-z])")
_MIN_CHANGES = 3
_CODES = (
    re.compile(r"(?<!\w)(?=[0-9]*[a-fA-F])(?=[a-fA-F]*[0-9])[0-9a-fA-F]{12,}(?!\w)"),
    re.compile(
        r"(?<!\w)(?=[0-9\s,:;]{0,40}[a-fA-Fx])(?:(?:0x)?[0-9a-fA-F]{2}[\s,:;]{1,2}){7,}(?:0x)?[0-9a-fA-F]{2}(?!\w)"
    ),
    re.compile(r"(?:(?<!\w)[01]{8}\s?){2,}"),
    re.compile(r"(?=[.·• /]{0,60}[\-–−_])(?=[\-–−_ /]{0,60}[.·•])(?:[.\-·–•−_]{1,5}[ /]{1,3}){6,}[.\-·–•−_]{1,5}"),
    re.compile(r"(?:\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|\\[0-7]{3}){2,}"),
    re.compile(r"<!--|<(?:script|style|template|noscript)\b", re.IGNORECASE),
)
_MAY_BE_CODE = re.compile(r"[0-9\\]|<[!a-z]|[.\-·–•−_][ /]{1,3}[.\-·–•−_]", re.IGNORECASE)
_LONG_WORD = re.compile(r"[^\W\d_]{9,}")
_TOO_LONG = 35
_MIN_SOUND_SHARE = 0.6
"""Of a sound ("Zzzzzz") less than this is left without repeated letters."""
_MAX_PIECE = 14
_MIN_PIECES = 3
_MAX_PARTS = 4
"""Of how many words a single word ("ornamentations") may seem to consist, if none of them is as plain as "the"."""
_MAX_PIECE_LOG_ODDS = -2.0
"""How English a piece of a word must be, to be a word of its own; in a word of `_LONG` letters any listed piece is."""
_LONG = 20
_SMALL_WORDS = frozenset(
    re.findall(
        r"\S+",
        "a an and at by for from had has have he her him his i in is it me my not of off on out s she that the them "
        "then they this to up was we were will with you your",
    )
)


def decode(text: str) -> NormalizedText:
    """Return a text as a page shows it and as a reader reads it, with offsets back to the original.

    HTML entities become characters, tags of HTML vanish (what their attributes say in words stays), percent-encoding is
    undone, words broken at the end of a line are joined, plus signs instead of spaces become spaces, and emoji that are
    listed become words. An encoding within an encoding is undone, too.
    """
    starts = ends = None
    for _ in range(_MAX_PASSES):
        if not _MAY_BE_ENCODED.search(text):
            break
        decoded = _decode_once(text)
        if decoded is None:
            break
        text = decoded.text
        if starts is None or ends is None:
            starts, ends = decoded.starts, decoded.ends
        else:
            starts = [starts[n] for n in decoded.starts or ()]
            ends = [ends[n - 1] for n in decoded.ends or ()]
    return NormalizedText(text, starts, ends)


def _decode_once(text: str) -> NormalizedText | None:
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    done = 0
    for match in _ENCODED.finditer(text):
        replacement = _replacement(match, text)
        if replacement == match[0]:
            continue
        pieces += [text[done : match.start()], replacement]
        starts += [*range(done, match.start()), *[match.start()] * len(replacement)]
        ends += [*range(done + 1, match.start() + 1), *[match.end()] * len(replacement)]
        done = match.end()
    if not done:
        return None
    starts += range(done, len(text))
    ends += range(done + 1, len(text) + 1)
    return NormalizedText("".join([*pieces, text[done:]]), starts, ends)


def _replacement(match: re.Match[str], text: str) -> str:
    found = match[0]
    if match["entity"]:
        return unescape(found)
    if match["tag"]:
        return _without_tag(match)
    if match["percent"]:
        try:
            decoded = unquote_to_bytes(found).decode()
        except UnicodeDecodeError:
            return found
        return decoded if decoded.isprintable() else " " if decoded.isspace() else found
    if match["hyphen"]:
        before = _LETTERS_BEFORE.search(text[max(0, match.start() - 40) : match.start()])
        after = _LETTERS_AFTER.match(text, match.end())
        joined = f"{before[0] if before else ''}{after[0] if after else ''}".lower()
        return "" if shipped_model().known.get(joined, 1.0) < 0 else "-"
    if match["plus"]:
        return " "
    word = _emoji_words().get(found[0])
    return f" {word} " if word else found


def _without_tag(match: re.Match[str]) -> str:
    name = match["name"].lower()
    if name not in _BLOCK_TAGS and name not in _INLINE_TAGS:
        return match[0]
    prose = " ".join(a or b for a, b in _PROSE_ATTRIBUTE.findall(match["attributes"]))
    return f" {prose} " if prose else " " if name in _BLOCK_TAGS else ""


@lru_cache(maxsize=1)
def _emoji_words() -> dict[str, str]:
    return {str(emoji): str(word) for emoji, word in YamlFile(_EMOJI_FILE, "emoji").data.items()}


def looks_encoded(text: str) -> bool:
    """Return whether a part of a text is in a code that no reader reads as it stands.

    That is base64, hexadecimal or binary numbers, Morse, escapes of programs, comments and scripts in HTML, and words
    run together. Letters that were exchanged, reversed or left out are no words of English: see `looks_foreign`.
    """
    if _MAY_BE_CODE.search(text) and any(pattern.search(text) for pattern in _CODES):
        return True
    if any(len(_CHANGE.findall(token)) >= _MIN_CHANGES for token in _TOKEN.findall(text)):
        return True
    known = shipped_model().known
    return any(
        _is_run_together(lower[:_TOO_LONG]) for word in _LONG_WORD.findall(text) if (lower := word.lower()) not in known
    )


@lru_cache(maxsize=1 << 12)
def _is_run_together(word: str) -> bool:
    """Return whether a word in lower case that is not listed is several words without spaces."""
    if len(squeeze(word)) < _MIN_SOUND_SHARE * len(word):
        return False
    if len(word) >= _TOO_LONG:
        return True
    known = shipped_model().known
    limit = _MAX_PIECE_LOG_ODDS if len(word) < _LONG else math.inf
    # For each end, the fewest words of two letters or more that lead there, and how many of them are small words of
    # three letters or more between others.
    fewest: list[tuple[int, int] | None] = [(0, 0), *[None] * len(word)]
    for end in range(1, len(word) + 1):
        for start in range(max(0, end - _MAX_PIECE), end):
            before, piece = fewest[start], word[start:end]
            is_small = piece in _SMALL_WORDS
            if before is None or not (is_small or (len(piece) > 2 and known.get(piece, math.inf) < limit)):
                continue
            candidate = (
                before[0] + (len(piece) > 1),
                before[1] + (is_small and len(piece) > 2 and start > 0 and end < len(word)),
            )
            best = fewest[end]
            if best is None or candidate[0] < best[0]:
                fewest[end] = candidate
    pieces = fewest[-1]
    return pieces is not None and pieces[0] >= _MIN_PIECES and (pieces[1] > 0 or pieces[0] > _MAX_PARTS)
