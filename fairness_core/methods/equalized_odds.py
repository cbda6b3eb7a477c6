"""Equalized odds post-processing (Hardt, Price, Srebro 2016): decisions are drawn by group and label."""

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

GRID = (0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.13, 0.16, 0.2, 0.3)


@register
@dataclass(frozen=True)
class EqualizedOdds(PostHoc):
    """A person of group s whom the model labels ŷ gets the favourable decision with a chance p(s, ŷ), such that true
    and false positive rates agree between groups on the validation split.

    The chances solve a linear programme, for any number of groups. ε relaxes it (ours): rates may differ by up to ε.
    """

    name: ClassVar[str] = "equalized_odds"
    title: ClassVar[str] = "Equalized odds (drawn)"
    family: ClassVar[str] = "post"
    needs_sensitive_at_test: ClassVar[bool] = True
    paper: ClassVar[str] = "Hardt, Price, Srebro, Equality of opportunity in supervised learning, NeurIPS 2016"
    formula: ClassVar[str] = (
        r"\min_{p\in[0,1]}\ \mathbb E[\text{errors}]\quad \text{s.t.}\quad"
        r"|\widetilde{\mathrm{TPR}}_a-\widetilde{\mathrm{TPR}}_b|\le\varepsilon,\ "
        r"|\widetilde{\mathrm{FPR}}_a-\widetilde{\mathrm{FPR}}_b|\le\varepsilon"
    )

    epsilon: float = control(
        0.0, 0.0, 1.0, symbol="ε", tradeoff=True, grid=GRID,
        help="How far true and false positive rates may lie apart on validation; 0 is the method of the paper.",
    )  # fmt: skip
    objective: str = control(
        "error",
        choices=("error", "youden"),
        help="What is minimised: expected errors (the paper), or false minus true positive rates (AIF360).",
    )
    mode: str = control(
        "sampled",
        choices=("sampled", "expected"),
        help="sampled: decisions are drawn once with the run's seed; expected: counts are averages over draws.",
    )
    threshold: float = control(0.5, 0.0, 1.0, help="Scores above it are labelled 1 first.", group="advanced")

    def fit(self, model: nn.Module, data: Dataset, run: RunConfig) -> Generator[Event, None, nn.Module]:
        posthoc.need_groups(data, self.name)
        rows, n_groups = data.validation, len(data.groups)
        post.need_every_group(rows.s, data.groups)
        scores = posthoc.scores(model, rows)
        before = posthoc.expected_counts(rows.y, scores > self.threshold, rows.s, n_groups)
        found = post.fit_equalized_odds(before, self.objective, self.epsilon, data.groups)
        made = Mixed(model, found.p, self.threshold, run.seed if self.mode == "sampled" else None)
        after = posthoc.expected_counts(rows.y, made.chances(scores, rows.s), rows.s, n_groups)
        told = {f"chance_{g}_{label}": float(found.p[g, label]) for g in range(n_groups) for label in (0, 1)}
        told |= {"dropped": float(len(found.dropped)), "feasible": float(not found.dropped)}
        values = posthoc.chosen(after, Objective("average_absolute_odds_difference", EPSILON), told)
        yield Event("training", 1, 1, values, after)
        yield from posthoc.final_events(data, model, made.decide, values, 1)
        return made


class Mixed(posthoc.GroupDecisions):
    """Decisions with the chances p (G, 2) by group and label."""

    p: Tensor

    def __init__(self, network: nn.Module, p: np.ndarray, threshold: float, seed: int | None) -> None:
        super().__init__(network, seed)
        self.threshold = threshold
        self.register_buffer("p", torch.from_numpy(p))

    def chances(self, scores: np.ndarray, s: np.ndarray) -> np.ndarray:
        return post.MixedDecisions(self.p.numpy()).decide((scores > self.threshold).astype(np.int64), s)
