"""What gives the answer away: columns that say the target or the group, found on a sample of rows.

Every column alone is asked to tell the class: on one half of the sample it learns which class is likeliest for each of
its values (numbers in up to 64 bins), on the other half it is counted how often that is right, every class alike. A
mean recall of 0.95 is nearly certainty; is_recid in COMPAS, known only two years later, reaches 0.97.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fairness_core.datasets.columns import Column
from fairness_core.datasets.own_rows import OwnTable, Usable, frame, sampled, usable
from fairness_core.datasets.own_table import Choice, Table
from fairness_core.datasets.sniffing import listed

ROWS = 20_000
CELLS = 10_000_000  # values looked at: fewer rows of a wide table
NEARLY_ALL = 0.95
BINS = 64
FEW = 30  # people in a group about whom little can be said
SAME = 0.999  # share of rows in which a copy of the target agrees


def warnings(table: Table, choice: Choice) -> tuple[str, ...]:
    """Leaks of the target, proxies of the group and groups that are too small, each one sentence. choice: complete."""
    found = usable(table, choice)
    inputs = [c for c in OwnTable(own=table, choice=choice).inputs if c.name not in choice.sensitive]
    places = sampled(found.cells, max(min(ROWS, CELLS // max(len(inputs), 1)), 1000), 0)
    rows = frame(table, [table.column(choice.target), *inputs], found.rows[places])
    y, s = found.y[places], found.cells[places] % len(found.groups)
    told = [
        sentence
        for column in inputs
        if (sentence := _about(column, rows[column.name], rows[choice.target], y, s, choice))
    ]
    return (*told, *_small_groups(found))


def _about(
    column: Column, values: pd.Series[Any], target: pd.Series[Any], y: np.ndarray, s: np.ndarray, choice: Choice
) -> str:
    codes = value_codes(values)
    if column.kind != "number" and _same(values, target):
        return f"Column {column.name!r} is a copy of the target {choice.target!r}; leave it out."
    sure = tells(codes, y)
    if sure >= NEARLY_ALL:
        return (
            f"Column {column.name!r} tells the target {choice.target!r} nearly by itself (mean recall {sure:.3f}); "
            "if it is known only after the decision, leave it out."
        )
    group = " x ".join(choice.sensitive)
    sure = tells(codes, s)
    if sure >= NEARLY_ALL:
        return (
            f"Column {column.name!r} tells {group!r} nearly by itself (mean recall {sure:.3f}); a model that never "
            f"sees {group!r} still knows it."
        )
    if _named_after(column.name, choice.target):
        return (
            f"Column {column.name!r} is named after the target {choice.target!r}; leave it out if it is made from it."
        )
    return ""


def value_codes(values: pd.Series[Any]) -> np.ndarray:
    """int64 (n,): which value, or which of up to BINS quantile bins of many numbers; a missing one is 0."""
    codes, different = pd.factorize(values, use_na_sentinel=True)
    if values.dtype.kind == "f" and len(different) > BINS:
        known = values.to_numpy(np.float64)
        edges = np.unique(np.nanquantile(known, np.arange(1, BINS) / BINS))
        codes = np.where(np.isfinite(known), np.digitize(known, edges), -1)
    return np.asarray(codes + 1, dtype=np.int64)


def tells(codes: np.ndarray, y: np.ndarray) -> float:
    """Mean recall, over the classes that occur in the other half, of the likeliest class of each value."""
    n_values, n_classes = int(codes.max()) + 1, int(y.max()) + 1
    if n_values > len(codes) / 4:
        return 0.0  # nearly every row has a value of its own: nothing is learned from another half
    half = np.random.default_rng(20011).permutation(len(y)) % 2 == 0
    cells = np.bincount(codes[half] * n_classes + y[half], minlength=n_values * n_classes).reshape(n_values, n_classes)
    weights = np.maximum(cells.sum(0), 1)  # every class alike, so that a rare one is not outvoted
    likeliest = (cells / weights).argmax(1)
    right = likeliest[codes[~half]] == y[~half]
    recalls = [right[y[~half] == t].mean() for t in range(n_classes) if (y[~half] == t).any()]
    return float(np.mean(recalls)) if len(recalls) > 1 else 0.0


def _same(values: pd.Series[Any], target: pd.Series[Any]) -> bool:
    a, b = (column.astype(str).str.casefold() for column in (values, target))
    return bool((a == b).mean() >= SAME)


def _named_after(name: str, target: str) -> bool:
    words = " ".join(re.split(r"[\W_]+", name.casefold()))
    wanted = " ".join(re.split(r"[\W_]+", target.casefold())).strip()
    return len(wanted) > 2 and name != target and re.search(rf"\b{re.escape(wanted)}\b", words) is not None


def _small_groups(found: Usable) -> Sequence[str]:
    sizes = np.bincount(found.cells % len(found.groups), minlength=len(found.groups))
    small = [f"{name} ({n})" for name, n in zip(found.groups, sizes, strict=True) if n < FEW]
    if not small:
        return []
    return [f"Groups with fewer than {FEW} rows, about which little can be said: {listed(small, 5)}."]
