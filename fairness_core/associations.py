"""How strongly each attribute tells the group and the target, and how well all of them together name the group.

One scale from 0 to 1 for columns of every kind, so that attributes can be ranked whatever they are made of:

    category with category   Cramer's V, corrected for chance (Bergsma 2013)
    number with category     correlation ratio eta, corrected for chance (Kelley 1935)
    number with number       size of Spearman's rank correlation

All three are 0 for an attribute that says nothing and 1 for one that says all. Intervals are asymptotic and speak of
sampling noise: non-central chi-square, non-central F, Fisher's z.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import chndtrinc, ncfdtrinc, ndtri
from scipy.stats import rankdata

from fairness_core.datasets.base import MISSING, OTHER, Rows

MEASURES = {"V": "Cramér's V", "eta": "correlation ratio η", "rho": "Spearman's |ρ|"}
MOST_ROWS = 20_000  # looked at for associations; fewer where columns are very many
MOST_VALUES = 4_000_000  # rows times columns looked at
MOST_LEVELS = 500  # categories of one column; the rarest beyond that count as one
NAMING_ROWS, NAMING_COLUMNS, NAMING_INPUTS, BINS = 5_000, 300, 1_500, 10
FOLDS = 3
RIDGE = 5.0  # in rows: what a category seen less often than this says is hardly believed


class Association(NamedTuple):
    """A strength in [0, 1] with its interval; measure is a key of MEASURES, n the rows it rests on."""

    value: float
    low: float
    high: float
    measure: str
    n: int


class Named(NamedTuple):
    """How well the group is named by everything else: mean share named rightly per group, against 1 / groups."""

    balanced_accuracy: float
    low: float
    high: float
    chance: float
    auc: float
    n: int
    columns: int


# --------------------------------------------------------------------------------------------------------- one pair


def cramers_v(a: np.ndarray, b: np.ndarray, level: float = 0.95) -> Association:
    """Bias-corrected Cramer's V of two columns of codes, int (n,); 0 if one of them has a single value."""
    (_, a), (_, b) = np.unique(a, return_inverse=True), np.unique(b, return_inverse=True)
    n, r, k = len(a), int(a.max(initial=0)) + 1, int(b.max(initial=0)) + 1
    if min(r, k) < 2:
        return Association(0.0, 0.0, 0.0, "V", n)
    table = np.bincount(a * k + b, minlength=r * k).reshape(r, k)
    expected = np.outer(table.sum(1), table.sum(0)) / n
    chi_square, freedom = float(((table - expected) ** 2 / expected).sum()), (r - 1) * (k - 1)
    corrected = max(0.0, chi_square / n - freedom / (n - 1))
    width = min(r - 1 - (r - 1) ** 2 / (n - 1), k - 1 - (k - 1) ** 2 / (n - 1))
    if width <= 0:  # as many categories as rows: nothing can be told from chance
        return Association(0.0, 0.0, 1.0, "V", n)
    ends = [float(np.nan_to_num(chndtrinc(chi_square, freedom, p))) for p in ((1 + level) / 2, (1 - level) / 2)]
    low, high = (_share(end / n / width) for end in ends)
    return Association(_share(corrected / width), low, high, "V", n)


def correlation_ratio(values: np.ndarray, codes: np.ndarray, level: float = 0.95) -> Association:
    """Corrected correlation ratio of a number, float (n,), over categories, int (n,): the root of the share of its
    variance that lies between them. Rows without a number are left out; 0 if nothing varies."""
    known = np.isfinite(values)
    values, (_, codes) = values[known], np.unique(codes[known], return_inverse=True)
    n, k = len(values), int(codes.max(initial=0)) + 1
    if k < 2 or n <= k or not np.ptp(values):
        return Association(0.0, 0.0, 0.0, "eta", n)
    values = (values - values.mean()) / values.std()
    sizes = np.bincount(codes)
    between = float((np.bincount(codes, values) ** 2 / sizes).sum())
    within = max(float((values**2).sum()) - between, 0.0)
    if within < 1e-9 * n:
        return Association(1.0, 1.0, 1.0, "eta", n)
    f = (between / (k - 1)) / (within / (n - k))
    ends = [float(np.nan_to_num(ncfdtrinc(k - 1, n - k, p, f))) for p in ((1 + level) / 2, (1 - level) / 2)]
    low, high = (_share(end / (end + n)) for end in ends)
    return Association(_share(1 - within / n * (n - 1) / (n - k)), low, high, "eta", n)


