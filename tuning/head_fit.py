"""Fit the linear layer of the embedded judge to texts that people labeled as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from taleward.moderation.calibration.labeled_texts import LabeledText
from taleward.moderation.judges.embedded.judge import EmbeddedJudge

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]

_MAX_OFFSET = 15.0
_MAX_STEPS = 300


class FitTexts(NamedTuple):
    """Texts as the head sees them; C is the number of its categories.

    Attributes:
        vectors: Of all sentences, shape (sentences, 384).
        excess: Log-odds relative to the thresholds, shape (sentences, C); minus infinity where a band tolerates all.
        lengths: Sentences of each text, shape (texts,), each at least 1.
        harmful: The labels, shape (texts,).
        band: The index of each text's band, shape (texts,).
        blamed: The categories that a text's label speaks of, shape (texts, C).
    """

    vectors: Floats
    excess: Floats
    lengths: npt.NDArray[np.intp]
    harmful: Bools
    band: npt.NDArray[np.intp]
    blamed: Bools


class HeadChange(NamedTuple):
    """What is added to a head.

    Attributes:
        weight: To the weights, shape (384, C).
        bias: To the biases, shape (C,).
        offsets: To the offset of each band, in log-odds.
    """

    weight: Floats
    bias: Floats
    offsets: Floats


def read_texts(
    texts: Sequence[LabeledText], judges: Mapping[str, EmbeddedJudge], categories: Sequence[str]
) -> FitTexts:
    """Compute what the fit needs of texts; those without a sentence are left out.

    Args:
        texts: The texts, each with its band.
        judges: The judge of each band.
        categories: The head's categories.
    """
    import numpy as np

    bands = list(judges)
    vectors, excess, kept, blamed = [], [], [], []
    for text in texts:
        scores = judges[text.band].sentence_scores(text.text)
        if not len(scores.vectors):
            continue
        columns = [categories.index(category) for category in scores.categories]
        of_text = np.full((len(scores.vectors), len(categories)), -np.inf)
        of_text[:, columns] = scores.excess
        named = np.isin(categories, text.categories) & np.isin(categories, scores.categories)
        vectors.append(scores.vectors.astype(float))
        excess.append(of_text)
        blamed.append(named if text.harmful and named.any() else np.ones(len(categories), bool))
        kept.append(text)
    return FitTexts(
        np.concatenate(vectors),
        np.concatenate(excess),
        np.array([len(v) for v in vectors]),
        np.array([text.harmful for text in kept]),
        np.array([bands.index(text.band) for text in kept]),
        np.array(blamed),
    )


def fit_offsets(texts: FitTexts, margins: Floats, bands: int, miss_weight: float) -> Floats:
    """Return what to add to each band's margins, by the weighted log loss.

    That is steadier than the threshold with the lowest cost on the texts: fitted to 100 texts, it cost less on others
    in six of eight sets, and more in one.

    Args:
        texts: The texts.
        margins: How far each exceeds the thresholds, in log-odds, shape (texts,).
        bands: The number of bands.
        miss_weight: How many false alarms a missed harmful text costs.
    """
    import numpy as np
    from scipy.optimize import minimize_scalar

    weights, signs = _weights_and_signs(texts.harmful, miss_weight)
    offsets = np.zeros(bands)
    for band in range(bands):
        inside = texts.band == band
        if not inside.any():
            continue

        def loss(offset: float, inside: Bools = inside) -> float:
            return float(np.sum(weights[inside] * np.logaddexp(0, -signs[inside] * (margins[inside] + offset))))

        offsets[band] = minimize_scalar(loss, bounds=(-_MAX_OFFSET, _MAX_OFFSET), method="bounded").x
    return offsets


def fit_thresholds(texts: FitTexts, bands: int, miss_weight: float) -> HeadChange:
    """Fit an offset for each band, which moves all of its thresholds alike; the weights stay."""
    import numpy as np

    dimensions, categories = texts.vectors.shape[1], texts.excess.shape[1]
    margins = text_margins(texts.excess, texts.lengths)
    return HeadChange(
        np.zeros((dimensions, categories)), np.zeros(categories), fit_offsets(texts, margins, bands, miss_weight)
    )


def fit_head(texts: FitTexts, bands: int, miss_weight: float, pull: float) -> HeadChange:
    """Fit weights, biases and offsets by the weighted log loss of the texts' labels.

    The margin of a text is the log-sum-exp of its sentences and categories, by which the judge decides. If people named
    the categories of a harmful text, only these are raised. Squared changes of weights and biases cost `pull` / 2 each,
    so where the labels say little the head stays as it was.

    Args:
        texts: The texts.
        bands: The number of bands.
        miss_weight: How many false alarms a missed harmful text costs.
        pull: How strongly the head is pulled back to where it starts: the precision of a normal prior.
    """
    import numpy as np
    from scipy.optimize import minimize

    dimensions, categories = texts.vectors.shape[1], texts.excess.shape[1]
    weights, signs = _weights_and_signs(texts.harmful, miss_weight)
    of_blamed = np.where(np.repeat(texts.blamed, texts.lengths, axis=0), texts.excess, -np.inf)

    def split(parameters: Floats) -> tuple[Floats, Floats, Floats]:
        weight, bias, offsets = np.split(parameters, [dimensions * categories, (dimensions + 1) * categories])
        return weight.reshape(dimensions, categories), bias, offsets

    def loss_and_gradient(parameters: Floats) -> tuple[float, Floats]:
        weight, bias, offsets = split(parameters)
        excess = of_blamed + texts.vectors @ weight + bias
        margins = text_margins(excess, texts.lengths)
        shifted = margins + offsets[texts.band]
        loss = np.sum(weights * np.logaddexp(0, -signs * shifted)) + pull / 2 * (np.sum(weight**2) + np.sum(bias**2))
        # The derivative of log(1 + exp(-x)) is -1 / (1 + exp(x)), here without overflow.
        slopes = -weights * signs * np.exp(-np.logaddexp(0, signs * shifted))
        shares = np.exp(excess - np.repeat(margins, texts.lengths)[:, None]) * np.repeat(slopes, texts.lengths)[:, None]
        gradient = (
            (texts.vectors.T @ shares + pull * weight).ravel(),
            shares.sum(0) + pull * bias,
            np.bincount(texts.band, slopes, bands),
        )
        return float(loss), np.concatenate(gradient)

    start = np.zeros((dimensions + 1) * categories + bands)
    found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options={"maxiter": _MAX_STEPS})
    weight, bias, _ = split(found.x)
    # Anew, since a text exceeds by all categories together, and not only by those that people named.
    margins = text_margins(texts.excess + texts.vectors @ weight + bias, texts.lengths)
    return HeadChange(weight, bias, fit_offsets(texts, margins, bands, miss_weight))


def text_margins(excess: Floats, lengths: npt.NDArray[np.intp]) -> Floats:
    """Return the log-sum-exp of the sentences and categories of each text, shape (texts,)."""
    import numpy as np

    of_sentence = np.logaddexp.reduce(excess, axis=1)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    highest = np.maximum.reduceat(of_sentence, starts)
    sums = np.add.reduceat(np.exp(of_sentence - np.repeat(highest, lengths)), starts)
    margins: Floats = highest + np.log(sums)
    return margins


def _weights_and_signs(harmful: Bools, miss_weight: float) -> tuple[Floats, Floats]:
    import numpy as np

    return np.where(harmful, miss_weight, 1.0), np.where(harmful, 1.0, -1.0)
