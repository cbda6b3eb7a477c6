"""Adversarial debiasing with the projection term of Zhang, Lemoine and Mitchell (2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fairness_core.batches import Batch, task_loss
from fairness_core.config import control
from fairness_core.methods.base import NOTIONS, PredictionAdversary, adversary_input, adversary_loss, register
from fairness_core.optimizer import project
from fairness_core.training import Learner

GRID = (0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1, 1.5, 2, 3, 4, 5)


@register
@dataclass(frozen=True)
class AdversarialZhang(PredictionAdversary):
    """The model's gradient loses the part that would help the adversary, and λ times the adversary's gradient.

    Equation (1) of the paper, with λ for its α. "global" projects all weights as one vector, as the formula is
    written; "per_tensor" projects each weight tensor by itself, as AIF360 and Fairlearn do. λ is the trade-off.
    """

    name: ClassVar[str] = "adversarial_zhang"
    title: ClassVar[str] = "Adversarial (Zhang, projection)"
    paper: ClassVar[str] = "Zhang, Lemoine, Mitchell, Mitigating unwanted biases with adversarial learning, AIES 2018"
    replayable: ClassVar[bool] = True
    formula: ClassVar[str] = (
        r"g = \nabla_\theta L_P - \mathrm{proj}_{\nabla_\theta L_A}\nabla_\theta L_P - \lambda \nabla_\theta L_A"
    )
    lam: float = control(
        1.0,
        0.0,
        1000.0,
        symbol="λ",
        tradeoff=True,
        grid=GRID,
        help="Weight of the adversary's gradient (the paper's α); at 0 the projection still acts.",
    )
    notion: str = control(
        "demographic_parity",
        choices=NOTIONS,
        help="What the adversary sees: the prediction; the prediction and the true class; or only rows of class 1.",
    )
    scope: str = control(
        "global", choices=("global", "per_tensor"), help="What the projection treats as one vector.", group="advanced"
    )
    adversary_hidden: int = control(64, 0, 4096, help="Hidden neurons of the adversary; 0 = linear.", group="advanced")

    @property
    def sees(self) -> tuple[str, int]:
        return self.notion, self.adversary_hidden

    def update(self, learner: Learner, batch: Batch, progress: float) -> dict[str, Tensor]:
        model, adversary = learner.model, learner.adversary
        logits = model.net(batch.x)
        loss = task_loss(logits, batch)
        seen = adversary_input(self.notion, logits, batch.y, len(learner.group_shares))
        loss_a = adversary_loss(self.notion, adversary.net(seen), batch)
        own, theirs = model.net.leaves, adversary.net.leaves
        grad_task = torch.autograd.grad(loss.sum(), own, retain_graph=True)
        grads = torch.autograd.grad(loss_a.sum(), [*own, *theirs])
        combined = project(grad_task, grads[: len(own)], learner.lam, self.scope)
        for p, g in zip([*own, *theirs], [*combined, *grads[len(own) :]], strict=True):
            p.grad = g
        model.optimizer.step()
        adversary.optimizer.step()
        return {"loss": loss.detach(), "adversary_loss": loss_a.detach()}
