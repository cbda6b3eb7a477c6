"""Zhang's projected adversarial gradient in intra form (baseline of Savani et al. 2020): a trained network is tuned on
the validation rows."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from fairness_core import posthoc
from fairness_core.batches import Batch, row_losses, task_loss
from fairness_core.config import Event, RunConfig, control
from fairness_core.critics import WIDTH, Sampler, Tuned, answers, player
from fairness_core.datasets import Dataset
from fairness_core.evaluation import decided
from fairness_core.methods.base import Intra, register
from fairness_core.models import dense, seeded
from fairness_core.optimizer import project
from fairness_core.training import Player


@register
@dataclass(frozen=True)
class ZhangFinetune(Intra):
    """An adversary reads the group off the features of the trained network; the network's gradient loses the part that
    would help it, and α times the adversary's gradient.

    Rounds of adversary steps and tuning steps; the weights after every round are judged on rows that were kept back,
    and the best are returned, those it came with included.
    """

    name: ClassVar[str] = "zhang_finetune"
    title: ClassVar[str] = "Zhang's gradient, fine-tuned"
    paper: ClassVar[str] = "Zhang, Lemoine, Mitchell, AIES 2018, as a baseline in Savani et al., NeurIPS 2020"
    formula: ClassVar[str] = (
        r"g = \nabla_\theta L_P - \mathrm{proj}_{\nabla_\theta L_A}\nabla_\theta L_P - \alpha \nabla_\theta L_A"
    )
    gauges_help: ClassVar[dict[str, str]] = {
        "adversary_accuracy": "How often the adversary guesses the group of a row right.",
        "chance": "How often always naming the commonest group is right.",
    }

    alpha: float = control(0.8, 0.0, 100.0, symbol="α", help="Weight of the adversary's gradient.")
    epochs: int = control(24, 1, 64, help="Rounds of adversary steps and tuning steps.")
    adversary_steps: int = control(201, 1, 1000, help="Steps of the adversary per round.", group="advanced")
    actor_steps: int = control(201, 1, 1000, help="Tuning steps per round.", group="advanced")
    batch: int = control(64, 8, 1024, symbol="B", help="Rows of a mini-batch.", group="advanced")
    lr: float = control(1e-4, 1e-6, 0.1, help="Learning rate of network and adversary.", group="advanced")
    split: float = control(
        0.3, 0.0, 0.8, group="advanced",
        help="Share of the validation rows that judge the rounds; 0: all rows tune and judge, as in the authors' code.",
    )  # fmt: skip

    def fit(self, model: nn.Module, data: Dataset, run: RunConfig) -> Generator[Event, None, nn.Module]:
        posthoc.need_groups(data, self.name)
        tuned = Tuned(model, data, self.split, self.lr, run.seed, self.goal)
        adversary = self._adversary(tuned, len(data.groups), run.seed)
        sampler = Sampler(tuned.rows.y.numpy(), tuned.rows.s.numpy(), self.batch, run.seed)
        yield Event("training", 0, self.epochs, posthoc.trial(tuned.best, tuned.best))
        for epoch in range(1, self.epochs + 1):
            gauges = self._teach(tuned, adversary, sampler)
            for _ in range(self.actor_steps):
                self._tune(tuned, adversary, tuned.rows.take(sampler.draw()))
            yield Event("training", epoch, self.epochs, {**posthoc.trial(tuned.look(), tuned.best), **gauges})
        network, choice = tuned.finish()
        values = {**posthoc.outcome(choice), **posthoc.moved(model, network)}
        yield from posthoc.final_events(data, network, lambda _, p: p > choice.tau, values, self.epochs)
        return posthoc.Thresholded(network, choice.tau)

    def _adversary(self, tuned: Tuned, n_groups: int, seed: int) -> Player:
        outputs = 1 if n_groups == 2 else n_groups
        with seeded(seed + 1_000_003):
            hidden = dense((tuned.n_features, WIDTH, WIDTH, WIDTH))
            return player(nn.Sequential(*hidden, nn.Linear(WIDTH, outputs)), self.lr)

    def _teach(self, tuned: Tuned, adversary: Player, sampler: Sampler) -> dict[str, float]:
        """The adversary learns the group from features that stand still."""
        h, _ = answers(tuned.net, tuned.rows)
        s = tuned.rows.s
        for _ in range(self.adversary_steps):
            picked = sampler.draw()
            adversary.descend(row_losses(adversary.net(h[:, :, picked]), s[picked]).mean(1))
        with torch.no_grad():
            right = decided(adversary.net(h)) == s
        return {"adversary_accuracy": float(right.float().mean()), "chance": float(s.bincount().max() / len(s))}

    def _tune(self, tuned: Tuned, adversary: Player, batch: Batch) -> None:
        net = tuned.net
        net.training = True
        h = net.features(batch.x)
        own = net.leaves
        task = torch.autograd.grad(task_loss(net.head(h), batch).sum(), own, retain_graph=True)
        against = row_losses(adversary.net.frozen(h), batch.s).mean()
        theirs = torch.autograd.grad(against, own, allow_unused=True)
        filled = [torch.zeros_like(p) if g is None else g for p, g in zip(own, theirs, strict=True)]
        alpha = torch.full((1,), self.alpha)
        for p, g in zip(own, project(task, filled, alpha, "global"), strict=True):
            p.grad = g
        tuned.player.optimizer.step()
