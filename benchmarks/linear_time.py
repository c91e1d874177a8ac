"""Growth of the time that reading a text takes: `python -m benchmarks.linear_time`.

A text that is 16 times as long must take about 16 times as long, whatever is in it: a writer chooses the text, and what
takes n² steps holds the interpreter for minutes. Each function gets texts made of a repeated piece; the row shows the
piece for which its time grows the most. `tests/moderation/text/test_linear_time.py` checks the same functions.
"""

from __future__ import annotations

import sys
import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage

from benchmarks.table import Row, Size, pick, run
from taleward.agents.cast_sheet import CastSheet
from taleward.agents.routing.request_parsing import SpellingCorrector, parse_request
from taleward.agents.routing.strategy import RoutingRequest
from taleward.agents.tools.classify_text import ClassifyText
from taleward.agents.tools.search_tales import SearchTales
from taleward.agents.tools.tell_story import TellStory
from taleward.chains.summarization.faithfulness import _NAME_OR_NUMBER
from taleward.core.html_display import highlighted_html
from taleward.core.redaction import redact
from taleward.core.surrogates import join_surrogates
from taleward.core.verdict import Passage
from taleward.evaluation.metrics.tokenize import words
from taleward.moderation.chat.messages import words_beyond_text
from taleward.moderation.guard.input_checks import mask
from taleward.moderation.judges import judge
from taleward.moderation.judges.base import Judge
from taleward.moderation.judges.guard_models.gpt_oss_safeguard import _HARMONY
from taleward.moderation.judges.guard_models.granite_guardian import _SCORE
from taleward.moderation.judges.neutralize_markup import neutralize_markup
from taleward.moderation.judges.personal_data import PersonalDataJudge
from taleward.moderation.judges.strict_parsing import Unparsable, strict_json
from taleward.moderation.text.lexicon import find_hits
from taleward.moderation.text.non_english import looks_foreign
from taleward.moderation.text.normalize import normalize, undisguise
from taleward.moderation.text.personal_data import find_personal_data
from taleward.moderation.text.request_coverage import mentions_value, wishes
from taleward.moderation.text.sentences import sentences
from taleward.moderation.text.windows import sentence_windows, windows
from taleward.moderation.verdict_cache.encrypted_entry import VerdictEntry
from taleward.stores.caches.semantic_answers import question_words

MAX_GROWTH = 32.0
"""How many times longer a text of 16 times the length may take: 16 is linear and 256 quadratic; what does not fit into
a processor's cache takes up to twice as long a character when others use the machine, too."""
MIN_SECONDS = 0.005
"""Below this time for the longer text, growth cannot be measured, and does not matter."""
PIECES = (
    *("a", "A-", "a-", "a@", "a.b.", "@a-", "f*** ", "k i l l ", "k1ll ", "c0000l ", "kill ", "1 ", "1 Ab ", "+111 "),
    *(" ", "\n", "\r", "\u2028", "\t", "<", "---", "#", "*", "!", "“", '"', "[", '{"a":', "\\", '\\"', "\ud800", "é"),
    *("A. ", "Mr. ", "Ab ", "a, ", "a or ", "this ", "it ", "below: ", "please ", "about ", "in the ", "http://"),
    *("the fox named Ab ", "Foo was a bar ", "response: user ", "[SQL: ", "<think>", "<|", "my name is Ab ", "Hello. "),
)
"""What hostile texts are made of: pieces at which a pattern begins, or that it reads on and on."""
_PADDED = ((" ", "x"), ("\r", "user:"), ("<", "x"), ("!", "x"), ("a-", "@"), ("\n", "the end?"), ("“", "x"))


@dataclass(frozen=True)
class Growth:
    """How the time of a function grows.

    Attributes:
        times: How many times longer the longer text takes.
        seconds: The time for the longer text.
        piece: What the text repeats.
    """

    times: float
    seconds: float
    piece: str


def _cached_verdict(lexicon: Judge, text: str) -> object:
    passage, verdict = Passage(text=text), lexicon.invoke(text)
    entry = VerdictEntry.from_verdict(verdict, passage)
    if entry is not None:
        sealed = VerdictEntry.unseal(entry.seal(passage), passage)
        verdict = sealed.to_verdict(verdict.judge, verdict.policy, verdict.band)
    return highlighted_html(text, verdict.findings)


def _strict_json(text: str) -> object:
    try:
        return strict_json(text)
    except Unparsable:
        return None


