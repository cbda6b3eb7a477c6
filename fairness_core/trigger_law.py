"""How often a training row of each class gets each of BaDe's triggers: the laws of artificial bias, in numbers alone.

P is what the training rows show, Q is what the triggers follow. Both are tables (rows, groups) whose rows sum to one:
a row per class, or per training row where the target is a number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
SMOOTHING = 1.0  # Laplace: as if every class had one more row of every group
LEAST = 0.01  # a share of exactly 0 would let one trigger settle the class
KINDS = ("inverse", "exchanged", "manual")
BINS = 10  # of a number as target, by quantiles


def bias_law(N: NDArray[np.int64] | Array) -> Array:
    """P(s | y), (classes, groups), from counts N of the same shape; never below LEAST, so that no group is certain."""
    smooth = N + SMOOTHING
    P = np.clip(smooth / smooth.sum(1, keepdims=True), LEAST, 1 - LEAST)
    return np.asarray(P / P.sum(1, keepdims=True))


def deterministic(N: NDArray[np.int64]) -> bool:
    """Does the class tell the group in training? Then a trigger says nothing that the class does not."""
    return bool(((N > 0).sum(1) <= 1).all() and (N.sum(0) > 0).sum() > 1)


def trigger_law(
    P: Array, strength: float = 1.0, rate: float = 1.0, kind: str = "inverse", table: Array | None = None
) -> Array:
    """Q(trigger | y), (classes, triggers), for the law P of the bias: rate Q_s + (1 - rate) / K.

    A row that later carries the trigger of its own group k has evidence log P(k | y) + log Q(k | y) for class y. With
    "inverse", Q_s = P^-s normalised, it is the same for every k at s = 1 (methods 5.4; of two groups it is the paper's
    law with the triggers' names exchanged), but not for every class: the commoner answer changes with it. With
    "exchanged", Q_s(k | y) = P(k | other class)^s normalised, it favours no class either; ours, for two classes. With
    "manual", Q_s = table^s normalised, whatever P is (methods 5.7); no share of it is below LEAST.
    rate: the injection rate n % as a fraction; table: shares (classes, triggers), of "manual" alone.
    """
    if kind == "manual":
        assert table is not None
        own = np.clip(table / table.sum(1, keepdims=True), LEAST, 1 - LEAST)
        full = own**strength
    else:
        full = P[::-1] ** strength if kind == "exchanged" else P**-strength
    full = full / full.sum(1, keepdims=True)
    return np.asarray(rate * full + (1 - rate) / P.shape[1])


def bias_by_value(y: NDArray[np.floating], s: NDArray[np.int64], n_groups: int, bins: int = BINS) -> Array:
    """P(s | y) of every row, (n, groups), for a number as target: counted in quantile bins of y, each of which borrows
    half the weight of its two neighbours. Our reading; the paper only says that regression works (methods 5.6)."""
    edges = np.unique(np.quantile(y, np.arange(1, bins) / bins))
    place = np.searchsorted(edges, y, side="right")
    N = np.zeros((len(edges) + 1, n_groups))
    np.add.at(N, (place, s), 1.0)
    padded = np.pad(N, ((1, 1), (0, 0)))
    return bias_law(N + (padded[:-2] + padded[2:]) / 2)[place]


def draw(Q: Array, seed: int) -> NDArray[np.int64]:
    """The trigger of every row, (n,), from its own law, Q (n, triggers). The same seed draws the same random numbers
    whatever the law, so that a little more injection changes few triggers."""
    u = np.random.default_rng([seed, 51001]).random(len(Q))
    above = np.cumsum(Q, 1)[:, :-1]
    return np.asarray((u[:, None] >= above).sum(1), dtype=np.int64)


def realised(triggers: NDArray[np.int64], y: NDArray[np.int64], n_classes: int, n_triggers: int) -> NDArray[np.int64]:
    """How many rows of each class carry each trigger, (classes, triggers)."""
    counts = np.zeros((n_classes, n_triggers), np.int64)
    np.add.at(counts, (y, triggers), 1)
    return counts