def rank_correlation(a: np.ndarray, b: np.ndarray, level: float = 0.95) -> Association:
    """Size of Spearman's rank correlation of two numbers, float (n,); rows in which one is missing are left out."""
    known = np.isfinite(a) & np.isfinite(b)
    a, b = a[known], b[known]
    if len(a) < 4 or not np.ptp(a) or not np.ptp(b):
        return Association(0.0, 0.0, 0.0, "rho", len(a))
    rho = min(abs(float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])), 1.0)
    half = float(ndtri((1 + level) / 2)) * np.sqrt(1.06 / (len(a) - 3))  # Fieller, Hartley and Pearson 1957
    z = np.arctanh(min(rho, 1 - 1e-12))
    return Association(rho, float(np.tanh(max(0.0, z - half))), float(np.tanh(z + half)), "rho", len(a))


def associate(column: pd.Series[Any], other: np.ndarray) -> Association:
    """The measure that fits: `other` holds codes (int) or numbers (float), the column either."""
    if is_number(column):
        values = column.to_numpy(np.float64, na_value=np.nan)
        return rank_correlation(values, other) if other.dtype.kind == "f" else correlation_ratio(values, other)
    codes = level_codes(column, MOST_LEVELS)
    return correlation_ratio(other.astype(np.float64), codes) if other.dtype.kind == "f" else cramers_v(codes, other)


def _share(square: float) -> float:
    return float(np.sqrt(min(max(square, 0.0), 1.0)))


# --------------------------------------------------------------------------------------------------- all attributes


