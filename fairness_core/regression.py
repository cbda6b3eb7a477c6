"""Measures of a regression, by bins of the true value: does the same true value get another prediction by group?

Sums over rows per (group, bin) are kept, so that batches and folds add up; everything else is derived. Definitions: our
reading, since no source gives any (methods note, section 2.8).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairness_core.measures import defined_mean, ratio, spread

Sums = NDArray[np.float64]  # (..., G, Q, 6): rows, error, |error|, error squared, prediction, truth
N, ERROR, ABSOLUTE, SQUARE, PREDICTION, TRUTH = range(6)

MEASURES = {
    "mean_absolute_error": "Mean of |prediction - truth|, in units of the target.",
    "root_mean_square_error": "Root of the mean squared error, in units of the target.",
    "r2": "Share of the target's variance that the predictions explain.",
    "eerr": "Mean over (bin, group) cells of the mean absolute error (EErr; the analogue of EAcc, lower is better).",
    "odds_regression": "Mean over bins of the range over groups of the mean signed error, in units of the target.",
    "odds_absolute_regression": "Mean over bins of the range over groups of the mean absolute error.",
    "statistical_parity_regression": "Mean prediction of group 0 minus that of the last group, in units of the target.",
    "base_rate_regression": "Mean true value of group 0 minus that of the last group: a property of the data.",
}


def sums(predicted: Any, y: Any, bins: Any, s: Any, n_groups: int, n_bins: int) -> Sums:
    """Sums (n_groups, n_bins, 6) over n rows. predicted, y: float (n,) in units of the target; bins, s: int (n,)."""
    error = predicted - y
    cell = s * n_bins + bins
    columns = (np.ones_like(error), error, np.abs(error), error**2, predicted, y)
    added = [np.bincount(cell, weights=column, minlength=n_groups * n_bins) for column in columns]
    return np.stack(added, -1).astype(np.float64).reshape(n_groups, n_bins, 6)


def evaluate(M: Sums, variance: float) -> dict[str, float]:
    """Every measure of one tensor (G, Q, 6); variance: of the true values, in squared units."""
    total, cells, groups = M.sum((0, 1)), M, M.sum(1)
    n = total[N]
    mean_error = ratio(cells[..., ERROR], cells[..., N])
    mean_absolute = ratio(cells[..., ABSOLUTE], cells[..., N])
    shift = [float(v[0] - v[-1]) for v in (ratio(groups[:, k], groups[:, N]) for k in (PREDICTION, TRUTH))]
    return {
        "mean_absolute_error": float(total[ABSOLUTE] / n),
        "root_mean_square_error": float(np.sqrt(total[SQUARE] / n)),
        "r2": float(1 - total[SQUARE] / n / variance) if variance > 0 else float("nan"),
        "eerr": float(defined_mean(mean_absolute, (0, 1))),
        "odds_regression": float(defined_mean(spread(mean_error))),
        "odds_absolute_regression": float(defined_mean(spread(mean_absolute))),
        "statistical_parity_regression": shift[0],
        "base_rate_regression": shift[1],
    }