def functions() -> dict[str, Callable[[str], Any]]:
    """Return everything that reads a text of a writer, a model or a reader, by name."""
    lexicon, personal = judge("lexicon", policy="kids", band="6-8"), PersonalDataJudge()
    tell, search, classify = TellStory.model_construct(), SearchTales.model_construct(), ClassifyText.model_construct()
    corrector = SpellingCorrector({"story": 3, "tell": 2})
    return {
        "normalize": normalize,
        "undisguise": lambda text: undisguise(text, lambda _: False),
        "find_hits": find_hits,
        "looks_foreign": looks_foreign,
        "sentences": sentences,
        "windows": windows,
        "sentence_windows": sentence_windows,
        "find_personal_data": lambda text: list(find_personal_data(text)),
        "mask": mask,
        "mentions_value": lambda text: (mentions_value("a brave fox", text), mentions_value(text, "a brave fox")),
        "wishes": wishes,
        "join_surrogates": join_surrogates,
        "neutralize_markup": neutralize_markup,
        "lexicon judge, cached and shown": lambda text: _cached_verdict(lexicon, text),
        "personal data judge": personal.invoke,
        "strict_json": _strict_json,
        "harmony answer": lambda text: _HARMONY.fullmatch(f"<|channel|>analysis<|message|>{text}"),
        "score answer": lambda text: _SCORE.fullmatch(f"<think>{text}"),
        "chat words": lambda text: words_beyond_text(AIMessage(text), text, frozenset()),
        "redact": redact,
        "cast sheet": CastSheet().with_part,
        "parse_request": parse_request,
        "spelling": corrector.correct,
        "tell_story": lambda text: tell.arguments(RoutingRequest(text=text)),
        "search_tales": lambda text: search.arguments(RoutingRequest(text=text)),
        "classify_text": lambda text: classify.arguments(RoutingRequest(text=text, tale=text)),
        "names in a summary": _NAME_OR_NUMBER.findall,
        "question_words": question_words,
        "metric words": words,
    }


def hostile_texts() -> dict[str, Callable[[int], str]]:
    """Return functions from a length in characters to a text, by what the text repeats."""

    def repeated(piece: str, end: str) -> Callable[[int], str]:
        return lambda length: (piece * (length // len(piece) + 1))[:length] + end

    texts = {piece: repeated(piece, "") for piece in PIECES}
    return texts | {f"{piece} and at the end {end}": repeated(piece, end) for piece, end in _PADDED}


def time_of(function: Callable[[str], Any], text: str, repeats: int) -> float:
    """Return the shortest processor time of several calls in seconds, without garbage collection."""
    return min(timeit.repeat(lambda: function(text), timer=time.thread_time, number=1, repeat=repeats))


def growth(
    function: Callable[[str], Any], text: Callable[[int], str], piece: str, short: int, long: int, repeats: int = 3
) -> Growth:
    """Measure how many times longer a function takes for the long text than for the short one.

    The two are measured in turns. A figure that is too high is measured again, up to three times: the machine may have
    been busy.
    """
    short_text, long_text = text(short), text(long)
    times: list[tuple[float, float]] = []
    for _ in range(4):
        times += [(time_of(function, short_text, 1), time_of(function, long_text, 1)) for _ in range(repeats)]
        short_s, seconds = (min(column) for column in zip(*times, strict=True))
        if seconds < MAX_GROWTH * short_s:
            break
    return Growth(seconds / max(short_s, 1e-6), seconds, piece)


def slowest_texts(function: Callable[[str], Any], length: int, count: int) -> list[str]:
    """Return the pieces of the texts that take a function longest at a length."""
    texts = hostile_texts()
    return sorted(texts, key=lambda piece: -time_of(function, texts[piece](length), 1))[:count]


def measure(size: Size) -> Iterator[Row]:
    """Yield all rows."""
    texts = hostile_texts()
    short = pick(size, full=60_000, quick=4_000, smoke=500)
    long = 16 * short
    for name, function in functions().items():
        pieces = slowest_texts(function, short, pick(size, full=3, quick=3, smoke=1))
        worst = max(
            (growth(function, texts[p], p, short, long, 1 if size == "full" else 3) for p in pieces),
            key=lambda g: g.times,
        )
        metric = f"{name}, {short // 1000} kB to {long // 1000} kB of {worst.piece!r}"
        met = worst.times < MAX_GROWTH or worst.seconds < MIN_SECONDS
        yield Row(metric, "times", worst.times, goal=f"< {MAX_GROWTH:g}", met=met)
        yield Row(f"{name}, {long // 1000} kB", "s", worst.seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark from the command line."""
    return run("linear_time", measure, arguments)


if __name__ == "__main__":
    sys.exit(main())