def attributes(rows: Rows, target: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """Every attribute's association with group and target, strongest with the group first.

    target: (n,), int classes or float numbers. Columns: attribute, kind ("number", "category"), role ("sensitive",
    "twin", "attribute"), and for group and target each value, <..>_low, <..>_high, <..>_measure; n. Big tables are
    sampled (seeded) to MOST_ROWS rows or fewer, and n says so.
    """
    size = min(MOST_ROWS, max(2_000, MOST_VALUES // max(1, len(rows.frame.columns))))
    picked = _sample(len(rows), size, seed)
    frame, s, y = rows.frame.iloc[picked], rows.s[picked], target[picked]
    table = []
    for name in frame.columns:
        row: dict[str, Any] = {"attribute": str(name), "kind": "number" if is_number(frame[name]) else "category"}
        row["role"] = "sensitive" if name in rows.sensitive else "twin" if name in rows.twins else "attribute"
        for what, other in (("group", s), ("target", y)):
            found = associate(frame[name], other)
            row |= {what: found.value, f"{what}_low": found.low, f"{what}_high": found.high}
            row[f"{what}_measure"] = MEASURES[found.measure]
        table.append({**row, "n": len(picked)})
    columns = ["attribute", "kind", "role", *(f"{w}{end}" for w in ("group", "target") for end in ENDS), "n"]
    return pd.DataFrame(table, columns=columns).sort_values("group", ascending=False, kind="stable", ignore_index=True)


ENDS = ("", "_low", "_high", "_measure")


def is_number(column: pd.Series[Any]) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def level_codes(column: pd.Series[Any], most: int) -> np.ndarray:
    """Categories as codes, int64 (n,): a missing value is a category of its own, the rarest beyond `most` are one."""
    text = column.astype(object).where(column.notna(), MISSING).astype(str)
    counts = text.value_counts()
    if len(counts) > most:
        text = text.where(text.isin(set(counts.index[: most - 1])), OTHER)
    return np.asarray(pd.factorize(text)[0], dtype=np.int64)


def _sample(n: int, size: int, seed: int) -> np.ndarray:
    """All row numbers, or a seeded sample of them in order."""
    if n <= size:
        return np.arange(n)
    return np.sort(np.random.default_rng([seed, 51001]).choice(n, size, replace=False))


# --------------------------------------------------------------------------------------------- all of them together


def name_group(rows: Rows, seed: int = 0) -> Named | None:
    """How well all attributes together, without the sensitive ones and their twins, name the group; None if there is
    nothing to tell it from.

    A ridge classifier on the attributes as categories (numbers in ten bins), every group weighted alike, 3-fold
    cross-validated on at most NAMING_ROWS rows; groups with fewer rows than folds are left out. Being linear, it is a
    lower bound of what a network can read. Of very many columns only those most associated with the group are used,
    which flatters the figure a little.
    """
    hidden = {*rows.sensitive, *rows.twins}
    columns = [name for name in rows.frame.columns if name not in hidden]
    picked = _sample(len(rows), NAMING_ROWS, seed)
    sizes = np.bincount(rows.s[picked])
    picked = picked[sizes[rows.s[picked]] >= FOLDS]
    groups, s = np.unique(rows.s[picked], return_inverse=True)
    if not columns or len(groups) < 2:
        return None
    frame = rows.frame.iloc[picked]
    if len(columns) > NAMING_COLUMNS:
        columns = sorted(columns, key=lambda name: -associate(frame[name], s).value)[:NAMING_COLUMNS]
    scores = _cross_validated(_one_hot(frame[columns]), s, seed)
    right = np.bincount(s, scores.argmax(1) == s) / np.bincount(s)
    half = float(ndtri(0.975)) * float(np.sqrt((right * (1 - right) / np.bincount(s)).sum())) / len(groups)
    accuracy = float(right.mean())
    area = float(np.mean([auc(s == k, scores[:, k]) for k in range(len(groups))]))
    return Named(
        accuracy, max(0.0, accuracy - half), min(1.0, accuracy + half), 1 / len(groups), area, len(s), len(columns)
    )


def auc(positive: np.ndarray, score: np.ndarray) -> float:
    """Chance that a positive row scores above a negative one, ties counted half. positive: bool (n,); both occur."""
    n = int(positive.sum())
    ranks = rankdata(score)[positive].sum()
    return float((ranks - n * (n + 1) / 2) / (n * (len(score) - n)))


def _one_hot(frame: pd.DataFrame) -> np.ndarray:
    """float64 (n, D + 1): every column as categories, and a constant."""
    most = max(3, min(50, NAMING_INPUTS // len(frame.columns)))
    blocks = [np.ones((len(frame), 1))]
    for name in frame.columns:
        codes = _bins(frame[name], min(BINS, most)) if is_number(frame[name]) else level_codes(frame[name], most)
        _, codes = np.unique(codes, return_inverse=True)
        blocks.append((codes[:, None] == np.arange(codes.max() + 1)).astype(np.float64))
    return np.concatenate(blocks, axis=1)


def _bins(column: pd.Series[Any], bins: int) -> np.ndarray:
    values = column.to_numpy(np.float64, na_value=np.nan)
    known = np.isfinite(values)
    edges = np.unique(np.quantile(values[known], np.arange(1, bins) / bins)) if known.any() else np.array([0.0])
    return np.where(known, np.digitize(values, edges), -1)


def _cross_validated(x: np.ndarray, s: np.ndarray, seed: int) -> np.ndarray:
    """Scores (n, groups) of every row from a model that has not seen it."""
    rng = np.random.default_rng([seed, 51002])
    fold, scores = np.empty(len(s), np.int64), np.empty((len(s), s.max() + 1))
    for k in range(s.max() + 1):
        own = rng.permutation(np.flatnonzero(s == k))
        fold[own] = (np.arange(len(own)) + k) % FOLDS
    for f in range(FOLDS):
        train, test = fold != f, fold == f
        weight = 1 / np.bincount(s[train])[s[train]]
        weighted = x[train] * (weight / weight.mean())[:, None]
        signs = np.where(s[train][:, None] == np.arange(s.max() + 1), 1.0, -1.0)
        gram = weighted.T @ x[train] + RIDGE * np.eye(x.shape[1])
        scores[test] = x[test] @ np.linalg.solve(gram, weighted.T @ signs)
    return scores
