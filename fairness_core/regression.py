"""Measures of a regression, by bins of the true value: does the same true value get another prediction by group?

No source defines them; the definitions are our reading (methods note, section 2.8). Every measure is a function of
weights on the rows: all ones give its value, the counts of a resample give one draw of its bootstrap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairness_core.datasets import Dataset, Split
from fairness_core.datasets.tabular import bin_names
from fairness_core.measures import Values, against_reference, defined_mean, ratio, spread
from fairness_core.scores import Predictions

SMALL = 30  # rows of a (bin, group) cell below which its numbers are marked, and bins are merged
FEWEST_BINS = 2
LOOKS = 500  # at the distributions of the predictions, of every resample

N, ERROR, ABSOLUTE, SQUARE, PREDICTION, TRUTH, TRUTH_SQUARE, HIT = range(8)  # what is added up per cell


@dataclass(frozen=True)
class Measure:
    """One measure. scale: "target" (in units of the target; also told divided by its standard deviation) or "share"
    (from 0 to 1); better: "lower", "higher" or "zero"; kind: "performance", "fairness" or "diagnostic"; by: which rows
    a resample may exchange, those of a "cell" of bin and group, or all "rows"."""

    name: str
    title: str
    formula: str
    definition: str
    scale: str
    better: str
    kind: str
    by: str = "cell"


_MAE, _ME = r"\mathrm{MAE}_{q,s}", r"\mathrm{ME}_{q,s}"
_RANGE = r"\tfrac1Q\sum_q\big(\max_s-\min_s\big)"
_HIT = r"P(|\hat y-y|\le\delta\mid q,s)"

MEASURES: dict[str, Measure] = {m.name: m for m in (
    Measure("mean_absolute_error", "Mean absolute error MAE", r"\mathbb E|\hat y-y|",
            "How far a prediction is off on average.", "target", "lower", "performance", "rows"),
    Measure("root_mean_square_error", "Root mean square error", r"\sqrt{\mathbb E(\hat y-y)^2}",
            "As the mean absolute error, but large errors count more.", "target", "lower", "performance", "rows"),
    Measure("r2", "Explained variance R²", r"1-\mathbb E(\hat y-y)^2/\mathrm{Var}(y)",
            "Share of the target's variance that the predictions explain; 0 for always naming the mean, below 0 for "
            "worse than that.", "share", "higher", "performance", "rows"),
    Measure("eerr", "Equal error EErr", r"\operatorname{mean}_{q,s}" + _MAE,
            "Mean absolute error of every (bin, group) cell, each cell counting the same; the analogue of EAcc.",
            "target", "lower", "performance"),
    Measure("odds_regression", "Odds of the signed error", _RANGE + _ME,
            "Gap between groups in the mean signed error (prediction minus truth) of people with a similar true value, "
            "averaged over bins of the true value; the analogue of Odds.", "target", "lower", "fairness"),
    Measure("odds_absolute_regression", "Odds of the absolute error", _RANGE + _MAE,
            "Gap between groups in the mean absolute error of people with a similar true value, averaged over bins.",
            "target", "lower", "fairness"),
    Measure("statistical_parity_regression", "Difference of mean predictions (signed)",
            r"\mathbb E[\hat y\mid s=0]-\mathbb E[\hat y\mid s=1]",
            "Mean prediction of group 0 minus that of the last group (more groups: the difference to the last group "
            "that is largest in magnitude).", "target", "zero", "fairness", "rows"),
    Measure("base_rate_regression", "Difference of mean true values (signed)",
            r"\mathbb E[y\mid s=0]-\mathbb E[y\mid s=1]",
            "The same difference of the true values: how much of the difference of predictions is in the data.",
            "target", "zero", "diagnostic", "rows"),
    Measure("ks_distance", "Distance of the predictions' distributions KS",
            r"\max_{s,s'}\sup_v|P(\hat y\le v\mid s)-P(\hat y\le v\mid s')|",
            "Kolmogorov-Smirnov distance: the widest gap between two groups in the share of predictions up to any "
            "value.", "share", "lower", "fairness", "rows"),
    Measure("residual_correlation", "Correlation of error and group",
            r"\eta=\sqrt{\mathrm{Var}(\mathbb E[\hat y-y\mid s])\,/\,\mathrm{Var}(\hat y-y)}",
            "Correlation ratio of the error given the group: the square root of the share of the error's variance that "
            "lies between groups; with two groups the magnitude of their correlation.",
            "share", "lower", "fairness", "rows"),
    Measure("accuracy_within", "Hits within δ", r"P(|\hat y-y|\le\delta)",
            "Share of predictions that are off by δ at most.", "share", "higher", "performance", "rows"),
    Measure("eacc_within", "Equal accuracy within δ", r"\operatorname{mean}_{q,s}" + _HIT,
            "EAcc of the hits: their share in every (bin, group) cell, each cell counting the same.",
            "share", "higher", "performance"),
    Measure("odds_within", "Odds within δ", _RANGE + _HIT,
            "Odds of the hits: gap between groups in their share, averaged over bins.", "share", "lower", "fairness"),
    Measure("target_sd", "Standard deviation of the target", r"\sqrt{\mathrm{Var}(y)}",
            "How far the true values of these rows spread; what is told in standard deviations is divided by it.",
            "target", "lower", "diagnostic", "rows"),
)}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What a model predicted for the rows of one split, in the order of their cells: predicted, y float64 (n,) in units
    of the target; s, bins int64 (n,). edges: inner boundaries of the bins, some of the data set's own merged;
    tolerance: δ, the error up to which a prediction is a hit."""

    predicted: Values
    y: Values
    s: NDArray[np.int64]
    bins: NDArray[np.int64]
    n_groups: int
    edges: tuple[float, ...]
    tolerance: float
    merged: int = 0  # how many bins fewer than the data set has

    @classmethod
    def of(
        cls,
        predicted: ArrayLike,
        y: ArrayLike,
        s: ArrayLike,
        *,
        n_groups: int,
        edges: Sequence[float],
        tolerance: float,
    ) -> Outcome:
        """Bins with fewer than SMALL rows of a group are merged with a neighbour first; see `merged_edges`."""
        truth, group = np.asarray(y, dtype=np.float64), np.asarray(s, dtype=np.int64)
        kept = merged_edges(np.digitize(truth, edges), group, n_groups, edges)
        bins = np.asarray(np.digitize(truth, kept), dtype=np.int64)
        given = np.asarray(predicted, dtype=np.float64)
        order = np.lexsort((bins, group))
        rows = (given[order], truth[order], group[order], bins[order])
        return cls(*rows, n_groups, kept, tolerance, len(edges) - len(kept))

    def __len__(self) -> int:
        return len(self.y)

    @property
    def n_bins(self) -> int:
        return len(self.edges) + 1

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the bins."""
        return bin_names(self.edges) if self.edges else ("all",)

    @cached_property
    def cell(self) -> NDArray[np.int64]:
        """The (group, bin) cell of every row, s * n_bins + bin: (n,)."""
        return self.s * self.n_bins + self.bins

    @cached_property
    def columns(self) -> Values:
        """What is added up per cell, (8, n); the true value is counted from its mean, for the sake of precision."""
        error, truth = self.predicted - self.y, self.y - self.middle
        hit = (np.abs(error) <= self.tolerance).astype(np.float64)
        one = np.ones_like(error)
        given = self.predicted - self.middle
        return np.stack([one, error, np.abs(error), error**2, given, truth, truth**2, hit])

    @cached_property
    def middle(self) -> float:
        return float(self.y.mean()) if len(self) else 0.0

    @cached_property
    def sums(self) -> Values:
        """(8, groups, bins, 1): the columns added up."""
        return self.added(np.ones((1, len(self))))

    def added(self, weights: Values) -> Values:
        """The columns added up per cell under B weightings of the rows (B, n): (8, groups, bins, B)."""
        out = np.zeros((len(self.columns), self.n_groups * self.n_bins, len(weights)))
        found, starts = np.unique(self.cell, return_index=True)
        for cell, start, stop in zip(found, starts, [*starts[1:], len(self)], strict=True):
            out[:, cell] = self.columns[:, start:stop] @ weights[:, start:stop].T
        return out.reshape(len(out), self.n_groups, self.n_bins, len(weights))


def sums(predicted: Any, y: Any, bins: Any, s: Any, n_groups: int, n_bins: int) -> Values:
    """Sums of the first six columns over n rows, (n_groups, n_bins, 6), so that batches add up. predicted, y: float
    (n,) in units of the target; bins, s: int (n,)."""
    error = predicted - y
    cell = s * n_bins + bins
    columns = (np.ones_like(error), error, np.abs(error), error**2, predicted, y)
    added = [np.bincount(cell, weights=column, minlength=n_groups * n_bins) for column in columns]
    return np.stack(added, -1).astype(np.float64).reshape(n_groups, n_bins, 6)


def of_sums(summed: Values) -> dict[str, Values]:
    """mean_absolute_error, eerr and odds_regression of `sums` (..., n_groups, n_bins, 6), each (...)."""
    M = np.moveaxis(np.asarray(summed, np.float64), (-1, -3, -2), (0, 1, 2))
    error, absolute = (ratio(M[k], M[N]) for k in (ERROR, ABSOLUTE))
    return {
        "mean_absolute_error": ratio(M[ABSOLUTE].sum((0, 1)), M[N].sum((0, 1))),
        "eerr": defined_mean(absolute, (0, 1)),
        "odds_regression": defined_mean(spread(error)),
    }


def merged_edges(
    bins: NDArray[np.int64], s: NDArray[np.int64], n_groups: int, edges: Sequence[float]
) -> tuple[float, ...]:
    """The inner edges that are left when the bin with the smallest group is merged with its smaller neighbour until
    every bin holds SMALL rows of every group, or two bins are left. A group that has no row here is not counted."""
    counts = np.zeros((n_groups, len(edges) + 1), np.int64)
    np.add.at(counts, (s, bins), 1)
    counts, kept = counts[counts.sum(1) > 0], list(edges)
    while len(kept) + 1 > FEWEST_BINS and counts.size and counts.min() < SMALL:
        fewest = counts.min(0)
        q = int(fewest.argmin())
        beside = [i for i in (q - 1, q + 1) if 0 <= i < counts.shape[1]]
        low, high = sorted((q, min(beside, key=lambda i: fewest[i])))
        counts[:, low] += counts[:, high]
        counts = np.delete(counts, high, axis=1)
        del kept[low]
    return tuple(float(edge) for edge in kept)


def of_split(predicted: ArrayLike, data: Dataset, name: str) -> Outcome:
    """What was predicted for the rows of the split `name` of a regression."""
    split: Split = getattr(data, name)
    about: dict[str, Any] = {"n_groups": len(data.groups), "edges": data.edges, "tolerance": data.tolerance}
    return Outcome.of(predicted, split.y, split.s, **about)


def of_numbers(numbers: Predictions, info: Mapping[str, Any]) -> Outcome | None:
    """What a finished run (Run.info) predicted for a split; None where the run was made before its bins were kept."""
    if "edges" not in info:
        return None
    about: dict[str, Any] = {"n_groups": len(info["groups"]), "edges": info["edges"], "tolerance": info["tolerance"]}
    return Outcome.of(numbers.predicted, numbers.y, numbers.s, **about)


def evaluate(outcome: Outcome, names: Iterable[str] | None = None) -> dict[str, float]:
    """{measure: value} on these rows; NaN where it is not defined."""
    found = measure(outcome, np.ones((1, len(outcome))))
    return {name: float(found[name][0]) for name in (MEASURES if names is None else names)}


def measure(o: Outcome, weights: Values) -> dict[str, Values]:
    """Every measure under B weightings of the rows (B, n), each (B,)."""
    M = o.added(weights)
    cells, groups, total = M, M.sum(2), M.sum((1, 2))  # (8, G, Q, B), (8, G, B), (8, B)
    n = total[N]
    mean_error, mean_absolute, hits = (ratio(cells[k], cells[N]) for k in (ERROR, ABSOLUTE, HIT))
    shifts = [against_reference(ratio(groups[k], groups[N])[:, None]) for k in (PREDICTION, TRUTH)]
    variance = np.maximum(ratio(total[TRUTH_SQUARE], n) - ratio(total[TRUTH], n) ** 2, 0.0)
    return {
        "mean_absolute_error": ratio(total[ABSOLUTE], n),
        "root_mean_square_error": np.sqrt(ratio(total[SQUARE], n)),
        "r2": 1 - ratio(ratio(total[SQUARE], n), variance),
        "eerr": defined_mean(mean_absolute, (0, 1)),
        "odds_regression": defined_mean(spread(mean_error)),
        "odds_absolute_regression": defined_mean(spread(mean_absolute)),
        "statistical_parity_regression": shifts[0],
        "base_rate_regression": shifts[1],
        "ks_distance": ks_distance(o, weights, groups[N]),
        "residual_correlation": _correlation_ratio(groups),
        "accuracy_within": ratio(total[HIT], n),
        "eacc_within": defined_mean(hits, (0, 1)),
        "odds_within": defined_mean(spread(hits)),
        "target_sd": np.sqrt(variance),
    }


def ks_distance(o: Outcome, weights: Values, sizes: Values) -> Values:
    """The largest Kolmogorov-Smirnov distance of two groups' predictions, (B,); sizes (G, B): rows per group. Of many
    resamples it is looked at in at most LOOKS places, which is near enough for an interval."""
    if not len(o):
        return np.full(len(weights), np.nan)
    places = np.unique(o.predicted)
    if len(weights) > 1 and len(places) > LOOKS:
        places = places[np.linspace(0, len(places) - 1, LOOKS).astype(np.int64)]
    step = o.s * len(places) + np.searchsorted(places, o.predicted)  # the first place that a row is counted at
    order = np.argsort(step, kind="stable")
    found, starts = np.unique(step[order], return_index=True)
    counts = np.zeros((len(weights), o.n_groups * len(places)))
    counts[:, found] = np.add.reduceat(weights[:, order], starts, axis=1)
    share = ratio(counts.reshape(-1, o.n_groups, len(places)).cumsum(2), sizes.T[:, :, None])
    there = (sizes > 0).sum(0) >= 2
    return np.where(there, (np.fmax.reduce(share, 1) - np.fmin.reduce(share, 1)).max(1), np.nan)


def _correlation_ratio(groups: Values) -> Values:
    """η of the error given the group, (B,), from sums (8, G, B)."""
    n = groups[N].sum(0)
    mean = ratio(groups[ERROR].sum(0), n)
    between = np.nansum(groups[N] * (ratio(groups[ERROR], groups[N]) - mean) ** 2, 0)
    within = groups[SQUARE].sum(0) - n * mean**2
    present = (groups[N] > 0).sum(0) >= 2
    return np.where(present, np.sqrt(ratio(between, within)), np.nan)


def in_sd(values: dict[str, float]) -> dict[str, float]:
    """The measures in units of the target, divided by the standard deviation of the true values."""
    sd = values["target_sd"]
    told = (name for name, m in MEASURES.items() if m.scale == "target" and name != "target_sd")
    return {name: values[name] / sd if sd > 0 else float("nan") for name in told if name in values}


def flags(outcome: Outcome, groups: Sequence[str]) -> list[str]:
    """What a reader must know, as metrics.flags says it: "trivial", "empty_cell:GROUP,BIN", "small_group:GROUP,BIN"."""
    found = ["trivial"] if is_trivial(evaluate(outcome, ["r2"])["r2"]) else []
    rows = outcome.sums[N, ..., 0]
    for s, q in np.argwhere(rows < SMALL):
        found.append(f"{'small_group' if rows[s, q] else 'empty_cell'}:{groups[s]},{outcome.labels[q]}")
    return found


def is_trivial(r2: float) -> bool:
    """Hardly better than always naming the mean: less than 5 % of the variance explained."""
    return not r2 >= 0.05
