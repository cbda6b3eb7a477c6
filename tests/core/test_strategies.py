"""Named ways to draw the line: against brute force on small grids, and against Fairlearn's optimum."""

import itertools
import warnings

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from fairness_core import metrics
from fairness_core.strategies import STRATEGIES, candidates, errors, every, matched, odds, roc, under
from fairness_core.thresholds import GRID, MEASURES, Objective, counts, select


def people(seed: int, groups: int = 2, n: int = 900) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    s = rng.integers(0, groups, n)
    p = np.clip(rng.beta(2, 2, n) + 0.2 * (s / (groups - 1) - 0.5), 0, 1)
    return p, (rng.random(n) < p).astype(np.int64), s


def at(C: np.ndarray, epsilon: float, cost: float = 1.0) -> dict[str, np.ndarray]:
    """Every strategy at one ε and one cost ratio."""
    found = every(C, GRID, "statistical_parity_difference", np.array([epsilon]), np.array([cost]))
    return {name: places[0, 0] for name, places in found.items()}


def tensor(C: np.ndarray, places: np.ndarray) -> np.ndarray:
    return C[places, np.arange(C.shape[1])]


@pytest.mark.parametrize("groups", [2, 3, 5])
@pytest.mark.parametrize("cost", [0.25, 1.0, 4.0])
def test_every_strategy_keeps_its_word(groups: int, cost: float) -> None:
    p, y, s = people(groups, groups)
    C, goal = counts(p, y, s, groups), Objective(epsilon=0.05, margin=0.0)
    found = at(C, 0.05, cost)
    wrong = {name: errors(tensor(C, places)[None], cost).sum() for name, places in found.items()}
    rates = {name: metrics.group_rates(tensor(C, places)) for name, places in found.items()}
    assert GRID[found["half"]].tolist() == [0.5] * groups
    assert wrong["accuracy"] == errors(C, cost).sum(1).min()
    assert wrong["group_accuracy"] == errors(C, cost).min(0).sum() <= wrong["accuracy"]
    assert np.ptp(rates["demographic_parity"]["selection_rate"]) <= 0.05
    assert np.ptp(rates["equal_opportunity"]["tpr"]) <= 0.05
    spread = max(np.ptp(rates["equalized_odds"]["tpr"]), np.ptp(rates["equalized_odds"]["fpr"]))
    assert spread <= max(np.ptp(rates["half"]["tpr"]), np.ptp(rates["half"]["fpr"]))
    for name in ("demographic_parity", "equal_opportunity", "equalized_odds"):
        assert wrong[name] >= wrong["group_accuracy"]
    for strategy in STRATEGIES:
        assert strategy.needs_groups or len(set(found[strategy.name])) == 1
    (choice,) = select(p[None], y, s, groups, goal, n_boot=0)
    assert GRID[found["epsilon"][0]] == choice.tau


@pytest.mark.parametrize("groups", [2, 4])
def test_all_positions_of_both_sliders_at_once_are_what_each_is_alone(groups: int) -> None:
    p, y, s = people(7, groups)
    C, epsilons, costs = counts(p, y, s, groups), np.array([0.0, 0.05, 0.2]), np.array([0.5, 3.0])
    together = every(C, GRID, "statistical_parity_difference", epsilons, costs)
    assert set(together) == {strategy.name for strategy in STRATEGIES}
    for e, epsilon in enumerate(epsilons):
        for w, cost in enumerate(costs):
            alone = at(C, epsilon, cost)
            assert {n: v[e, w].tolist() for n, v in together.items()} == {n: v.tolist() for n, v in alone.items()}


