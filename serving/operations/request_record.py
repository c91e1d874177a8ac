"""What is known about the current request without its words: for logs, metrics, traces and the limits of keys."""

from __future__ import annotations

import math
import re
import time
import uuid
from collections.abc import Collection, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

from starlette.types import Scope

from taleward.core.events import DoneEvent, Event, TextEvent, VerdictEvent
from taleward.core.tale import Tale
from taleward.core.verdict import Outcome, Verdict
from taleward.images.guard.guarded_picture import GuardedPicture

# UUIDs, ULIDs and hexadecimal ids, with or without OpenAI's prefix. Any other could hold somebody's words.
_REQUEST_ID = re.compile(r"(?:req_)?(?:[0-9a-fA-F]{16,64}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})")
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_CHARACTERS_PER_TOKEN = 4
OTHER = "other"
"""Stands for a name that is not in the configuration."""


@dataclass(frozen=True)
class ObservedVerdict:
    """A verdict on a passage or a whole text.

    Attributes:
        outcome: Its outcome.
        categories: The categories of its findings.
        held_s: Seconds that the passage waited for it; `None` if nothing waited.
    """

    outcome: Outcome
    categories: tuple[str, ...]
    held_s: float | None


@dataclass
class RequestRecord:
    """What is known about a request.

    Attributes:
        id: The request id.
        started_s: When it came, on the performance counter.
        key_id: The id of the API key.
        model: The name of the served model.
        status: The status of the answer, 0 as long as there is none.
        streams: Whether the answer is a stream of server-sent events.
        ended: Whether the answer is complete.
        client_left: Whether the client left before that.
        rejection: The code of the reason for which the request was turned down.
        queued_s: Seconds that it waited for a place.
        first_sentence_s: Seconds until the first sentence left.
        verdicts: The verdicts.
        tales: Ids of the tales, and of the results of image guards.
        results: For each tale `released`, or the reason of the refusal.
        pictures: For each released picture `released`; for a refusal its reason.
        input_tokens: Tokens that models read.
        output_tokens: Tokens that models wrote.
        cost_usd: The cost as far as it is known.
        trace_id: The id of the OpenTelemetry trace.
    """

    id: str = field(default_factory=lambda: f"req_{uuid.uuid4().hex}")
    started_s: float = field(default_factory=time.perf_counter)
    key_id: str | None = None
    model: str | None = None
    status: int = 0
    streams: bool = False
    ended: bool = False
    client_left: bool = False
    rejection: str | None = None
    queued_s: float = 0.0
    first_sentence_s: float | None = None
    verdicts: list[ObservedVerdict] = field(default_factory=list)
    tales: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    trace_id: str | None = None
    _unaccounted_characters: int = field(default=0, repr=False)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the request came."""
        return time.perf_counter() - self.started_s

    @property
    def charged_tokens(self) -> int:
        """The tokens that count for the key's limit.

        A stream that its client left reports none: its released characters count, four for a token.
        """
        tokens = self.input_tokens + self.output_tokens
        return tokens + math.ceil(self._unaccounted_characters / _CHARACTERS_PER_TOKEN)

    def keep_known(self, models: Collection[str], categories: Collection[str]) -> None:
        """Replace names that the configuration does not know by `other`: a model can invent a category.

        Args:
            models: The names of the served models.
            categories: The categories of the policies in use.
        """
        if self.model is not None and self.model not in models:
            self.model = OTHER
        self.verdicts = [
            replace(
                verdict, categories=tuple(dict.fromkeys(c if c in categories else OTHER for c in verdict.categories))
            )
            for verdict in self.verdicts
        ]

    def observe_event(self, event: Event) -> None:
        """Note an event of a guarded stream."""
        if isinstance(event, TextEvent):
            self.observe_text(event.text)
        elif isinstance(event, VerdictEvent):
            self.observe_verdict(event.verdict, held_s=event.held_s)
        elif isinstance(event, DoneEvent):
            self._unaccounted_characters = 0
            self._observe_tale(event.tale, with_verdicts=False)

    def observe_text(self, text: str) -> None:
        """Note that judged text leaves."""
        if self.first_sentence_s is None:
            self.first_sentence_s = self.elapsed_s
        self._unaccounted_characters += len(text)

    def observe_tale(self, tale: Tale) -> None:
        """Note a tale that was not streamed."""
        self._observe_tale(tale, with_verdicts=True)

    def _observe_tale(self, tale: Tale, *, with_verdicts: bool) -> None:
        self.tales.append(tale.id)
        self.results.append(tale.refusal.reason if tale.refusal else "released")
        for attempt in tale.attempts:
            if with_verdicts:
                for decision in attempt.decisions:
                    self.verdicts.append(ObservedVerdict(decision.outcome, decision.categories, decision.held_s))
                self.observe_verdict(attempt.verdict)
            for call in attempt.calls:
                self.observe_usage(call.input_tokens, call.output_tokens, call.cost_usd)

    def observe_pictures(self, result: GuardedPicture) -> None:
        """Note the result of an image guard, with all its verdicts."""
        self.tales.append(result.id)
        judged = [
            verdict for attempt in result.attempts for picture in attempt.pictures for verdict in picture.verdicts
        ]
        for verdict in (result.prompt_verdict, *result.input_verdicts, *judged):
            if verdict is not None:
                self.observe_verdict(verdict)
        self.pictures += [result.refusal.reason] if result.refusal else ["released"] * len(result.released_pictures)
        for lineage in (picture.lineage for attempt in result.attempts for picture in attempt.pictures):
            tokens = lineage.tokens
            self.observe_usage(
                tokens.get("input_text", 0) + tokens.get("input_image", 0),
                tokens.get("output_image", 0),
                lineage.cost_usd,
            )

    def observe_verdict(self, verdict: Verdict, *, held_s: float | None = None) -> None:
        """Note a verdict.

        Args:
            verdict: The verdict.
            held_s: Seconds that the passage waited for it.
        """
        self.verdicts.append(ObservedVerdict(verdict.outcome, verdict.categories, held_s))
        self.cost_usd += verdict.cost_usd or 0.0

    def observe_usage(
        self, input_tokens: int | None = None, output_tokens: int | None = None, cost_usd: float | None = None
    ) -> None:
        """Add to the tokens and to the cost; `None` stands for unknown."""
        self._unaccounted_characters = 0
        self.input_tokens += input_tokens or 0
        self.output_tokens += output_tokens or 0
        self.cost_usd += cost_usd or 0.0


_current: ContextVar[RequestRecord | None] = ContextVar("taleward_request", default=None)


def current_request() -> RequestRecord:
    """Return the record of the request that is being answered; outside of one, a record that nobody reads."""
    return _current.get() or RequestRecord()


def record_of(scope: Scope) -> RequestRecord:
    """Return the record of a request, created with its id on the first call."""
    state = scope.setdefault("state", {})
    record: RequestRecord | None = state.get("taleward_request")
    if record is None:
        record = RequestRecord()
        if request_id := _valid_id(scope.get("headers", ())):
            record.id = request_id
        state["taleward_request"] = record
        _current.set(record)
    return record


def _valid_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the client's request id if it is an id and nothing else."""
    for name, value in headers:
        if name.lower() == b"x-request-id":
            text = value.decode("latin-1")
            return text if _REQUEST_ID.fullmatch(text) or _ULID.fullmatch(text) else None
    return None
