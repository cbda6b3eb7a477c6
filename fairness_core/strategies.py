"""Named ways to draw the line, one threshold for all or one per group, found on the counts at every threshold.

C (M, G, 2, 2) are the validation counts of thresholds.counts: everything here is a function of them, so it costs the
same for a thousand rows and for a million, and one call answers for every ε and every cost ratio at once, so that a
slider of either only looks up. cost: the price of a false positive in false negatives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .measures import Counts, Values, ratio
from .thresholds import Objective

Array = NDArray[np.float64]
Places = NDArray[np.int64]  # positions on the grid

LEVELS = 401  # levels of a common rate that are tried
COARSE = 251  # thresholds per group when every pair of two groups is tried
NOTHING = 1e-12  # a rate this far outside a tolerance is inside but for rounding


@dataclass(frozen=True)
class Strategy:
    """A way to draw the line. needs_groups: one threshold per group; by: which sliders it follows."""

    name: str
    title: str
    meaning: str
    needs_groups: bool = False
    by: tuple[str, ...] = ()


STRATEGIES = (
    Strategy("half", "0.5", "The usual threshold."),
    Strategy("accuracy", "Max accuracy", "One threshold: the lowest cost of wrong decisions, a false positive counted "
             "as the cost ratio says; at cost 1 that is the largest accuracy.", by=("cost",)),
    Strategy("balanced", "Balanced accuracy", "One threshold: the largest mean of true positive and true negative "
             "rate."),
    Strategy("epsilon", "Best under ε", "One threshold: the largest balanced accuracy whose gap is under ε; the "
             "smallest gap if there is none.", by=("epsilon", "measure")),
    Strategy("group_accuracy", "Max accuracy per group", "A threshold per group, each with the lowest cost of its own "
             "wrong decisions.", True, ("cost",)),
    Strategy("demographic_parity", "Demographic parity", "A threshold per group: selection rates within ε of each "
             "other, and then the lowest cost.", True, ("epsilon", "cost")),
    Strategy("equal_opportunity", "Equal opportunity", "A threshold per group: true positive rates within ε of each "
             "other, and then the lowest cost.", True, ("epsilon", "cost")),
    Strategy("equalized_odds", "Equalized odds", "A threshold per group: true and false positive rates within ε, or as "
             "near as thresholds get, and then the lowest cost.", True, ("epsilon", "cost")),
)  # fmt: skip


def roc(C: Counts) -> tuple[Array, Array]:
    """False and true positive rates (M, G) at every threshold; NaN for a group without such rows."""
    rates = ratio(C[..., 1].astype(float), C.sum(-1).astype(float))
    return rates[..., 0], rates[..., 1]


def errors(C: Counts, cost: float = 1.0) -> Array:
    """cost * false positives + false negatives of every group, (M, G)."""
    return np.asarray(cost * C[..., 0, 1] + C[..., 1, 0], dtype=np.float64)


def every(C: Counts, grid: Array, measure: str, epsilons: Array, costs: Array) -> dict[str, Places]:
    """{strategy: (E, W, G)}: positions of the groups' thresholds for every ε (E,) and every cost ratio (W,)."""
    groups = C.shape[1]
    shape = (len(epsilons), len(costs), groups)
    selected = ratio(C[..., 1].sum(-1).astype(float), C.sum((-1, -2)).astype(float))
    fpr, tpr = roc(C)
    rho, _ = Objective(measure).parts(C)
    pairs = candidates(fpr, tpr)

    def single(places: Places | int) -> Places:
        return np.broadcast_to(np.asarray(places)[..., None], shape)

    found = {
        "half": single(_nearest_half(-np.abs(grid - 0.5), grid)),
        "balanced": single(_nearest_half(rho, grid)),
        "epsilon": single(under(C, grid, measure, epsilons)[:, None]),
    }
    by_cost: dict[str, list[Places]] = {s.name: [] for s in STRATEGIES if "cost" in s.by}
    for cost in costs:
        err = errors(C, float(cost))
        own = np.array([_nearest_half(-err[:, g], grid) for g in range(groups)])
        common = np.full(groups, _nearest_half(-err.sum(1), grid))
        for name, places in (
            ("accuracy", common),
            ("group_accuracy", own),
            ("demographic_parity", matched(selected, err, epsilons)),
            ("equal_opportunity", matched(tpr, err, epsilons)),
            ("equalized_odds", odds(*pairs, err, epsilons)),
        ):
            by_cost[name].append(np.broadcast_to(places, (len(epsilons), groups)))
    return found | {name: np.stack(places, 1) for name, places in by_cost.items()}


def under(C: Counts, grid: Array, measure: str, epsilons: Array) -> Places:
    """(E,): the single threshold with the largest balanced accuracy among those with |measure| < ε, or with the
    smallest gap where there is none."""
    rho, mu = Objective(measure).parts(C)
    goals = [Objective(measure, float(epsilon), margin=0.0, kind="lexicographic") for epsilon in epsilons]
    return np.array([_nearest_half(goal.value(rho, mu), grid) for goal in goals])


