"""Post-processing: by hand, against AIF360, and what a run of each method promises."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fairness_core import posthoc
from fairness_core import postprocessing as post
from fairness_core.config import UserError
from fairness_core.measures import confusion_tensor
from fairness_core.metrics import evaluate
from fairness_core.thresholds import Objective

LOOSE = Objective(epsilon=0.05, margin=0.0)


def people(seed: int, n: int = 500, bias: float = 0.15) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores that are higher for group 1, classes that follow them, groups."""
    rng = np.random.default_rng(seed)
    s = rng.integers(0, 2, n)
    p = np.clip(rng.beta(2, 2, n) + bias * (2 * s - 1), 0.001, 0.999)
    return p, (rng.random(n) < p).astype(np.int64), s


# ------------------------------------------------------------------------------------------------------- reject option


def test_in_the_band_the_group_decides_and_outside_the_score() -> None:
    scores = np.array([0.2, 0.4, 0.41, 0.5, 0.6, 0.61])
    rule = post.RejectOption(0.5, 0.1, 0, True, False)  # the band is (0.4, 0.6]
    assert rule.decide(scores, np.zeros(6, int)).tolist() == [0, 0, 1, 1, 1, 1]
    assert rule.decide(scores, np.ones(6, int)).tolist() == [0, 0, 0, 0, 0, 1]
    for s in (0, 1):
        limits = rule.thresholds(2)[np.full(6, s)]
        assert (scores > limits).tolist() == rule.decide(scores, np.full(6, s)).astype(bool).tolist()


def test_every_band_is_counted_as_one_by_one() -> None:
    p, y, s = people(0, 80)
    taus = np.array([0.2, 0.5, 0.9])
    widths = post.margins(taus, 4)
    assert widths[:, -1].tolist() == pytest.approx([0.2, 0.5, 0.1])
    C = post.band_counts(p, y, s, 2, 1, taus, widths)
    for (i, j), width in np.ndenumerate(widths):
        decided = post.RejectOption(taus[i], width, 1, True, False).decide(p, s)
        assert np.array_equal(C[i, j], confusion_tensor(y, decided.astype(int), s, 2, 2))


def test_without_a_feasible_band_the_smallest_magnitude_is_taken_and_said_to_be_infeasible() -> None:
    p, y, s = people(1, bias=0.3)
    rule = post.fit_reject_option(p, y, s, 2, 0, LOOSE, np.array([0.5, 0.6]), 1)  # without a margin
    gaps = [abs(float(np.mean(p[s == 0] > t) - np.mean(p[s == 1] > t))) for t in (0.5, 0.6)]
    assert not rule.feasible
    assert rule.tau == (0.5, 0.6)[int(np.argmin(gaps))]


@pytest.fixture(scope="module")
def aif360() -> Any:
    """AIF360's three post-processors and its data set, without its notes about optional packages."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from aif360.algorithms import postprocessing as theirs
        from aif360.datasets import BinaryLabelDataset
    logging.disable(logging.NOTSET)
    return theirs, BinaryLabelDataset


def theirs_of(make: Any, p: np.ndarray, y: np.ndarray, s: np.ndarray) -> tuple[Any, Any]:
    """(truth, prediction at 0.5 with scores) as AIF360 takes them."""
    named = {"label_names": ["y"], "protected_attribute_names": ["s"]}
    truth = make(df=pd.DataFrame({"s": s, "y": y}).astype(float), **named)
    predicted = truth.copy()
    predicted.scores = p.reshape(-1, 1)
    predicted.labels = (p > 0.5).astype(float).reshape(-1, 1)
    return truth, predicted


GROUPS = {"unprivileged_groups": [{"s": 0}], "privileged_groups": [{"s": 1}]}


@pytest.mark.parametrize("seed", range(3))
def test_reject_option_finds_what_aif360_finds(aif360: Any, seed: int) -> None:
    """On a grid of 12 x 6; AIF360 chooses among bands whose signed gap lies within the bounds, ours by its magnitude,
    which is the same set when the bounds are symmetric."""
    algorithms, make = aif360
    p, y, s = people(seed)
    settings = {"low_class_thresh": 0.1, "high_class_thresh": 0.9, "num_class_thresh": 12, "num_ROC_margin": 6}
    bounds = {"metric_name": "Statistical parity difference", "metric_ub": 0.05, "metric_lb": -0.05}
    truth, predicted = theirs_of(make, p, y, s)
    oracle = algorithms.RejectOptionClassification(**GROUPS, **settings, **bounds).fit(truth, predicted)
    ours = post.fit_reject_option(p, y, s, 2, 0, LOOSE, np.linspace(0.1, 0.9, 12), 6)
    assert ours.feasible
    assert (ours.tau, ours.margin) == pytest.approx((oracle.classification_threshold, oracle.ROC_margin), abs=1e-9)
    assert np.array_equal(ours.decide(p, s), oracle.predict(predicted).labels.ravel())


# ------------------------------------------------------------------------------------------------------ equalized odds


def rates(C: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(FPR, TPR) of every group after mixing."""
    given = C / C.sum(-1, keepdims=True)
    after = np.einsum("gtl,gl->gt", given, p)
    return after[:, 0], after[:, 1]


def test_the_truth_as_prediction_is_kept() -> None:
    C = np.array([[[30, 0], [0, 20]], [[10, 0], [0, 40]]])
    for objective in ("error", "youden"):
        assert np.allclose(post.fit_equalized_odds(C, objective).p, [[0, 1], [0, 1]], atol=1e-9)


