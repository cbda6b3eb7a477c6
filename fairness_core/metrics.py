"""Every metric by name, with the words the screen shows for it; flags; bootstrap intervals of all metrics at once.

Values are fractions, never percent, and NaN means "not defined on this data". Class 1 is the favourable class when
there are two; the reference group of signed differences is the last one (group 0 minus group 1 when there are two).
The arithmetic and its rules are in measures.py, the statistics in intervals.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import intervals, measures
from .config import UserError
from .intervals import (
    SeedSummary,
    newcombe,
    noise_floor,
    over_seeds,
    paired_difference,
    percentiles,
    resample,
    wilson,
)
from .measures import Counts, Rates, Values, confusion_tensor

__all__ = [
    "METRICS", "Metric", "Rates", "SeedSummary", "bias", "bootstrap", "confusion_tensor", "empty_cells", "evaluate",
    "explain", "flags", "group_rates", "is_trivial", "metric", "newcombe", "noise_floor", "over_seeds", "over_targets",
    "paired_difference", "percentiles", "phi", "resample", "wilson",
]  # fmt: skip

SMALL = 30  # rows of a (group, class) cell below which its rates are marked
EPSILON = 0.05  # Savani et al. 2020; also the default of AIF360's reject option


@dataclass(frozen=True)
class Metric:
    """One metric. low and high bound it (high None: the number of classes); better is "higher", "lower" or "zero";
    kind is "performance", "fairness" or "diagnostic"."""

    name: str
    title: str
    formula: str
    definition: str
    low: float
    high: float | None
    better: str
    kind: str
    source: str
    measure: Callable[[Rates], Values]

    def function(self, C: Counts) -> Values:
        """The metric of C (..., G, T, T) as float64 (...), NaN where it is not defined."""
        return np.asarray(self.measure(Rates(C)), dtype=np.float64)

    def disparity(self, values: Values) -> Values:
        """A fairness value as a distance from parity, >= 0: its magnitude, or 1 minus it for a ratio."""
        return np.asarray(1.0 - values if self.better == "higher" else np.abs(values))

    def to_json(self) -> dict[str, Any]:
        """Everything but the function."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "measure"}


def _phi(r: Rates, epsilon: float, measure: str, kind: str = "threshold") -> Values:
    rho, mu = measures.balanced_accuracy(r), METRICS[measure].disparity(METRICS[measure].measure(r))
    if kind == "threshold":
        inside = rho * (mu < epsilon)
    elif kind == "sharp":
        inside = rho * (1 - np.tanh(250 * (mu - epsilon))) / 2  # = rho * sigmoid(-500 (mu - epsilon)), free of overflow
    elif kind == "linear":
        inside = -0.75 * mu - 0.25 * (1 - rho)
    else:
        raise UserError(f"There is no objective {kind!r}; choose threshold, sharp or linear.")
    return np.where(np.isnan(mu), np.nan, inside)


def phi(
    C: Counts, epsilon: float = EPSILON, measure: str = "statistical_parity_difference", kind: str = "threshold"
) -> Values:
    r"""Objective of Savani et al. 2020: balanced accuracy if |measure| < epsilon (strict), else 0; (...,).

    kind "sharp" replaces the step by a steep sigmoid (k = 500) and "linear" is -0.75 |measure| - 0.25 (1 - rho); both
    guide a search. NaN where the measure is not defined. A constant classifier reaches 0.5: show `flags` beside it.
    """
    return _phi(Rates(C), epsilon, metric(measure).name, kind)


_ACC = r"P(\hat y=t\mid y=t,s)"
_AIF = "Bellamy et al. 2018 (AIF360)"
_AEDA = "Zhang & Sang 2020 (AEDA)"
_BADE = "BaDe, arXiv 2303.01504, and its code"
_FAIRLEARN = "Bird et al. 2020 (Fairlearn)"
_HARDT = "Hardt, Price & Srebro 2016"
_TV = r"\mathrm{TV}\big(P(\hat y\mid y=t,s),P(\hat y\mid y=t,s')\big)"
_DTPR, _DFPR = r"\Delta\mathrm{TPR}", r"\Delta\mathrm{FPR}"

