"""Tell text that is not English, word by word, so that a judge that reads English never passes what it cannot read.

Every word has log-odds of being foreign from `language_model`. A sentence is foreign if they add up; a text is foreign
if one of its sentences is, or if foreign words follow one another or pile up. A name, a sound, an invented word or a
greeting in another language ("Buenos días") is too short to count.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import NamedTuple

from taleward.moderation.text.foreign_words import Shape, shipped_model
from taleward.moderation.text.normalize import normalize

_MARKS = r"\u00ad\u0300-\u036f\u200b-\u200f\u2060\ufeff"
_MARK = re.compile(f"[{_MARKS}]")
WORD = re.compile(rf"[^\W_]+(?:[{_MARKS}'’]+[^\W_]+)*[\u0300-\u036f]*")
"""A word; digits count as letters, since they stand for letters in disguises, and marks do not end it."""
_SENTENCE = re.compile(r"[^.!?…。！？।։۔\n\"“”„«»]+")
"""What lies between full stops, line ends and quotation marks: speech is a sentence of its own."""
_SYLLABLES = re.compile(r"[^\W\d_]++(?:-[^\W\d_]++)+")
_SYLLABLE = 3
_LONGEST = 64
"""Of a longer word only so many letters are looked at."""
_MEASURE = re.compile(r"[0-9]+(?:[a-z]{1,3})?|[a-z][0-9]+", re.IGNORECASE)
_LEET = str.maketrans("013457", "oieast")
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
"""Scripts that put no spaces between words, as their letters' names begin."""
_OTHER_SCRIPT = 6.0
"""The log-odds of a word in another script."""
_NAME_WORDS = 4
"""Fewer words, all capitalized, are a name."""
_NAME_LOG_ODDS = 1.0
"""What a name counts for at most."""
_ENGLISH_AROUND = -2.0
"""The log-odds at which the words around many capitalized ones are English, so that those are names."""
_LOAN_WORD = 1.0
"""The log-odds of a word that is English without its accents."""

# A sentence is foreign from these log-odds on. In a text of more than a word or two, a single word may be a sound.
_SENTENCE_LOG_ODDS = 4.0
_SHORT_SENTENCE_LOG_ODDS = 6.0
# Foreign words in a row, within a sentence or across sentences.
_RUN_WORDS = 3
_RUN_LOG_ODDS = 5.0
_NAME_WEIGHT = 0.5
"""What a name counts for at most among the words of a run ("Cinco de Mayo"); other words count for 1."""
# Foreign words anywhere.
_CLEARLY_FOREIGN = 2.5
_PILE_WORDS = 4
_PILE_SHARE = 0.25
_GREETINGS = frozenset(
    re.findall(
        r"\S+",
        "abend abuela abuelita abuelo adios adiós aloha amiga amigo amigos arigato arigatou arrivederci au auf bella "
        "bitte bien bienvenido bienvenidos bienvenue boa bom bon bonjour bonne bonsoir bravo buenas bueno buenos "
        "buongiorno ciao danke dia dias días dobry domo dzień feliz gracias gran grazie guten hallo hao hasta hola "
        "jambo joyeux karibu konnichiwa luego ma madame mademoiselle mamá mañana maman merci mi mon monsieur morgen "
        "nacht namaste navidad ni nihao noches noel noël nonna nonno oma opa papá prost revoir salaam salam salut "
        "sayonara schön senor senora señor señora señorita shalom signor signora tag tante tardes tía tío très voila "
        "voilà wiedersehen",
    )
)
"""Words of greetings and forms of address that English stories borrow; alone they say nothing."""


class _Scored(NamedTuple):
    """A word of a sentence.

    Attributes:
        log_odds: How foreign it is.
        capitalized: Whether it begins with a capital.
        is_name: Whether the capital says that it is a name, since the word is within a sentence of other words.
    """

    log_odds: float
    capitalized: bool
    is_name: bool


def looks_foreign(text: str, start: int = 0) -> bool:
    """Return whether a text, or a part of it, is in a language other than English, or in none.

    Args:
        text: Any text.
        start: Where the judged part starts; what is before it is context.
    """
    run, run_words = 0.0, 0.0
    seen: set[str] = set()
    words_read, clearly_foreign, short_log_odds = 0, 0, 0.0
    for match in _SENTENCE.finditer(text):
        sentence = _score_sentence(match[0])
        is_judged = match.end() > start
        for word, (log_odds, capitalized, is_name) in sentence.items():
            foreign = log_odds > 0.0
            if foreign:
                if word in seen:
                    continue
                seen.add(word)
                clearly_foreign += is_judged and log_odds >= _CLEARLY_FOREIGN and not capitalized
            weight = max(0.0, min(_NAME_WEIGHT if is_name else 1.0, log_odds))
            run, run_words = (run + log_odds, run_words + weight) if run > 0.0 else (log_odds, weight)
            if run_words >= _RUN_WORDS and run >= _RUN_LOG_ODDS:
                if foreign and is_judged:
                    return True
                run = _RUN_LOG_ODDS  # so that a long foreign context ends where English begins
        if not is_judged:
            continue
        words_read += len(sentence)
        if _is_foreign_sentence(sentence.values()):
            return True
        if not all(word.capitalized for word in sentence.values()):
            short_log_odds = max(short_log_odds, sum(word.log_odds for word in sentence.values()))
    if clearly_foreign >= _PILE_WORDS and clearly_foreign >= _PILE_SHARE * words_read:
        return True
    # A text of a word or two has no English around them.
    return words_read <= 2 and short_log_odds >= _SENTENCE_LOG_ODDS


