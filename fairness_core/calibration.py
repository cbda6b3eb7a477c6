"""How strong an artificial bias has to be to cancel the real one: BaDe's injection rate, chosen on validation.

Too little leaves the bias, too much turns it round, and where the floor of that valley lies depends on how well a
network sees the group: it cannot be read off the counts (methods note, 5.5 calibration). So a sweep is trained and the
rate is chosen afterwards.

Where the target is a class the gap alone decides. To bar, too, what costs EAcc on validation (more than one standard
error over seeds) was tried: on Adult by sex, with the inverse law, it leaves nearly all of the gap, since on the way to
the valley's floor some tenths of a point of EAcc are lost and the seeds agree on it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fairness_core import regression_sweep, sweep
from fairness_core.config import UserError
from fairness_core.measures import Counts


@dataclass(frozen=True)
class Choice:
    """What `choose` found.

    value: the trade-off value at the floor of the valley; smoothed: the validation gap there as the rule sees it;
    alike: all whose gap is no larger than that of `value` by more than one standard error, so that no seed more or
    less would be surprised by them; edge: is `value` the largest of the grid? Then the valley may go on beyond it;
    barred: those that cost too much performance to be chosen. Gaps and performances as in the points, means over
    `seeds`.
    """

    value: float
    smoothed: float
    alike: tuple[float, ...]
    edge: bool
    barred: tuple[float, ...]
    seeds: int
    validation_gap: float
    validation_performance: float
    test_gap: float
    test_performance: float


def of_sweep(runs: pd.DataFrame, validation: Mapping[str, Counts], test: Mapping[str, Counts]) -> Choice:
    """`choose` by Odds and EAcc, the measures of BaDe's tables; runs and counts as of `sweep.points`."""
    return choose(sweep.points(runs, validation, test, performance="eacc", fairness="odds"))


LOSS = 0.05  # how much larger each of ERRORS may be on validation than without an artificial bias
ERRORS = ("eerr", "mean_absolute_error")  # with every group weighted alike, and every row


def of_errors(points: pd.DataFrame, floor: float = 0.0, untreated: Mapping[str, float] | None = None) -> Choice:
    """`choose` where the target is a number, by Odds_reg and EErr, among the values that cost little: each of ERRORS is
    on validation at most LOSS above its smallest value without an artificial bias, which is that of the `untreated`
    model ({error: value}) and of the value 0; where neither is known, that of the smallest value. A network can close
    gaps by predicting little at all. points: rows of `error_points`; performances in the answer are minus EErr."""
    turned = {f"{split}_performance": -points[f"{split}_error"] for split in ("validation", "test")}
    means = points.groupby("lam")[[f"validation_{name}" for name in ERRORS]].mean().dropna().sort_index()
    dear = pd.Series(False, index=means.index)
    for name in ERRORS:
        own = means[f"validation_{name}"]
        known = own[own.index == 0].tolist() + ([] if untreated is None else [untreated[name]])
        dear |= own > (1 + LOSS) * min(known or own.head(1), default=np.inf)
    return choose(points.assign(**turned), floor, barred=list(dear.index[dear]))


def error_points(
    runs: pd.DataFrame, validation: regression_sweep.Values, test: regression_sweep.Values
) -> pd.DataFrame:
    """What `of_errors` chooses by: `regression_sweep.points` of EErr and Odds_reg, and each of ERRORS on validation."""
    points = regression_sweep.points(runs, validation, test, "eerr", "odds_regression")
    return points.assign(**{f"validation_{name}": [validation[i][name] for i in points["id"]] for name in ERRORS})


def choose(points: pd.DataFrame, floor: float = 0.0, barred: Collection[float] = ()) -> Choice:
    """The value with the smallest validation gap, where every value's gap is averaged with its neighbours' (1 : 2 : 1,
    at the ends 3 : 1): a valley is smooth, and what is jagged about it is chance.

    points: rows of `sweep.points`, of one method: lam, seed, validation_gap, validation_performance, test_gap,
    test_performance. The standard error is that of the difference to `value`, seed by seed; of one seed `floor`, the
    gap that chance alone would show. What is `barred` is not chosen; where that is all, the best performance is not
    barred. UserError when no gap is defined.
    """
    known = points.dropna(subset=["validation_gap", "validation_performance"])
    if known.empty:
        raise UserError("No rate can be chosen: none of these runs has a gap on validation; train a sweep first.")
    columns = ["validation_gap", "validation_performance", "test_gap", "test_performance"]
    groups = known.groupby("lam")
    table = groups[columns].mean().sort_index()
    rates = table.index.to_numpy(dtype=np.float64)
    means = {name: table[name].to_numpy(dtype=np.float64) for name in columns}
    gap = means["validation_gap"]
    padded = np.pad(gap, 1, mode="edge")
    smoothed = (padded[:-2] + 2 * gap + padded[2:]) / 4
    performance = means["validation_performance"]
    allowed = ~np.isin(rates, list(barred))
    if not allowed.any():
        allowed = performance == performance.max()
    best = int(np.where(allowed, smoothed, np.inf).argmin())
    alike = allowed & (gap <= gap[best] + _noise(known, rates, rates[best], floor))
    return Choice(
        value=float(rates[best]),
        smoothed=float(smoothed[best]),
        alike=tuple(map(float, rates[alike])),
        edge=len(rates) > 1 and best == len(rates) - 1,
        barred=tuple(map(float, rates[~allowed])),
        seeds=int(groups["seed"].nunique().min()),
        **{name: float(values[best]) for name, values in means.items()},
    )


def _noise(known: pd.DataFrame, rates: np.ndarray, chosen: float, floor: float) -> np.ndarray:
    """The standard error of every rate's difference to the chosen one, over the seeds that both have; (rates,). Seeds
    share much of their training, so their differences vary less than they do."""
    table = known.pivot_table(index="seed", columns="lam", values="validation_gap")
    difference = table[rates].sub(table[chosen], axis=0)
    errors: np.ndarray = (difference.std(ddof=1) / np.sqrt(difference.count())).to_numpy(dtype=np.float64)
    return np.asarray(np.nan_to_num(errors, nan=floor))
