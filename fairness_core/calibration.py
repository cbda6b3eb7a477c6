"""How strong an artificial bias has to be to cancel the real one: BaDe's injection rate n %, and beyond 100 % its
strength s, chosen on validation.

Too little leaves the bias, too much turns it round, and where the floor of that valley lies depends on how well a
network sees the group: it cannot be read off the counts (methods note, 5.5 calibration). So a sweep is trained and the
strength is chosen afterwards, along one `Path`.

A rate may cost a little performance, not much: beyond the floor, and sometimes before it, a network closes the gap by
being wrong about everybody. So what raises an error on validation by more than LOSS is barred, of classes and numbers
alike. Two other rules were tried where the target is a class: the gap alone takes rates that validation itself shows to
cost one to two points of EAcc (UTKFace), and to bar all that is more than one standard error over seeds below the
untreated model leaves Adult's gap nearly whole, since some tenths of a point are lost on the way to the floor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from fairness_core import regression_sweep
from fairness_core.config import Option, Options, UserError

RATE, EXPONENT = "rate", "exponent"  # BaDe's controls: n % and s
FULL, STRONGEST = 100.0, 3.0  # the full rate, and the largest s there is
STEPS = (125.0, 150.0, 175.0, 200.0, 250.0, 300.0)  # strengths beyond the full rate that are tried
REACH = 10.0  # points of n % between values that smooth each other
LOSS = 0.05  # how much larger an error may be on validation than without an artificial bias
ERRORS = ("eerr", "mean_absolute_error")  # of a number: with every group weighted alike, and every row


@dataclass(frozen=True)
class Path:
    """The artificial biases that are chosen among, each told by one number, its strength: up to FULL the injection rate
    n % with the law's exponent s at `base`, beyond it the full rate and s in percent of `base`."""

    base: float = 1.0

    @classmethod
    def through(cls, options: Options) -> Path:
        """The path on which a run of BaDe with these options lies: the usual one, whose base matches the counts, where
        that goes through it."""
        rate, s = _settings(options)
        return cls() if s == 1 or (rate == FULL and s > 1) else cls(s)

    def settings(self, strength: float) -> dict[str, Option]:
        """RATE and EXPONENT of a strength."""
        return {RATE: min(strength, FULL), EXPONENT: _tidy(self.base * max(strength, FULL) / FULL)}

    def strength(self, options: Options) -> float:
        """The strength of a run with these options; NaN off the path."""
        rate, s = _settings(options)
        if s == self.base:
            return rate
        return _tidy(FULL * s / self.base) if rate == FULL and s > self.base > 0 else math.nan

    @property
    def steps(self) -> tuple[float, ...]:
        """Those of STEPS that there are."""
        return tuple(step for step in STEPS if 0 < self.base * step / FULL <= STRONGEST)

    def told(self, *strengths: float) -> str:
        """ "n = 90, 100 %; s = 1.5"."""
        rates = ", ".join(f"{x:g}" for x in strengths if x <= FULL)
        beyond = ", ".join(f"{self.settings(x)[EXPONENT]:g}" for x in strengths if x > FULL)
        return "; ".join(([f"n = {rates} %"] if rates else []) + ([f"s = {beyond}"] if beyond else []))


def _settings(options: Options) -> tuple[float, float]:
    return float(options[RATE]), float(options[EXPONENT])


def _tidy(value: float) -> float:
    """To 12 digits, so that 1.1 and 110 / 100 are the same run."""
    return float(f"{value:.12g}")


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


def is_path(spec: Mapping[str, Any]) -> bool:
    """Does a sweep go along BaDe's strengths: over RATE, or over EXPONENT at the full rate?"""
    base = spec["base"]
    full = spec["over"] == EXPONENT and base["method_options"].get(RATE) == FULL
    return bool(base["method"] == "bade" and (spec["over"] == RATE or full))


def of_sweep(points: pd.DataFrame, over: str, rule: Callable[[pd.DataFrame], Choice]) -> Choice | None:
    """What `rule` (of_classes, of_errors) chooses from a sweep that `is_path`, in values of the control it goes `over`;
    None where no gap is defined."""
    scale = FULL if over == EXPONENT else 1.0
    try:
        found = rule(points.assign(lam=(scale * points["lam"]).map(_tidy)))
    except UserError:
        return None
    alike, barred = (tuple(value / scale for value in values) for values in (found.alike, found.barred))
    return replace(found, value=found.value / scale, alike=alike, barred=barred)


def of_classes(points: pd.DataFrame, floor: float = 0.0, untreated: Mapping[str, float] | None = None) -> Choice:
    """`choose` where the target is a class, among the values whose 1 - EAcc is not _dear. points: rows of
    `sweep.points` of Odds and EAcc, as fractions; untreated: {"eacc": that of the untreated model on validation}."""
    missed = 1 - points.groupby("lam")["validation_performance"].mean().dropna()
    known = None if untreated is None else 1 - untreated["eacc"]
    return choose(points, floor, barred=list(missed.index[_dear(missed, known)]))


def of_errors(points: pd.DataFrame, floor: float = 0.0, untreated: Mapping[str, float] | None = None) -> Choice:
    """`choose` where the target is a number, by Odds_reg and EErr, among the values of which none of ERRORS is _dear: a
    network can close gaps by predicting little at all. points: rows of `error_points`; untreated: {error: that of the
    untreated model on validation}; performances in the answer are minus EErr."""
    turned = {f"{split}_performance": -points[f"{split}_error"] for split in ("validation", "test")}
    means = points.groupby("lam")[[f"validation_{name}" for name in ERRORS]].mean().dropna()
    dear = pd.Series(False, index=means.index)
    for name in ERRORS:
        dear |= _dear(means[f"validation_{name}"], None if untreated is None else untreated[name])
    return choose(points.assign(**turned), floor, barred=list(dear.index[dear]))


def _dear(errors: pd.Series, untreated: float | None) -> pd.Series:
    """Which values of the trade-off have an error of more than LOSS above the smallest without an artificial bias: that
    of the `untreated` model and of the value 0, and where neither is known, of the smallest value. errors: by value,
    means over seeds."""
    own = errors.sort_index()
    known = own[own.index == 0].tolist() + ([] if untreated is None else [untreated])
    return errors > (1 + LOSS) * min(known or own.head(1), default=np.inf)


def error_points(
    runs: pd.DataFrame, validation: regression_sweep.Values, test: regression_sweep.Values
) -> pd.DataFrame:
    """What `of_errors` chooses by: `regression_sweep.points` of EErr and Odds_reg, and each of ERRORS on validation."""
    points = regression_sweep.points(runs, validation, test, "eerr", "odds_regression")
    return points.assign(**{f"validation_{name}": [validation[i][name] for i in points["id"]] for name in ERRORS})


def choose(points: pd.DataFrame, floor: float = 0.0, barred: Collection[float] = ()) -> Choice:
    """The value with the smallest validation gap, where every value's gap is averaged with those of its neighbours
    within REACH (1 : 2 : 1, or 3 : 1 with one): over so short a way what is jagged about a valley is chance. Over a
    longer one a valley bends, and beside a steep flank its floor would be averaged away.

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
    near = np.diff(rates) <= REACH
    before, after = np.concatenate([[False], near]), np.concatenate([near, [False]])
    smoothed = (np.where(before, np.roll(gap, 1), gap) + 2 * gap + np.where(after, np.roll(gap, -1), gap)) / 4
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
