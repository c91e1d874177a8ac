"""Metrics compared with scikit-learn, and with values computed by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st
from sklearn import metrics as sklearn_metrics

from taleward.core.errors import ConfigurationError
from taleward.moderation.calibration import detection_metrics as metrics

labeled_scores = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5000001, 0.9, 1.0])), min_size=2, max_size=40
).filter(lambda r: 0 < sum(t for t, _ in r) < len(r))


@given(labeled_scores)
def test_metrics_equal_those_of_scikit_learn(pairs: list[tuple[bool, float]]) -> None:
    truth, scores = [t for t, _ in pairs], [s for _, s in pairs]
    flagged = [s >= 0.5 for s in scores]
    assert math.isclose(metrics.auc(truth, scores), sklearn_metrics.roc_auc_score(truth, scores), abs_tol=1e-12)
    average_precision = metrics.average_precision(truth, scores)
    assert math.isclose(average_precision, sklearn_metrics.average_precision_score(truth, scores), abs_tol=1e-12)
    assert math.isclose(
        metrics.f1(truth, flagged), sklearn_metrics.f1_score(truth, flagged, zero_division=0), abs_tol=1e-12
    )
    false_alarms, recalls, _ = sklearn_metrics.roc_curve(truth, scores, drop_intermediate=False)
    assert metrics.false_alarms_at(truth, scores, 0.9) == min(false_alarms[recalls >= 0.9 - 1e-12])
    assert metrics.recall_at(truth, scores, 0.2) == max(recalls[false_alarms <= 0.2 + 1e-12])


def test_rates_by_hand() -> None:
    truth, scores = [True, True, False, False], [0.9, 0.4, 0.6, 0.1]
    assert metrics.auc(truth, scores) == 0.75
    assert metrics.false_alarms_at(truth, scores, 0.5) == 0.0
    assert metrics.false_alarms_at(truth, scores, 0.51) == 0.5
    assert metrics.recall_at(truth, scores, 0.0) == 0.5
    assert metrics.share([True, False, True], [True, True, False]) == 0.5


def test_a_reliability_diagram_by_hand() -> None:
    diagram = metrics.reliability([True, False, True, True], [0.05, 0.15, 0.12, 1.0])
    assert [(b.texts, b.harmful) for b in diagram] == [(1, 1.0), (2, 0.5), (1, 1.0)]
    expected = (1 * (1 - 0.05) + 2 * (0.5 - 0.135) + 1 * 0.0) / 4
    assert math.isclose(metrics.ece(diagram), expected)
    assert metrics.ece(()) == 0.0


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [(0, 0, 1.0), (5, 5, 1.0), (1, 9, 22 / 1024), (0, 10, 2 / 1024), (10, 0, 2 / 1024), (3000, 3000, 1.0)],
)
def test_mcnemar_by_hand(first: int, second: int, p: float) -> None:
    assert math.isclose(metrics.mcnemar(first, second), p)


def test_one_label_or_different_lengths_raise_an_error() -> None:
    with pytest.raises(ConfigurationError, match="2 texts of one label"):
        metrics.auc([True, True], [0.1, 0.2])
    with pytest.raises(ConfigurationError, match="got 1 and 2"):
        metrics.auc([True], [0.1, 0.2])
