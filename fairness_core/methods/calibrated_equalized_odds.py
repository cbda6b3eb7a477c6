"""Calibrated equalized odds (Pleiss et al. 2017): one kind of error is made equal, scores stay calibrated."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from fairness_core import posthoc
from fairness_core import postprocessing as post
from fairness_core.config import Event, RunConfig, control
from fairness_core.datasets import Dataset
from fairness_core.methods.base import PostHoc, register
from fairness_core.metrics import EPSILON
from fairness_core.thresholds import Objective

GRID = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)


@register
@dataclass(frozen=True)
class CalibratedEqualizedOdds(PostHoc):
    """The group that is served better is judged, with some chance, by its base rate instead of the score, until one
    kind of error costs both groups the same.

    It equalises that one cost only: the other gaps, and selection rates, usually stay or grow. Two groups.
    """

    name: ClassVar[str] = "calibrated_equalized_odds"
    title: ClassVar[str] = "Calibrated equalized odds"
    family: ClassVar[str] = "post"
    needs_sensitive_at_test: ClassVar[bool] = True
    paper: ClassVar[str] = "Pleiss, Raghavan, Wu, Kleinberg, Weinberger, On fairness and calibration, NeurIPS 2017"
    formula: ClassVar[str] = (
        r"\tilde p(x) = \pi_s\ \text{with chance}\ r = \frac{c_{\text{high}}-c_{\text{low}}}"
        r"{c_{\text{trivial}}-c_{\text{low}}},\quad \text{else}\ p_\theta(x)"
    )

    cost: str = control(
        "fpr",
        choices=post.COSTS,
        help="Which error is made equal: false positives, false negatives, or both weighted by base rates.",
    )
    share: float = control(
        1.0, 0.0, 1.0, symbol="r", tradeoff=True, grid=GRID,
        help="How much of the mixing rate is applied; at 1 the costs are equal, at 0 nothing is changed.",
    )  # fmt: skip
    mode: str = control(
        "sampled",
        choices=("sampled", "expected"),
        help="sampled: decisions are drawn once with the run's seed; expected: counts are averages over draws.",
    )
    threshold: float = control(
        0.5, 0.0, 1.0, help="Scores from it upwards get the favourable decision.", group="advanced"
    )

    def fit(self, model: nn.Module, data: Dataset, run: RunConfig) -> Generator[Event, None, nn.Module]:
        posthoc.need_groups(data, self.name, 2)
        rows = data.validation
        post.need_every_group(rows.s, data.groups)
        scores = posthoc.scores(model, rows)
        found = post.fit_calibrated(scores, rows.y, rows.s, self.cost, self.share)
        made = Judged(model, found, self.threshold, run.seed if self.mode == "sampled" else None)
        after = posthoc.expected_counts(rows.y, made.chances(scores, rows.s), rows.s, 2)
        mixed = found.mixed(scores, rows.s)
        costs = [post.generalized_cost(mixed[rows.s == g], rows.y[rows.s == g], self.cost) for g in range(2)]
        told = {"rate": found.rate, "group": float(found.group), "cost_gap": abs(costs[0] - costs[1])}
        told["feasible"] = float(found.feasible)
        values = posthoc.chosen(after, Objective("average_absolute_odds_difference", EPSILON), told)
        yield Event("training", 1, 1, values, after)
        yield from posthoc.final_events(data, model, made.decide, values, 1)
        return made


class Judged(posthoc.GroupDecisions):
    """Decisions by score, or with chance `rate` by the base rate of the one group."""

    rates: Tensor  # mixing rate of the group, base rates of both

    def __init__(self, network: nn.Module, found: post.Calibrated, threshold: float, seed: int | None) -> None:
        super().__init__(network, seed)
        self.threshold, self.group, self.feasible = threshold, found.group, found.feasible
        self.register_buffer("rates", torch.tensor([found.rate, *found.base_rates], dtype=torch.float64))

    def chances(self, scores: np.ndarray, s: np.ndarray) -> np.ndarray:
        rate, first, second = self.rates.tolist()
        return post.Calibrated(self.group, rate, (first, second), self.feasible).decide(scores, s, self.threshold)
