"""Where to draw the line: every threshold of a score at once, the objective φ, and the threshold it selects.

A decision is favourable where score > τ (strict). Everything here is a function of the confusion tensors at the
thresholds of a grid, C (..., thresholds, groups, 2, 2), which are counted in one pass over the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .config import UserError
from .measures import Counts, Values
from .metrics import EPSILON, evaluate, is_trivial, metric, percentiles

GRID = np.linspace(0.0, 1.0, 501)  # methods of Savani et al. 2020 look at these thresholds
KINDS = ("lexicographic", "threshold", "sharp")
MEASURES = (
    "statistical_parity_difference",
    "equal_opportunity_difference",
    "average_odds_difference",
    "average_absolute_odds_difference",
)
SHARPNESS = 500  # slope of the "sharp" objective at ε, as in the authors' code
RESAMPLES = 5  # bootstrap resamples a threshold is judged on, as in the authors' code
Array = NDArray[np.float64]


def counts(
    scores: NDArray[np.floating],
    y: NDArray[np.int64],
    s: NDArray[np.int64],
    n_groups: int,
    grid: Array = GRID,
    weights: Array | None = None,
) -> Counts:
    """Confusion tensors (..., M, n_groups, 2, 2) of the decisions score > grid[m].

    scores: (..., n), any number of models on the same n rows; y (0 or 1) and s: (n,); grid: (M,) growing; weights: how
    often each row counts, (n,). float64 with weights, int64 without. O(n log M): rows are counted between thresholds.
    """
    return _tally(_places(scores, y, s, n_groups, grid), n_groups, len(grid), weights)


def _places(
    scores: NDArray[np.floating], y: NDArray[np.int64], s: NDArray[np.int64], n_groups: int, grid: Array
) -> NDArray[np.int64]:
    """Where each row is counted, (..., n): its model, its cell and how many thresholds it exceeds, as one number."""
    scores = np.asarray(scores)
    models = scores.reshape(-1, scores.shape[-1])
    above = np.searchsorted(grid, models, side="left")
    index = (np.arange(len(models))[:, None] * n_groups * 2 + (s * 2 + y)) * (len(grid) + 1) + above
    return index.reshape(scores.shape)


def _tally(index: NDArray[np.int64], n_groups: int, n_grid: int, weights: Array | None) -> Counts:
    """The confusion tensors of `counts` from the rows' places, which are the same for every weighting of the rows."""
    models, places = int(np.prod(index.shape[:-1])), n_grid + 1
    repeated = None if weights is None else np.broadcast_to(weights, index.shape).ravel()
    found = np.bincount(index.ravel(), repeated, minlength=models * n_groups * 2 * places)
    found = found.reshape(models, n_groups, 2, places)
    favoured = np.cumsum(found[..., ::-1], -1)[..., ::-1][..., 1:]  # rows that exceed threshold m
    C = np.stack([found.sum(-1, keepdims=True) - favoured, favoured], -1)  # (models, groups, 2, M, 2)
    return np.moveaxis(C, 3, 1).reshape(*index.shape[:-1], n_grid, n_groups, 2, 2)


@dataclass(frozen=True)
class Objective:
    """What a good threshold is: balanced accuracy ρ under the constraint |μ| < ε (Savani et al. 2020, methods 2.6).

    measure: μ, one of MEASURES; margin: how much inside ε it must be where it is selected. kind "threshold" is φ = ρ if
    |μ| < ε else 0; "sharp" replaces the step by a steep sigmoid; "lexicographic" (ours) prefers feasible to infeasible,
    among feasible the larger ρ, among infeasible the smaller |μ|: it never is flat.
    """

    measure: str = "statistical_parity_difference"
    epsilon: float = EPSILON
    margin: float = 0.01
    kind: str = "lexicographic"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"There is no objective {self.kind!r}; choose one of {', '.join(KINDS)}.")

    def parts(self, C: Counts) -> tuple[Values, Values]:
        """(ρ, |μ|) of C (..., G, 2, 2), each (...,); NaN where a rate has no rows."""
        found = evaluate(C[None] if C.ndim == 3 else C, ["balanced_accuracy", self.measure])
        rho, mu = np.asarray(found["balanced_accuracy"]), metric(self.measure).disparity(found[self.measure])
        return (rho[0], mu[0]) if C.ndim == 3 else (rho, mu)

    def value(self, rho: Values, mu: Values) -> Values:
        """What is maximised, (...,), at ε - margin; -inf where μ is not defined."""
        bound = self.epsilon - self.margin
        if self.kind == "threshold":
            found = np.where(mu < bound, rho, 0.0)
        elif self.kind == "sharp":
            found = rho * (1 - np.tanh(SHARPNESS / 2 * (mu - bound))) / 2
        else:
            found = np.where(mu < bound, 2 + rho, -mu + 1e-9 * rho)
        return np.where(np.isnan(mu) | np.isnan(rho), -np.inf, found)

    def phi(self, rho: Values, mu: Values) -> Values:
        """φ as it is reported: ρ where |μ| < ε, else 0; NaN where μ is not defined."""
        return np.where(np.isnan(mu), np.nan, np.where(mu < self.epsilon, rho, 0.0))


