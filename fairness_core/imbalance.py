"""Where bias comes from: the gap in accuracy between groups against the group's share in training, target by target.

AEDA (arXiv 2007.13632), figure 2: for every value of every target one point, x = share of one group among the training
rows with that value, y = its accuracy there minus that of everybody else. The paper's finding is the sign: who is the
majority is recognised more accurately.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from fairness_core.intervals import newcombe
from fairness_core.measures import ratio

COLUMNS = ["target", "value", "group", "share", "bias", "low", "high", "n_train", "n_group", "n_rest"]
FEWEST = 4  # points below which a rank correlation says nothing


def training_counts(y: NDArray[Any], s: NDArray[Any], n_classes: int, n_groups: int) -> NDArray[np.int64]:
    """Rows per (target, class, group): int64 (A, T, K). y: int (n,) or, with several targets, (n, A); s: int (n,)."""
    columns = y.reshape(len(y), -1).astype(np.int64)
    size = n_classes * n_groups
    counts = [np.bincount(column * n_groups + s, minlength=size) for column in columns.T]
    return np.stack(counts).reshape(-1, n_classes, n_groups).astype(np.int64)


def points(
    train: NDArray[Any], C: NDArray[Any], targets: Sequence[str], classes: Sequence[str], groups: Sequence[str]
) -> pd.DataFrame:
    """One row per target, value and group (with two groups, the first alone); see COLUMNS.

    train: (A, T, K) from training_counts; C: confusion tensors (A, K, T, T). bias is signed, with Newcombe's 95 %
    interval; it is NaN where the group or everybody else has no row of that value.
    """
    rows = []
    for g in _shown(len(groups)):
        share = ratio(train[:, :, g].astype(float), train.sum(2).astype(float))
        hits, n = _cells(C, g)
        bias = ratio(hits[0], n[0]) - ratio(hits[1], n[1])
        low, high = newcombe(hits[0], n[0], hits[1], n[1])
        for a, t in np.ndindex(*share.shape):
            named = (targets[a], classes[t], groups[g])
            sizes = (int(train[a, t].sum()), int(n[0, a, t]), int(n[1, a, t]))
            rows.append((*named, share[a, t], bias[a, t], low[a, t], high[a, t], *sizes))
    return pd.DataFrame(rows, columns=COLUMNS)


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of share and bias with its 95 % interval; all NaN when there are too few points."""

    rho: float
    low: float
    high: float
    n: int


def correlation(train: NDArray[Any], C: NDArray[Any], n: int = 2000, seed: int = 0) -> Correlation:
    """The correlation over all points of train (A, T, K) and C (A, K, T, T).

    The interval is a percentile bootstrap of both sources of chance: which targets there are (the values of one target
    are drawn together, since they are not independent; single values when there is one target) and which test rows
    (every cell's hits are drawn anew).
    """
    shown = _shown(C.shape[1])
    share = np.stack([ratio(train[:, :, g].astype(float), train.sum(2).astype(float)) for g in shown], -1)
    cells = np.stack([np.stack(_cells(C, g)) for g in shown], -1)  # (hits or n, group or rest, A, T, shown)
    hits, rows = cells
    usable = ((rows > 0).all(0) & np.isfinite(share)).reshape(-1)
    if usable.sum() < FEWEST:
        return Correlation(np.nan, np.nan, np.nan, int(usable.sum()))
    owner = np.broadcast_to(np.arange(share.shape[0])[:, None, None], share.shape).reshape(-1)[usable]
    x = share.reshape(-1)[usable]
    hit, of = (a.reshape(2, -1)[:, usable].astype(np.int64) for a in (hits, rows))
    found = float(spearman(x[None], (hit[0] / of[0] - hit[1] / of[1])[None])[0])
    clusters = owner if len(np.unique(owner)) > 1 else np.arange(len(x))
    drawn = [_resample(x, hit, of, clusters, rng) for rng in np.random.default_rng(seed).spawn(n)]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Correlation(found, float(low), float(high), len(x))


def spearman(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """Rank correlation along the last axis, ties ranked by their mean; NaN where one of the two does not vary."""
    ranks = [rankdata(v, axis=-1) - (v.shape[-1] + 1) / 2 for v in (x, y)]
    scale = np.sqrt((ranks[0] ** 2).sum(-1) * (ranks[1] ** 2).sum(-1))
    return ratio((ranks[0] * ranks[1]).sum(-1), scale)


def _shown(n_groups: int) -> range:
    """With two groups the second one's points would be the first one's mirror image."""
    return range(1) if n_groups == 2 else range(n_groups)


def _cells(C: NDArray[Any], group: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Correct rows and all rows of (the group, everybody else), each (2, A, T)."""
    hits = np.diagonal(C, axis1=2, axis2=3).astype(np.float64)  # (A, K, T)
    n = C.sum(3).astype(np.float64)
    return tuple(np.stack([v[:, group], v.sum(1) - v[:, group]]) for v in (hits, n))  # type: ignore[return-value]


def _resample(
    x: NDArray[Any], hit: NDArray[Any], of: NDArray[Any], clusters: NDArray[Any], rng: np.random.Generator
) -> float:
    names = np.unique(clusters)
    picked = np.concatenate([np.flatnonzero(clusters == name) for name in rng.choice(names, len(names))])
    drawn = rng.binomial(of[:, picked], hit[:, picked] / of[:, picked]) / of[:, picked]
    return float(spearman(x[picked][None], (drawn[0] - drawn[1])[None])[0])
