"""The per-group confusion tensor and the fairness measures as plain arithmetic on it.

C[s, y, y_hat] counts rows by sensitive group, true class and predicted class (shape (..., G, T, T)). `Rates` derives
the rates once and every measure below reads them; the words that go with each measure are in metrics.METRICS.

Rules that hold throughout (a rate without rows is NaN, never 0):
* means over cells leave undefined cells out;
* a gap over groups is taken over the groups that have the rate, and is NaN when fewer than two have it;
* with two classes, whatever is made of the true and the false positive rate is NaN as soon as one of the two gaps is.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .config import UserError

Counts = NDArray[Any]  # (..., G, T, T), integers (or averages of them over seeds)
Values = NDArray[np.float64]


def confusion_tensor(y: ArrayLike, y_pred: ArrayLike, s: ArrayLike, n_groups: int, n_classes: int) -> NDArray[np.int64]:
    """Counts (n_groups, n_classes, n_classes) indexed [s, y, y_hat], of n rows; tensors of batches may be added up.

    y, y_pred: (n,) integers in 0..n_classes-1; s: (n,) integers in 0..n_groups-1. Raises UserError otherwise.
    """
    truth, predicted, group = np.asarray(y), np.asarray(y_pred), np.asarray(s)
    sizes = {"y": n_classes, "y_pred": n_classes, "s": n_groups}
    for (name, size), values in zip(sizes.items(), (truth, predicted, group), strict=True):
        if values.ndim != 1 or len(values) != len(truth):
            raise UserError(f"{name} has shape {values.shape}; give one number per row, as many as y has.")
        if values.size and values.dtype.kind not in "iub":
            raise UserError(f"{name} holds {values.dtype} values; give whole numbers from 0 to {size - 1}.")
        if values.size and (values.min() < 0 or values.max() >= size):
            wrong = int(values.min()) if values.min() < 0 else int(values.max())
            raise UserError(f"{name} contains {wrong}; give whole numbers from 0 to {size - 1}.")
    cell = (group.astype(np.int64) * n_classes + truth.astype(np.int64)) * n_classes + predicted.astype(np.int64)
    counts = np.bincount(cell, minlength=n_groups * n_classes**2)
    return counts.reshape(n_groups, n_classes, n_classes).astype(np.int64)


def ratio(part: Values, whole: Values) -> Values:
    """part / whole, NaN where there is no whole."""
    return np.asarray(part / np.where(whole > 0, whole, np.nan), dtype=np.float64)


class Rates:
    """Every rate of a confusion tensor, computed on demand and once.

    Inside, group and class axes come first and the batch axes (runs, resamples) last: (G, T, T, ...). The arithmetic
    then reads like the formulas, and sums over two or three groups run along long contiguous batches.
    """

    def __init__(self, C: Counts) -> None:
        C = np.asarray(C)
        if C.ndim < 3 or C.shape[-1] != C.shape[-2] or C.shape[-1] < 2 or C.shape[-3] < 1:
            raise UserError(f"A confusion tensor has shape {C.shape}; it needs (..., groups, classes, classes).")
        self.counts: Values = np.ascontiguousarray(np.moveaxis(C, (-3, -2, -1), (0, 1, 2)), dtype=np.float64)
        self.groups, self.classes = C.shape[-3], C.shape[-1]

    @cached_property
    def n(self) -> Values:
        """Rows per group: (G, ...)."""
        return np.asarray(self.rows.sum(1))

    @cached_property
    def rows(self) -> Values:
        """Rows per group and true class: (G, T, ...)."""
        return np.asarray(self.counts.sum(2))

    @cached_property
    def hits(self) -> Values:
        """Correct rows per group and true class: (G, T, ...)."""
        return np.stack([self.counts[:, t, t] for t in range(self.classes)], 1)

    @cached_property
    def predicted(self) -> Values:
        """Rows per group and predicted class: (G, T, ...)."""
        return np.asarray(self.counts.sum(1))

    @cached_property
    def recall(self) -> Values:
        """P(y_hat = t | y = t, s), the accuracy of each (s, y) cell: (G, T, ...)."""
        return ratio(self.hits, self.rows)

    @cached_property
    def selection(self) -> Values:
        """P(y_hat = t | s): (G, T, ...)."""
        return ratio(self.predicted, self.n[:, None])

    @cached_property
    def precision(self) -> Values:
        """P(y = t | y_hat = t, s): (G, T, ...)."""
        return ratio(self.hits, self.predicted)

    @cached_property
    def base(self) -> Values:
        """P(y = t | s): (G, T, ...)."""
        return ratio(self.rows, self.n[:, None])

    @cached_property
    def accuracy(self) -> Values:
        """P(y_hat = y | s): (G, ...)."""
        return ratio(self.hits.sum(1), self.n)

    @cached_property
    def false_positive(self) -> Values:
        """P(y_hat = 1 | y != 1, s): (G, ...)."""
        return ratio(self.predicted[:, 1] - self.hits[:, 1], self.n - self.rows[:, 1])

    @cached_property
    def class_gap(self) -> Values:
        """bias[t]: the range over groups of the accuracy within true class t: (T, ...). AEDA; methods 2.3, 2.7."""
        return spread(self.recall)

    @cached_property
    def separation(self) -> Values:
        """Largest total-variation distance between two groups' P(y_hat | y = t): (T, ...); |difference| when T = 2."""
        if self.classes == 2:
            return spread(ratio(self.counts[:, :, 1], self.rows))
        shares = ratio(self.counts, self.rows[:, :, None])
        widest = np.full(shares.shape[2:], np.nan)
        for g in range(self.groups):
            for h in range(g):
                widest = np.fmax(widest, np.abs(shares[g] - shares[h]).sum(1) / 2)
        return widest


