"""Which rows get a synthetic twin in which group, so that groups become alike inside every class (AEDA, section 4.4 of
the method notes: arXiv 2007.13632 leaves it open)."""

from __future__ import annotations

import numpy as np

MODES = ("flip_all", "fill_minority")
FILL_CLASSES = "fill_classes"
NONE = -1  # no twin


def aims(y: np.ndarray, s: np.ndarray, n_groups: int, mode: str, rng: np.random.Generator) -> np.ndarray:
    """The groups that the twins of every row are to be seen in, int64 (n, slots), NONE where there is no twin.

    flip_all: one twin of every row, in another group, drawn evenly; with two groups originals and twins together hold
    equally many rows of both in every class. fill_minority: in every class, as many twins in each group as the largest
    group has more rows, made of rows of the largest group. y, s: int (n,).
    """
    if mode == "flip_all":
        return np.asarray((s + rng.integers(1, n_groups, len(s))) % n_groups)[:, None]
    out = np.full((len(s), n_groups - 1), NONE, np.int64)
    for t in np.unique(y):
        counts = np.bincount(s[y == t], minlength=n_groups)
        largest = int(counts.argmax())
        sources = np.flatnonzero((y == t) & (s == largest))
        for slot, group in enumerate(g for g in range(n_groups) if g != largest):
            picked = rng.permutation(sources)[: counts[largest] - counts[group]]
            out[picked, slot] = group
    return out


def fillers(y: np.ndarray, s: np.ndarray, n_groups: int, rng: np.random.Generator) -> np.ndarray:
    """Pseudo samples for classes that have fewer rows than the median class, as many as they lack: int64 (m, 3), of
    each the row it is made from, the group it is to be seen in and its class (AEDA, table 3; method notes 4.10, 8).

    One half is made of the class's own rows, evenly, each in another group; the other half of rows of other classes,
    which keep their group. A class without rows stays without. y, s: int (n,).
    """
    names, sizes = np.unique(y, return_counts=True)
    parts = []
    for t, lack in zip(names, int(np.median(sizes)) - sizes, strict=True):
        if lack <= 0:
            continue
        within, beyond = np.flatnonzero(y == t), np.flatnonzero(y != t)
        own = np.concatenate([rng.permutation(within) for _ in range(-(-lack // len(within)))])[: -(-lack // 2)]
        others = rng.choice(beyond, lack // 2, replace=lack // 2 > len(beyond))
        groups = np.concatenate([(s[own] + rng.integers(1, n_groups, len(own))) % n_groups, s[others]])
        parts.append(np.stack([np.concatenate([own, others]), groups, np.full(lack, t)], 1))
    return np.concatenate([np.empty((0, 3), np.int64), *parts]).astype(np.int64)


def counts(y: np.ndarray, s: np.ndarray, wanted: np.ndarray, n_groups: int) -> np.ndarray:
    """Rows of every class and group with the twins counted in, int64 (classes, groups)."""
    present = wanted != NONE
    classes = np.repeat(y[:, None], wanted.shape[1], 1)[present]
    every_y, every_s = np.concatenate([y, classes]), np.concatenate([s, wanted[present]])
    out = np.bincount(every_y * n_groups + every_s, minlength=(int(y.max()) + 1) * n_groups)
    return out.reshape(-1, n_groups)
