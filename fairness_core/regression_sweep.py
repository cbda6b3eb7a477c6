"""A sweep whose target is a number: error against the gap in errors, in the shape of sweep.py.

Both are better when smaller. Everything selected is selected on validation and reported on test.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from fairness_core import sweep
from fairness_core.config import UserError
from fairness_core.regression import MEASURES, is_trivial

ERRORS = ("mean_absolute_error", "eerr", "root_mean_square_error")  # what may stand on the axis of the error
GAPS = (
    *("odds_regression", "odds_absolute_regression", "statistical_parity_regression", "ks_distance"),
    *("residual_correlation", "odds_within"),
)
COLUMNS = ("validation_error", "validation_gap", "test_error", "test_gap")
ENDS = ("", "_sd", "_low", "_high")

Values = Mapping[str, Mapping[str, float]]  # {run: {measure: value}} of one split, as Store.values gives them


def points(
    runs: pd.DataFrame, validation: Values, test: Values, error: str = ERRORS[0], gap: str = GAPS[0]
) -> pd.DataFrame:
    """One row per run that has both: id, method, lam, seed, validation_error, validation_gap, test_error, test_gap,
    trivial.

    runs: as Store.runs gives them. error and gap: names of regression.MEASURES, in units of the target where those
    are; a gap is a magnitude, taken per run so that signs do not cancel over seeds. `trivial` (hardly better than
    always naming the mean) is decided on validation.
    """
    known_error(error), known_gap(gap)
    known = [run for run in runs["id"] if error in validation.get(run, {}) and gap in test.get(run, {})]
    table = runs.set_index("id").loc[known, ["method", "lam", "seed"]].reset_index()
    for split, values in (("validation", validation), ("test", test)):
        table[f"{split}_error"] = [values[run][error] for run in known]
        table[f"{split}_gap"] = [abs(values[run].get(gap, np.nan)) for run in known]
    table["trivial"] = [is_trivial(validation[run]["r2"]) for run in known]
    return table


def frontier(points: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """One row per (method, lam) of `points`: seeds, trivial, on_front, and for each of validation_error,
    validation_gap, test_error and test_gap the mean over seeds X, and X_sd, X_low, X_high (t interval); see
    sweep.frontier. on_front: no other lam of the method has a lower gap and error, on VALIDATION means."""
    turned = points.rename(columns={f"{split}_error": f"{split}_performance" for split in ("validation", "test")})
    for split in ("validation", "test"):
        turned[f"{split}_performance"] *= -1.0
    table = sweep.frontier(turned, level)
    for split in ("validation", "test"):
        old, new = f"{split}_performance", f"{split}_error"
        table[new], table[f"{new}_sd"] = -table[old], table[f"{old}_sd"]
        table[f"{new}_low"], table[f"{new}_high"] = -table[f"{old}_high"], -table[f"{old}_low"]
    columns = ["method", "lam", "seeds", "trivial", "on_front", *(f"{c}{end}" for c in COLUMNS for end in ENDS)]
    return table[columns]


def operating_point(table: pd.DataFrame, epsilon: float) -> sweep.OperatingPoint | None:
    """sweep.operating_point among the rows of `frontier`; its performances are minus the errors."""
    turned = {f"{split}_performance": -table[f"{split}_error"] for split in ("validation", "test")}
    return sweep.operating_point(table.assign(**turned), epsilon)


def hypervolume(table: pd.DataFrame, split: str, gap: str, sd: float) -> float:
    """Area that the rows of a frontier dominate, from 0 to 1: 1 would be no error and no gap. What is in units of the
    target is divided by its standard deviation `sd`, and counts up to one of it."""
    if not sd > 0:
        return float("nan")
    scale = sd if MEASURES[gap].scale == "target" else 1.0
    return sweep.hypervolume(table[f"{split}_gap"] / scale, 1 - table[f"{split}_error"] / sd)


def known_error(name: str) -> str:
    """`name` if it can stand on the axis of the error; UserError otherwise."""
    return _one_of(name, ERRORS, "error")


def known_gap(name: str) -> str:
    """`name` if it is a gap between groups of a regression; UserError otherwise."""
    return _one_of(name, GAPS, "gap")


def _one_of(name: str, names: tuple[str, ...], what: str) -> str:
    assert set(names) <= MEASURES.keys()
    if name not in names:
        raise UserError(f"A regression has no {what} {name!r}; choose one of {', '.join(names)}.")
    return name
