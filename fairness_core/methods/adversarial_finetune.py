"""Adversarial fine-tuning (Savani et al. 2020, algorithm 3): a critic predicts the bias of mini-batches, the network
is tuned until the critic finds none."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from fairness_core import posthoc
from fairness_core.batches import Batch, task_loss
from fairness_core.config import Event, RunConfig, control
from fairness_core.critics import Critic, Sampler, Tuned, answers, labels, soft_gap
from fairness_core.datasets import Dataset
from fairness_core.methods.base import Intra, register

FRESH = 50  # mini-batches on which the critic is judged


@register
@dataclass(frozen=True)
class AdversarialFinetune(Intra):
    """Two phases per epoch: a critic learns to predict the bias of a mini-batch from the network's features, then the
    network is tuned with a loss that grows where the predicted bias leaves the band.

    The weights after every epoch are judged on rows that were kept back, and the best are returned, those it came with
    included. If the critic's R² stays near 0 it predicts the mean, its gradient vanishes, and this is mere fine-tuning:
    take larger batches or more critic steps.
    """

    name: ClassVar[str] = "adversarial_finetune"
    title: ClassVar[str] = "Adversarial fine-tuning"
    paper: ClassVar[str] = "Savani, White, Govindarajulu, Intra-processing methods for debiasing, NeurIPS 2020, Alg. 3"
    formula: ClassVar[str] = (
        r"\min_\theta\ \max\{1,\ \lambda(|g(f'_\theta(X))|-\varepsilon+\delta)+1\}\cdot \mathrm{BCE}(f_\theta(X), Y)"
    )
    gauges_help: ClassVar[dict[str, str]] = {
        "critic_r2": "How well the critic predicts the bias of fresh mini-batches; under 0.1 it knows little more than "
        "the mean and hardly steers.",
        "predicted_gap": "Mean magnitude of the bias the critic sees in the mini-batches of the tuning phase.",
        "pressed": "Share of tuning steps in which the predicted bias left the band.",
    }

    lam: float = control(20.0, 0.0, 100.0, symbol="λ", help="How steeply the loss grows outside the band.")
    epochs: int = control(16, 1, 64, help="Rounds of a critic phase and a tuning phase.")
    critic_steps: int = control(201, 1, 1000, symbol="m", help="Steps of the critic per round.", group="advanced")
    actor_steps: int = control(101, 1, 1000, symbol="m′", help="Tuning steps per round.", group="advanced")
    batch: int = control(64, 8, 1024, symbol="B", help="Rows of a mini-batch.", group="advanced")
    lr: float = control(
        1e-3, 1e-6, 0.1, help="Learning rate of the network (the authors: 1e-4).", symbol="η", group="advanced"
    )
    critic_lr: float = control(1e-3, 1e-6, 0.1, help="Learning rate of the critic.", group="advanced")
    critic: str = control(
        "pooled",
        choices=("pooled", "flatten"),
        help="pooled: mean and spread of what it makes of every row; flatten: the whole batch as one long row, as in "
        "the authors' code.",
        group="advanced",
    )
    critic_sees_labels: str = control(
        "yes",
        choices=("yes", "no"),
        help="Are class and group shown to the critic as well (ours)? The authors' sees features alone: on tables "
        "its R² stays near 0, and the network is hardly steered.",
        group="advanced",
    )
    penalty: str = control(
        "factor",
        choices=("factor", "sum"),
        help="factor: the loss is multiplied, as in the paper; sum: λ times the excess is added, which presses on when "
        "the loss is near 0.",
        group="advanced",
    )
    split: float = control(
        0.3, 0.0, 0.8, group="advanced",
        help="Share of the validation rows that judge the rounds; 0: all rows tune and judge, as in the authors' code.",
    )  # fmt: skip

    def fit(self, model: nn.Module, data: Dataset, run: RunConfig) -> Generator[Event, None, nn.Module]:
        posthoc.need_groups(data, self.name)
        tuned = Tuned(model, data, self.split, self.lr, run.seed, self.goal)
        duel = Duel(self, tuned, len(data.groups), run.seed)
        yield Event("training", 0, self.epochs, posthoc.trial(tuned.best, tuned.best))
        for epoch in range(1, self.epochs + 1):
            gauges = {**duel.teach(), **duel.tune()}
            yield Event("training", epoch, self.epochs, {**posthoc.trial(tuned.look(), tuned.best), **gauges})
        network, choice = tuned.finish()
        values = {**posthoc.outcome(choice), **posthoc.moved(model, network)}
        yield from posthoc.final_events(data, network, lambda _, p: p > choice.tau, values, self.epochs)
        return posthoc.Thresholded(network, choice.tau)


class Duel:
    """The two phases of one epoch."""

    def __init__(self, method: AdversarialFinetune, tuned: Tuned, n_groups: int, seed: int) -> None:
        self._method, self._tuned, self._n_groups = method, tuned, n_groups
        rows = tuned.rows
        self._sampler = Sampler(rows.y.numpy(), rows.s.numpy(), method.batch, seed)
        size = len(self._sampler.draw())
        extra = 2 if method.critic_sees_labels == "yes" else 0
        self.critic = Critic(method.critic, tuned.n_features, size, method.critic_lr, seed, extra)

    def teach(self) -> dict[str, float]:
        """The critic phase: the network stands still, so its features are computed once for all rows."""
        h, p = answers(self._tuned.net, self._tuned.rows)
        for _ in range(self._method.critic_steps):
            seen, truth = self._example(h, p)
            self.critic.learn(self.critic(seen, learning=True), truth)
        with torch.no_grad():
            fresh = [self._example(h, p) for _ in range(FRESH)]
            pairs = [(self.critic(seen, learning=False), truth) for seen, truth in fresh]
        guess, truth = (torch.stack(list(column)) for column in zip(*pairs, strict=True))
        unexplained = ((guess - truth) ** 2).mean() / truth.var(correction=0).clamp(min=1e-12)
        return {"critic_r2": float(1 - unexplained)}

    def _example(self, h: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        """Features of a fresh mini-batch, and its soft bias."""
        picked, rows = self._sampler.draw(), self._tuned.rows
        y, s = rows.y[picked], rows.s[picked]
        truth = soft_gap(p[picked], y, s, self._n_groups, self._method.measure)
        return self._shown(h[:, :, picked], Batch(h, y, s)), truth

    def _shown(self, h: Tensor, batch: Batch) -> Tensor:
        return torch.cat([h, labels(batch, h.dtype)], 1) if self._method.critic_sees_labels == "yes" else h

    def tune(self) -> dict[str, float]:
        """The actor phase: the critic stands still, and gradients flow through it to the network."""
        gaps, pressed = [], 0
        for _ in range(self._method.actor_steps):
            batch = self._tuned.rows.take(self._sampler.draw())
            loss, gap, factor = self.loss(batch)
            self._tuned.player.descend(loss)
            gaps.append(gap)
            pressed += factor > 1
        return {"predicted_gap": sum(gaps) / len(gaps), "pressed": pressed / len(gaps)}

    def loss(self, batch: Batch) -> tuple[Tensor, float, float]:
        """What the network descends, (1,); the predicted bias; the factor c (in a sum: 1 and the excess)."""
        method, net = self._method, self._tuned.net
        net.training = True
        h = net.features(batch.x)
        bce = task_loss(net.head(h), batch)
        gap = self.critic(self._shown(h, batch), learning=False).abs()
        excess = method.lam * torch.relu(gap - method.epsilon + method.margin)
        loss = (1 + excess) * bce if method.penalty == "factor" else bce + excess
        return loss, float(gap.detach()), 1 + float(excess.detach())
