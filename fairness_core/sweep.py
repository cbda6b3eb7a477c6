"""Sweeps over the trade-off control: grids, the accuracy-fairness frontier, the operating point under a threshold.

Everything selected is selected on validation and reported on test. Intervals in these tables are t intervals over seeds
(TRAINING noise); those of counts of people are in outcomes.py (SAMPLING noise).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .config import UserError
from .measures import Counts
from .metrics import is_trivial, metric, over_seeds
from .outcomes import per_thousand, sentence

__all__ = [
    "OperatingPoint", "by_seed", "constant_classifier", "frontier", "grid", "hypervolume", "operating_point",
    "pareto_mask", "per_thousand", "points", "sentence",
]  # fmt: skip

MOST_VALUES = 1000  # every value is a model per seed
COLUMNS = ["validation_performance", "validation_gap", "test_performance", "test_gap"]


def grid(text: str) -> list[float]:
    """The values of "low:high:count" (evenly spaced, both ends included) or of a list "0,0.5,1"; UserError otherwise.

    Values are rounded to 12 digits, so that 3 * 0.2 and 0.6 are the same run.
    """
    parts = text.split(":")
    if len(parts) == 3:
        low, high, count = (_number(part, text) for part in parts)
        if count != int(count) or not 2 <= count <= MOST_VALUES:
            raise UserError(f"The count of {text!r} is {parts[2]}; give a whole number from 2 to {MOST_VALUES}.")
        if low >= high:
            raise UserError(f"The range {text!r} does not rise; give low:high:count with low below high.")
        values = np.linspace(low, high, int(count)).tolist()
    elif len(parts) == 1:
        values = [_number(part, text) for part in text.split(",")]
    else:
        raise UserError(f"The values {text!r} cannot be read; give low:high:count or a list such as 0,0.5,1.")
    values = [float(f"{value:.12g}") + 0.0 for value in values]
    if len(values) > MOST_VALUES:
        raise UserError(f"The list holds {len(values)} values; give at most {MOST_VALUES}.")
    if len(set(values)) < len(values):
        raise UserError(f"The values {text!r} repeat one; give each value once.")
    return values


def _number(part: str, text: str) -> float:
    try:
        value = float(part)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{part.strip()!r} in {text!r} is not a number; give low:high:count or a list such as 0,0.5,1.")
    return value


def pareto_mask(disparity: ArrayLike, performance: ArrayLike) -> NDArray[np.bool_]:
    """(n,): True where no other point has a lower disparity and a performance at least as high, or the reverse.

    Equal points are kept together; points with a NaN are never on the front.
    """
    cost, gain = np.asarray(disparity, dtype=np.float64), np.asarray(performance, dtype=np.float64)
    defined = ~(np.isnan(cost) | np.isnan(gain))
    mask = np.zeros(len(cost), dtype=np.bool_)
    if defined.any():
        levels, level = np.unique(cost[defined], return_inverse=True)
        best = np.full(len(levels), -np.inf)
        np.maximum.at(best, level, gain[defined])
        cheaper = np.concatenate([[-np.inf], np.maximum.accumulate(best)[:-1]])
        mask[defined] = (gain[defined] == best[level]) & (best[level] > cheaper[level])
    return mask


def hypervolume(disparity: ArrayLike, performance: ArrayLike, reference: tuple[float, float] = (1.0, 0.0)) -> float:
    """Area dominated by the points, up to `reference` = (worst disparity, worst performance); larger is better.

    Points worse than the reference in either measure add nothing. Zitzler & Thiele 1999.
    """
    cost, gain = np.asarray(disparity, dtype=np.float64), np.asarray(performance, dtype=np.float64)
    keep = pareto_mask(cost, gain) & (cost < reference[0]) & (gain > reference[1])
    order = np.argsort(cost[keep])
    edges = np.append(cost[keep][order], reference[0])
    return float(np.sum(np.diff(edges) * (gain[keep][order] - reference[1])))


def points(
    runs: pd.DataFrame,
    validation: Mapping[str, Counts],
    test: Mapping[str, Counts],
    performance: str = "accuracy",
    fairness: str = "demographic_parity_difference",
) -> pd.DataFrame:
    """One row per run that has both tensors: id, method, lam, seed, validation_performance, validation_gap,
    test_performance, test_gap, trivial.

    runs: columns id, method, lam (NaN for a method without trade-off), seed, as Store.runs gives them; validation and
    test: {id: (G, T, T)} as Store.confusions gives them, all of one data set. A gap is the fairness measure's distance
    from parity: its magnitude (1 minus it for a ratio), taken per run so that signs do not cancel over seeds.
    `trivial` is decided on validation. Raises UserError for an unknown metric.
    """
    judge, measure = metric(performance), metric(fairness)
    known = [run for run in runs["id"] if run in validation and run in test]
    table = runs.set_index("id").loc[known, ["method", "lam", "seed"]].reset_index()
    for split, tensors in (("validation", validation), ("test", test)):
        C = np.stack([tensors[run] for run in known]) if known else np.zeros((0, 2, 2, 2), dtype=np.int64)
        table[f"{split}_performance"] = judge.function(C)
        table[f"{split}_gap"] = measure.disparity(measure.function(C))
        if split == "validation":
            table["trivial"] = is_trivial(C)
    return table


def frontier(points: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """One row per (method, lam) of `points`: seeds, trivial, on_front, and for each of validation_performance,
    validation_gap, test_performance and test_gap the mean over seeds X, and X_sd, X_low, X_high (t interval).

    on_front: not dominated by another lam of the same method, on VALIDATION means. trivial: at least half of the seeds
    are. With one seed sd and interval are NaN. Sorted by method and lam.
    """
    groups = points.groupby(["method", "lam"], dropna=False, sort=True)
    row, place = groups.ngroup().to_numpy(), groups.cumcount().to_numpy()
    values = np.full((groups.ngroups, int(place.max(initial=-1)) + 1, len(COLUMNS)), np.nan)
    values[row, place] = points[COLUMNS].to_numpy(dtype=np.float64)
    summary = over_seeds(values, level, axis=1)
    first = points[place == 0].iloc[np.argsort(row[place == 0])]
    seeds = np.bincount(row, minlength=groups.ngroups)
    columns = {
        "method": first["method"].to_numpy(),
        "lam": first["lam"].to_numpy(dtype=np.float64),
        "seeds": seeds,
        "trivial": 2 * np.bincount(row, weights=points["trivial"], minlength=groups.ngroups) >= seeds,
        "on_front": np.zeros(groups.ngroups, dtype=np.bool_),
    }
    for i, column in enumerate(COLUMNS):
        parts = {"": summary.mean, "_sd": summary.sd, "_low": summary.low, "_high": summary.high}
        columns |= {f"{column}{end}": part[:, i] for end, part in parts.items()}
    for method in set(columns["method"]):
        own = columns["method"] == method
        columns["on_front"][own] = pareto_mask(columns["validation_gap"][own], columns["validation_performance"][own])
    return pd.DataFrame(columns)


@dataclass(frozen=True)
class OperatingPoint:
    """What `operating_point` chose on validation, with its test result (means over seeds).

    feasible: the validation gap is below epsilon. trivial: a nearly constant model, chosen only because no other point
    is feasible. holds_on_test: the test gap is below epsilon too.
    """

    method: str
    lam: float
    epsilon: float
    feasible: bool
    trivial: bool
    holds_on_test: bool
    seeds: int
    validation_performance: float
    validation_gap: float
    test_performance: float
    test_gap: float


def operating_point(frontier: pd.DataFrame, epsilon: float) -> OperatingPoint | None:
    """The row of `frontier` with the best validation performance among those whose validation gap is below epsilon.

    A trivial point is taken only when no other is feasible, and says so. When nothing is feasible: the smallest gap,
    then the best performance, with feasible=False (lexicographic rule, methods 2.6). None when no gap is defined.
    """
    table = frontier.dropna(subset=["validation_gap", "validation_performance"])
    if table.empty:
        return None
    feasible = table[table["validation_gap"] < epsilon]
    if len(feasible):
        ranked = feasible.sort_values(["trivial", "validation_performance"], ascending=[True, False], kind="stable")
    else:
        by = ["trivial", "validation_gap", "validation_performance"]
        ranked = table.sort_values(by, ascending=[True, True, False], kind="stable")
    best = ranked.iloc[0]
    return OperatingPoint(
        method=str(best["method"]),
        lam=float(best["lam"]),
        epsilon=epsilon,
        feasible=len(feasible) > 0,
        trivial=bool(best["trivial"]),
        holds_on_test=bool(best["test_gap"] < epsilon),
        seeds=int(best["seeds"]),
        **{column: float(best[column]) for column in COLUMNS},
    )


def by_seed(
    runs: pd.DataFrame, confusions: Mapping[str, Counts], method: str, lam: float | None = None
) -> dict[int, Counts]:
    """{seed: (G, T, T)} of the runs of one method at one lam (None or NaN: a method without trade-off), for `sentence`
    and `per_thousand`; runs without a tensor are left out."""
    lams = runs["lam"].astype(float)
    at = lams.isna() if lam is None or math.isnan(lam) else np.isclose(lams, lam, rtol=1e-9, atol=1e-12)
    chosen = runs[(runs["method"] == method) & at]
    return {
        int(seed): confusions[run] for run, seed in zip(chosen["id"], chosen["seed"], strict=True) if run in confusions
    }


def constant_classifier(C: Counts) -> Counts:
    """The tensor (..., G, T, T) of the model that gives everyone the most frequent true class of the same rows: the
    point every frontier must be compared with."""
    C = np.asarray(C)
    rows = C.sum(-1)
    chosen = rows.sum(-2).argmax(-1)[..., None, None, None]
    return np.asarray(np.where(np.arange(C.shape[-1]) == chosen, rows[..., None], 0), dtype=C.dtype)
