"""The threshold engine: counted in one pass, equal to counting threshold by threshold."""

import numpy as np
import pytest

from fairness_core import metrics
from fairness_core.config import UserError
from fairness_core.measures import confusion_tensor
from fairness_core.metrics import evaluate
from fairness_core.thresholds import GRID, KINDS, MEASURES, Objective, bands, counts, resamples, select


def people(seed: int, groups: int = 2, n: int = 300, bias: float = 0.2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    s = rng.integers(0, groups, n)
    p = np.clip(rng.beta(2, 2, n) + bias * (s / (groups - 1) - 0.5), 0, 1)
    return p.astype(np.float32), (rng.random(n) < p).astype(np.int64), s


@pytest.mark.parametrize("groups", [2, 4])
def test_every_threshold_is_counted_as_if_alone(groups: int) -> None:
    p, y, s = people(0, groups)
    p[:6] = [0.0, 1.0, 0.5, 0.25, 0.75, 0.5]  # exactly at grid points: not above them
    grid = np.linspace(0, 1, 21)
    models = np.stack([p, 1 - p, np.zeros_like(p)])
    weights = np.random.default_rng(1).integers(0, 3, len(p)).astype(float)
    C, weighted = counts(models, y, s, groups, grid), counts(models, y, s, groups, grid, weights)
    assert C.shape == (3, 21, groups, 2, 2)
    assert C.dtype == np.int64
    repeated = np.repeat(np.arange(len(p)), weights.astype(int))
    for k, scores in enumerate(models):
        for m, tau in enumerate(grid):
            decided = (scores > tau).astype(int)
            assert np.array_equal(C[k, m], confusion_tensor(y, decided, s, groups, 2))
            own = confusion_tensor(y[repeated], decided[repeated], s[repeated], groups, 2)
            assert np.array_equal(weighted[k, m], own)


def test_a_group_without_rows_of_a_class_is_counted_as_nothing() -> None:
    C = counts(np.array([0.2, 0.8]), np.array([0, 0]), np.array([0, 1]), 3)
    assert C[:, 2].sum() == C[:, :, 1].sum() == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("n_boot", [0, 3])
def test_the_selected_threshold_is_the_best_of_all(kind: str, measure: str, n_boot: int) -> None:
    p, y, s = people(3)
    goal = Objective(measure, 0.05, 0.01, kind)
    (choice,) = select(p[None], y, s, 2, goal, n_boot=n_boot, seed=4)
    drawn = resamples(len(p), n_boot, 4)
    values = []
    for tau in GRID:
        rows = [np.repeat(np.arange(len(p)), w.astype(int)) for w in drawn]
        tensors = [confusion_tensor(y[r], (p[r] > tau).astype(int), s[r], 2, 2) for r in rows]
        pairs = [goal.parts(C) for C in tensors]
        if kind == "lexicographic":
            values.append(float(goal.value(*np.mean(pairs, axis=0))))
        else:
            values.append(float(np.mean([goal.value(*pair) for pair in pairs])))
    assert choice.value == pytest.approx(max(values), abs=1e-12)
    near = [tau for tau, value in zip(GRID, values, strict=True) if value >= max(values) - 1e-12]
    assert choice.tau == pytest.approx(min(near, key=lambda tau: abs(tau - 0.5)), abs=0.011)
    found = evaluate(confusion_tensor(y, (p > choice.tau).astype(int), s, 2, 2))
    assert choice.rho == pytest.approx(found["balanced_accuracy"])
    assert choice.mu == pytest.approx(abs(found[measure]))
    assert choice.feasible == (choice.mu < 0.05)
    assert choice.phi == (pytest.approx(choice.rho) if choice.feasible else 0)


def test_equal_models_get_equal_choices_whatever_stands_beside_them() -> None:
    p, y, s = people(5)
    goal = Objective()
    several = select(np.stack([p, 1 - p, p]), y, s, 2, goal)
    assert several[0] == several[2] == select(p[None], y, s, 2, goal)[0]
    assert several[1] != several[0]


def test_ties_go_to_the_middle_and_the_bound_itself_is_outside() -> None:
    p, y, s = np.array([0.1, 0.9, 0.1, 0.9]), np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    (choice,) = select(p[None], y, s, 2, Objective(), n_boot=0)
    assert (choice.tau, choice.rho, choice.feasible) == (0.5, 1.0, True)
    goal = Objective(epsilon=0.5, margin=0.0, kind="threshold")
    assert goal.value(np.array([0.8]), np.array([0.5])) == goal.phi(np.array([0.8]), np.array([0.5])) == 0
    assert goal.phi(np.array([0.8]), np.array([0.4999])) == 0.8
    with pytest.raises(UserError, match="no objective 'x'"):
        Objective(kind="x")


def test_where_nothing_is_feasible_the_smallest_gap_is_taken_and_said_to_be_infeasible() -> None:
    s = np.repeat([0, 1], 50)
    p = np.where(s == 1, 0.9, 0.1)
    y = (np.arange(100) % 2).astype(np.int64)
    (choice,) = select(p[None], y, s, 2, Objective(margin=0.0), grid=np.array([0.2, 0.5]), n_boot=0)
    assert (choice.feasible, choice.phi, choice.mu) == (False, 0.0, 1.0)


def test_a_measure_that_is_not_defined_is_never_feasible() -> None:
    p, _, s = people(6)
    y = np.where(s == 0, 0, (p > 0.5).astype(np.int64))
    (choice,) = select(p[None], y, s, 2, Objective("equal_opportunity_difference"), n_boot=0)
    assert not choice.feasible
    assert np.isnan(choice.phi)
    assert select(p[None], y, s, 2, Objective(), n_boot=0)[0].feasible  # selection rates need no true class


def test_a_threshold_alone_on_a_strongly_biased_model_is_trivial_and_flagged() -> None:
    """Methods 2.6: the best φ is never below 0.5, because a constant decision has no gap."""
    rng = np.random.default_rng(0)
    s = rng.integers(0, 2, 4000)
    y = (rng.random(4000) < np.where(s == 1, 0.75, 0.25)).astype(np.int64)
    p = np.clip(0.5 + 0.32 * (2 * s - 1) + 0.06 * (2 * y - 1) + rng.normal(0, 0.03, 4000), 0, 1)
    (choice,) = select(p[None], y, s, 2, Objective())
    assert choice.feasible
    assert choice.trivial
    assert choice.rho < 0.55


def test_resamples_are_the_same_for_the_same_seed_and_count_every_draw() -> None:
    drawn = resamples(40, 6, 1)
    assert (drawn.sum(1) == 40).all()
    assert np.array_equal(drawn, resamples(40, 6, 1))
    assert not np.array_equal(drawn, resamples(40, 6, 2))
    assert resamples(3, 0).tolist() == [[1, 1, 1]]


def test_bands_are_the_bootstrap_intervals_of_every_threshold() -> None:
    p, y, s = people(3, n=4000)
    C = counts(p, y, s, 2)
    names = ("balanced_accuracy", *MEASURES)
    found = bands(C, names, n=1000)
    for m in (200, 250, 330):
        told = metrics.bootstrap(C[m], names, n=1000)
        for name in names:
            assert [float(end[m]) for end in found[name]] == pytest.approx(list(told[name]), abs=0.006)
