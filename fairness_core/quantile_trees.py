"""Sequential minimisation of a costly function with boosted quantile trees, as layer-wise optimisation asks for.

Three ensembles predict the 16th, 50th and 84th percentile of the value; the next point is the random candidate with the
largest expected improvement. With far more dimensions than calls this is little better than random search: search a
random subspace then.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]

RANDOM_FIRST = 10  # points drawn uniformly before the trees have a say
CANDIDATES = 1000
TREES, DEPTH = 30, 3
QUANTILES = (0.16, 0.5, 0.84)


class Search:
    """Ask for a point inside the box [low, high] (d,), tell its value, and again; `first` is asked for first."""

    def __init__(self, low: Array, high: Array, first: Array, seed: int, kind: str = "gbrt") -> None:
        self.low, self.high, self.kind = low, high, kind
        self.points: list[Array] = []
        self.values: list[float] = []
        self._first = first
        self._rng = np.random.default_rng(seed)

    def ask(self) -> Array:
        """The next point to try, (d,)."""
        if not self.points:
            return self._first
        if self.kind == "random" or len(self.points) <= RANDOM_FIRST:
            return np.asarray(self._draw(1)[0])
        candidates = self._draw(CANDIDATES)
        return np.asarray(candidates[np.argmax(self._improvement(candidates))])

    def tell(self, point: Array, value: float) -> None:
        """What the function is at `point`; smaller is better."""
        self.points.append(point)
        self.values.append(value)

    def _draw(self, n: int) -> Array:
        return self._rng.uniform(self.low, self.high, (n, len(self.low)))

    def _improvement(self, candidates: Array) -> Array:
        """Expected improvement over the best value so far, for values taken to be normal."""
        from sklearn.ensemble import GradientBoostingRegressor  # a second that nothing else has to wait for

        x, y = np.stack(self.points), np.array(self.values)
        low, middle, high = (
            GradientBoostingRegressor(
                loss="quantile", alpha=q, n_estimators=TREES, max_depth=DEPTH, random_state=len(y)
            ).fit(x, y).predict(candidates)
            for q in QUANTILES
        )  # fmt: skip
        spread = np.maximum((high - low) / 2, 1e-12)
        z = (y.min() - middle) / spread
        return np.asarray(spread * (z * ndtr(z) + np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)))
