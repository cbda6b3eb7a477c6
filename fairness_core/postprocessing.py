"""Post-processing: new decisions from the scores (or decisions) of a trained binary model and the group of each person.

Everything is fitted on validation rows and needs the group again where it is applied. s: group numbers (n,); y: 0 or 1;
decisions are the chance of the favourable decision, float64 (n,): 0 or 1, or in between where they are to be drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairness_core.config import UserError
from fairness_core.measures import Counts
from fairness_core.metrics import is_trivial
from fairness_core.thresholds import Objective

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

TAUS, MARGINS = np.linspace(0.01, 0.99, 100), 50  # AIF360's grid of the reject option


def need_every_group(s: Labels, groups: tuple[str, ...]) -> None:
    """UserError when a group has no validation rows: nothing can be fitted for it."""
    absent = [name for g, name in enumerate(groups) if not (s == g).any()]
    if absent:
        raise UserError(f"Group {', '.join(absent)} has no validation rows; choose other groups or another split.")


def disadvantaged(y: Labels, s: Labels, groups: tuple[str, ...], named: str = "") -> int:
    """The number of the group called `named`; without a name, of the one with the smallest share of class 1."""
    if named and named not in groups:
        raise UserError(f"There is no group {named!r}; choose one of {', '.join(groups)}.")
    if named:
        return groups.index(named)
    return int(np.argmin([y[s == g].mean() for g in range(len(groups))]))


# ------------------------------------------------------------------------------------------------------- reject option


@dataclass(frozen=True)
class RejectOption:
    """Kamiran, Karim, Zhang (ICDM 2012): within `margin` of `tau` the disadvantaged group gets the favourable decision
    and everybody else the unfavourable one; that is one threshold for the group, tau - margin, and one for the rest."""

    tau: float
    margin: float
    group: int
    feasible: bool
    trivial: bool

    def thresholds(self, n_groups: int) -> Array:
        """(G,): decisions are score > thresholds[s]."""
        return np.where(np.arange(n_groups) == self.group, self.tau - self.margin, self.tau + self.margin)

    def decide(self, scores: NDArray[np.floating], s: Labels) -> Array:
        band = (scores > self.tau - self.margin) & (scores <= self.tau + self.margin)
        return np.where(band, s == self.group, scores > self.tau).astype(np.float64)


def margins(taus: Array = TAUS, n: int = MARGINS) -> Array:
    """(thresholds, n): half-widths of the band, from 0 to the distance of each threshold from the nearer end."""
    return np.linspace(0.0, np.minimum(taus, 1 - taus), n, axis=1)


def band_counts(
    scores: NDArray[np.floating], y: Labels, s: Labels, n_groups: int, group: int, taus: Array, widths: Array
) -> Counts:
    """Confusion tensors (thresholds, margins, G, 2, 2) of every band, from two look-ups per cell and band."""
    C = np.zeros((*widths.shape, n_groups, 2, 2), np.int64)
    scores = np.asarray(scores, np.float64)
    for g in range(n_groups):
        edges = taus[:, None] - widths if g == group else taus[:, None] + widths
        for t in range(2):
            cell = np.sort(scores[(s == g) & (y == t)])
            C[..., g, t, 0] = np.searchsorted(cell, edges, side="right")
            C[..., g, t, 1] = len(cell) - C[..., g, t, 0]
    return C


def fit_reject_option(
    scores: NDArray[np.floating],
    y: Labels,
    s: Labels,
    n_groups: int,
    group: int,
    objective: Objective,
    taus: Array = TAUS,
    n_margins: int = MARGINS,
) -> RejectOption:
    """The band of the largest balanced accuracy among those with |measure| <= ε - margin of `objective`.

    If there is none, the one with the smallest |measure| (AIF360 takes the smallest signed value, which may be the most
    negative), and feasible is False. Of equal bands the first in the order of the grid, as in AIF360.
    """
    widths = margins(taus, n_margins)
    C = band_counts(scores, y, s, n_groups, group, taus, widths).reshape(-1, n_groups, 2, 2)
    rho, mu = objective.parts(C)
    if np.isnan(mu).all():
        raise UserError(f"{objective.measure} is not defined on the validation rows; choose another measure.")
    inside = mu <= objective.epsilon - objective.margin
    at = int(np.argmax(np.where(inside, rho, -1.0))) if inside.any() else int(np.nanargmin(mu))
    tau, margin = taus[at // n_margins], widths.ravel()[at]
    return RejectOption(float(tau), float(margin), group, bool(inside.any()), bool(is_trivial(C[at])))


# ------------------------------------------------------------------------------------------------------ equalized odds


@dataclass(frozen=True)
class MixedDecisions:
    """Hardt, Price, Srebro (NeurIPS 2016): the favourable decision is given with the chance p[g, label] (G, 2) to a
    person of group g whom the model labels 0 or 1. dropped: rates that had no rows and were left unconstrained."""

    p: Array
    dropped: tuple[str, ...] = ()

    def decide(self, labels: Labels, s: Labels) -> Array:
        return np.asarray(self.p[s, labels])


def fit_equalized_odds(
    C: Counts, objective: str = "error", epsilon: float = 0.0, groups: tuple[str, ...] = ()
) -> MixedDecisions:
    """The linear programme over the mixing chances, for the model's own confusion tensor C (G, 2, 2).

    All groups' true positive rates lie within `epsilon` of each other, and so do the false positive rates. objective
    "error": fewest expected errors; "youden": sum over groups of false minus true positive rate, groups unweighted, as
    AIF360 has it. A rate of a group without such rows is not constrained. Feasible always: one decision for everyone.
    """
    from scipy.optimize import linprog  # a quarter of a second that nothing else has to wait for

    if objective not in ("error", "youden"):
        raise UserError(f"There is no objective {objective!r}; choose error or youden.")
    n_groups, rows = len(C), C.sum(-1).astype(float)  # (G, true class)
    given = C / np.maximum(rows, 1)[..., None]  # P(label | true class, group), (G, 2, 2)
    weight = rows / rows.sum() if objective == "error" else (rows > 0).astype(float)
    cost = np.zeros(2 * n_groups + 2)  # p[g, 0], p[g, 1] of every group, then the lowest FPR and the lowest TPR
    bounds, limits, dropped = [], [], []
    for g in range(n_groups):
        place = slice(2 * g, 2 * g + 2)
        cost[place] = weight[g, 0] * given[g, 0] - weight[g, 1] * given[g, 1]
        for t, rate in enumerate(("false", "true")):
            if not rows[g, t]:
                dropped.append(f"{rate} positive rate of {groups[g] if groups else g}")
                continue
            own = np.zeros_like(cost)
            own[place], own[2 * n_groups + t] = given[g, t], -1.0
            bounds += [-own, own]  # lowest <= rate <= lowest + ε
            limits += [0.0, epsilon]
    solved = linprog(cost, A_ub=np.array(bounds), b_ub=np.array(limits), bounds=[(0, 1)] * len(cost), method="highs")
    if not solved.success or solved.x is None:
        raise UserError(f"The linear programme of equalized odds has no solution ({solved.message}); check the groups.")
    return MixedDecisions(np.clip(solved.x[: 2 * n_groups].reshape(n_groups, 2), 0, 1), tuple(dropped))


# ------------------------------------------------------------------------------------------- calibrated equalized odds


@dataclass(frozen=True)
class Calibrated:
    """Pleiss et al. (NeurIPS 2017): with chance `rate` a person of `group` is judged by the group's base rate instead
    of the own score. base_rates (2,); feasible: does that equalise the cost in full?"""

    group: int
    rate: float
    base_rates: tuple[float, float]
    feasible: bool

    def decide(self, scores: NDArray[np.floating], s: Labels, threshold: float = 0.5) -> Array:
        """The favourable decision is taken at `threshold` and above."""
        own = (np.asarray(scores, np.float64) >= threshold).astype(np.float64)
        instead = float(self.base_rates[self.group] >= threshold)
        return np.where(s == self.group, own + self.rate * (instead - own), own)

    def mixed(self, scores: NDArray[np.floating], s: Labels) -> Array:
        """Expected scores after mixing, (n,)."""
        own = np.asarray(scores, np.float64)
        return np.where(s == self.group, own + self.rate * (self.base_rates[self.group] - own), own)


COSTS = ("fpr", "fnr", "weighted")


def generalized_cost(scores: NDArray[np.floating], y: Labels, constraint: str) -> float:
    """Cost of scores for one group: "fpr" E[p | y = 0], "fnr" E[1 - p | y = 1], "weighted" half of each times its
    share of the rows."""
    scores = np.asarray(scores, np.float64)
    base = float(y.mean())
    fpr = float(scores[y == 0].mean()) if base < 1 else 0.0
    fnr = float((1 - scores[y == 1]).mean()) if base > 0 else 0.0
    if constraint == "weighted":
        return 0.5 * fpr * (1 - base) + 0.5 * fnr * base
    return fpr if constraint == "fpr" else fnr


def fit_calibrated(
    scores: NDArray[np.floating], y: Labels, s: Labels, constraint: str, share: float = 1.0
) -> Calibrated:
    """The mixing rate that makes the two groups' costs equal in expectation, times `share`.

    The group with the lower cost is the one whose scores are replaced. A rate above 1 is clipped (the trivial score
    does not cost enough: infeasible); a group that costs as much as its trivial score has rate 0.
    """
    if constraint not in COSTS:
        raise UserError(f"cost = {constraint} is not known; choose one of {', '.join(COSTS)}.")
    if s.max(initial=0) > 1:
        raise UserError("Calibrated equalized odds compares two groups; choose a sensitive attribute with two.")
    parts = [(scores[s == g], y[s == g]) for g in range(2)]
    base = [float(own.mean()) for _, own in parts]
    cost = [generalized_cost(p, own, constraint) for p, own in parts]
    low = int(np.argmin(cost))
    trivial = generalized_cost(np.full(len(parts[low][1]), base[low]), parts[low][1], constraint)
    room, needed = trivial - cost[low], cost[1 - low] - cost[low]
    rate = needed / room if room > 1e-12 else 0.0
    feasible = rate <= 1 and (room > 1e-12 or needed < 1e-12)
    return Calibrated(low, share * min(max(rate, 0.0), 1.0), (base[0], base[1]), feasible)


# ------------------------------------------------------------------------------------------------------------ decisions


def draw(chances: Array, seed: int) -> Array:
    """0 or 1 per row, 1 with the given chance; the same for the same seed and rows."""
    return (np.random.default_rng([seed, 11]).random(len(chances)) < chances).astype(np.float64)
