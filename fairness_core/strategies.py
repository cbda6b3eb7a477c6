"""Named ways to draw the line, one threshold for all or one per group, found on the counts at every threshold.

C (M, G, 2, 2) are the validation counts of thresholds.counts: everything here is a function of them, so it costs the
same for a thousand rows and for a million. cost: the price of a false positive in false negatives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .measures import Counts, Values, ratio
from .metrics import evaluate, is_trivial, metric
from .thresholds import Objective

Array = NDArray[np.float64]
Places = NDArray[np.int64]  # positions on the grid

LEVELS = 401  # levels of a common rate that are tried
COARSE = 251  # thresholds per group when every pair of two groups is tried


@dataclass(frozen=True)
class Strategy:
    """A way to draw the line: positions (G,) of the groups' thresholds on the grid."""

    name: str
    title: str
    meaning: str
    places: Places
    needs_groups: bool


def roc(C: Counts) -> tuple[Array, Array]:
    """False and true positive rates (M, G) at every threshold; NaN for a group without such rows."""
    rates = ratio(C[..., 1].astype(float), C.sum(-1).astype(float))
    return rates[..., 0], rates[..., 1]


def errors(C: Counts, cost: float = 1.0) -> Array:
    """cost * false positives + false negatives of every group, (M, G)."""
    return np.asarray(cost * C[..., 0, 1] + C[..., 1, 0], dtype=np.float64)


def named(C: Counts, grid: Array, objective: Objective, cost: float = 1.0) -> list[Strategy]:
    """Every strategy at this cost and this objective's ε; those that look at a gap allow ε of it."""
    groups = C.shape[1]
    total = C.sum(1, keepdims=True)
    rho, mu = objective.parts(C)
    err = errors(C, cost)
    fpr, tpr = roc(C)
    selected = ratio(C[..., 1].sum(-1).astype(float), C.sum((-1, -2)).astype(float))

    def single(values: Values) -> Places:
        return np.full(groups, _nearest_half(values, grid))

    epsilon = objective.epsilon
    return [
        Strategy("half", "0.5", "The usual threshold.", single(-np.abs(grid - 0.5)), False),
        Strategy("accuracy", "Fewest errors", "One threshold: the fewest wrong decisions, a false positive counted as "
                 "the cost ratio says.", single(-errors(total, cost)[:, 0]), False),
        Strategy("balanced", "Balanced accuracy", "One threshold: the largest mean of true positive and true negative "
                 "rate.", single(rho), False),
        Strategy("epsilon", "Best under ε", "One threshold: the largest balanced accuracy whose gap is under ε; the "
                 "smallest gap if there is none.", single(objective.value(rho, mu)), False),
        Strategy("group_accuracy", "Fewest errors per group", "A threshold per group, each with the fewest errors of "
                 "its own.", np.array([_nearest_half(-err[:, g], grid) for g in range(groups)]), True),
        Strategy("demographic_parity", "Demographic parity", "A threshold per group: selection rates within ε of each "
                 "other, and then the fewest errors.", matched(selected, err, epsilon), True),
        Strategy("equal_opportunity", "Equal opportunity", "A threshold per group: true positive rates within ε of "
                 "each other, and then the fewest errors.", matched(tpr, err, epsilon), True),
        Strategy("equalized_odds", "Equalized odds", "A threshold per group: true and false positive rates within ε, "
                 "or as near as thresholds get, and then the fewest errors.", odds(fpr, tpr, err, epsilon), True),
    ]  # fmt: skip


def _nearest_half(values: Values, grid: Array) -> int:
    """The position of the largest value, of several the one nearest 0.5."""
    order = np.argsort(np.abs(grid - 0.5), kind="stable")
    return int(order[np.argmax(np.where(np.isnan(values), -np.inf, values)[order])])


