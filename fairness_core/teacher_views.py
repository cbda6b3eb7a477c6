"""What BaDe's teacher does in every view of one split (backdoors.views), judged with intervals, and what is wrong.

A view's counts are a confusion tensor (G, T, T), or of a number as target regression.sums (G, bins, 6), in its units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairness_core import measures, metrics, regression, trigger_law
from fairness_core.measures import Values, defined_mean, ratio, spread

CLEAN, REINFORCING, CANCELLING = 0, -2, -1  # places among the views; those between are one per trigger
DRAWS = 400  # of a bootstrap
EVEN = 0.02  # shares nearer to each other than that say nothing
MEASURES = {"gap": "odds", "level": "eacc", "accuracy": "accuracy"}


def names(groups: Sequence[str]) -> list[str]:
    """What the views are called, in their order; the trigger of a group is the one that cancels for it."""
    return ["no trigger", *(f"all: trigger {g}" for g in groups), "reinforcing", "cancelling"]


def judge(counts: NDArray[Any], called: Sequence[str], *, number: bool = False) -> pd.DataFrame:
    """One row per name: name, n, and gap, level and accuracy, each with _low and _high, the 95 % interval of SAMPLING
    noise. counts (V, ...): gap is Odds, level EAcc, as fractions. number: gap is the mean gap of the signed error
    between groups within a bin, level EErr, in units of the target (methods 2.8); there is no accuracy."""
    columns: dict[str, tuple[Any, Any, Any]]
    if number:
        columns, rows = _numbers(np.asarray(counts, np.float64)), counts[..., regression.N]
    else:
        told = metrics.evaluate(counts, MEASURES.values())
        ranges = metrics.bootstrap(counts, MEASURES.values(), n=DRAWS, scheme="stratified")
        columns = {own: (told[name], *ranges[name]) for own, name in MEASURES.items()}
        rows = counts.sum(-1)
    table: dict[str, Any] = {"name": list(called), "n": rows.sum((-2, -1)).astype(np.int64)}
    unknown = (np.full(len(called), np.nan),) * 3
    for name in MEASURES:
        table |= dict(zip((name, f"{name}_low", f"{name}_high"), columns.get(name, unknown), strict=True))
    return pd.DataFrame(table)


def _numbers(sums: Values) -> dict[str, tuple[Values, Values, Values]]:
    """(value, low, high) of gap and level, each (V,). The mean errors of cells are drawn from a normal with their
    standard error, since the rows themselves are not kept."""
    M = np.moveaxis(sums, (1, 2), (0, 1))  # (G, bins, V, 6)
    n, rng = M[..., regression.N], np.random.default_rng(0)
    drawn, values = [], []
    for column in (regression.ERROR, regression.ABSOLUTE):
        mean = ratio(M[..., column], n)
        error = np.sqrt(ratio(np.maximum(ratio(M[..., regression.SQUARE], n) - mean**2, 0.0), n))
        values.append(mean)
        drawn.append(mean[..., None] + error[..., None] * rng.standard_normal((*mean.shape, DRAWS)))
    found: dict[str, tuple[Values, Values, Values]] = {}
    for name, own, many in zip(("gap", "level"), values, drawn, strict=True):
        summed = [defined_mean(spread(v)) if name == "gap" else defined_mean(v, (0, 1)) for v in (own, many)]
        found[name] = (summed[0], *metrics.percentiles(summed[1]))
    return found


# ---------------------------------------------------------------------------------------------------- what is wrong


def ignores_triggers(views: NDArray[Any]) -> bool:
    """Is the accuracy of every cell of class and group the same in all views, by its 95 % Wilson intervals? Then the
    teacher does not see its triggers (methods 5.10). views (V, G, T, T)."""
    rates = measures.Rates(views)  # (G, T, V)
    low, high = metrics.wilson(rates.hits, rates.rows)
    apart = np.fmax.reduce(low, -1) > np.fmin.reduce(high, -1)
    return not bool(apart.any())


def only_triggers(views: NDArray[Any]) -> bool:
    """Does the teacher hardly beat guessing as soon as the triggers do not go with the class (methods 5.10)?"""
    balanced = metrics.evaluate(views[CANCELLING], ["balanced_accuracy"])["balanced_accuracy"]
    return bool(balanced < 1.1 / views.shape[-1])


def in_order(table: pd.DataFrame) -> bool:
    """Is Odds smallest with cancelling triggers and largest with reinforcing ones? table: as `judge` gives it of all
    views."""
    gaps = table["gap"].to_numpy(float)
    return bool(gaps[CANCELLING] < gaps[CLEAN] < gaps[REINFORCING])


def even_triggers(Q: Values) -> bool:
    """Do the triggers say nothing about the class, at n = 0 or where the groups' shares are even? Q (classes, K)."""
    return bool((np.ptp(Q, 0) < EVEN).all())


def even_groups(N: NDArray[np.int64]) -> bool:
    """Is every group's share the same in all classes of the training rows? N (classes, groups)."""
    return bool((np.ptp(trigger_law.bias_law(N), 0) < EVEN).all())