METRICS: dict[str, Metric] = {m.name: m for m in (
    Metric("accuracy", "Accuracy", r"P(\hat y=y)", "Share of all people whose outcome is predicted correctly.",
           0, 1, "higher", "performance", "standard", measures.accuracy),
    Metric("balanced_accuracy", "Balanced accuracy", r"\tfrac1T\sum_t P(\hat y=t\mid y=t)",
           "Mean over true classes of the share predicted correctly, groups ignored; 1/T for a constant model.",
           0, 1, "higher", "performance", "Savani et al. 2020", measures.balanced_accuracy),
    Metric("bacc", "Group-balanced accuracy bACC", r"\operatorname{mean}_{t,s}" + _ACC,
           "Mean accuracy over all cells of true class and group, each cell counting the same.",
           0, 1, "higher", "performance", _AEDA, measures.cell_accuracy),
    Metric("eacc", "Equal accuracy EAcc", r"\tfrac14\sum_{t,s}" + _ACC,
           "Mean of the four cell accuracies of a binary task with two groups; the same quantity as bACC.",
           0, 1, "higher", "performance", _BADE, measures.cell_accuracy),
    Metric("worst_group_accuracy", "Worst-group accuracy", r"\min_{t,s}" + _ACC,
           "Accuracy of the cell of true class and group that is served worst.",
           0, 1, "higher", "performance", "Sagawa et al. 2020", measures.worst_group_accuracy),
    Metric("phi", "Objective φ", r"\rho\cdot\mathbf 1[|\mathrm{SPD}|<\varepsilon],\ \varepsilon=0.05",
           "Balanced accuracy if the statistical parity difference is inside the threshold ε, else 0.",
           0, 1, "higher", "performance", "Savani et al. 2020",
           lambda r: _phi(r, EPSILON, "statistical_parity_difference")),
    Metric("accuracy_parity_difference", "Accuracy gap",
           r"\max_s P(\hat y=y\mid s)-\min_s P(\hat y=y\mid s)",
           "Accuracy of the best-served group minus accuracy of the worst-served one.",
           0, 1, "lower", "fairness", "DVGE code, arXiv 2305.12178", measures.accuracy_parity_difference),
    Metric("bias_sum", "Model bias, sum over classes",
           r"\sum_t\big(\max_s-\min_s\big)" + _ACC,
           "Gap in accuracy between groups within one true class, added up over classes (the unit of the AEDA tables).",
           0, None, "lower", "fairness", _AEDA, measures.bias_sum),
    Metric("bias_mean", "Model bias, mean over classes",
           r"\tfrac1T\sum_t\big(\max_s-\min_s\big)" + _ACC,
           "Gap in accuracy between groups within one true class, averaged over classes.",
           0, 1, "lower", "fairness", _AEDA, measures.bias_mean),
    Metric("demographic_parity_difference", "Demographic parity difference",
           r"\max_s P(\hat y=1\mid s)-\min_s P(\hat y=1\mid s)",
           "Largest gap between groups in the share given the favourable prediction "
           "(with more than two classes: the class with the widest gap).",
           0, 1, "lower", "fairness", _FAIRLEARN, measures.demographic_parity_difference),
    Metric("demographic_parity_mean", "Demographic parity difference, mean over classes",
           r"\tfrac1T\sum_t\big(\max_s-\min_s\big)P(\hat y=t\mid s)",
           "Gap between groups in the share predicted as a class, averaged over classes.",
           0, 1, "lower", "fairness", "our reading for many classes", measures.demographic_parity_mean),
    Metric("demographic_parity_ratio", "Demographic parity ratio",
           r"\min_s P(\hat y=1\mid s)\,/\,\max_s P(\hat y=1\mid s)",
           "Smallest group's share of favourable predictions divided by the largest group's share "
           "(the four-fifths rule asks for 0.8).",
           0, 1, "higher", "fairness", _FAIRLEARN, measures.demographic_parity_ratio),
    Metric("statistical_parity_difference", "Statistical parity difference SPD (signed)",
           r"P(\hat y=1\mid s=0)-P(\hat y=1\mid s=1)",
           "Share of favourable predictions in group 0 minus that in group 1 "
           "(more groups: the difference to the last group that is largest in magnitude).",
           -1, 1, "zero", "fairness", _AIF, measures.statistical_parity_difference),
    Metric("equal_opportunity_difference", "Equal opportunity difference EOD (signed)",
           r"\mathrm{TPR}_{0}-\mathrm{TPR}_{1}",
           "True positive rate of group 0 minus that of group 1 "
           "(more groups: the difference to the last group that is largest in magnitude).",
           -1, 1, "zero", "fairness", _HARDT + "; " + _AIF, measures.equal_opportunity_difference),
    Metric("equal_opportunity_gap", "Equal opportunity gap EO", r"\max_s\mathrm{TPR}_s-\min_s\mathrm{TPR}_s",
           "Largest gap between groups in the share of deserving people who get the favourable prediction.",
           0, 1, "lower", "fairness", _HARDT, measures.equal_opportunity_gap),
    Metric("equal_opportunity_joint", "Joint-rate gap EO_joint",
           r"\max_s-\min_s\ P(\hat y=1,y=1\mid s)",
           "Gap in the share of a group that is both deserving and favoured: not zero even for a perfect model, "
           "only for comparison with the DVGE curves.",
           0, 1, "lower", "diagnostic", "DVGE code, arXiv 2305.12178", measures.equal_opportunity_joint),
    Metric("average_odds_difference", "Average odds difference AOD (signed)",
           r"\tfrac12(" + _DFPR + "+" + _DTPR + ")",
           "Mean of the signed gaps in false and true positive rate, group 0 minus group 1; the two can cancel, "
           "so read it beside the absolute one.",
           -1, 1, "zero", "fairness", _AIF, measures.average_odds_difference),
    Metric("average_absolute_odds_difference", "Average absolute odds difference AAOD",
           r"\tfrac12(|" + _DFPR + "|+|" + _DTPR + "|)",
           "Mean of the absolute gaps in false and true positive rate.",
           0, 1, "lower", "fairness", _AIF, measures.average_absolute_odds_difference),
    Metric("odds", "Odds (BaDe)", r"\tfrac12\sum_t|P(\hat y=t\mid y=t,0)-P(\hat y=t\mid y=t,1)|",
           "The same quantity as AAOD under the name of the BaDe tables, which print it in percent.",
           0, 1, "lower", "fairness", _BADE, measures.average_absolute_odds_difference),
    Metric("equalized_odds_difference", "Equalized odds difference",
           r"\max(|" + _DTPR + "|,|" + _DFPR + r"|)=\max_{t,s,s'}" + _TV,
           "The larger of the gaps in true and in false positive rate between any two groups.",
           0, 1, "lower", "fairness", _HARDT + "; " + _FAIRLEARN, measures.equalized_odds_difference),
    Metric("equalized_odds_sum", "Equalized odds, sum", r"|" + _DTPR + "|+|" + _DFPR + "|",
           "The gaps in true and in false positive rate added up (eodd of the FFB benchmark).",
           0, None, "lower", "fairness", "Han et al. 2024 (FFB)", measures.equalized_odds_sum),
    Metric("predictive_parity_difference", "Predictive parity difference",
           r"\max_s-\min_s\ P(y=1\mid\hat y=1,s)",
           "Gap between groups in how often a favourable prediction is right.",
           0, 1, "lower", "fairness", "Chouldechova 2017", measures.predictive_parity_difference),
    Metric("base_rate_difference", "Base-rate difference (signed)", r"P(y=1\mid s=0)-P(y=1\mid s=1)",
           "How far the groups differ in the true outcome: a property of the data, not of the model.",
           -1, 1, "zero", "diagnostic", "standard", measures.base_rate_difference),
)}  # fmt: skip


