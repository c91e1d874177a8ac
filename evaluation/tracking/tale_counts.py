"""What became of the tales, counted."""

from __future__ import annotations

from collections import Counter

from taleward.core.tale import Tale


class TaleCounts:
    """Counts of a guard's tales, as MLflow metrics.

    `tales`, `released`, `closed` (brought to an end by the guard), `revised` (at least one draft turned down),
    `refused` and `refused/<reason>`, `turned_down` (drafts) and `turned_down/<category>`.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, tale: Tale) -> dict[str, float]:
        """Count a tale; all counts so far."""
        turned_down = [a for a in tale.attempts if not a.verdict.passed]
        self._counts["tales"] += 1
        self._counts["released"] += tale.released
        self._counts["closed"] += tale.lineage.closed
        self._counts["revised"] += tale.released and bool(turned_down)
        self._counts["turned_down"] += len(turned_down)
        self._counts.update(f"turned_down/{category}" for a in turned_down for category in a.verdict.categories)
        self._counts["refused"] += not tale.released
        if tale.refusal is not None:
            self._counts[f"refused/{tale.refusal.reason}"] += 1
        return {name: float(count) for name, count in self._counts.items()}
