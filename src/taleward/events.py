"""Events of a guard's stream."""

from taleward.core.events import DoneEvent, Event, RefusalEvent, RetractionEvent, RevisionEvent, TextEvent, VerdictEvent

__all__ = [
    "DoneEvent",
    "Event",
    "RefusalEvent",
    "RetractionEvent",
    "RevisionEvent",
    "TextEvent",
    "VerdictEvent",
]
