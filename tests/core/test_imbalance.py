"""Shares, signed gaps and their rank correlation, against hand-made counts and scipy."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from fairness_core.imbalance import correlation, points, spearman, training_counts


def tensors(accuracy: np.ndarray, n: int = 1000) -> np.ndarray:
    """Confusion tensors (A, 2, 2, 2) with the given accuracy (A, group, class), n rows per cell."""
    hits = np.rint(n * accuracy).astype(np.int64)
    C = np.zeros((*accuracy.shape, 2), np.int64)
    for t in range(2):
        C[:, :, t, t], C[:, :, t, 1 - t] = hits[:, :, t], n - hits[:, :, t]
    return C


def test_a_point_is_the_share_in_training_and_the_signed_gap() -> None:
    y, s = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1]), np.array([0, 0, 0, 1, 0, 1, 1, 1, 1])
    table = points(
        training_counts(y, s, 2, 2), tensors(np.array([[[0.9, 0.5], [0.8, 0.7]]])), ["t"], ["no", "yes"], ["f", "m"]
    )
    assert table["group"].tolist() == ["f", "f"]
    assert table["share"].tolist() == [0.75, 0.2]
    assert np.allclose(table["bias"], [0.1, -0.2])
    assert ((table["low"] < table["bias"]) & (table["bias"] < table["high"])).all()
    assert table["n_train"].tolist() == [4, 5]
    assert table["n_group"].tolist() == [1000, 1000]


def test_three_groups_are_each_compared_with_all_others() -> None:
    train = np.array([[[10, 20, 70], [50, 25, 25]]])
    C = np.zeros((1, 3, 2, 2), np.int64)
    C[0, :, 0] = [[90, 10], [80, 20], [30, 20]]
    C[0, :, 1] = [[10, 90], [10, 40], [0, 0]]
    table = points(train, C, ["t"], ["no", "yes"], list("abc")).set_index(["group", "value"])
    assert table.loc[("a", "no"), "share"] == 0.1
    assert table.loc[("a", "no"), "bias"] == pytest.approx(0.9 - 110 / 150)
    assert np.isnan(table.loc[("c", "yes"), "bias"])  # nobody of c has that value
    assert table.loc[("a", "yes"), "bias"] == pytest.approx(0.9 - 0.8)


def test_several_targets_are_counted_each() -> None:
    y, s = np.array([[0, 1], [1, 1], [0, 0]]), np.array([0, 1, 1])
    assert training_counts(y, s, 2, 2).tolist() == [[[1, 1], [0, 1]], [[0, 1], [1, 1]]]


def test_rank_correlation_equals_scipys_with_ties() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, 40), rng.normal(size=40)
    assert spearman(x[None], y[None])[0] == pytest.approx(spearmanr(x, y).statistic)
    assert np.isnan(spearman(np.ones((1, 4)), np.arange(4.0)[None])[0])


def test_a_gap_that_follows_the_share_is_found_and_one_that_does_not_is_not() -> None:
    rng = np.random.default_rng(1)
    share = rng.uniform(0.1, 0.9, (12, 2))
    train = np.stack([1000 * share, 1000 * (1 - share)], -1).astype(np.int64)  # (A, T, K)
    follows = np.stack([0.7 + 0.2 * (share - 0.5), 0.7 - 0.2 * (share - 0.5)], 1)  # (A, K, T)
    found = correlation(train, tensors(follows), n=300)
    assert found.n == 24
    assert found.rho > 0.9
    assert found.low > 0.6
    none = correlation(train, tensors(np.full((12, 2, 2), 0.7)), n=300)
    assert np.isnan(none.rho) or none.low < 0 < none.high


def test_too_few_points_give_no_correlation() -> None:
    found = correlation(np.array([[[5, 5], [5, 5]]]), tensors(np.full((1, 2, 2), 0.7)))
    assert found.n == 2
    assert np.isnan([found.rho, found.low, found.high]).all()
