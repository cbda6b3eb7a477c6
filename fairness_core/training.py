"""The one training loop. It trains a stack of replicas; a single run is a stack of one.

A method gives one gradient step (`Recipe.update`) and, if it has one, its adversary; everything else is the same for
all: the batches, the optimiser and its schedule, the live evaluations, the guard against divergence, the final results.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fairness_core.config import Budget, Event
from fairness_core.datasets import Dataset, Split
from fairness_core.optimizer import Adam
from fairness_core.stack import Stack

LIVE_EVALUATIONS = (4, 24)  # fewest and most live evaluations of a run
LIVE_ROWS = 1000
LIVE_SHARE = 0.06  # rows evaluated per row trained: forward only, so watching costs a run under 5 % of its time
EVALUATION_ROWS = 2048  # rows per forward pass of the final evaluation: small enough for the processor's cache

Events = list[tuple[int, Event]]  # (replica, what it reports)
Training = Generator[Events, None, list[nn.Module]]


@dataclass
class Batch:
    """Rows of one step.

    Shared by all replicas: x (rows, D), y and s (rows,). Each replica its own: x (R, D, rows), y and s (R, rows).
    """

    x: Tensor
    y: Tensor
    s: Tensor


@dataclass
class Player:
    """A stack of networks and the optimiser that moves them."""

    net: Stack
    optimizer: Adam

    def descend(self, losses: Tensor) -> None:
        """One step down the gradient of every replica's own loss; losses (R,)."""
        self.optimizer.zero_grad()
        backward(losses)
        self.optimizer.step()


@dataclass
class Learner:
    """What a recipe's step works on.

    lam: (R,), the trade-off of each replica; group_shares: (classes, groups), P(y, s) in the training split.
    """

    model: Player
    lam: Tensor
    group_shares: Tensor
    rival: Player | None = None

    @property
    def adversary(self) -> Player:
        """The second player, of the recipes that have one."""
        assert self.rival is not None, "this recipe has no adversary"
        return self.rival


def backward(losses: Tensor) -> None:
    """The gradient of the sum holds each replica's own, since replicas share no weight."""
    losses.sum().backward()  # type: ignore[no-untyped-call]


class Recipe(Protocol):
    """What a method that trains by gradients has to say; see methods/base.py."""

    @property
    def strength(self) -> float:
        """The trade-off λ of this replica."""

    def adversary(self, data: Dataset, network: nn.Module, seed: int) -> nn.Module | None:
        """The second network, its weights drawn from `seed`, or None."""

    def update(self, learner: Learner, batch: Batch, progress: float) -> dict[str, Tensor]:
        """One gradient step of every replica; named losses, each (R,)."""

    def gauges(self, learner: Learner, batch: Batch) -> dict[str, Tensor]:
        """Diagnostics on the live sample, each (R,)."""


@dataclass
class Job:
    """One stack to train: per replica its recipe, network and seed; data one for all, or one per replica."""

    recipes: Sequence[Recipe]
    networks: Sequence[nn.Module]
    seeds: Sequence[int]
    data: Sequence[Dataset]
    budget: Budget
    live: bool = True
    dtype: torch.dtype = torch.float32
    stop: threading.Event = field(default_factory=threading.Event)  # set it, and training ends after the current step
    learner: Learner = field(init=False)

    def __post_init__(self) -> None:
        shared_seed = len(set(self.seeds)) == 1
        net = Stack([n.to(self.dtype) for n in self.networks], self.seeds[:1] if shared_seed else self.seeds)
        replicas = zip(self.recipes, self.data, self.networks, self.seeds, strict=True)
        rivals = [recipe.adversary(data, network, seed) for recipe, data, network, seed in replicas]
        rival = player(Stack([r.to(self.dtype) for r in rivals if r]), self.budget) if rivals[0] else None
        lam = torch.tensor([r.strength for r in self.recipes], dtype=self.dtype)
        self.learner = Learner(player(net, self.budget), lam, shares(self.data[0], self.dtype), rival)

    @property
    def shared_rows(self) -> bool:
        """Do all replicas see the same batches?"""
        return len(set(self.seeds)) == 1 and all(d is self.data[0] for d in self.data)


