"""Uncertainty of what is derived from confusion tensors.

Two kinds, never mixed in one number: SAMPLING noise (another test set of the same size: Wilson, Newcombe, bootstrap,
noise floor) and TRAINING noise (another seed: the t intervals over seeds). Callers name the one they show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

from .config import UserError
from .measures import Counts, Rates, Values, class_mean, defined_mean, ratio, spread

FOLDED = math.sqrt(2 / math.pi)  # E|Z| of a standard normal


def wilson(k: ArrayLike, n: ArrayLike, level: float = 0.95) -> tuple[Values, Values]:
    """Wilson score interval (low, high) of the share k / n, elementwise; NaN where n is 0. Wilson 1927."""
    k, n = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    z = float(ndtri((1 + level) / 2))
    share = ratio(k, n)
    weight = ratio(np.asarray(z * z), n)
    middle = (share + weight / 2) / (1 + weight)
    half = np.sqrt(share * (1 - share) * weight + weight**2 / 4) / (1 + weight)
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)


def newcombe(k1: ArrayLike, n1: ArrayLike, k2: ArrayLike, n2: ArrayLike, level: float = 0.95) -> tuple[Values, Values]:
    """Interval (low, high) of the difference k1/n1 - k2/n2 of two independent shares, elementwise.

    Newcombe 1998, method 10 (square-and-add of the two Wilson intervals). For the same rows judged twice it is too
    wide rather than too narrow, as long as the two decisions agree more often than chance.
    """
    low1, high1 = wilson(k1, n1, level)
    low2, high2 = wilson(k2, n2, level)
    p1 = ratio(np.asarray(k1, dtype=np.float64), np.asarray(n1, dtype=np.float64))
    p2 = ratio(np.asarray(k2, dtype=np.float64), np.asarray(n2, dtype=np.float64))
    low = p1 - p2 - np.sqrt((p1 - low1) ** 2 + (high2 - p2) ** 2)
    high = p1 - p2 + np.sqrt((high1 - p1) ** 2 + (p2 - low2) ** 2)
    return low, high


def resample(C: Counts, n: int = 1000, seed: int = 0, scheme: str = "rows") -> NDArray[np.int64]:
    """n bootstrap copies (n, G, T, T) of one confusion tensor (G, T, T), in one multinomial draw.

    scheme "rows" resamples whole rows of data (all cells vary, group and class sizes too); "stratified" resamples
    within each (s, y) cell with its size kept. Equal to resampling the rows themselves, since only counts matter.
    """
    C = np.asarray(C, dtype=np.int64)
    classes = C.shape[-1]
    strata = {"rows": C.reshape(1, -1), "stratified": C.reshape(-1, classes)}.get(scheme)
    if strata is None:
        raise UserError(f"There is no bootstrap scheme {scheme!r}; choose rows or stratified.")
    sizes = strata.sum(-1)
    shares = strata / np.maximum(sizes, 1)[:, None]
    shares[sizes == 0, 0] = 1.0  # any law will do for a stratum from which nothing is drawn
    return np.random.default_rng(seed).multinomial(sizes, shares, size=(n, len(sizes))).reshape(n, *C.shape)


def percentiles(draws: Values, level: float = 0.95) -> tuple[Values, Values]:
    """Percentile interval (low, high) along the last axis over the draws that are defined; NaN where none is."""
    ordered = np.sort(draws, axis=-1)  # NaN last
    last = (~np.isnan(ordered)).sum(-1, keepdims=True) - 1
    ends = []
    for q in ((1 - level) / 2, (1 + level) / 2):
        at = np.maximum(last, 0) * q
        below = np.floor(at).astype(np.int64)
        low = np.take_along_axis(ordered, below, -1)
        high = np.take_along_axis(ordered, np.minimum(below + 1, np.maximum(last, 0)), -1)
        ends.append((low + (high - low) * (at - below))[..., 0])
    return ends[0], ends[1]


def bootstrap(
    C: Counts,
    measures: Mapping[str, Callable[[Rates], Values]],
    n: int = 1000,
    seed: int = 0,
    scheme: str = "rows",
    level: float = 0.95,
) -> dict[str, tuple[Values, Values]]:
    """Percentile intervals {name: (low, high)} of sampling noise for C (..., G, T, T); low and high have shape (...).

    Every tensor of a batch gets the same stream, so that a run's interval does not depend on its neighbours, and one
    tensor at a time is expanded: memory stays at n tensors. A gap cannot be negative, so the interval of one near
    zero sits above zero: read it beside `noise_floor`.
    """
    C = np.asarray(C)
    batch, flat = C.shape[:-3], C.reshape(-1, *C.shape[-3:])
    draws = np.empty((len(measures), n))
    low, high = np.empty((2, len(measures), len(flat)))
    for i, tensor in enumerate(flat):
        rates = Rates(resample(tensor, n, seed, scheme))
        for j, measure in enumerate(measures.values()):
            draws[j] = measure(rates)
        low[:, i], high[:, i] = percentiles(draws, level)
    return {name: (low[j].reshape(batch), high[j].reshape(batch)) for j, name in enumerate(measures)}


def noise_floor(C: Counts, seed: int = 0) -> dict[str, Values]:
    """What a gap measures on average when the groups do not differ at all: {measure: (...)} for C (..., G, T, T).

    Sampling noise alone makes every absolute gap positive. Each rate is taken as normal around its pooled value with
    its own group's size; two groups have the closed form sqrt(p (1-p) (1/n0 + 1/n1)) sqrt(2/pi) (methods 2.9), more
    groups are simulated (2,000 draws, about 2 % off). Measures without such a floor are absent.
    """
    r = Rates(C)

    def floor(part: Values, whole: Values) -> Values:
        p = ratio(part.sum(0), whole.sum(0))
        return expected_range(np.sqrt(p * (1 - p) * ratio(np.ones_like(whole), whole)), seed)

    within = floor(r.hits, r.rows)  # (T, ...): per true class
    chosen = floor(r.predicted, np.broadcast_to(r.n[:, None], r.predicted.shape))
    floors = {
        "accuracy_parity_difference": floor(r.hits.sum(1)[:, None], r.n[:, None])[0],
        "bias_sum": within.sum(0),
        "bias_mean": defined_mean(within),
        "average_absolute_odds_difference": class_mean(within),
        "odds": class_mean(within),
        "demographic_parity_mean": defined_mean(chosen),
    }
    if r.classes == 2:
        floors |= {
            "demographic_parity_difference": chosen[1],
            "equal_opportunity_gap": within[1],
            "equalized_odds_sum": within.sum(0),
        }
        if r.groups == 2:
            floors["statistical_parity_difference"] = chosen[1]
            floors["equal_opportunity_difference"] = within[1]
            # E max(|X|, |Y|) of independent normals, since max(|X|, |Y|) = (|X + Y| + |X - Y|) / 2
            floors["equalized_odds_difference"] = np.sqrt((within**2).sum(0))
    return floors


def expected_range(sd: Values, seed: int = 0) -> Values:
    """E(max - min) over independent centred normals with standard deviations sd (G, T, ...) -> (T, ...)."""
    if len(sd) == 2:
        return np.asarray(FOLDED * np.sqrt((sd**2).sum(0)))
    normal = np.random.default_rng(seed).standard_normal((len(sd), 2000, *(1,) * (sd.ndim - 1)))
    return np.asarray(spread(normal * sd[:, None]).mean(0))


class SeedSummary(NamedTuple):
    """A measure over training seeds: mean, standard deviation, t interval of the mean, how many seeds."""

    mean: Values
    sd: Values
    low: Values
    high: Values
    seeds: NDArray[np.int64]


def over_seeds(values: ArrayLike, level: float = 0.95, axis: int = -1) -> SeedSummary:
    """TRAINING noise: mean, sd and t interval of the mean along `axis`; undefined seeds are left out, and with fewer
    than two seeds sd and interval are NaN."""
    values = np.moveaxis(np.asarray(values, dtype=np.float64), axis, 0)
    seeds = np.asarray((~np.isnan(values)).sum(0))
    mean = defined_mean(values)
    squares = np.where(np.isnan(values), 0.0, (values - mean) ** 2).sum(0)
    sd = np.sqrt(ratio(squares, seeds - 1.0))
    freedom = np.where(seeds > 1, seeds - 1.0, np.nan)
    half = stdtrit(freedom, (1 + level) / 2) * sd / np.sqrt(freedom + 1)
    return SeedSummary(mean, sd, mean - half, mean + half, seeds)


def paired_difference(after: ArrayLike, before: ArrayLike, level: float = 0.95, axis: int = -1) -> SeedSummary:
    """TRAINING noise of after - before, seed by seed along `axis` (both in the same order of seeds)."""
    after, before = np.asarray(after, dtype=np.float64), np.asarray(before, dtype=np.float64)
    if after.shape != before.shape:
        raise UserError(f"Paired seeds need equal shapes, not {after.shape} and {before.shape}; give the same seeds.")
    return over_seeds(after - before, level, axis)