def metric(name: str) -> Metric:
    """METRICS[name], or a UserError that lists the names."""
    if name not in METRICS:
        raise UserError(f"There is no metric {name!r}; choose one of {', '.join(METRICS)}.")
    return METRICS[name]


def evaluate(C: Counts, names: Iterable[str] | None = None) -> dict[str, Any]:
    """{metric: value} of C (..., G, T, T): floats for one tensor, float64 arrays (...) for a batch."""
    rates = Rates(C)
    values = {name: metric(name).measure(rates) for name in (METRICS if names is None else names)}
    return {name: float(v) for name, v in values.items()} if np.ndim(C) == 3 else values


def over_targets(C: Counts, names: Iterable[str] | None = None) -> dict[str, float]:
    """{metric: value} of several binary targets, C (A, G, 2, 2): the mean over targets, but the sum of bias_sum (its
    unit in AEDA's tables) and the minimum of worst_group_accuracy (methods 2.7)."""
    summaries: dict[str, Callable[[Values], Any]] = {"bias_sum": np.sum, "worst_group_accuracy": np.min}
    found = {}
    for name, values in evaluate(C, names).items():
        defined = values[np.isfinite(values)]
        found[name] = float(summaries.get(name, np.mean)(defined)) if len(defined) else float("nan")
    return found


def bootstrap(
    C: Counts,
    names: Iterable[str] | None = None,
    n: int = 1000,
    seed: int = 0,
    scheme: str = "rows",
    level: float = 0.95,
) -> dict[str, tuple[Any, Any]]:
    """{metric: (low, high)} percentile intervals of SAMPLING noise, all metrics from the same n resamples.

    C is (..., G, T, T); low and high are floats, or arrays (...) for a batch. scheme "rows" resamples people,
    "stratified" keeps the size of every (s, y) cell; see intervals.bootstrap.
    """
    chosen = {name: metric(name).measure for name in (METRICS if names is None else names)}
    found = intervals.bootstrap(C, chosen, n, seed, scheme, level)
    return {name: (float(a), float(b)) if np.ndim(C) == 3 else (a, b) for name, (a, b) in found.items()}


