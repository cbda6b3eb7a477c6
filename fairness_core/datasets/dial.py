"""The bias dial: take away training rows until target and group are associated as strongly as somebody wants.

The strength is Cramer's V of the (target, group) counts: 0 when the group says nothing about the target, 1 when one
follows from the other. Below the strength as found, the counts move towards independence with both margins kept; above
it, towards a table in which every class has only the group that is over-represented in it.
"""

from __future__ import annotations

import numpy as np

from fairness_core.config import UserError

FEWEST = 20  # training rows that must remain


def counts(y: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Rows per (target, group): int64 (T, K). y, s: int (n,)."""
    n_groups = int(s.max()) + 1
    return np.bincount(y * n_groups + s, minlength=(int(y.max()) + 1) * n_groups).reshape(-1, n_groups)


def cramers_v(table: np.ndarray) -> float:
    """Cramer's V of counts or shares (T, K); NaN when a margin has fewer than two non-empty entries."""
    shares = table / max(table.sum(), 1e-300)
    shares = shares[shares.sum(1) > 0][:, shares.sum(0) > 0]
    if min(shares.shape) < 2:
        return float("nan")
    expected = np.outer(shares.sum(1), shares.sum(0))
    chi_square = ((shares - expected) ** 2 / expected).sum()
    return float(np.sqrt(chi_square / (min(shares.shape) - 1)))


def wanted_counts(found: np.ndarray, strength: float) -> np.ndarray:
    """The largest counts (T, K), none above `found`, whose Cramer's V is `strength` to rounding; UserError if none."""
    shares = _shares_at(found / found.sum(), strength)
    possible = np.divide(found, shares, out=np.full(found.shape, np.inf), where=shares > 1e-12)
    wanted = np.minimum(np.floor(shares * possible.min() + 1e-9).astype(np.int64), found)
    if wanted.sum() < FEWEST:
        raise UserError(
            f"association = {strength:g} would leave {wanted.sum()} training rows; choose a value nearer to "
            f"{cramers_v(found):.2f}, the strength as found."
        )
    return np.asarray(wanted)


def subsample(y: np.ndarray, s: np.ndarray, rows: np.ndarray, strength: float, seed: int) -> np.ndarray:
    """Those of `rows` that stay, sorted: a seeded choice within every cell. y, s: int (all rows,)."""
    own_y, own_s = y[rows], s[rows]
    found = counts(own_y, own_s)
    wanted = wanted_counts(found, strength)
    rng = np.random.default_rng([seed, 30011])
    kept = []
    for t, g in np.argwhere(found > 0):
        cell = rows[(own_y == t) & (own_s == g)]
        kept.append(rng.permutation(cell)[: wanted[t, g]])
    return np.sort(np.concatenate(kept))


def _shares_at(found: np.ndarray, strength: float) -> np.ndarray:
    """Bisection along the path from independence (-1) over the shares as found (0) to full association (1)."""
    independent = np.outer(found.sum(1), found.sum(0))
    aligned = _aligned(found, independent)

    def along(t: float) -> np.ndarray:
        return (1 + t) * found - t * independent if t < 0 else (1 - t) * found + t * aligned

    low, high = (-1.0, 0.0) if strength < cramers_v(found) else (0.0, 1.0)
    if strength > cramers_v(aligned) + 1e-9:
        raise UserError(
            f"association = {strength:g} cannot be reached by taking rows away; the strongest here is "
            f"{cramers_v(aligned):.2f}."
        )
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if cramers_v(along(middle)) < strength else (low, middle)
    return along((low + high) / 2)


def _aligned(found: np.ndarray, independent: np.ndarray) -> np.ndarray:
    """The shares of each class's most over-represented group alone."""
    lift = np.divide(found, independent, out=np.zeros_like(found), where=independent > 0)
    kept = np.where(np.arange(found.shape[1]) == lift.argmax(1)[:, None], found, 0.0)
    return np.asarray(kept / kept.sum())
