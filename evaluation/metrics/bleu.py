"""BLEU (Papineni et al. 2002), computed with sacrebleu (Post 2018)."""

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
    """Corpus BLEU, 0..100, equal to sacrebleu's; all references of a sample are used together.

    The value of a single sample uses only the n-gram orders that the sample is long enough for (`effective_order`). An
    empty output scores 0.

    Args:
        tokenize: One of sacrebleu's tokenizers that need no download: `13a`, `intl`, `char`, `zh` or `none`.
        lowercase: Whether to ignore case.
        smooth: How sacrebleu smooths n-gram orders without a match: `exp`, `floor`, `add-k` or `none`.
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

        for option, value, allowed in (
            ("tokenize", tokenize, ("13a", "intl", "char", "zh", "none")),
            ("smooth", smooth, tuple(BLEU.SMOOTH_DEFAULTS)),
        ):
            if value not in allowed:
                raise ConfigurationError(f"{option} must be one of {', '.join(allowed)}; got {value!r}.")
        if order < 1:
            raise ConfigurationError(f"order must be at least 1; got {order}.")
        self._order, self._smooth, self._case = order, smooth, "lc" if lowercase else "mixed"
        # Only counts n-grams; `_bleu` smooths their sums. `force` silences a warning about tokenized text.
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
        """Return the lengths of output and closest reference, then matches and n-grams of each order."""
        import numpy as np

        rows = np.empty((len(samples), 2 + 2 * self._order))
        for row, sample in zip(rows, samples, strict=True):
            score = self._counter.sentence_score(sample.text, sample.references)
            row[:] = [score.sys_len, score.ref_len, *score.counts, *score.totals]
        return rows

    def value(self, total: Floats) -> Floats:
        """Compute BLEU from summed statistics."""
        import numpy as np

        rows = total.reshape(-1, total.shape[-1])
        values: Floats = np.array([self._bleu(row) for row in rows]).reshape(total.shape[:-1])
        return values

    def sample_value(self, row: Floats) -> float | None:
        """Compute the sentence BLEU of one sample."""
        import numpy as np

        return self._bleu(row, effective_order=True) if np.isfinite(row).all() else None

    def _bleu(self, row: np.ndarray[tuple[int], np.dtype[np.float64]], *, effective_order: bool = False) -> float:
        from sacrebleu.metrics.bleu import BLEU

        numbers = row.tolist()
        return float(
            BLEU.compute_bleu(
                correct=numbers[2 : 2 + self._order],
                total=numbers[2 + self._order :],
                sys_len=int(numbers[0]),
                ref_len=int(numbers[1]),
                smooth_method=self._smooth,
                effective_order=effective_order,
                max_ngram_order=self._order,
            ).score
        )
