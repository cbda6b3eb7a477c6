"""Adversarial debiasing of the features, by gradient reversal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fairness_core.batches import Batch, row_losses, task_loss
from fairness_core.config import control
from fairness_core.datasets import Dataset
from fairness_core.evaluation import decided
from fairness_core.methods.base import InProcessing, adversary_network, register
from fairness_core.models import Classifier
from fairness_core.training import Learner, backward

GRID = (0, 0.2, 0.4, 0.6, 0.8, 1, 1.3, 1.6, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 10, 12, 15, 20)


@register
@dataclass(frozen=True)
class AdversarialGRL(InProcessing):
    """An adversary guesses the group from the features; the features receive its gradient reversed, times λ.

    Ganin et al. (2016), the "Adv debiasing" baseline of the AEDA paper (arXiv 2007.13632). Rows are weighted so that
    every group counts the same in the adversary's loss. λ grows from 0 to its value over the run; it is the trade-off.
    """

    name: ClassVar[str] = "adversarial_grl"
    title: ClassVar[str] = "Adversarial (features, GRL)"
    paper: ClassVar[str] = "Ganin et al., Domain-adversarial training of neural networks, JMLR 17, 2016"
    formula: ClassVar[str] = (
        r"\min_{f,h}\max_{a}\; \mathrm{CE}(h(f(x)), y) - \lambda_p\,\mathrm{CE}(a(f(x)), s),\quad "
        r"\lambda_p = \lambda\left(\tfrac{2}{1+e^{-10p}}-1\right)"
    )
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "multilabel", "regression")
    gauges_help: ClassVar[dict[str, str]] = {
        "adversary_accuracy": "How often the adversary names the group from the features, every group weighted alike.",
        "chance": "What a guess that knows nothing reaches: one over the number of groups.",
    }

    lam: float = control(
        1.0, 0.0, 1000.0, symbol="λ", tradeoff=True, grid=GRID, help="Weight of the reversed gradient (the paper's Λ)."
    )
    adversary_hidden: int = control(100, 0, 4096, help="Hidden neurons of the adversary; 0 = linear.", group="advanced")

    def adversary(self, data: Dataset, network: nn.Module, seed: int) -> nn.Module | None:
        assert isinstance(network, Classifier)
        return adversary_network(network.head.in_features, self.adversary_hidden, len(data.groups), seed)

    def update(self, learner: Learner, batch: Batch, progress: float) -> dict[str, Tensor]:
        model, adversary = learner.model, learner.adversary
        h = model.net.features(batch.x)
        loss = task_loss(model.net.head(h), batch)
        lam = learner.lam * (2 / (1 + math.exp(-10 * progress)) - 1)
        guess = adversary.net(Reversed.apply(h, lam.view(-1, 1, 1)))
        weights = (1 / learner.group_shares.sum(0).clamp(min=1e-12))[batch.s]
        loss_a = (row_losses(guess, batch.s) * weights).sum(1) / weights.sum(-1)
        model.optimizer.zero_grad()
        adversary.optimizer.zero_grad()
        backward(loss + loss_a)
        model.optimizer.step()
        adversary.optimizer.step()
        return {"loss": loss.detach(), "adversary_loss": loss_a.detach()}

    def gauges(self, learner: Learner, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        right = decided(learner.adversary.net(learner.model.net.features(batch.x))) == batch.s
        s = batch.s.expand_as(right)
        members = [s == g for g in range(learner.group_shares.shape[1])]
        recalls = torch.stack([(right & rows).sum(1) / rows.sum(1) for rows in members])
        return {"adversary_accuracy": recalls.nanmean(0), "chance": torch.full((len(right),), 1 / len(members))}


class Reversed(torch.autograd.Function):
    """The identity whose gradient is multiplied by -lam; h (R, ...), lam (R, 1, ...)."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, lam: Tensor) -> Tensor:
        ctx.save_for_backward(lam)
        return h.view_as(h)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (lam,) = ctx.saved_tensors
        return -lam * grad, None
