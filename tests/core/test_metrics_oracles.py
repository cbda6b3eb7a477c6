"""Fairlearn, AIF360 and scikit-learn as oracles over random rows; they are needed by tests only."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from fairlearn import metrics as fairlearn

from fairness_core import metrics

SEEDS = range(50)


def rows(seed: int, groups: int = 2, classes: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y, y_pred, s with unequal groups, unequal base rates and every cell present."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(200, 600))
    s = rng.choice(groups, n, p=rng.dirichlet(np.full(groups, 3.0)))
    y = np.array([rng.choice(classes, p=p) for p in rng.dirichlet(np.full(classes, 4.0), groups)[s]])
    noise = rng.dirichlet(np.full(classes, 2.0), (groups, classes))
    y_pred = np.array([rng.choice(classes, p=p) for p in noise[s, y]])
    every = np.array([(g, a, b) for g in range(groups) for a in range(classes) for b in range(classes)])
    s, y, y_pred = (np.concatenate([old, new]) for old, new in zip((s, y, y_pred), every.T, strict=True))
    return y, y_pred, s


@pytest.mark.parametrize("seed", SEEDS)
def test_fairlearn_scalars(seed):
    y, y_pred, s = rows(seed, groups=2 + seed % 3)
    found = metrics.evaluate(metrics.confusion_tensor(y, y_pred, s, s.max() + 1, 2))
    expected = {
        "demographic_parity_difference": fairlearn.demographic_parity_difference,
        "demographic_parity_ratio": fairlearn.demographic_parity_ratio,
        "equalized_odds_difference": fairlearn.equalized_odds_difference,
        "equal_opportunity_gap": fairlearn.equal_opportunity_difference,
    }
    for name, function in expected.items():
        assert found[name] == pytest.approx(function(y, y_pred, sensitive_features=s), abs=1e-12), name
    if s.max() == 1:
        assert abs(found["equal_opportunity_difference"]) == pytest.approx(found["equal_opportunity_gap"], abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_fairlearn_group_rates(seed):
    y, y_pred, s = rows(seed, groups=3)
    rates = metrics.group_rates(metrics.confusion_tensor(y, y_pred, s, 3, 2))
    functions = {
        "accuracy": sklearn.metrics.accuracy_score,
        "selection_rate": fairlearn.selection_rate,
        "tpr": fairlearn.true_positive_rate,
        "fpr": fairlearn.false_positive_rate,
        "tnr": fairlearn.true_negative_rate,
        "fnr": fairlearn.false_negative_rate,
        "n": fairlearn.count,
    }
    frame = fairlearn.MetricFrame(metrics=functions, y_true=y, y_pred=y_pred, sensitive_features=s)
    for name in functions:
        np.testing.assert_allclose(rates[name], frame.by_group[name].to_numpy(dtype=float), atol=1e-12, err_msg=name)
    found = metrics.evaluate(metrics.confusion_tensor(y, y_pred, s, 3, 2))
    assert found["accuracy_parity_difference"] == pytest.approx(frame.difference()["accuracy"], abs=1e-12)


@pytest.fixture(scope="module")
def aif360():
    """The two AIF360 classes, without its notes about optional packages."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from aif360.datasets import BinaryLabelDataset
        from aif360.metrics import ClassificationMetric
    logging.disable(logging.NOTSET)
    return BinaryLabelDataset, ClassificationMetric


@pytest.mark.parametrize("seed", SEEDS)
def test_aif360(aif360, seed):
    make, judge = aif360
    y, y_pred, s = rows(seed)
    named = {"label_names": ["y"], "protected_attribute_names": ["s"]}
    truth, predicted = (make(df=pd.DataFrame({"s": s, "y": v}).astype(float), **named) for v in (y, y_pred))
    oracle = judge(truth, predicted, unprivileged_groups=[{"s": 0}], privileged_groups=[{"s": 1}])
    found = metrics.evaluate(metrics.confusion_tensor(y, y_pred, s, 2, 2))
    expected = {
        "statistical_parity_difference": oracle.statistical_parity_difference(),
        "average_odds_difference": oracle.average_odds_difference(),
        "average_absolute_odds_difference": oracle.average_abs_odds_difference(),
        "equal_opportunity_difference": oracle.equal_opportunity_difference(),
        "equalized_odds_difference": oracle.equalized_odds_difference(),
        "balanced_accuracy": (oracle.true_positive_rate() + oracle.true_negative_rate()) / 2,
        "accuracy": oracle.accuracy(),
        "base_rate_difference": oracle.base_rate(False) - oracle.base_rate(True),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("seed", SEEDS[:15])
def test_multiclass_against_sklearn(seed):
    y, y_pred, s = rows(seed, groups=3, classes=4)
    C = metrics.confusion_tensor(y, y_pred, s, 3, 4)
    found, bias = metrics.evaluate(C), metrics.bias(C)
    assert found["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(y, y_pred), abs=1e-12)
    assert found["balanced_accuracy"] == pytest.approx(sklearn.metrics.balanced_accuracy_score(y, y_pred), abs=1e-12)
    for t in range(4):
        frame = fairlearn.MetricFrame(
            metrics=fairlearn.true_positive_rate, y_true=y == t, y_pred=y_pred == t, sensitive_features=s
        )
        assert bias[t] == pytest.approx(frame.difference(), abs=1e-12)
        one_versus_rest = metrics.group_rates(C, positive=t)
        np.testing.assert_allclose(one_versus_rest["tpr"], frame.by_group.to_numpy(dtype=float), atol=1e-12)
    np.testing.assert_array_equal(C.sum(0), sklearn.metrics.confusion_matrix(y, y_pred))
