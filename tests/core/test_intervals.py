"""Sampling and training noise: published intervals, the bootstrap's promises and its coverage, the noise floor."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from fairness_core import metrics
from fairness_core.config import UserError
from tests.strict import STRICT

pytestmark = STRICT

# Eight rows, as y, y_pred, s and as counts.
Y, Y_PRED, S = np.array([[1, 1, 0, 0, 1, 0, 0, 0], [1, 0, 1, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1]])
EIGHT = np.array([[[1, 1], [1, 1]], [[2, 1], [0, 1]]])


def random_tensor(seed: int, groups: int = 2, classes: int = 2, n: int = 500) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(groups * classes**2))
    return rng.multinomial(n, shares).reshape(groups, classes, classes) + 1


class TestShares:
    def test_wilson_against_scipy(self):
        for k, n in [(0, 10), (3, 10), (10, 10), (81, 263), (1, 5000)]:
            expected = binomtest(k, n).proportion_ci(0.95, method="wilson")
            np.testing.assert_allclose(metrics.wilson(k, n), (expected.low, expected.high), atol=1e-12)

    def test_wilson_without_rows_is_undefined(self):
        assert np.isnan(metrics.wilson([0, 1], [0, 2])).tolist() == [[True, False], [True, False]]

    def test_newcombe_published(self):
        """Newcombe 1998, Statistics in Medicine 17, table II, method 10: 56/70 - 48/80, 9/10 - 3/10, 10/10 - 0/10."""
        low, high = metrics.newcombe([56, 9, 10], [70, 10, 10], [48, 3, 0], [80, 10, 10])
        np.testing.assert_allclose(low, [0.0524, 0.1705, 0.6075], atol=5e-5)
        np.testing.assert_allclose(high, [0.3339, 0.8090, 1.0], atol=5e-5)


class TestBootstrap:
    def test_a_run_does_not_depend_on_its_batch(self):
        C = np.stack([random_tensor(seed) for seed in range(4)])
        batched = metrics.bootstrap(C.reshape(2, 2, 2, 2, 2), n=50)
        single = metrics.bootstrap(C[2], n=50)
        for name, (low, high) in single.items():
            assert (batched[name][0][1, 0], batched[name][1][1, 0]) == (low, high), name

    def test_seed_decides(self):
        C = random_tensor(0)
        assert metrics.bootstrap(C, ["odds"], 100, seed=1) == metrics.bootstrap(C, ["odds"], 100, seed=1)
        assert metrics.bootstrap(C, ["odds"], 100, seed=1) != metrics.bootstrap(C, ["odds"], 100, seed=2)

    def test_schemes_keep_what_they_promise(self):
        C = random_tensor(5, 3, 4)
        C[1, 2] = 0
        rows, stratified = metrics.resample(C, 200), metrics.resample(C, 200, scheme="stratified")
        assert (rows.sum((1, 2, 3)) == C.sum()).all()
        assert (stratified.sum(-1) == C.sum(-1)).all()
        assert np.ptp(rows.sum(-1)[:, 0, 0]) > 0
        np.testing.assert_allclose(rows.mean(0), C, atol=4 * np.sqrt(C.max() / 200))
        np.testing.assert_allclose(stratified.mean(0), C, atol=4 * np.sqrt(C.max() / 200))
        with pytest.raises(UserError, match="'columns'"):
            metrics.resample(C, 1, scheme="columns")

    def test_agrees_with_resampling_the_rows_themselves(self):
        rng = np.random.default_rng(0)
        pick = rng.integers(0, 8, (4000, 8))
        value = metrics.METRICS["accuracy"].function
        slow = value(np.stack([metrics.confusion_tensor(Y[i], Y_PRED[i], S[i], 2, 2) for i in pick]))
        fast = value(metrics.resample(EIGHT, 4000))
        assert fast.mean() == pytest.approx(slow.mean(), abs=0.01)
        assert fast.std() == pytest.approx(slow.std(), rel=0.05)

    def test_stratified_error_rate_matches_the_binomial(self):
        C = np.array([[[700, 300], [0, 0]], [[0, 0], [100, 100]]])
        low, high = metrics.bootstrap(C, ["worst_group_accuracy"], 4000, scheme="stratified")["worst_group_accuracy"]
        half = 1.96 * np.sqrt(0.25 / 200)
        assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.01)

    def test_undefined_stays_undefined(self):
        low, high = metrics.bootstrap(np.array([[[8, 2], [0, 0]], [[6, 4], [1, 9]]]), ["odds"], 50)["odds"]
        assert np.isnan([low, high]).all()

    def test_percentiles_skip_undefined_draws(self):
        draws = np.array([[np.nan, 4.0, 0.0, 2.0, np.nan, 1.0, 3.0], [np.nan] * 7])
        low, high = metrics.percentiles(draws, 0.5)
        assert (low[0], high[0]) == (1, 3)
        assert np.isnan([low[1], high[1]]).all()

    def test_covers_the_truth(self):
        """Percentile interval of demographic parity: 200 data sets of 1,000 rows, true gap 0.2."""
        rng = np.random.default_rng(7)
        shares = np.array([[[0.24, 0.06], [0.04, 0.06]], [[0.24, 0.12], [0.06, 0.18]]])  # rates 0.3 and 0.5
        data = rng.multinomial(1000, shares.ravel(), size=200).reshape(-1, 2, 2, 2)
        low, high = metrics.bootstrap(data, ["demographic_parity_difference"], 500)["demographic_parity_difference"]
        covered = np.mean((low <= 0.2) & (high >= 0.2))
        assert 0.90 <= covered <= 0.98


class TestNoise:
    def test_floor_by_hand(self):
        C = np.array([[[90, 10], [30, 70]], [[180, 20], [120, 280]]])
        floor = metrics.noise_floor(C)
        folded = np.sqrt(2 / np.pi)
        negatives = folded * np.sqrt(0.1 * 0.9 * (1 / 100 + 1 / 200))
        positives = folded * np.sqrt(0.7 * 0.3 * (1 / 100 + 1 / 400))
        assert floor["bias_sum"] == pytest.approx(negatives + positives)
        assert floor["odds"] == pytest.approx((negatives + positives) / 2)
        assert floor["equal_opportunity_gap"] == pytest.approx(positives)

    @pytest.mark.parametrize("groups", [2, 4])
    def test_floor_is_what_equal_groups_measure(self, groups):
        rng = np.random.default_rng(groups)
        sizes = np.linspace(200, 600, groups).astype(int)
        C = np.stack([[[0.8 * n, 0.2 * n], [0.15 * n, 0.35 * n]] for n in sizes]).astype(np.int64)
        shares = C.sum(0) / C.sum((0, 2))[:, None]
        draws = rng.multinomial(C.sum(-1), np.broadcast_to(shares, C.shape), size=(4000, groups, 2))
        for name in ("odds", "bias_sum", "equal_opportunity_gap", "equalized_odds_difference"):
            if name in metrics.noise_floor(C):
                measured = metrics.METRICS[name].function(draws).mean()
                assert float(metrics.noise_floor(C)[name]) == pytest.approx(measured, rel=0.04), name

    def test_floor_of_several_classes_is_what_equal_groups_measure(self):
        rows = np.array([[[300], [200], [150]], [[500], [250], [400]]])  # per group and true class
        shares = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
        draws = np.random.default_rng(3).multinomial(
            rows[..., 0], np.broadcast_to(shares, (2, 3, 3)), size=(4000, 2, 3)
        )
        C = np.round(rows * shares).astype(np.int64)
        for name in ("odds", "average_absolute_odds_difference", "bias_mean"):
            measured = metrics.METRICS[name].function(draws).mean()
            assert float(metrics.noise_floor(C)[name]) == pytest.approx(measured, rel=0.03), name

    def test_floor_of_batches(self):
        C = np.stack([random_tensor(seed, 3) for seed in range(3)])
        floors = metrics.noise_floor(C)
        assert floors["odds"].shape == (3,)
        assert floors["odds"][1] == pytest.approx(float(metrics.noise_floor(C[1])["odds"]))

    def test_t_interval_by_hand(self):
        found = metrics.over_seeds([1.0, 2.0, 3.0, 4.0, 5.0])
        half = 2.7764451 * np.sqrt(2.5 / 5)
        assert (found.mean, found.sd, found.seeds) == (3, pytest.approx(np.sqrt(2.5)), 5)
        assert (found.low, found.high) == (pytest.approx(3 - half), pytest.approx(3 + half))

    def test_one_seed_has_no_interval(self):
        found = metrics.over_seeds([[0.5, np.nan], [0.1, 0.3]])
        assert found.mean.tolist() == [0.5, 0.2]
        assert np.isnan(found.low).tolist() == [True, False]

    def test_pairing_removes_what_seeds_share(self):
        shared = np.random.default_rng(0).normal(0, 10, 8)
        found = metrics.paired_difference(shared + 1 + np.linspace(-0.1, 0.1, 8), shared)
        assert found.low > 0.9
        assert found.high < 1.1
        with pytest.raises(UserError, match=r"\(8,\) and \(7,\)"):
            metrics.paired_difference(shared, shared[:7])
