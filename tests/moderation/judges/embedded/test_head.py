import numpy as np
import pytest

from taleward.moderation.judges.embedded.head import TextAggregation

AGGREGATION = TextAggregation(
    temperature=0.5, offset=-1.0, dread=0.4, dread_windows=4.0, dread_usual=(-4.0, -5.0, -6.0)
)


def test_several_faint_signs_count_for_more_than_one() -> None:
    one, two = np.full((1, 11), -6.0), np.full((1, 11), -6.0)
    one[0, 3] = 0.5
    two[0, 3:5] = 0.5
    assert AGGREGATION.combined_log_odds(two) > AGGREGATION.combined_log_odds(one) > 0.5 + AGGREGATION.offset


def test_a_single_category_is_only_shifted_by_the_offset() -> None:
    assert AGGREGATION.combined_log_odds(np.array([[-2.0], [1.5]])) == pytest.approx(0.5)


def test_calm_windows_do_not_dilute_harmful_ones() -> None:
    harm = np.full((1, 11), -6.0)
    harm[0, 0] = 3.0
    calm = np.full((40, 11), -9.0)
    assert AGGREGATION.combined_log_odds(np.concatenate([calm, harm])) == AGGREGATION.combined_log_odds(harm)
    assert AGGREGATION.dread_buildup(np.full(40, -12.0), 1) == 0
    dread = np.full(6, 0.5)
    assert AGGREGATION.dread_buildup(np.concatenate([calm[:, 1], dread, calm[:, 1]]), 1) == AGGREGATION.dread_buildup(
        dread, 1
    )


def test_dread_builds_up_over_windows() -> None:
    added = [AGGREGATION.dread_buildup(np.full(n, -1.0), 1) for n in (1, 2, 4, 16)]
    assert added == sorted(added)
    assert added[0] == pytest.approx(0.4 * 4 / 5)
    assert AGGREGATION.dread_buildup(np.full(4, -1.0), 2) > AGGREGATION.dread_buildup(np.full(4, -1.0), 1)