def train(job: Job) -> Training:
    """Train the stack, yielding a list of (replica, Event) at every evaluation; returns the networks.

    Live events carry the mean losses since the last one, the recipe's gauges and the confusion tensor of a fixed sample
    of the validation split; the last two batches of events are the whole validation and test splits.
    """
    learner, net, budget = job.learner, job.learner.model.net, job.budget
    steps = total_steps(budget, max(len(d.train) for d in job.data))
    live = [sample(d, job.dtype) for d in job.data[: 1 if job.shared_rows else None]]
    report_at = set(evaluation_steps(steps, steps * budget.batch_size, len(live[0].y)) if job.live else [steps])
    guard = Guard(net)
    sums: dict[str, Tensor] = {}
    since = 0
    for step, batch in zip(range(1, steps + 1), batches(job), strict=False):
        schedule(learner, budget, step - 1)
        if job.stop.is_set():
            return []
        for name, value in job.recipes[0].update(learner, batch, (step - 1) / steps).items():
            sums[name] = sums[name] + value if name in sums else value.clone()
        since += 1
        if step in report_at:
            means = {name: value / since for name, value in sums.items()}
            guard.check(net, means, step)
            if job.live:
                yield live_events(job, live, means, step, steps)
            sums, since = {}, 0
    guard.restore(net)
    for stage in ("validation", "test"):
        yield final_events(job, stage, steps, guard)
    return [net.network(r) for r in range(len(net))]


