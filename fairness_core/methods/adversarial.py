"""Adversarial debiasing on the prediction: an adversary tries to read the group off the model's output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fairness_core.batches import Batch, task_loss
from fairness_core.config import control
from fairness_core.methods.base import (
    NOTIONS,
    PredictionAdversary,
    adversary_input,
    adversary_loss,
    group_entropy,
    register,
)
from fairness_core.training import Learner

GRID = (0, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.3, 1.6, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 10, 13, 16, 20)


@register
@dataclass(frozen=True)
class Adversarial(PredictionAdversary):
    """The model minimises its own loss minus λ times the adversary's, which guesses the group from the model's logit.

    After Zhang, Lemoine and Mitchell (2018) without their projection term. The reward is capped at the entropy of the
    group, since an adversary that is confidently wrong for a moment is no sign of parity. λ is the trade-off.
    """

    name: ClassVar[str] = "adversarial"
    title: ClassVar[str] = "Adversarial (prediction)"
    paper: ClassVar[str] = "Zhang, Lemoine, Mitchell, Mitigating unwanted biases with adversarial learning, AIES 2018"
    replayable: ClassVar[bool] = True
    formula: ClassVar[str] = (
        r"\min_\theta\; \mathrm{CE}(f_\theta(x), y)"
        r" - \lambda\,\min\{\mathrm{CE}(a_\omega(f_\theta(x)[, y]), s),\, H(s)\}"
        r"\qquad \min_\omega\; \mathrm{CE}(a_\omega(f_\theta(x)[, y]), s)"
    )
    lam: float = control(
        1.0,
        0.0,
        1000.0,
        symbol="λ",
        tradeoff=True,
        grid=GRID,
        help="Weight of fooling the adversary; 0 is the untreated model.",
    )
    notion: str = control(
        "demographic_parity",
        choices=NOTIONS,
        help="What the adversary sees: the prediction; the prediction and the true class; or only rows of class 1.",
    )
    adversary_hidden: int = control(64, 0, 4096, help="Hidden neurons of the adversary; 0 = linear.", group="advanced")
    adversary_steps: int = control(1, 1, 20, help="Adversary steps per model step.", group="advanced")

    @property
    def sees(self) -> tuple[str, int]:
        return self.notion, self.adversary_hidden

    def update(self, learner: Learner, batch: Batch, progress: float) -> dict[str, Tensor]:
        model, adversary = learner.model, learner.adversary
        logits = model.net(batch.x)
        seen = adversary_input(self.notion, logits, batch.y, len(learner.group_shares))
        for _ in range(self.adversary_steps):
            adversary.descend(adversary_loss(self.notion, adversary.net(seen.detach()), batch))
        loss = task_loss(logits, batch)
        fooled = adversary_loss(self.notion, adversary.net.frozen(seen), batch)
        reward = torch.minimum(fooled, group_entropy(self.notion, learner.group_shares))
        model.descend(loss - learner.lam * reward)
        return {"loss": loss.detach(), "adversary_loss": fooled.detach()}