def _nearest_half(values: Values, grid: Array) -> int:
    """The position of the largest value, of several the one nearest 0.5."""
    order = np.argsort(np.abs(grid - 0.5), kind="stable")
    return int(order[np.argmax(np.where(np.isnan(values), -np.inf, values)[order])])


def matched(rate: Array, err: Array, tolerances: Array) -> Places:
    """For every tolerance the thresholds (E, G) whose rates lie within it of each other and that err least; if there
    are none, those with the smallest spread.

    rate (M, G), falling with the threshold; err (M, G). Every level of a common rate is tried, and inside its tolerance
    each group takes its best threshold. Groups whose rate is not defined only err least.
    """
    levels = np.linspace(0, 1, LEVELS)
    size = (len(tolerances), LEVELS)
    places = np.zeros((*size, rate.shape[1]), np.int64)
    low, high, total = np.full(size, np.inf), np.full(size, -np.inf), np.zeros(size)
    for g in range(rate.shape[1]):
        if np.isnan(rate[:, g]).any():
            places[..., g] = np.argmin(err[:, g])
        else:
            places[..., g] = _best_near(rate[:, g], err[:, g], levels, tolerances / 2)
            found = rate[places[..., g], g]
            low, high = np.minimum(low, found), np.maximum(high, found)
        total += err[places[..., g], g]
    spread = np.where(np.isfinite(low), high - low, 0.0)
    allowed = spread <= np.maximum(tolerances, spread.min(1))[:, None] + NOTHING
    best = np.argmin(np.where(allowed, total, np.inf), axis=1)
    return np.asarray(places[np.arange(len(tolerances)), best])


def _best_near(rate: Array, err: Array, levels: Array, reach: Array) -> Places:
    """(E, L): for every reach (E,) and level (L,) the position of the least error among the rates that near to the
    level, or of the nearest rate."""
    order = np.argsort(rate, kind="stable")
    rising = rate[order]
    first = np.searchsorted(rising, levels - reach[:, None] - NOTHING, side="left")
    last = np.searchsorted(rising, levels + reach[:, None] + NOTHING, side="right")
    above = np.clip(np.searchsorted(rising, levels), 1, len(rising) - 1)
    nearest = np.where(levels - rising[above - 1] <= rising[above] - levels, above - 1, above)
    least = _least_in(err[order], first, np.maximum(last, first + 1))
    return np.asarray(order[np.where(last > first, least, nearest)])


def _least_in(values: Array, first: Places, last: Places) -> Places:
    """Positions of the smallest of values[first:last], elementwise, from a table of all spans of 1, 2, 4, ..."""
    table = [np.arange(len(values))]
    while 2 ** len(table) <= len(values):
        a = table[-1]
        b = np.append(a[2 ** (len(table) - 1) :], np.full(2 ** (len(table) - 1), a[-1]))
        table.append(np.where(values[b] < values[a], b, a))
    first = np.minimum(first, len(values) - 1)
    power = np.log2(np.maximum(last - first, 1)).astype(np.int64)
    a, b = np.stack(table)[power, first], np.stack(table)[power, np.maximum(last - 2**power, first)]
    return np.asarray(np.where(values[b] < values[a], b, a))


def candidates(fpr: Array, tpr: Array) -> tuple[Places, Array]:
    """Choices of thresholds (P, G) and the larger spread (P,) of the groups' true and false positive rates, rising.

    Two groups: every pair of a coarse grid. More: every group at the level of the true positive rate that is tried.
    """
    each = np.arange(fpr.shape[1])
    if fpr.shape[1] == 2:
        rows = np.linspace(0, len(fpr) - 1, COARSE).round().astype(int)
        places = np.stack(np.meshgrid(rows, rows, indexing="ij"), -1).reshape(-1, 2)
    else:
        levels = np.linspace(0, 1, LEVELS)[:, None]
        places = np.stack([np.argmin(np.abs(np.nan_to_num(tpr[:, g]) - levels), axis=1) for g in each], 1)
    spread = np.maximum(*(np.ptp(np.nan_to_num(r)[places, each], axis=1) for r in (fpr, tpr)))
    order = np.argsort(spread, kind="stable")
    return places[order], spread[order]


def odds(places: Places, spread: Array, err: Array, tolerances: Array) -> Places:
    """For every tolerance the thresholds (E, G), among the `candidates`, that err least of those whose true and false
    positive rates lie within it; each group's curve is its own, so the rates may not come that near except where
    everybody is decided alike: then those with the smallest spread that err less than deciding everybody alike."""
    constant = float(min(err[0].sum(), err[-1].sum()))
    total = err[places, np.arange(err.shape[1])].sum(1)
    total = np.where(total < constant, total, np.inf)
    so_far = np.minimum.accumulate(total)
    at = np.maximum.accumulate(np.where(total == so_far, np.arange(len(total)), 0))  # of the fewest errors so far
    useful = np.isfinite(so_far)
    fallback = int(np.argmax(useful))  # the smallest spread that beats a constant; the smallest of all if none does
    inside = np.searchsorted(spread, tolerances + NOTHING, side="right") - 1
    chosen = np.where((inside >= 0) & useful[np.maximum(inside, 0)], at[np.maximum(inside, 0)], fallback)
    return np.asarray(places[chosen])
