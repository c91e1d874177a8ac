import numpy as np
import pytest

from taleward.moderation.judges.embedded.head import Whole

WHOLE = Whole(temperature=0.5, offset=-1.0, dread=0.4, dread_windows=4.0, dread_usual=(-4.0, -5.0, -6.0))


def test_several_faint_signs_are_more_than_one() -> None:
    one, two = np.full((1, 11), -6.0), np.full((1, 11), -6.0)
    one[0, 3] = 0.5
    two[0, 3:5] = 0.5
    assert WHOLE.together(two) > WHOLE.together(one) > 0.5 + WHOLE.offset


def test_one_category_alone_says_what_it_says() -> None:
    assert WHOLE.together(np.array([[-2.0], [1.5]])) == pytest.approx(0.5)


def test_calm_windows_take_nothing_away() -> None:
    harm = np.full((1, 11), -6.0)
    harm[0, 0] = 3.0
    calm = np.full((40, 11), -9.0)
    assert WHOLE.together(np.concatenate([calm, harm])) == WHOLE.together(harm)
    assert WHOLE.built_up(np.full(40, -12.0), 1) == 0
    dread = np.full(6, 0.5)
    assert WHOLE.built_up(np.concatenate([calm[:, 1], dread, calm[:, 1]]), 1) == WHOLE.built_up(dread, 1)


def test_dread_builds_up_over_windows() -> None:
    added = [WHOLE.built_up(np.full(n, -1.0), 1) for n in (1, 2, 4, 16)]
    assert added == sorted(added)
    assert added[0] == pytest.approx(0.4 * 4 / 5)
    assert WHOLE.built_up(np.full(4, -1.0), 2) > WHOLE.built_up(np.full(4, -1.0), 1)
