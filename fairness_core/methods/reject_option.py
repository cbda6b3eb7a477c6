"""Reject option classification (Kamiran, Karim, Zhang 2012): the unsure cases are decided by group."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from fairness_core import posthoc
from fairness_core import postprocessing as post
from fairness_core.config import Event, RunConfig, control
from fairness_core.datasets import Dataset
from fairness_core.methods.base import EPSILONS, PostHoc, register
from fairness_core.metrics import EPSILON
from fairness_core.thresholds import MEASURES, Objective


@register
@dataclass(frozen=True)
class RejectOption(PostHoc):
    """Where the score is within a margin of the threshold, the disadvantaged group gets the favourable decision and
    everybody else the unfavourable one.

    Threshold and margin are the pair of a 100 x 50 grid with the largest balanced accuracy among those whose gap is at
    most ε on the validation split. With more than two groups one is disadvantaged, and the gap is that of all groups.
    """

    name: ClassVar[str] = "reject_option"
    title: ClassVar[str] = "Reject option"
    family: ClassVar[str] = "post"
    needs_sensitive_at_test: ClassVar[bool] = True
    paper: ClassVar[str] = "Kamiran, Karim, Zhang, Decision theory for discrimination-aware classification, ICDM 2012"
    formula: ClassVar[str] = (
        r"\hat y = \mathbf 1[s = \text{disadvantaged}]\ \text{if}\ \tau-m < p_\theta(x) \le \tau+m,"
        r"\quad \text{else}\ \mathbf 1[p_\theta(x) > \tau]"
    )

    epsilon: float = control(
        EPSILON,
        0.0,
        1.0,
        symbol="ε",
        tradeoff=True,
        grid=EPSILONS,
        help="The largest gap that is allowed on validation.",
    )
    measure: str = control(MEASURES[0], choices=MEASURES, help="How the gap is measured.")
    margin: float = control(
        0.0, 0.0, 0.1, help="How much inside ε the gap must be where the band is chosen.", group="advanced"
    )
    unprivileged: str = control(
        "", help="The disadvantaged group by its name; empty: the one with the fewest favourable outcomes.",
        group="advanced",
    )  # fmt: skip

    def fit(self, model: nn.Module, data: Dataset, run: RunConfig) -> Generator[Event, None, nn.Module]:
        posthoc.need_groups(data, self.name)
        rows, n_groups = data.validation, len(data.groups)
        post.need_every_group(rows.s, data.groups)
        group = post.disadvantaged(rows.y, rows.s, data.groups, self.unprivileged)
        scores = posthoc.scores(model, rows)
        objective = Objective(self.measure, self.epsilon, self.margin)
        found = post.fit_reject_option(scores, rows.y, rows.s, n_groups, group, objective)
        C = posthoc.expected_counts(rows.y, found.decide(scores, rows.s), rows.s, n_groups)
        values = posthoc.chosen(C, objective, {"tau": found.tau, "margin": found.margin, "group": float(group)})
        yield Event("training", 1, 1, values, C)
        yield from posthoc.final_events(data, model, lambda split, p: found.decide(p, split.s), values, 1)
        return GroupThresholds(model, torch.from_numpy(found.thresholds(n_groups)))


class GroupThresholds(nn.Module):
    """(x, s) -> logits of the network minus the logit of the group's own threshold; thresholds (G,)."""

    thresholds: Tensor

    def __init__(self, network: nn.Module, thresholds: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("thresholds", thresholds.double())

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        limits = torch.logit(self.thresholds.clamp(0, 1))[s].unsqueeze(1)
        return (logits.double() - limits).to(logits.dtype)
