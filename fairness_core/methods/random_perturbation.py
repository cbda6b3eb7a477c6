"""Random perturbation (Savani et al. 2020, algorithm 1): of many noisy copies of a trained network the best is kept."""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from fairness_core import posthoc
from fairness_core.batches import Rows, Scale
from fairness_core.config import Event, RunConfig, control
from fairness_core.datasets import Dataset, Split
from fairness_core.methods.base import Intra, register
from fairness_core.stack import Stack
from fairness_core.thresholds import Choice, select

CHUNK = 24  # copies evaluated as one; more would no longer fit the processor's cache
ROWS = 2048  # per forward pass


@register
@dataclass(frozen=True)
class RandomPerturbation(Intra):
    """Multiplies every weight of the trained network by a factor drawn around 1, T times anew, gives each copy its best
    threshold, and keeps the best copy.

    Trial 0 is the network as it is, so the result is never worse on validation than a threshold alone. Trial i is the
    same whatever T is. Running statistics of batch normalisation stay; weights that are zero stay zero.
    """

    name: ClassVar[str] = "random_perturbation"
    title: ClassVar[str] = "Random perturbation"
    paper: ClassVar[str] = "Savani, White, Govindarajulu, Intra-processing methods for debiasing, NeurIPS 2020, Alg. 1"
    formula: ClassVar[str] = (
        r"\theta'_j = \theta_j\, q_j,\quad q_j \sim \mathcal N(1, \sigma^2),\qquad"
        r"\max_{\theta',\tau}\ \varphi_{\mu,\rho,\varepsilon}"
    )

    trials: int = control(101, 10, 1000, symbol="T", help="How many copies are tried, the unchanged one included.")
    sigma: float = control(0.1, 0.01, 0.3, symbol="σ", help="Standard deviation of the factors around 1.")
    layers: str = control(
        "all", choices=("all", "last"), help="Which weights are multiplied: all, or the last layer's.", group="advanced"
    )

    def fit(self, model: nn.Module, data: Dataset, run: RunConfig) -> Generator[Event, None, nn.Module]:
        posthoc.need_groups(data, self.name)
        rows, n_groups = data.validation, len(data.groups)
        best, best_trial, done = Choice(0.5, -np.inf, 0, 0, 0, False, False), 0, 0
        for scores in self.scores(model, rows, run.seed):
            for choice in select(scores, rows.y, rows.s, n_groups, self.goal, seed=run.seed):
                if choice.value > best.value:
                    best, best_trial = choice, done
                done += 1
                yield Event("training", done, self.trials, posthoc.trial(choice, best))
        network = self.copy(model, best_trial, run.seed)
        values = {**posthoc.outcome(best), "trial": float(best_trial), **posthoc.moved(model, network)}
        yield from posthoc.final_events(data, network, lambda _, p: p > best.tau, values, self.trials)
        return posthoc.Thresholded(network, best.tau)

    def scores(self, model: nn.Module, split: Split, seed: int) -> Iterator[np.ndarray]:
        """Scores of all trials on a split, some trials at a time: (copies, n)."""
        rows = Rows.of(split, torch.float32, Scale())
        picture = split.x.ndim > 2
        size = 4 if picture else CHUNK
        stack = Stack([model] * min(size, self.trials))
        stack.training = False
        originals = [p.detach().clone() for p in stack.leaves]
        for start in range(0, self.trials, size):
            copies = min(size, self.trials - start)
            for r in range(copies):
                self._perturb(stack, originals, r, start + r, seed)
            with torch.no_grad():
                parts = [stack(rows.take(slice(k, k + ROWS)).x)[:, 0] for k in range(0, len(rows), ROWS)]
            yield torch.sigmoid(torch.cat(parts, 1))[:copies].numpy()

    @torch.no_grad()
    def _perturb(self, stack: Stack, originals: list[Tensor], replica: int, number: int, seed: int) -> None:
        factors = self._factors(stack.parameters, number, seed)
        for (name, p), original in zip(stack.parameters.items(), originals, strict=True):
            p[replica] = original[replica] * factors[name] if name in factors else original[replica]

    def _factors(
        self, parameters: Mapping[str, Tensor], number: int, seed: int, stacked: bool = True
    ) -> dict[str, Tensor]:
        """What each parameter is multiplied by in trial `number`; none in trial 0."""
        if number == 0:
            return {}
        generator = torch.Generator().manual_seed((seed * 1_000_003 + number) % 2**63)
        names = [name for name in parameters if self.layers == "all" or name.startswith("head.")]
        shapes = {name: parameters[name].shape[1:] if stacked else parameters[name].shape for name in names}
        return {name: 1 + self.sigma * torch.randn(shape, generator=generator) for name, shape in shapes.items()}

    @torch.no_grad()
    def copy(self, model: nn.Module, number: int, seed: int) -> nn.Module:
        """A copy of the model as it was in trial `number`."""
        network = copy.deepcopy(model).eval()
        parameters = dict(network.named_parameters())
        for name, factor in self._factors(parameters, number, seed, stacked=False).items():
            parameters[name].mul_(factor)
        return network
