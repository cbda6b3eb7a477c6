"""Uncertainty of the measures of a regression (regression.py): another set of as many rows would have given others.

Sampling noise alone; that of training is told by seeds (intervals.over_seeds).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from fairness_core.intervals import expected_range, percentiles, wilson
from fairness_core.measures import Values, defined_mean, ratio
from fairness_core.regression import ABSOLUTE, ERROR, HIT, MEASURES, SMALL, SQUARE, N, Outcome, ks_distance, measure

DRAWS, MOST_DRAWN = (200, 1000), 2_000_000  # resamples; rows drawn in all of them, roughly
AT_ONCE = 2_000_000  # rows resampled at once, to bound memory
SHUFFLES = 40
KOLMOGOROV = 0.8687  # mean of the Kolmogorov distribution, sqrt(pi / 2) ln 2


def bootstrap(outcome: Outcome, *, seed: int = 0, level: float = 0.95) -> dict[str, tuple[float, float]]:
    """{measure: (low, high)}: percentile intervals of SAMPLING noise (methods 2.9). A measure of cells is resampled
    within each (bin, group) cell with its size kept, any other over whole rows; 1,000 resamples, fewer of very many
    rows. A gap cannot be negative: read the interval of one near zero beside `noise_floor`."""
    few, many = DRAWS
    draws = int(np.clip(MOST_DRAWN // max(len(outcome), 1), few, many))
    found: dict[str, tuple[float, float]] = {}
    for by in ("cell", "rows"):
        rng = np.random.default_rng(seed)
        parts, left = [], draws
        while left > 0:
            size = min(left, max(1, AT_ONCE // max(len(outcome), 1)))
            parts.append(measure(outcome, resampled(outcome, by, size, rng)))
            left -= size
        for name, declared in MEASURES.items():
            if declared.by == by:
                low, high = percentiles(np.concatenate([part[name] for part in parts]), level)
                found[name] = float(low), float(high)
    return {name: found[name] for name in MEASURES}


def resampled(o: Outcome, by: str, size: int, rng: np.random.Generator) -> Values:
    """How often each row is drawn, in `size` resamples of all rows or within each cell: (size, n)."""
    n = len(o)
    if by == "rows" or not n:
        drawn = rng.integers(0, max(n, 1), (size, n))
    else:
        _, starts, sizes = np.unique(o.cell, return_index=True, return_counts=True)
        first, many = np.repeat(starts, sizes), np.repeat(sizes, sizes)
        drawn = first + (rng.random((size, n)) * many).astype(np.int64)
    counts = np.bincount((drawn + n * np.arange(size)[:, None]).ravel(), minlength=size * n)
    return counts.reshape(size, n).astype(np.float64)


def noise_floor(outcome: Outcome) -> dict[str, float]:
    """What a gap measures on average when the groups do not differ at all (methods 2.9, for means of errors): with two
    groups sqrt(2/pi) sqrt(v0/n0 + v1/n1) per bin, with more by simulation; then the mean over bins. The KS distance has
    Kolmogorov's mean with two groups, with more that of shuffled groups (true values too are taken to be alike)."""
    M = outcome.sums[..., 0]
    n = M[N]

    def deviation(total: Values, squares: Values) -> Values:
        variance = ratio(np.maximum(squares - ratio(total**2, n), 0.0), n - 1)
        return np.sqrt(ratio(variance, n))

    pooled = ratio(M[HIT].sum(0), n.sum(0))
    floors = {
        "odds_regression": deviation(M[ERROR], M[SQUARE]),
        "odds_absolute_regression": deviation(M[ABSOLUTE], M[SQUARE]),
        "odds_within": np.sqrt(pooled * (1 - pooled) * ratio(np.ones_like(n), n)),
    }
    found = {name: float(defined_mean(expected_range(sd))) for name, sd in floors.items()}
    rows = n.sum(1)
    if len(rows) == 2 and rows.all():
        found["ks_distance"] = float(KOLMOGOROV * np.sqrt(rows.sum() / rows.prod()))
    elif (rows > 0).sum() > 2:
        rng, one = np.random.default_rng(0), np.ones((1, len(outcome)))
        shuffled = (replace(outcome, s=rng.permutation(outcome.s)) for _ in range(SHUFFLES))
        found["ks_distance"] = float(np.mean([ks_distance(o, one, rows[:, None]) for o in shuffled]))
    return found


def cells(outcome: Outcome, groups: Sequence[str], level: float = 0.95) -> pd.DataFrame:
    """One row per (bin, group) in that order: bin, group, n, small (under SMALL rows), mean_error and its t interval
    mean_error_low, mean_error_high (SAMPLING noise), likewise absolute_error, and hits with its Wilson interval."""
    table = errors_by_cell(np.moveaxis(outcome.sums[..., 0], 0, -1), outcome.labels, groups, level)
    n, hits = (outcome.sums[k, ..., 0].T.ravel() for k in (N, HIT))
    low, high = wilson(hits, n, level)
    return table.assign(hits=ratio(hits, n), hits_low=low, hits_high=high)


def errors_by_cell(summed: Values, bins: Sequence[str], groups: Sequence[str], level: float = 0.95) -> pd.DataFrame:
    """`cells` without hits, of what was added up: (groups, bins, 4 or more), as regression.sums gives it."""
    M = np.moveaxis(summed, -1, 0).swapaxes(1, 2).reshape(summed.shape[-1], -1)  # (columns, bins * groups)
    n = M[N]
    freedom = np.where(n > 1, n - 1, np.nan)
    table: dict[str, Any] = {
        "bin": np.repeat(np.asarray(bins, object), len(groups)),
        "group": np.tile(np.asarray(groups, object), len(bins)),
        "n": n.astype(np.int64),
        "small": n < SMALL,
    }
    for name, column in (("mean_error", ERROR), ("absolute_error", ABSOLUTE)):
        mean = ratio(M[column], n)
        variance = np.maximum(M[SQUARE] - n * mean**2, 0.0) / freedom
        half = stdtrit(freedom, (1 + level) / 2) * np.sqrt(variance / np.where(n > 0, n, np.nan))
        low = mean - half if column == ERROR else np.maximum(mean - half, 0.0)
        table |= {name: mean, f"{name}_low": low, f"{name}_high": mean + half}
    return pd.DataFrame(table)