def test_matching_rates_is_as_good_as_trying_every_pair() -> None:
    p, y, s = people(1, n=300)
    grid = np.linspace(0, 1, 41)
    C = counts(p, y, s, 2, grid)
    err = errors(C)
    rate = C[..., 1].sum(-1) / C.sum((-1, -2))
    for tolerance in (0.02, 0.1):
        pairs = list(itertools.product(range(41), repeat=2))
        allowed = [(i, j) for i, j in pairs if abs(rate[i, 0] - rate[j, 1]) <= tolerance]
        best = min(err[i, 0] + err[j, 1] for i, j in allowed)
        ((i, j),) = matched(rate, err, np.array([tolerance]))
        assert abs(rate[i, 0] - rate[j, 1]) <= tolerance
        assert err[i, 0] + err[j, 1] <= best + 3  # levels are 1/400 apart
    fpr, tpr = roc(C)
    ((i, j),) = odds(*candidates(fpr, tpr), err, np.array([0.08]))
    spread = {(a, b): max(abs(fpr[a, 0] - fpr[b, 1]), abs(tpr[a, 0] - tpr[b, 1])) for a, b in pairs}
    inside = [pair for pair in pairs if spread[pair] <= 0.08]
    assert spread[i, j] <= 0.08
    assert err[i, 0] + err[j, 1] == min(err[a, 0] + err[b, 1] for a, b in inside)


def test_equalized_odds_out_of_reach_comes_nearest_without_deciding_everybody_alike() -> None:
    p, y, s = people(2)
    flipped = np.where(s == 0, 0.5 + (p - 0.5) / 8, p)  # hardly any signal in group 0
    noisy = np.where((s == 0) & (np.random.default_rng(0).random(len(p)) < 0.9), 1 - flipped, flipped)
    C = counts(noisy, y, s, 2)
    fpr, tpr = roc(C)
    ((i, j),) = odds(*candidates(fpr, tpr), errors(C), np.array([0.0]))
    assert errors(C)[[i, j], [0, 1]].sum() < min(errors(C)[0].sum(), errors(C)[-1].sum())


@pytest.mark.parametrize(("strategy", "constraint"), [("demographic_parity", "demographic_parity"),
                                                      ("equal_opportunity", "true_positive_rate_parity")])  # fmt: skip
def test_fairlearns_randomised_optimum_is_hardly_better(strategy: str, constraint: str) -> None:
    from fairlearn.postprocessing import ThresholdOptimizer

    p, y, s = people(3, n=3000)

    class Given(ClassifierMixin, BaseEstimator):
        def fit(self, x: np.ndarray, y: np.ndarray) -> "Given":
            self.classes_ = np.unique(y)
            return self

        def predict_proba(self, x: np.ndarray) -> np.ndarray:
            return np.column_stack([1 - x[:, 0], x[:, 0]])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = ThresholdOptimizer(
            estimator=Given().fit(p, y), constraints=constraint, prefit=True, predict_method="predict_proba"
        ).fit(p[:, None], y, sensitive_features=s)
        chance = oracle._pmf_predict(p[:, None], sensitive_features=s)[:, 1]
    theirs = float((chance * y + (1 - chance) * (1 - y)).mean())
    C = counts(p, y, s, 2)
    accuracy = float(metrics.evaluate(tensor(C, at(C, 0.004)[strategy]))["accuracy"])
    assert theirs - 0.01 < accuracy < theirs + 0.004


def test_a_group_of_one_class_keeps_its_own_best_threshold() -> None:
    p, y, s = people(4)
    y = np.where(s == 1, 0, y)
    C = counts(p, y, s, 2)
    found = at(C, 0.05)
    for name in ("equal_opportunity", "group_accuracy"):
        assert errors(C)[found[name][1], 1] == errors(C)[:, 1].min()
    fpr, tpr = roc(C)
    assert np.isnan(tpr[:, 1]).all()
    assert np.isfinite(fpr).all()


def test_the_best_threshold_under_every_epsilon_is_the_selected_one() -> None:
    p, y, s = people(5)
    C, epsilons = counts(p, y, s, 2), np.array([0.01, 0.05, 0.2])
    for measure in MEASURES:
        for epsilon, best in zip(epsilons, under(C, GRID, measure, epsilons), strict=True):
            (choice,) = select(p[None], y, s, 2, Objective(measure, float(epsilon), 0.0), n_boot=0)
            assert GRID[best] == choice.tau