def spread(rate: Values) -> Values:
    """max - min over the groups (axis 0) that have the rate; NaN when fewer than two do."""
    width = np.fmax.reduce(rate, 0) - np.fmin.reduce(rate, 0)
    return np.asarray(np.where((~np.isnan(rate)).sum(0) >= 2, width, np.nan), dtype=np.float64)


def defined_mean(values: Values, axis: int | tuple[int, ...] = 0) -> Values:
    """Mean of the values that are not NaN; NaN when none is left."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis), defined.sum(axis).astype(np.float64))


def against_reference(rate: Values) -> Values:
    """(G, T, ...) -> (...): signed difference of the groups to the reference, which is the LAST group; with two groups
    that is group 0 minus group 1. With more groups or several classes, the difference of largest magnitude."""
    difference = (rate[:-1] - rate[-1:]).reshape(-1, *rate.shape[2:])
    if len(difference) == 0:
        return np.full(rate.shape[2:], np.nan)
    largest = np.where(np.isnan(difference), -1.0, np.abs(difference)).argmax(0)
    return np.asarray(np.take_along_axis(difference, largest[None], 0)[0], dtype=np.float64)


def judged(rate: Values) -> Values:
    """(G, T, ...) -> what gaps are taken over: class 1 alone when there are two classes, every class otherwise."""
    return rate[:, 1:] if rate.shape[1] == 2 else rate


def class_mean(values: Values) -> Values:
    """Mean over classes (axis 0): both are needed when there are two, else the classes that are defined."""
    return np.asarray(values.mean(0)) if len(values) == 2 else defined_mean(values)


def class_max(values: Values) -> Values:
    """Maximum over classes (axis 0): both are needed when there are two, else the classes that are defined."""
    return np.asarray(values.max(0) if len(values) == 2 else np.fmax.reduce(values, 0))


# Measures: Rates -> (...). Definitions and sources stand beside their names in metrics.METRICS.


def accuracy(r: Rates) -> Values:
    return ratio(r.hits.sum((0, 1)), r.n.sum(0))


def balanced_accuracy(r: Rates) -> Values:
    return class_mean(ratio(r.hits.sum(0), r.rows.sum(0)))


def cell_accuracy(r: Rates) -> Values:
    return defined_mean(r.recall, (0, 1))


def worst_group_accuracy(r: Rates) -> Values:
    return np.asarray(np.fmin.reduce(np.fmin.reduce(r.recall, 0), 0))


def accuracy_parity_difference(r: Rates) -> Values:
    return spread(r.accuracy)


def bias_sum(r: Rates) -> Values:
    return np.asarray(r.class_gap.sum(0))


def bias_mean(r: Rates) -> Values:
    return defined_mean(r.class_gap)


def demographic_parity_difference(r: Rates) -> Values:
    return np.asarray(np.fmax.reduce(spread(judged(r.selection)), 0))


def demographic_parity_mean(r: Rates) -> Values:
    return defined_mean(spread(judged(r.selection)))


def demographic_parity_ratio(r: Rates) -> Values:
    rate = judged(r.selection)
    shares = ratio(np.fmin.reduce(rate, 0), np.fmax.reduce(rate, 0))
    return np.asarray(np.where((~np.isnan(rate[:, 0])).sum(0) >= 2, np.fmin.reduce(shares, 0), np.nan))


def statistical_parity_difference(r: Rates) -> Values:
    return against_reference(judged(r.selection))


def equal_opportunity_difference(r: Rates) -> Values:
    return against_reference(judged(r.recall))


def equal_opportunity_gap(r: Rates) -> Values:
    return np.asarray(np.fmax.reduce(spread(judged(r.recall)), 0))


def equal_opportunity_joint(r: Rates) -> Values:
    return np.asarray(np.fmax.reduce(spread(judged(ratio(r.hits, r.n[:, None]))), 0))


def average_odds_difference(r: Rates) -> Values:
    if r.classes > 2:
        return class_mean(r.class_gap)
    return against_reference((r.false_positive + r.recall[:, 1])[:, None] / 2)


def average_absolute_odds_difference(r: Rates) -> Values:
    return class_mean(r.class_gap)


def equalized_odds_difference(r: Rates) -> Values:
    return class_max(r.separation)


def equalized_odds_sum(r: Rates) -> Values:
    return np.asarray(r.separation.sum(0))


def predictive_parity_difference(r: Rates) -> Values:
    return np.asarray(np.fmax.reduce(spread(judged(r.precision)), 0))


def base_rate_difference(r: Rates) -> Values:
    return against_reference(judged(r.base))
