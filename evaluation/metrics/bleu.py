"""BLEU (Papineni et al. 2002) by sacrebleu (Post 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from taleward.core.errors import ConfigurationError
from taleward.evaluation.metrics.base import Metric
from taleward.evaluation.sample import Sample

if TYPE_CHECKING:
    import numpy as np

    from taleward.evaluation.metrics.base import Floats


class Bleu(Metric):
    """Corpus BLEU, 0..100: sacrebleu's value to the last digit; several references each are taken together.

    A sample's own value counts the n-gram orders that it is long enough for (`effective_order`). An empty text scores
    0.

    Args:
        tokenize: A tokenizer of sacrebleu that needs no download: `13a`, `intl`, `char`, `zh` or `none`.
        lowercase: Whether case does not matter.
        smooth: What is done about orders without a match: sacrebleu's `exp`, `floor`, `add-k` or `none`.
        order: The longest n-grams.
    """

    name = "bleu"
    unit = "0-100"
    higher_is_better = True
    needs = ("output", "reference")

    def __init__(
        self,
        *,
        tokenize: Literal["13a", "intl", "char", "zh", "none"] = "13a",
        lowercase: bool = False,
        smooth: Literal["exp", "floor", "add-k", "none"] = "exp",
        order: int = 4,
    ) -> None:
        from sacrebleu.metrics.bleu import BLEU

        for option, came, taken in (
            ("tokenize", tokenize, ("13a", "intl", "char", "zh", "none")),
            ("smooth", smooth, tuple(BLEU.SMOOTH_DEFAULTS)),
        ):
            if came not in taken:
                raise ConfigurationError(f"{option} is one of {', '.join(taken)}; got {came!r}.")
        if order < 1:
            raise ConfigurationError(f"order is 1 or more; got {order}.")
        self._order, self._smooth, self._case = order, smooth, "lc" if lowercase else "mixed"
        self._counter = BLEU(
            tokenize=tokenize,
            lowercase=lowercase,
            max_ngram_order=order,
            smooth_method="none",
            effective_order=True,
            force=True,
        )
        self._tokenize = tokenize

    @property
    def options(self) -> Mapping[str, object]:
        """The parts of sacrebleu's own signature."""
        from sacrebleu import __version__

        order = {} if self._order == 4 else {"order": self._order}
        parts = {"case": self._case, "eff": "no", "tok": self._tokenize, "smooth": self._smooth}
        return {**parts, **order, "sacrebleu": __version__}

    def statistics(self, samples: Sequence[Sample]) -> Floats:
        """Lengths of output and closest reference, then matches and n-grams of each order."""
        import numpy as np

        rows = np.empty((len(samples), 2 + 2 * self._order))
        for row, sample in zip(rows, samples, strict=True):
            found = self._counter.sentence_score(sample.text, sample.references)
            row[:] = [found.sys_len, found.ref_len, *found.counts, *found.totals]
        return rows

    def value(self, total: Floats) -> Floats:
        """BLEU of summed statistics."""
        import numpy as np

        flat = total.reshape(-1, total.shape[-1])
        found: Floats = np.array([self._bleu(row) for row in flat]).reshape(total.shape[:-1])
        return found

    def sample_value(self, row: Floats) -> float | None:
        """Sentence BLEU."""
        import numpy as np

        return self._bleu(row, effective=True) if np.isfinite(row).all() else None

    def _bleu(self, row: np.ndarray[tuple[int], np.dtype[np.float64]], *, effective: bool = False) -> float:
        from sacrebleu.metrics.bleu import BLEU

        numbers = row.tolist()
        return float(
            BLEU.compute_bleu(
                correct=numbers[2 : 2 + self._order],
                total=numbers[2 + self._order :],
                sys_len=int(numbers[0]),
                ref_len=int(numbers[1]),
                smooth_method=self._smooth,
                effective_order=effective,
                max_ngram_order=self._order,
            ).score
        )
