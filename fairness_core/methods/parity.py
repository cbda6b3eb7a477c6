"""A differentiable penalty on the gap between the groups' mean scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fairness_core.batches import Batch, task_loss
from fairness_core.config import control
from fairness_core.methods.base import NOTIONS, InProcessing, register
from fairness_core.training import Learner

GRID = (0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2)


@register
@dataclass(frozen=True)
class Parity(InProcessing):
    """Adds λ times the gap of mean predicted scores between groups to the loss, batch by batch.

    For two groups this is the Fair Fairness Benchmark's DiffDP (DiffEOdd, DiffEOpp); for more, the mean gap over all
    pairs of groups, weighted by the number of pairs of rows (our reading). λ is the trade-off.
    """

    name: ClassVar[str] = "parity"
    title: ClassVar[str] = "Parity penalty"
    paper: ClassVar[str] = "Han et al., FFB: A Fair Fairness Benchmark for in-processing methods, ICLR 2024 (DiffDP)"
    replayable: ClassVar[bool] = True
    formula: ClassVar[str] = (
        r"\min_\theta\; \mathrm{CE}(f_\theta(x), y) + \lambda \sum_{a<b} w_{ab}\, "
        r"\bigl|\,\mathbb{E}[p_\theta \mid s=a] - \mathbb{E}[p_\theta \mid s=b]\,\bigr|"
    )

    lam: float = control(
        1.0, 0.0, 1000.0, symbol="λ", tradeoff=True, grid=GRID, help="Weight of the penalty; 0 is the untreated model."
    )
    notion: str = control(
        "demographic_parity",
        choices=NOTIONS,
        help="Which mean scores must agree: of all rows; of each true class; or of class 1 alone.",
    )

    def update(self, learner: Learner, batch: Batch, progress: float) -> dict[str, Tensor]:
        logits = learner.model.net(batch.x)
        loss = task_loss(logits, batch)
        gap = score_gap(self.notion, logits, batch, *learner.group_shares.shape)
        learner.model.descend(loss + learner.lam * gap)
        return {"loss": loss.detach(), "fairness_loss": gap.detach()}


def score_gap(notion: str, logits: Tensor, batch: Batch, n_classes: int, n_groups: int) -> Tensor:
    """The penalty of every replica, (R,). A batch in which fewer than two groups appear contributes 0."""
    scores = torch.sigmoid(logits) if logits.shape[1] == 1 else torch.softmax(logits, 1)
    masks = {
        "demographic_parity": [torch.ones_like(batch.y, dtype=torch.bool)],
        "equalized_odds": [batch.y == t for t in range(n_classes)],
        "equal_opportunity": [batch.y == 1],
    }[notion]
    gaps = [_pairwise_gap(scores, batch.s, mask, n_groups) for mask in masks]
    return torch.stack(gaps).sum(0)


def _pairwise_gap(scores: Tensor, s: Tensor, mask: Tensor, n_groups: int) -> Tensor:
    members = (s.unsqueeze(-2) == torch.arange(n_groups).unsqueeze(1)) & mask.unsqueeze(-2)  # ([R,] groups, rows)
    members = members.to(scores.dtype)
    n = members.sum(-1)  # ([R,] groups)
    means = scores @ members.transpose(-1, -2) / n.clamp(min=1).unsqueeze(-2)  # (R, outputs, groups)
    gaps = (means.unsqueeze(-1) - means.unsqueeze(-2)).abs().sum(1)  # (R, groups, groups)
    if scores.shape[1] > 1:
        gaps = gaps / 2  # total variation
    pairs = torch.triu(n.unsqueeze(-1) * n.unsqueeze(-2), diagonal=1)
    weights = pairs / pairs.sum((-1, -2), keepdim=True).clamp(min=1)
    return (gaps * weights).sum((-1, -2))