@dataclass(frozen=True)
class Choice:
    """A selected threshold and what holds there on the rows it was selected on. value: of the objective; feasible:
    |μ| < ε; trivial: (nearly) one decision for everyone."""

    tau: float
    value: float
    phi: float
    rho: float
    mu: float
    feasible: bool
    trivial: bool


def resamples(n: int, times: int, seed: int = 0) -> Array:
    """How often each of n rows is drawn in each of `times` bootstrap resamples, (times, n)."""
    drawn = np.random.default_rng([seed, 7]).integers(0, n, (times, n))
    return np.stack([np.bincount(row, minlength=n) for row in drawn]).astype(np.float64) if times else np.ones((1, n))


def select(
    scores: NDArray[np.floating],
    y: NDArray[np.int64],
    s: NDArray[np.int64],
    n_groups: int,
    objective: Objective,
    *,
    grid: Array = GRID,
    n_boot: int = RESAMPLES,
    seed: int = 0,
) -> list[Choice]:
    """The best threshold of each model; scores (models, n).

    The objective is averaged over n_boot bootstrap resamples of the rows (0: the rows themselves), the same for every
    threshold and model; "lexicographic" averages ρ and |μ|. Ties go to the threshold nearest 0.5.
    """
    sums: list[Values] = []
    places = _places(scores, y, s, n_groups, grid)
    for drawn in resamples(scores.shape[-1], n_boot, seed):
        rho, mu = objective.parts(_tally(places, n_groups, len(grid), drawn))
        own = [rho, mu] if objective.kind == "lexicographic" else [objective.value(rho, mu)]
        sums = [a + b for a, b in zip(sums, own, strict=True)] if sums else own
    means = [total / max(1, n_boot) for total in sums]
    value = objective.value(*means) if objective.kind == "lexicographic" else means[0]
    at = _best(value, grid)
    C = _tally(places, n_groups, len(grid), None)[np.arange(len(at)), at]  # (models, G, 2, 2)
    rho, mu = objective.parts(C)
    phi, constant = objective.phi(rho, mu), [is_trivial(c) for c in C]
    return [
        Choice(
            float(grid[m]), float(value[i, m]), float(phi[i]), float(rho[i]), float(mu[i]),
            bool(mu[i] < objective.epsilon), bool(constant[i]),
        )
        for i, m in enumerate(at)
    ]  # fmt: skip


def _best(value: Values, grid: Array) -> NDArray[np.int64]:
    """Per row the position of the largest value, of several the one nearest 0.5."""
    order = np.argsort(np.abs(grid - 0.5), kind="stable")
    return np.asarray(order[np.argmax(value[:, order], axis=1)])


def bands(
    C: Counts, names: tuple[str, ...], n: int = 200, seed: int = 0, level: float = 0.95
) -> dict[str, tuple[Values, Values]]:
    """Percentile interval (low (M,), high (M,)) of each measure at every threshold; C (M, G, 2, 2) from `counts`.

    n bootstrap resamples of the rows, the same for every threshold: rows that lie between the same two thresholds in
    the same cell count alike, so one multinomial draw over those places is a resample.
    """
    favoured = C[..., 1]  # (M, G, 2)
    rows = C.sum(-1)[:1]
    between = -np.diff(np.concatenate([rows, favoured, np.zeros_like(rows)]), axis=0)  # (M + 1, G, 2)
    total = int(between.sum())
    drawn = np.random.default_rng([seed, 11]).multinomial(total, between.ravel() / max(total, 1), size=n)
    drawn = drawn.reshape(n, *between.shape)
    above = drawn[:, ::-1].cumsum(1)[:, ::-1]  # rows at this place or a higher one, (n, M + 1, G, 2)
    found = evaluate(np.stack([above[:, :1] - above[:, 1:], above[:, 1:]], -1), names)
    return {name: percentiles(np.asarray(found[name]).T, level) for name in names}