def _is_foreign_sentence(words: Collection[_Scored]) -> bool:
    if sum(word.log_odds > 0.0 for word in words) < 2:
        return False
    if all(word.capitalized for word in words) and len(words) < _NAME_WORDS:
        return False
    limit = _SHORT_SENTENCE_LOG_ODDS if len(words) == 2 else _SENTENCE_LOG_ODDS
    return sum(word.log_odds for word in words) >= limit


def is_mostly_foreign(sentence: str) -> bool:
    """Return whether more than half of the distinct words of a sentence, and of their letters, look foreign."""
    scored = _score_sentence(sentence)
    foreign = [word for word, score in scored.items() if score.log_odds > 0.0]
    return 2 * len(foreign) > len(scored) and 2 * sum(map(len, foreign)) > sum(map(len, scored))


def _score_sentence(sentence: str) -> dict[str, _Scored]:
    """Return the log-odds of each distinct word of a sentence: sounds repeat ("Taka taka taka!")."""
    if "-" in sentence:
        sentence = _SYLLABLES.sub(_joined, sentence)
    words = WORD.findall(sentence)
    scored = _score_words(words, True)
    lower_case = [word.log_odds for word in scored.values() if not word.capitalized]
    capitals = len(scored) - len(lower_case)
    # Among foreign words a capital is no sign of a name (German capitalizes its nouns), nor where most words have one.
    limit = _ENGLISH_AROUND if len(scored) >= _NAME_WORDS and capitals > len(lower_case) else 0.0
    return _score_words(words, False) if capitals and sum(lower_case) > limit else scored


def _score_words(words: Sequence[str], names_show: bool) -> dict[str, _Scored]:
    scored: dict[str, _Scored] = {}
    for number, word in enumerate(words):
        for part, score in _score_word(word[:_LONGEST], names_show, number == 0):
            scored.setdefault(part, score)
    return scored


@lru_cache(maxsize=1 << 15)
def _score_word(word: str, names_show: bool, is_first: bool) -> tuple[tuple[str, _Scored], ...]:
    """Return a word in lower case with its score; several in a script without spaces."""
    lower = word.lower()
    capitalized = word[0].isupper() and not (len(word) > 1 and word.isupper())
    is_name = capitalized and names_show and not is_first
    known = 0.0 if lower in _GREETINGS else shipped_model().known.get(lower)
    shape: Shape = "name" if is_name else "initial" if capitalized and names_show else "lower"
    parts = _unlisted(lower, shape) if known is None else ((lower, known),)
    most = _NAME_LOG_ODDS if is_name else math.inf
    return tuple((part, _Scored(min(most, log_odds), capitalized, is_name)) for part, log_odds in parts)


def _joined(match: re.Match[str]) -> str:
    """Return "Rhi-no-ce-ros" without the hyphens between its syllables, and nothing for a sound ("Ai-yai-yai")."""
    pieces = match[0].split("-")
    word = "".join(pieces)
    if shipped_model().known.get(word.lower(), 1.0) < 0.0:
        return word
    return "" if all(len(piece) <= _SYLLABLE for piece in pieces) else match[0]


def _unlisted(word: str, shape: Shape) -> tuple[tuple[str, float], ...]:
    """Return the log-odds of a word that is not listed as it stands; several in a script without spaces."""
    model = shipped_model()
    word = word.replace("’", "'")
    if not word.isascii():
        word = _MARK.sub("", unicodedata.normalize("NFKC", word).lower())
        scripts = {unicodedata.name(c, "").split(" ")[0] for c in word if c.isalpha()}
        if "LATIN" not in scripts and scripts:
            if any(s.startswith(_UNSPACED) for s in scripts) and len(word) >= _RUN_WORDS:
                return tuple((letter, _OTHER_SCRIPT) for letter in word)
            return ((word, _OTHER_SCRIPT),)
        if len(scripts) > 1:
            word = normalize(word).text
    if any(c.isdigit() for c in word):
        if _MEASURE.fullmatch(word):
            return ((word, 0.0),)
        word = word.translate(_LEET)
    log_odds = model.known.get(word)
    if log_odds is None:
        log_odds = model.unlisted(word, shape)
        if shape == "name":
            log_odds = max(0.0, log_odds)  # a name is no sign of English
        # A loan word with its accents ("crêpes") says little, and so does "för".
        if log_odds > _LOAN_WORD and not word.isascii() and model.known.get(normalize(word).text, 1.0) < 0.0:
            log_odds = _LOAN_WORD
    return ((word, log_odds),)
