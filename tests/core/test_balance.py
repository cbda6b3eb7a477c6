"""Which rows get a twin, counted by hand."""

import numpy as np
import pytest

from fairness_core.balance import NONE, aims, counts

RNG = np.random.default_rng


def test_flip_all_balances_two_groups_in_every_class() -> None:
    rng = RNG(0)
    y, s = rng.integers(0, 3, 500), rng.integers(0, 2, 500)
    wanted = aims(y, s, 2, "flip_all", RNG(1))
    assert wanted.shape == (500, 1)
    assert np.array_equal(wanted[:, 0], 1 - s)
    table = counts(y, s, wanted, 2)
    assert np.array_equal(table[:, 0], table[:, 1])


def test_flip_all_of_four_groups_draws_among_the_others() -> None:
    s = np.repeat(np.arange(4), 900)
    wanted = aims(np.zeros(3600, int), s, 4, "flip_all", RNG(0))[:, 0]
    table = np.bincount(s * 4 + wanted, minlength=16).reshape(4, 4)
    assert (np.diag(table) == 0).all()
    assert abs(table[~np.eye(4, dtype=bool)] - 300).max() < 60  # 4 sd of a binomial


def test_fill_minority_fills_exactly_what_is_missing_from_rows_of_the_largest_group() -> None:
    y = np.array([0] * 10 + [1] * 6)
    s = np.array([0] * 6 + [1] * 3 + [2] * 1 + [1] * 6)
    wanted = aims(y, s, 3, "fill_minority", RNG(0))
    assert counts(y, s, wanted, 3).tolist() == [[6, 6, 6], [6, 6, 6]]
    made = (wanted != NONE).any(1)
    assert set(s[made & (y == 0)]) == {0}
    assert set(s[made & (y == 1)]) == {1}
    assert ((wanted == s[:, None]) & (wanted != NONE)).sum() == 0


def test_both_modes_agree_where_every_row_is_of_the_majority() -> None:
    y = np.arange(100) % 10
    s = (y >= 5).astype(int)
    one, other = (aims(y, s, 2, mode, RNG(0)) for mode in ("flip_all", "fill_minority"))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("mode", ["flip_all", "fill_minority"])
def test_the_same_draw_gives_the_same_twins(mode: str) -> None:
    y, s = RNG(0).integers(0, 2, 60), RNG(1).integers(0, 3, 60)
    assert np.array_equal(aims(y, s, 3, mode, RNG(5)), aims(y, s, 3, mode, RNG(5)))
