"""Pre-processing: which training rows a method sees, and how much each of them counts.

Everything follows from N[t, s], the training rows with class t and group s. Validation and test rows stay as they are.
Of several targets each has its own N, and its own weights of the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fairness_core.config import UserError
from fairness_core.datasets import Dataset, Split

Array = NDArray[np.float64]
MODES = ("kamiran_calders", "class_conditional", "group_balanced")
INAPPLICABLE = "Not applicable:"  # how the sentence of NotApplicable begins
HEAVIEST = 20.0  # a row counts at most so many times


class NotApplicable(UserError):  # noqa: N818  (what the screens call it)
    """The method has no answer on these data; tables show a dash with the sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{INAPPLICABLE} {reason}")


def cell_counts(split: Split, n_classes: int, n_groups: int) -> NDArray[np.int64]:
    """N (classes, groups)."""
    flat = np.bincount(split.y * n_groups + split.s, minlength=n_classes * n_groups)
    return flat.reshape(n_classes, n_groups).astype(np.int64)


def full_cells(
    split: Split, classes: Sequence[str], groups: Sequence[str], method: str, target: str = ""
) -> NDArray[np.int64]:
    """N (classes, groups); NotApplicable where a cell is empty: there is nothing to repeat or to weigh there, and to
    drop its counterparts would drop a whole class or group. target: which of several, as it stands in the sentence."""
    N = cell_counts(split, len(classes), len(groups))
    if (empty := np.argwhere(N == 0)).size:
        t, s = empty[0]
        raise NotApplicable(
            f"{method} needs training rows of every class and group, and there is none with {target}{classes[t]} and "
            f"{groups[s]}; choose another method, other groups or another target."
        )
    return N


def undersampled(N: NDArray[np.int64], ratio: float = 1.0, equal_classes: bool = False) -> NDArray[np.int64]:
    """How many rows of each cell stay, (classes, groups): within a class no cell may be more than 1 / ratio times as
    large as the smallest one (with equal_classes: as the smallest of all)."""
    least = np.full((len(N), 1), N.min()) if equal_classes else N.min(1, keepdims=True)
    return np.asarray(np.minimum(N, np.floor(least / ratio + 1e-9).astype(np.int64)))


def oversampled(N: NDArray[np.int64], ratio: float = 1.0, equal_classes: bool = False) -> NDArray[np.int64]:
    """How many rows each cell grows to, (classes, groups): at least `ratio` times the largest one of its class (with
    equal_classes: of all)."""
    most = np.full((len(N), 1), N.max()) if equal_classes else N.max(1, keepdims=True)
    return np.asarray(np.maximum(N, np.ceil(most * ratio - 1e-9).astype(np.int64)))


def sampled(split: Split, sizes: NDArray[np.int64], seed: int) -> Split:
    """The split with `sizes` (classes, groups) rows per cell, in the order they had: fewer are drawn without
    replacement; of more every row is there, and the rest is drawn with replacement."""
    rng = np.random.default_rng([seed, 31])
    kept = []
    for (t, s), size in np.ndenumerate(sizes):
        rows = np.flatnonzero((split.y == t) & (split.s == s))
        if size <= len(rows):
            kept.append(rng.permutation(rows)[:size])
        else:
            kept += [rows, rng.choice(rows, size - len(rows))]
    order = np.sort(np.concatenate(kept))
    return Split(split.x[order], split.y[order], split.s[order])


def kept(split: Split, sizes: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
    """What `sampled` with no more rows per cell than there are keeps, as weights (n,): 1 or 0."""
    numbered = sampled(replace(split, x=np.arange(len(split))), sizes, seed)
    w = np.zeros(len(split), np.float32)
    w[numbered.x] = 1.0
    return w


def by_target(data: Dataset) -> Iterator[tuple[str, Split]]:
    """The training rows with one of several targets after the other, and what to call it in a sentence."""
    for a, name in enumerate(data.targets):
        yield f"{name}: ", replace(data.train, y=data.train.y[:, a], w=None)


def weights(N: NDArray[np.int64], mode: str = MODES[0], temperature: float = 1.0, heaviest: float = HEAVIEST) -> Array:
    """What a row of each cell counts, (classes, groups); its mean over rows is 1 unless `heaviest` cut a weight.

    "kamiran_calders" (Knowledge and Information Systems 2012): N_t N_s / (N N[t, s]), class and group independent and
    both marginals kept. "class_conditional": N_t / (K N[t, s]), groups balanced inside each class. "group_balanced":
    N / (T K N[t, s]), all cells equal. temperature γ: weights to the power γ (0: all alike), rescaled to mean 1.
    """
    n_classes, n_groups = N.shape
    n = N.sum()
    by_class, by_group = N.sum(1, keepdims=True), N.sum(0, keepdims=True)
    if mode == "kamiran_calders":
        full = by_class * by_group / (n * N)
    elif mode == "class_conditional":
        full = by_class / (n_groups * N)
    elif mode == "group_balanced":
        full = n / (n_classes * n_groups * N)
    else:
        raise UserError(f"There is no way of reweighing {mode!r}; choose one of {', '.join(MODES)}.")
    softened = full**temperature
    return np.asarray(np.minimum(softened * n / (softened * N).sum(), heaviest))


def class_weights(split: Split) -> NDArray[np.float32]:
    """What every row counts so that the classes that occur count alike, as y: (n,), or (n, A) of several targets. Rows
    that had weights keep their shares of their class; no class counts more than HEAVIEST times what it did."""
    y = split.y.reshape(len(split), -1)
    given = np.ones(len(split)) if split.w is None else split.w
    before = np.broadcast_to(given.reshape(len(split), -1), y.shape).astype(np.float64)
    w = np.empty_like(before)
    for a, own in enumerate(y.T):
        mass = np.bincount(own, before[:, a])
        known = mass > 0
        factors = mass.sum() / (known.sum() * np.where(known, mass, 1.0))
        w[:, a] = before[:, a] * np.minimum(factors, HEAVIEST)[own]
    return w.reshape(split.y.shape).astype(np.float32)


def row_weights(split: Split, table: Array) -> NDArray[np.float32]:
    """What every row counts, (n,), by its cell of table (classes, groups)."""
    return np.asarray(table[split.y, split.s], np.float32)