@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("objective", ["error", "youden"])
@pytest.mark.parametrize("epsilon", [0.0, 0.03])
def test_after_mixing_the_rates_agree_and_stay_inside_the_hull(groups: int, objective: str, epsilon: float) -> None:
    rng = np.random.default_rng(groups)
    for _ in range(5):
        C = rng.integers(5, 200, (groups, 2, 2))
        fpr, tpr = rates(C, post.fit_equalized_odds(C, objective, epsilon).p)
        assert np.ptp(fpr) <= epsilon + 1e-6
        assert np.ptp(tpr) <= epsilon + 1e-6
        before = C[:, :, 1] / C.sum(-1)
        assert (tpr - fpr <= np.abs(before[:, 1] - before[:, 0]) + 1e-9).all()


@pytest.mark.parametrize("seed", range(4))
def test_equalized_odds_costs_what_aif360_reaches(aif360: Any, seed: int) -> None:
    """AIF360 minimises the unweighted sum of FPR - TPR ("youden"). The optimum is one number, so that is compared;
    where several mixings reach it, which one is returned depends on the solver."""
    algorithms, make = aif360
    p, y, s = people(seed)
    truth, predicted = theirs_of(make, p, y, s)
    kept_1, raised_1, kept_0, raised_0 = (
        algorithms.EqOddsPostprocessing(**GROUPS, seed=0).fit(truth, predicted).model_params.x
    )
    C = confusion_tensor(y, (p > 0.5).astype(int), s, 2, 2)
    values = []
    for mixing in (post.fit_equalized_odds(C, "youden").p, np.array([[raised_0, kept_0], [raised_1, kept_1]])):
        fpr, tpr = rates(C, mixing)
        assert np.ptp(fpr) < 1e-9
        assert np.ptp(tpr) < 1e-9
        values.append(float((fpr - tpr).sum()))
    assert values[0] == pytest.approx(values[1], abs=1e-9)


def test_a_group_of_one_class_drops_its_constraint_and_says_so() -> None:
    C = np.array([[[30, 10], [5, 20]], [[10, 5], [0, 0]]])
    found = post.fit_equalized_odds(C, groups=("a", "b"))
    assert found.dropped == ("true positive rate of b",)
    assert np.isfinite(found.p).all()
    given = C[:, 0] / C[:, 0].sum(-1, keepdims=True)
    assert np.ptp((given * found.p).sum(1)) < 1e-6


# ------------------------------------------------------------------------------------------- calibrated equalized odds


@pytest.mark.parametrize("constraint", ["fpr", "fnr", "weighted"])
@pytest.mark.parametrize("seed", range(3))
def test_after_mixing_the_cost_is_equal_and_rates_are_those_of_aif360(aif360: Any, seed: int, constraint: str) -> None:
    algorithms, make = aif360
    p, y, s = people(seed)
    found = post.fit_calibrated(p, y, s, constraint)
    mixed = found.mixed(p, s)
    costs = [post.generalized_cost(mixed[s == g], y[s == g], constraint) for g in range(2)]
    if found.feasible:
        assert costs[0] == pytest.approx(costs[1], abs=1e-9)
    truth, predicted = theirs_of(make, p, y, s)
    oracle = algorithms.CalibratedEqOddsPostprocessing(**GROUPS, cost_constraint=constraint, seed=0)
    oracle.fit(truth, predicted)
    assert {g: r for g, r in ((0, oracle.unpriv_mix_rate), (1, oracle.priv_mix_rate)) if r} == {
        found.group: pytest.approx(found.rate, abs=1e-9)
    } or found.rate == 1.0
    assert found.base_rates == pytest.approx((oracle.base_rate_unpriv, oracle.base_rate_priv), abs=1e-9)


def test_a_score_that_costs_as_much_as_its_base_rate_is_left_alone() -> None:
    y, s = np.array([0, 1, 0, 1, 0, 0]), np.array([0, 0, 1, 1, 1, 1])
    p = np.array([0.5, 0.5, 0.9, 0.9, 0.9, 0.9])
    found = post.fit_calibrated(p, y, s, "fpr")
    assert (found.group, found.rate, found.feasible) == (0, 0.0, False)
    assert np.array_equal(found.decide(p, s), (p >= 0.5).astype(float))
    with pytest.raises(UserError, match="two groups"):
        post.fit_calibrated(p, y, np.array([0, 1, 2, 0, 1, 2]), "fpr")


def test_half_the_share_is_half_the_rate_and_decisions_are_expectations() -> None:
    p, y, s = people(3)
    full, half = (post.fit_calibrated(p, y, s, "fnr", share) for share in (1.0, 0.5))
    assert half.rate == pytest.approx(full.rate / 2)
    chance = half.decide(p, s)
    members = s == half.group
    instead = float(half.base_rates[half.group] >= 0.5)
    assert np.allclose(chance[members], (1 - half.rate) * (p[members] >= 0.5) + half.rate * instead)
    assert np.array_equal(chance[~members], (p[~members] >= 0.5).astype(float))


# ------------------------------------------------------------------------------------------------------------ decisions


def test_draws_follow_their_chances_and_repeat_with_their_seed() -> None:
    chances = np.repeat([0.0, 0.3, 1.0], 20_000)
    drawn = post.draw(chances, 3)
    assert np.array_equal(drawn, post.draw(chances, 3))
    assert not np.array_equal(drawn, post.draw(chances, 4))
    assert drawn.reshape(3, -1).mean(1) == pytest.approx([0, 0.3, 1], abs=0.01)


def test_expected_counts_are_whole_people_and_keep_every_row() -> None:
    y, s = np.array([0, 0, 1, 1, 1]), np.array([0, 0, 0, 1, 1])
    C = posthoc.expected_counts(y, np.array([0.2, 0.2, 1.0, 0.9, 0.9]), s, 2)
    assert C.tolist() == [[[2, 0], [0, 1]], [[0, 0], [0, 2]]]
    assert evaluate(C)["accuracy"] == 1.0