def total_steps(budget: Budget, n: int) -> int:
    """Gradient steps of a run on n training rows."""
    steps = budget.epochs * -(-n // budget.batch_size)
    return min(steps, budget.max_steps) if budget.max_steps else steps


def evaluation_steps(steps: int, trained_rows: int, live_rows: int) -> list[int]:
    """When a run reports: early and often at first, so that something is seen at once; always at the end."""
    fewest, most = LIVE_EVALUATIONS
    n = min(most, max(fewest, int(LIVE_SHARE * trained_rows / max(live_rows, 1))))
    fractions = (np.arange(1, n + 1) / n) ** 1.5
    fractions[0] = min(fractions[0], 0.01)
    return sorted({max(1, round(steps * f)) for f in fractions})


def player(net: Stack, budget: Budget) -> Player:
    return Player(net, Adam(net, budget.lr, budget.weight_decay))


def schedule(learner: Learner, budget: Budget, step: int) -> None:
    """Step decay: the learning rate times 0.1 every `lr_step` steps."""
    if not budget.lr_step:
        return
    lr = budget.lr * 0.1 ** (step // budget.lr_step)
    for who in filter(None, (learner.model, learner.rival)):
        who.optimizer.lr = lr


def shares(data: Dataset, dtype: torch.dtype) -> Tensor:
    """P(y, s) in the training split, (classes, groups)."""
    n_groups = len(data.groups)
    counts = np.bincount(data.train.y * n_groups + data.train.s, minlength=len(data.classes) * n_groups)
    return torch.from_numpy(counts.reshape(-1, n_groups) / counts.sum()).to(dtype)


def batches(job: Job) -> Iterator[Batch]:
    """The rows of every step: one shuffle per seed and epoch, the same whether a run trains alone or in a stack."""
    size = job.budget.batch_size
    if job.shared_rows:
        x, y, s = tensors(job.data[0].train, job.dtype)
        for rows in minibatches(len(y), size, job.seeds[0]):
            yield Batch(x[rows], y[rows], s[rows])
    splits = [tensors(d.train, job.dtype) for d in job.data]
    streams = [minibatches(len(split[1]), size, seed) for split, seed in zip(splits, job.seeds, strict=True)]
    for picked in zip(*streams, strict=True):
        parts = [[t[rows] for t in split] for split, rows in zip(splits, picked, strict=True)]
        yield stack_rows(parts)


def minibatches(n: int, size: int, seed: int) -> Iterator[Tensor]:
    """Row numbers of one batch after the other, for ever: each epoch is a fresh shuffle of all n rows."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.split(torch.randperm(n, generator=generator), size)


def tensors(split: Split, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    return torch.from_numpy(split.x).to(dtype), torch.from_numpy(split.y), torch.from_numpy(split.s)


def stack_rows(parts: Sequence[Sequence[Tensor]]) -> Batch:
    """Each replica's own rows side by side, features first."""
    x, y, s = (torch.stack(list(column)) for column in zip(*parts, strict=True))
    return Batch(x.transpose(1, 2).contiguous(), y, s)


def sample(data: Dataset, dtype: torch.dtype) -> Batch:
    """The fixed rows of the validation split that live evaluations use (all, when there are few)."""
    order = np.random.default_rng(0).permutation(len(data.validation))[:LIVE_ROWS]
    part = data.validation
    return Batch(*tensors(Split(part.x[order], part.y[order], part.s[order]), dtype))


def live_events(job: Job, live: list[Batch], means: dict[str, Tensor], step: int, of: int) -> Events:
    batch = live[0] if job.shared_rows else stack_rows([(b.x, b.y, b.s) for b in live])
    net = job.learner.model.net
    with evaluating(net):
        counts = confusions(net, batch, job.data[0])
        values = {**means, **job.recipes[0].gauges(job.learner, batch)}
    table = {name: value.tolist() for name, value in values.items()}
    return [
        (r, Event("training", step, of, {name: column[r] for name, column in table.items()}, counts[r]))
        for r in range(len(counts))
    ]


def final_events(job: Job, stage: str, steps: int, guard: Guard) -> Events:
    """The confusion tensor of a whole split for every replica."""
    net, shape = job.learner.model.net, (len(job.data[0].groups), len(job.data[0].classes))
    total = np.zeros((len(net), shape[0], shape[1], shape[1]), np.int64)
    splits = [d.validation if stage == "validation" else d.test for d in job.data[: 1 if job.shared_rows else None]]
    with evaluating(net):
        for start in range(0, max(map(len, splits)), EVALUATION_ROWS):
            parts = [[t[start : start + EVALUATION_ROWS] for t in tensors(split, job.dtype)] for split in splits]
            total += confusions(net, Batch(*parts[0]) if job.shared_rows else stack_rows(parts), job.data[0])
    return [(r, Event(stage, steps, steps, guard.values(r), total[r])) for r in range(len(net))]


@contextmanager
def evaluating(net: Stack) -> Iterator[None]:
    """No gradients and no dropout inside the block."""
    net.training = False
    with torch.no_grad():
        yield
    net.training = True


def confusions(net: Stack, batch: Batch, data: Dataset) -> np.ndarray:
    """The confusion tensor of every replica on these rows: int64 (R, groups, classes, classes)."""
    n_groups, n_classes = len(data.groups), len(data.classes)
    logits = net(batch.x)  # (R, 1 or T, rows)
    predicted = (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)
    cells = n_groups * n_classes * n_classes
    index = ((batch.s * n_classes + batch.y) * n_classes) + predicted + cells * torch.arange(len(net)).unsqueeze(1)
    counts = torch.bincount(index.flatten(), minlength=len(net) * cells)
    return counts.view(len(net), n_groups, n_classes, n_classes).numpy()


def task_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy of every replica, (R,). logits (R, 1 or T, rows); y (rows,) or (R, rows)."""
    return row_losses(logits, y).mean(1)


def row_losses(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of every row, (R, rows)."""
    target = y.expand(len(logits), -1)
    if logits.shape[1] == 1:
        z = logits[:, 0]
        return F.softplus(z) - z * target
    return F.cross_entropy(logits, target, reduction="none")


class Guard:
    """Keeps each replica's last good weights, and notes the step at which a replica's loss stopped being finite."""

    def __init__(self, net: Stack) -> None:
        self.diverged: dict[int, int] = {}
        self._kept = [p.detach().clone() for p in net.leaves]

    @torch.no_grad()
    def check(self, net: Stack, losses: dict[str, Tensor], step: int) -> None:
        good = torch.stack([torch.isfinite(value) for value in losses.values()]).all(0)
        for p in net.leaves:
            good &= torch.isfinite(p).flatten(1).all(1)
        for r in (~good).nonzero().flatten().tolist():
            self.diverged.setdefault(r, step)
        for kept, p in zip(self._kept, net.leaves, strict=True):
            kept[good] = p[good]

    @torch.no_grad()
    def restore(self, net: Stack) -> None:
        """Give every diverged replica its last good weights back."""
        for r in self.diverged:
            for kept, p in zip(self._kept, net.leaves, strict=True):
                p[r] = kept[r]

    def values(self, replica: int) -> dict[str, float]:
        return {"diverged_at_step": float(self.diverged[replica])} if replica in self.diverged else {}
