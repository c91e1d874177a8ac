"""Calibrate the judge: how sure it is, and how strict, by the texts of the validation split."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from taleward.moderation.judges.embedded.head import Head
from taleward.moderation.judges.embedded.judge import EmbeddedJudge
from taleward.moderation.policies.load import load_policy
from training.corpus.reader import BANDS, Band, load_pairs, load_stories
from training.judge.labeled_text import corpus_split

FAILURE_SHARES: dict[Band, float] = {"3-5": 0.13, "6-8": 0.165, "9-12": 0.13}
"""The share of the suitable texts of pairs that the policy `kids` turns down in a band.

These texts stay close to the line; of other good stories 0 to 3 in a hundred fail. Of a pair's twins, which do not
suit, 83 to 88 in a hundred fail then: the shares were chosen on the validation split so that a text and its twin are
judged rightly about equally often.
"""


def good_texts(band: Band) -> list[str]:
    """Return the texts of the validation split that suit a band: stories, and the suitable text of pairs."""
    stories = [s.whole for s in load_stories() if s.band == band and corpus_split(s.id) == "valid"]
    return stories + close_texts(band)


def close_texts(band: Band) -> list[str]:
    """Return the texts of the validation split that suit a band and stay close to the line: those of pairs."""
    return [p.text for p in load_pairs() if p.band == band and corpus_split(p.id) == "valid"]


def unsuitable_texts(band: Band) -> list[str]:
    """Return the texts of the validation split that do not suit a band: the twins of pairs."""
    return [p.twin for p in load_pairs() if p.band == band and corpus_split(p.id) == "valid"]


def fitted_scale(head: Head) -> float:
    """Return the factor of the log-odds with which outcomes are as likely as the judge says.

    Factor and an offset for each band are fitted by the log loss on the texts of the validation split (temperature
    scaling, Guo et al. 2017, arXiv 1706.04599); the offsets are then chosen anew, by the share of close texts that
    fail.

    Args:
        head: The trained head, with offsets of 0.
    """
    texts = [(band, *labeled) for band in BANDS for labeled in _labeled(band)]
    judges = {band: _judge(head, band) for band in BANDS}
    excess = [_excess(judges[band], text) for band, text, _ in texts]
    signs = np.array([1.0 if harmful else -1.0 for _, _, harmful in texts])
    band_of_text = [BANDS.index(band) for band, _, _ in texts]

    def log_loss(parameters: npt.NDArray[np.float64]) -> float:
        scale, offsets = np.exp(parameters[0]), parameters[1:]
        margins = np.array([np.logaddexp.reduce(values * scale, axis=None) for values in excess])
        return float(np.logaddexp(0, -signs * (margins + offsets[band_of_text])).mean())

    return float(np.exp(minimize(log_loss, np.zeros(1 + len(BANDS)), method="Nelder-Mead").x[0]))


def fitted_offsets(head: Head) -> dict[int, float]:
    """Return the offset for each band, by its youngest age, with which `FAILURE_SHARES` of its close texts fail.

    Args:
        head: The trained and scaled head, with offsets of 0.
    """
    policy = load_policy("kids")
    judges = {band: _judge(head, band) for band in BANDS}
    return {
        policy.band(band).ages[0]: -float(np.quantile([judges[band].margin(t) for t in close_texts(band)], 1 - share))
        for band, share in FAILURE_SHARES.items()
    }


def _labeled(band: Band) -> list[tuple[str, bool]]:
    return [(t, False) for t in good_texts(band)] + [(t, True) for t in unsuitable_texts(band)]


def _judge(head: Head, band: Band) -> EmbeddedJudge:
    judge = EmbeddedJudge(band=band)
    judge._head = head
    judge._offset = head.config.offset(judge.policy.band(band).ages[0])
    return judge


def _excess(judge: EmbeddedJudge, text: str) -> npt.NDArray[np.float32]:
    return judge._excess(judge._log_odds([s.pieces for s in judge._sentences(text, english_only=False)]))
