"""Metrics from the confusion tensor, by hand: published digits, small fixtures, undefined values, flags."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fairness_core import metrics
from fairness_core.config import UserError
from tests.strict import STRICT

pytestmark = STRICT

# Eight rows: group 0 has TPR 1/2, FPR 1/2; group 1 has TPR 1, FPR 1/3 with one positive and three negatives.
Y = np.array([1, 1, 0, 0, 1, 0, 0, 0])
Y_PRED = np.array([1, 0, 1, 0, 1, 1, 0, 0])
S = np.array([0, 0, 0, 0, 1, 1, 1, 1])
EIGHT = np.array([[[1, 1], [1, 1]], [[2, 1], [0, 1]]])


def random_tensor(seed: int, groups: int = 2, classes: int = 2, n: int = 500) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(groups * classes**2))
    return rng.multinomial(n, shares).reshape(groups, classes, classes) + 1


def perfect(rows: np.ndarray) -> np.ndarray:
    """The tensor of a model without errors, from row counts (G, T)."""
    return rows[:, :, None] * np.eye(rows.shape[1], dtype=np.int64)


class TestConfusionTensor:
    def test_counts_by_group_truth_and_prediction(self):
        C = metrics.confusion_tensor(Y, Y_PRED, S, 2, 2)
        assert C.dtype == np.int64
        np.testing.assert_array_equal(C, EIGHT)

    def test_batches_add_up(self):
        rng = np.random.default_rng(0)
        y, y_pred, s = rng.integers(0, 4, 999), rng.integers(0, 4, 999), rng.integers(0, 3, 999)
        parts = [metrics.confusion_tensor(y[i::7], y_pred[i::7], s[i::7], 3, 4) for i in range(7)]
        np.testing.assert_array_equal(sum(parts), metrics.confusion_tensor(y, y_pred, s, 3, 4))

    def test_no_rows_are_all_zeros(self):
        assert metrics.confusion_tensor([], [], [], 2, 3).tolist() == np.zeros((2, 3, 3)).tolist()

    @pytest.mark.parametrize(
        ("y", "y_pred", "s", "said"),
        [
            ([0, 2], [0, 1], [0, 1], "y contains 2"),
            ([0, 1], [0, -1], [0, 1], "y_pred contains -1"),
            ([0, 1], [0, 1], [0, 5], "s contains 5"),
            ([0, 1], [0, 1, 1], [0, 1], "y_pred has shape"),
            ([0, 1], [0.2, 0.9], [0, 1], "y_pred holds float64"),
        ],
    )
    def test_bad_rows_get_one_sentence(self, y, y_pred, s, said):
        with pytest.raises(UserError, match=said):
            metrics.confusion_tensor(y, y_pred, s, 2, 2)

    def test_bad_tensor_shape(self):
        with pytest.raises(UserError, match=r"\(2, 2\)"):
            metrics.evaluate(np.ones((2, 2)))


class TestPublishedValues:
    def test_dba_log_line(self):
        """KirinNg/DBA run log: accuracies of (male,+), (male,-), (female,+), (female,-) and their cell sizes."""
        accuracy = {(0, 1): 0.7058516, (0, 0): 0.8631270, (1, 1): 0.9031814, (1, 0): 0.5829228}
        size = {(0, 1): 1914, (0, 0): 5801, (1, 1): 7984, (1, 0): 4263}
        C = np.zeros((2, 2, 2), dtype=np.int64)
        for (s, t), share in accuracy.items():
            C[s, t, t] = round(share * size[s, t])
            C[s, t, 1 - t] = size[s, t] - C[s, t, t]
        found = metrics.evaluate(C)
        assert round(100 * found["odds"], 2) == 23.88
        assert round(100 * found["eacc"], 2) == 76.38
        assert round(100 * found["accuracy"], 2) == 80.42


class TestByHand:
    def test_eight_rows(self):
        found = metrics.evaluate(EIGHT)
        expected = {
            "accuracy": 5 / 8,
            "balanced_accuracy": (3 / 5 + 2 / 3) / 2,
            "bacc": (1 / 2 + 1 / 2 + 2 / 3 + 1) / 4,
            "worst_group_accuracy": 1 / 2,
            "accuracy_parity_difference": 1 / 4,
            "bias_sum": 1 / 6 + 1 / 2,
            "bias_mean": 1 / 3,
            "demographic_parity_difference": 0.0,
            "demographic_parity_ratio": 1.0,
            "statistical_parity_difference": 0.0,
            "equal_opportunity_difference": -1 / 2,
            "equal_opportunity_gap": 1 / 2,
            "equal_opportunity_joint": 0.0,
            "average_odds_difference": (1 / 2 - 1 / 3 - 1 / 2) / 2,
            "average_absolute_odds_difference": (1 / 6 + 1 / 2) / 2,
            "equalized_odds_difference": 1 / 2,
            "equalized_odds_sum": 2 / 3,
            "predictive_parity_difference": 0.0,
            "base_rate_difference": 1 / 4,
            "phi": (3 / 5 + 2 / 3) / 2,
        }
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-12), name

    def test_group_rates(self):
        rates = metrics.group_rates(EIGHT)
        expected = {
            "accuracy": [1 / 2, 3 / 4], "selection_rate": [1 / 2, 1 / 2], "tpr": [1 / 2, 1], "fpr": [1 / 2, 1 / 3],
            "tnr": [1 / 2, 2 / 3], "fnr": [1 / 2, 0], "base_rate": [1 / 2, 1 / 4], "n": [4, 4],
        }  # fmt: skip
        assert rates.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_allclose(rates[name], values, atol=1e-15)

    def test_perfect_predictor(self):
        found = metrics.evaluate(perfect(np.array([[30, 10], [20, 40]])))
        gap = 1 / 4 - 2 / 3
        assert found["bacc"] == found["accuracy"] == 1
        assert found["bias_sum"] == found["odds"] == found["equal_opportunity_gap"] == 0
        assert found["equal_opportunity_joint"] == pytest.approx(abs(gap))
        assert found["statistical_parity_difference"] == found["base_rate_difference"] == pytest.approx(gap)

    @pytest.mark.parametrize("decision", [0, 1])
    def test_constant_predictor(self, decision):
        C = np.zeros((2, 2, 2), dtype=np.int64)
        C[:, :, decision] = [[30, 50], [70, 40]]
        found = metrics.evaluate(C)
        assert found["balanced_accuracy"] == found["bacc"] == 0.5
        for name in ("statistical_parity_difference", "equal_opportunity_difference", "average_odds_difference"):
            assert found[name] == 0
        assert found["bias_sum"] == 0
        assert "trivial" in metrics.flags(C)

    def test_prediction_equal_to_the_group(self):
        C = np.array([[[25, 0], [25, 0]], [[0, 25], [0, 25]]])
        found = metrics.evaluate(C)
        assert found["statistical_parity_difference"] == -1
        assert (found["bacc"], found["bias_sum"], found["odds"]) == (0.5, 2, 1)

    def test_three_groups(self):
        """Selection rates 0.2, 0.5, 0.4; TPR 0.1, 0.6, 0.4; FPR 0.3, 0.4, 0.4."""
        tpr, fpr = np.array([1, 6, 4]), np.array([3, 4, 4])
        C = np.stack([np.stack([10 - fpr, fpr], -1), np.stack([10 - tpr, tpr], -1)], 1)
        found = metrics.evaluate(C)
        assert found["demographic_parity_difference"] == pytest.approx(0.3)
        assert found["demographic_parity_ratio"] == pytest.approx(0.4)
        assert found["statistical_parity_difference"] == pytest.approx(-0.2)  # against the last group
        assert found["equal_opportunity_difference"] == pytest.approx(-0.3)
        assert found["equal_opportunity_gap"] == pytest.approx(0.5)
        assert found["average_odds_difference"] == pytest.approx((-0.3 - 0.1) / 2)
        assert found["average_absolute_odds_difference"] == pytest.approx((0.5 + 0.1) / 2)
        assert found["equalized_odds_difference"] == pytest.approx(0.5)

    def test_three_classes(self):
        C = np.array([[[6, 2, 2], [0, 10, 0], [5, 0, 5]], [[4, 6, 0], [0, 10, 0], [0, 0, 10]]])
        found = metrics.evaluate(C)
        assert found["bias_sum"] == pytest.approx(0.2 + 0 + 0.5)
        assert found["average_absolute_odds_difference"] == pytest.approx(0.7 / 3)
        assert found["equalized_odds_difference"] == pytest.approx(0.5)  # TV of the third class's rows
        assert found["equalized_odds_sum"] == pytest.approx(0.4 + 0 + 0.5)
        assert found["demographic_parity_difference"] == pytest.approx(7 / 30)  # class 0: 11/30 against 4/30
        assert found["demographic_parity_mean"] == pytest.approx((7 + 4 + 3) / 90)
        assert found["statistical_parity_difference"] == pytest.approx(7 / 30)

    def test_bias_summaries(self):
        C = np.stack([np.array([[10 - k, k], [0, 10]]) for k in (0, 2, 7)])  # class 0 accuracy 1, 0.8, 0.3
        np.testing.assert_allclose(metrics.bias(C), [0.7, 0])
        np.testing.assert_allclose(metrics.bias(C, "mean_pairwise"), [(0.2 + 0.7 + 0.5) / 3, 0])
        np.testing.assert_allclose(metrics.bias(C, "std"), [np.std([1, 0.8, 0.3]), 0])
        with pytest.raises(UserError, match="'widest'"):
            metrics.bias(C, "widest")

    def test_phi(self):
        C = np.array([[[3, 1], [1, 3]], [[2, 2], [0, 4]]])  # SPD -1/4, gaps of TPR and FPR 1/4, accuracy gap 0, rho 3/4
        assert metrics.phi(C, 0.25) == 0  # strict
        assert metrics.phi(C, 0.26) == 0.75
        assert metrics.phi(C, 0.25, "accuracy_parity_difference") == 0.75
        assert metrics.phi(C, 0.21, "demographic_parity_ratio") == 0  # 1 - 2/3 from parity
        assert metrics.phi(C, 0.25, kind="sharp") == 0.375
        assert metrics.phi(C, 0.25, kind="linear") == -0.75 * 0.25 - 0.25 * 0.25
        with pytest.raises(UserError, match="'soft'"):
            metrics.phi(C, kind="soft")


class TestUndefined:
    def test_empty_cell_is_left_out_and_listed(self):
        C = np.array([[[8, 2], [0, 0]], [[6, 4], [1, 9]]])
        found = metrics.evaluate(C)
        assert metrics.empty_cells(C) == [(0, 1)]
        assert found["bacc"] == pytest.approx((0.8 + 0.6 + 0.9) / 3)
        assert found["worst_group_accuracy"] == pytest.approx(0.6)
        assert found["bias_mean"] == pytest.approx(0.2)
        for name in (
            "bias_sum", "equal_opportunity_difference", "equal_opportunity_gap", "average_odds_difference", "odds",
            "average_absolute_odds_difference", "equalized_odds_difference", "equalized_odds_sum",
        ):  # fmt: skip
            assert np.isnan(found[name]), name
        assert found["statistical_parity_difference"] == pytest.approx(0.2 - 0.65)
        assert found["phi"] == 0

    def test_missing_group_leaves_accuracy_only(self):
        found = metrics.evaluate(np.array([[[8, 2], [3, 7]], [[0, 0], [0, 0]]]))
        assert found["accuracy"] == 0.75
        for name, metric in metrics.METRICS.items():
            if metric.kind == "fairness":
                assert np.isnan(found[name]), name
        assert np.isnan(found["phi"])

    def test_third_group_without_positives_leaves_the_others_comparable(self):
        C = np.array([[[5, 5], [2, 8]], [[7, 3], [0, 0]], [[5, 5], [5, 5]]])
        assert metrics.METRICS["equal_opportunity_difference"].function(C) == pytest.approx(0.3)
        assert metrics.METRICS["equalized_odds_difference"].function(C) == pytest.approx(0.3)

    def test_reference_group_without_positives_is_undefined(self):
        C = np.array([[[5, 5], [2, 8]], [[5, 5], [5, 5]], [[7, 3], [0, 0]]])
        assert np.isnan(metrics.METRICS["equal_opportunity_difference"].function(C))

    def test_everything_empty(self):
        for classes in (2, 3):
            found = metrics.evaluate(np.zeros((2, classes, classes), dtype=np.int64))
            assert np.isnan(list(found.values())).all()

    def test_nobody_chosen_has_no_ratio(self):
        assert np.isnan(metrics.METRICS["demographic_parity_ratio"].function(np.array([[[5, 0], [5, 0]]] * 2)))

    def test_one_group(self):
        found = metrics.evaluate(EIGHT[:1])
        assert found["accuracy"] == 0.5
        assert np.isnan(found["demographic_parity_difference"])
        assert np.isnan(found["statistical_parity_difference"])


class TestProperties:
    @pytest.mark.parametrize("shape", [(2, 2), (3, 2), (10, 2), (2, 3), (4, 5)])
    def test_batches_equal_single_tensors(self, shape):
        C = np.stack([random_tensor(seed, *shape) for seed in range(6)])
        batched = metrics.evaluate(C.reshape(2, 3, *C.shape[1:]))
        for i in range(6):
            for name, value in metrics.evaluate(C[i]).items():
                assert batched[name].shape == (2, 3)
                assert batched[name].flat[i] == pytest.approx(value, abs=1e-12), name

    @pytest.mark.parametrize("seed", range(20))
    def test_binary_identity(self, seed):
        found = metrics.evaluate(random_tensor(seed))
        absolute = found["average_absolute_odds_difference"]
        assert found["odds"] == pytest.approx(absolute, abs=1e-9)
        assert found["bias_mean"] == pytest.approx(absolute, abs=1e-9)
        assert found["bias_sum"] == pytest.approx(found["equalized_odds_sum"], abs=1e-9)
        assert abs(found["average_odds_difference"]) <= absolute + 1e-12
        assert found["eacc"] == found["bacc"]

    @pytest.mark.parametrize("shape", [(2, 2), (5, 2), (3, 3)])
    def test_order_of_groups_matters_only_to_signed_metrics(self, shape):
        C = random_tensor(3, *shape)
        found, turned = metrics.evaluate(C), metrics.evaluate(C[::-1])
        for name, metric in metrics.METRICS.items():
            if metric.better != "zero" and name != "phi":
                assert turned[name] == pytest.approx(found[name], abs=1e-12), name
            elif shape == (2, 2) and name != "phi":
                assert turned[name] == pytest.approx(-found[name], abs=1e-12), name

    def test_values_stay_in_the_declared_range(self):
        for shape in [(2, 2), (4, 2), (3, 4)]:
            C = np.stack([random_tensor(seed, *shape, n=60) for seed in range(100)])
            for name, metric in metrics.METRICS.items():
                values = metric.function(C)
                assert values.min() >= metric.low - 1e-12, name
                assert values.max() <= (shape[1] if metric.high is None else metric.high) + 1e-12, name

    def test_input_is_unchanged(self):
        C = random_tensor(1)
        before = C.copy()
        metrics.evaluate(C)
        metrics.bootstrap(C, n=10)
        np.testing.assert_array_equal(C, before)

    def test_every_metric_is_described(self):
        required = {
            "accuracy", "balanced_accuracy", "bacc", "worst_group_accuracy", "bias_sum", "bias_mean",
            "demographic_parity_difference", "statistical_parity_difference", "equal_opportunity_difference",
            "average_odds_difference", "average_absolute_odds_difference", "equalized_odds_difference", "odds", "eacc",
            "phi",
        }  # fmt: skip
        assert required <= set(metrics.METRICS)
        for name, metric in metrics.METRICS.items():
            assert metric.name == name
            assert metric.better in ("higher", "lower", "zero")
            assert metric.kind in ("performance", "fairness", "diagnostic")
            assert metric.definition.endswith(".")
            assert metric.title
            assert metric.formula
            assert metric.source
            assert json.loads(json.dumps(metric.to_json(), allow_nan=False))["name"] == name

    def test_unknown_metric(self):
        with pytest.raises(UserError, match="'acuracy'"):
            metrics.evaluate(EIGHT, ["acuracy"])


class TestFlags:
    def test_small_and_empty_cells_by_name(self):
        C = np.array([[[80, 20], [10, 19]], [[40, 60], [0, 0]]])
        found = metrics.flags(C, ["Female", "Male"], ["<=50K", ">50K"])
        assert "small_group:Female,>50K" in found
        assert "empty_cell:Male,>50K" in found
        assert sum(flag.startswith(("small", "empty")) for flag in found) == 2
        assert "Female" in metrics.explain("small_group:Female,>50K")

    def test_thirty_rows_are_not_small(self):
        assert not any(f.startswith("small") for f in metrics.flags(np.full((2, 2, 2), 15)))
        assert any(f.startswith("small") for f in metrics.flags(np.array([[[15, 14], [15, 15]]] * 2)))

    def test_cancelling_odds(self):
        opposite = np.array([[[60, 40], [20, 80]], [[80, 20], [0, 100]]])  # FPR +0.2, TPR -0.2
        assert metrics.flags(opposite) == ["aod_cancels"]
        assert "aod_cancels" not in metrics.flags(np.array([[[60, 40], [20, 80]], [[80, 20], [40, 60]]]))
        mild = np.array([[[80, 20], [10, 90]], [[60, 40], [90, 10]]])  # FPR -0.2, TPR +0.8: AOD 0.3, AAOD 0.5
        assert "aod_cancels" not in metrics.flags(mild)

    def test_trivial(self):
        rare = np.array([[[980, 2], [1, 17]]] * 2)  # 1.9 % favoured
        blind = np.array([[[500, 400], [50, 60]]] * 2)  # balanced accuracy 0.5505
        assert metrics.is_trivial(np.stack([rare, blind])).tolist() == [True, False]

    def test_explain_is_one_sentence(self):
        for flag in ("trivial", "aod_cancels", "empty_cell:a, b,c", "small_group:x,y", "diverged:12"):
            assert metrics.explain(flag).count(".") == 1
        with pytest.raises(UserError, match="'nonsense'"):
            metrics.explain("nonsense")
