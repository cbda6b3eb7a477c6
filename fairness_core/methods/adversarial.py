"""Adversarial debiasing on the prediction: an adversary tries to read the group off the model's output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from fairness_core.config import control
from fairness_core.datasets import Dataset
from fairness_core.methods.base import (
    NOTIONS,
    InProcessing,
    adversary_gauges,
    adversary_input,
    adversary_loss,
    adversary_network,
    adversary_width,
    group_entropy,
    register,
)
from fairness_core.models import n_logits
from fairness_core.training import Batch, Learner, task_loss


@register
@dataclass(frozen=True)
class Adversarial(InProcessing):
    """The model minimises its own loss minus λ times the adversary's, which guesses the group from the model's logit.

    After Zhang, Lemoine and Mitchell (2018) without their projection term. The reward is capped at the entropy of the
    group, since an adversary that is confidently wrong for a moment is no sign of parity. λ is the trade-off.
    """

    name: ClassVar[str] = "adversarial"
    title: ClassVar[str] = "Adversarial (prediction)"
    paper: ClassVar[str] = "Zhang, Lemoine, Mitchell, Mitigating unwanted biases with adversarial learning, AIES 2018"
    formula: ClassVar[str] = (
        r"\min_\theta\; \mathrm{CE}(f_\theta(x), y) - \lambda\,\min\{\mathrm{CE}(a_\omega(f_\theta(x)[, y]), s),\, H(s)\}"
        r"\qquad \min_\omega\; \mathrm{CE}(a_\omega(f_\theta(x)[, y]), s)"
    )
    gauges_help: ClassVar[dict[str, str]] = {
        "adversary_accuracy": "How often the adversary guesses the group right; at chance it has nothing to go by.",
        "chance": "How often always naming the commonest group is right.",
    }

    lam: float = control(
        1.0, 0.0, 1000.0, symbol="λ", tradeoff=True, help="Weight of fooling the adversary; 0 is the untreated model."
    )
    notion: str = control(
        "demographic_parity",
        choices=NOTIONS,
        help="What the adversary sees: the prediction; the prediction and the true class; or only rows of class 1.",
    )
    adversary_hidden: int = control(64, 0, 4096, help="Hidden neurons of the adversary; 0 = linear.", group="advanced")
    adversary_steps: int = control(1, 1, 20, help="Adversary steps per model step.", group="advanced")

    def adversary(self, data: Dataset, network: nn.Module, seed: int) -> nn.Module | None:
        width = adversary_width(self.notion, data, n_logits(data))
        return adversary_network(width, self.adversary_hidden, len(data.groups), seed)

    def update(self, learner: Learner, batch: Batch, progress: float) -> dict[str, Tensor]:
        assert learner.adversary is not None and learner.adversary_optimizer is not None
        logits = learner.net(batch.x)
        seen = adversary_input(self.notion, logits, batch.y, len(learner.group_shares))
        for _ in range(self.adversary_steps):
            loss_a = adversary_loss(self.notion, learner.adversary(seen.detach()), batch)
            learner.adversary_optimizer.zero_grad()
            loss_a.sum().backward()
            learner.adversary_optimizer.step()
        loss = task_loss(logits, batch.y)
        fooled = adversary_loss(self.notion, learner.adversary.frozen(seen), batch)
        reward = torch.minimum(fooled, group_entropy(self.notion, learner.group_shares))
        learner.optimizer.zero_grad()
        (loss - learner.lam * reward).sum().backward()
        learner.optimizer.step()
        return {"loss": loss.detach(), "adversary_loss": fooled.detach()}

    def gauges(self, learner: Learner, batch: Batch) -> dict[str, Tensor]:
        return adversary_gauges(self.notion, learner, batch)
