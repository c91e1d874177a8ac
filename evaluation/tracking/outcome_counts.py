"""Count a guard's tales by what became of them."""

from __future__ import annotations

from collections import Counter

from taleward.core.tale import Tale


class TaleCounts:
    """Running counts of a guard's tales, by MLflow metric name.

    * `tales`: all tales.
    * `released`: tales with released text; `closed` of them were ended by the guard, `revised` had a rejected draft.
    * `refused` and `refused/<reason>`: refused tales, see `RefusalReason`.
    * `turned_down` and `turned_down/<category>`: rejected drafts.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, tale: Tale) -> dict[str, float]:
        """Count a tale, and return all counts so far."""
        rejected = [attempt for attempt in tale.attempts if not attempt.verdict.passed]
        self._counts["tales"] += 1
        self._counts["released"] += tale.released
        self._counts["closed"] += tale.lineage.closed_by is not None
        self._counts["revised"] += tale.released and bool(rejected)
        self._counts["turned_down"] += len(rejected)
        self._counts.update(f"turned_down/{name}" for attempt in rejected for name in attempt.verdict.categories)
        self._counts["refused"] += not tale.released
        if tale.refusal is not None:
            self._counts[f"refused/{tale.refusal.reason}"] += 1
        return {name: float(count) for name, count in self._counts.items()}