def matched(rate: Array, err: Array, tolerance: float) -> Places:
    """Thresholds (G,) whose rates lie within `tolerance` of each other and that err least; if there are none, those
    with the smallest spread.

    rate, err: (M, G). Every level of a common rate is tried, and inside its tolerance each group takes its best
    threshold. Groups whose rate is not defined only err least.
    """
    levels = np.linspace(0, 1, LEVELS)[:, None]
    places, spread, total = np.zeros((LEVELS, rate.shape[1]), np.int64), np.zeros(LEVELS), np.zeros(LEVELS)
    low, high = np.full(LEVELS, np.inf), np.full(LEVELS, -np.inf)
    for g in range(rate.shape[1]):
        own = rate[:, g]
        if np.isnan(own).any():
            places[:, g] = np.argmin(err[:, g])
        else:
            away = np.abs(own - levels)  # (levels, M)
            inside = away <= tolerance / 2
            best = np.argmin(np.where(inside, err[:, g], np.inf), axis=1)
            places[:, g] = np.where(inside.any(1), best, np.argmin(away, axis=1))
            found = own[places[:, g]]
            low, high = np.minimum(low, found), np.maximum(high, found)
        total += err[places[:, g], g]
    spread = np.where(np.isfinite(low), high - low, 0.0)
    allowed = spread <= max(tolerance, float(spread.min())) + 1e-12
    return np.asarray(places[np.argmin(np.where(allowed, total, np.inf))])


def odds(fpr: Array, tpr: Array, err: Array, tolerance: float) -> Places:
    """Thresholds (G,) that err least among those whose true and false positive rates lie within `tolerance`; each
    group's curve is its own, so the rates may not come that near except where everybody is decided alike: then those
    with the smallest spread that err less than deciding everybody alike.

    Two groups: every pair of a coarse grid. More: every group at the level of the true positive rate that is tried.
    """
    constant = float(min(err[0].sum(), err[-1].sum()))
    if fpr.shape[1] == 2:
        rows = np.linspace(0, len(fpr) - 1, COARSE).round().astype(int)
        gaps = [np.abs(r[rows, 0][:, None] - r[rows, 1][None, :]) for r in (fpr, tpr)]
        spread = np.fmax(np.nan_to_num(gaps[0]), np.nan_to_num(gaps[1]))
        total = err[rows, 0][:, None] + err[rows, 1][None, :]
        i, j = np.unravel_index(_least(spread, total, tolerance, constant), spread.shape)
        return rows[[i, j]]
    levels = np.linspace(0, 1, LEVELS)[:, None]
    columns = [np.argmin(np.abs(np.nan_to_num(tpr[:, g]) - levels), axis=1) for g in range(fpr.shape[1])]
    places = np.stack(columns, 1)
    each = np.arange(fpr.shape[1])
    spread = np.maximum(np.ptp(np.nan_to_num(fpr[places, each]), 1), np.ptp(np.nan_to_num(tpr[places, each]), 1))
    return np.asarray(places[_least(spread, err[places, each].sum(1), tolerance, constant)])


def _least(spread: Array, total: Array, tolerance: float, constant: float) -> int:
    """Flat position of the fewest errors within the tolerance, else of the smallest spread that beats a constant."""
    inside = (spread <= tolerance) & (total < constant)
    if inside.any():
        return int(np.argmin(np.where(inside, total, np.inf)))
    useful = total < constant
    return int(np.argmin(np.where(useful, spread, np.inf) if useful.any() else spread))


def under_epsilon(C: Counts, grid: Array, objective: Objective, epsilons: Array) -> dict[str, NDArray[np.generic]]:
    """For every ε: "best" (E,), the position of the best single threshold; "phi" (E,), φ there; and once for all
    thresholds "rho" (M,), "gap" (M,), "trivial" (M,)."""
    rho, mu = objective.parts(C)
    best, phi = [], []
    for epsilon in epsilons:
        goal = Objective(objective.measure, float(epsilon), objective.margin, objective.kind)
        best.append(_nearest_half(goal.value(rho, mu), grid))
        phi.append(float(goal.phi(rho, mu)[best[-1]]))
    trivial = np.asarray(is_trivial(C))
    return {"best": np.array(best), "phi": np.array(phi), "rho": rho, "gap": mu, "trivial": trivial}


def two_threshold_map(
    C: Counts, pair: tuple[int, int], measure: str, performance: str, places: Places, step: int = 5
) -> tuple[Places, Array, Array]:
    """All pairs of thresholds of two groups, the other groups at `places`: positions (P,) that are tried, performance
    and gap (P, P) with the first group of the pair along the first axis."""
    tried = np.arange(0, len(C), step)
    tensors = np.empty((len(tried), len(tried), *C.shape[1:]), C.dtype)
    tensors[:] = C[places, np.arange(C.shape[1])]
    tensors[:, :, pair[0]] = C[tried, pair[0]][:, None]
    tensors[:, :, pair[1]] = C[tried, pair[1]][None, :]
    found = evaluate(tensors, [performance, measure])
    return tried, np.asarray(found[performance]), metric(measure).disparity(found[measure])