def bias(C: Counts, how: str = "range") -> Values:
    """Gap between groups in the accuracy of each true class, (..., T): "range" (max - min), "mean_pairwise" (mean
    absolute difference over pairs) or "std"; with two groups the first two are AEDA's bias[t]."""
    recall = Rates(C).recall
    if how == "range":
        gap = measures.spread(recall)
    elif how == "mean_pairwise":
        first, second = np.triu_indices(len(recall), 1)
        gap = measures.defined_mean(np.abs(recall[first] - recall[second]))
    elif how == "std":
        gap = np.sqrt(measures.defined_mean((recall - measures.defined_mean(recall)) ** 2))
    else:
        raise UserError(f"There is no bias summary {how!r}; choose range, mean_pairwise or std.")
    return np.moveaxis(gap, 0, -1)


def group_rates(C: Counts, positive: int = 1) -> dict[str, Values]:
    """Rates per group, each (..., G): accuracy, selection_rate, tpr, fpr, tnr, fnr, base_rate, n.

    With more than two classes these are one-versus-rest for the class `positive`.
    """
    r = Rates(C)
    tpr = r.recall[:, positive]
    fpr = measures.ratio(r.predicted[:, positive] - r.hits[:, positive], r.n - r.rows[:, positive])
    rates = {
        "accuracy": r.accuracy,
        "selection_rate": r.selection[:, positive],
        "tpr": tpr,
        "fpr": fpr,
        "tnr": 1 - fpr,
        "fnr": 1 - tpr,
        "base_rate": r.base[:, positive],
        "n": r.n,
    }
    return {name: np.moveaxis(values, 0, -1) for name, values in rates.items()}


def empty_cells(C: Counts) -> list[tuple[int, int]]:
    """The (group, true class) cells of one tensor (G, T, T) that hold no rows; their rates are NaN."""
    return [(int(s), int(t)) for s, t in np.argwhere(np.asarray(C).sum(-1) == 0)]


def is_trivial(C: Counts) -> NDArray[np.bool_]:
    """(...,): nearly one decision for everyone (all other classes predicted for under 2 %), or balanced accuracy
    under 0.55 (1.1 times chance with more classes)."""
    r = Rates(C)
    shares = measures.ratio(r.predicted.sum(0), r.n.sum(0))
    return np.asarray((1 - shares.max(0) < 0.02) | (measures.balanced_accuracy(r) < 1.1 / r.classes), dtype=np.bool_)


def flags(C: Counts, groups: Sequence[str] | None = None, classes: Sequence[str] | None = None) -> list[str]:
    """What a reader of this tensor (G, T, T) must know; `explain` turns each into a sentence.

    "trivial", "aod_cancels", "empty_cell:GROUP,CLASS" and "small_group:GROUP,CLASS" (under 30 rows).
    """
    C = np.asarray(C)
    groups = groups or [str(s) for s in range(C.shape[-3])]
    classes = classes or [str(t) for t in range(C.shape[-1])]
    found = ["trivial"] if is_trivial(C) else []
    signed, absolute = evaluate(C, ["average_odds_difference", "average_absolute_odds_difference"]).values()
    if abs(signed) < absolute / 2:
        found.append("aod_cancels")
    rows = C.sum(-1)
    found += [f"empty_cell:{groups[s]},{classes[t]}" for s, t in empty_cells(C)]
    found += [f"small_group:{groups[s]},{classes[t]}" for s, t in np.argwhere((rows > 0) & (rows < SMALL))]
    return found


def explain(flag: str) -> str:
    """One sentence for a flag."""
    kind, _, cell = flag.partition(":")
    group, _, label = cell.rpartition(",")
    sentences = {
        "trivial": "The model gives nearly everyone the same decision or hardly beats guessing, so a small gap means "
        "nothing here.",
        "aod_cancels": "The gaps in true and false positive rate have opposite signs and cancel in the average odds "
        "difference; read the absolute one.",
        "empty_cell": f"No row of group {group} has the true class {label}, so rates that need it are not defined.",
        "small_group": f"Fewer than {SMALL} rows of group {group} have the true class {label}, so its rates are very "
        "uncertain.",
        "diverged": f"The loss stopped being finite at step {cell}; the last good weights are shown.",
    }
    if kind not in sentences:
        raise UserError(f"There is no flag {flag!r}; known flags are {', '.join(sentences)}.")
    return sentences[kind]
