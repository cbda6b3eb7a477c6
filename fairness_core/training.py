"""The one training loop. It trains a stack of replicas; a single run is a stack of one.

A method gives one gradient step (`Recipe.update`) and, if it has one, its adversary; everything else is the same for
all: the batches, the optimiser and its schedule, the live evaluations, the guard against divergence, the final results.
"""

from __future__ import annotations

import copy
import threading
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from fairness_core import devices, regression, replay
from fairness_core.batches import (
    Batch,
    Rows,
    Scale,
    horizontally_flipped,
    minibatches,
    side_by_side,
    task_loss,
    weights,
)
from fairness_core.config import SELECTIONS, Budget, Event, Exhibit
from fairness_core.datasets import Dataset, Split
from fairness_core.evaluation import confusions, error_sums, evaluating, predicted_numbers
from fairness_core.keeping import Guard, Kept
from fairness_core.once import Once
from fairness_core.optimizer import Adam
from fairness_core.pace import evaluation_steps, learning_rate, phase_ends
from fairness_core.preparation import class_weights
from fairness_core.stack import Stack

LIVE_ROWS, LIVE_PICTURES = 1000, 500  # of the validation split; fewer pictures, so that they are looked at more often
EVALUATION_ROWS = 2048  # rows per forward pass of the final evaluation: small enough for the processor's cache

Events = list[tuple[int, Event]]  # (replica, what it reports)
Finding = tuple[dict[str, float], Exhibit | None]
Training = Generator[Events, None, list[nn.Module]]


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

    lam: (R,), the trade-off of each replica; group_shares: (classes, groups), P(y, s) in the training split; memory:
    what the recipe's `begin` made; epoch and phase: the present ones, from 0; epochs are counted anew in every phase.
    """

    model: Player
    lam: Tensor
    group_shares: Tensor
    rival: Player | None = None
    memory: Any = None
    epoch: int = 0
    phase: int = 0

    @property
    def adversary(self) -> Player:
        """The second player, of the recipes that have one."""
        assert self.rival is not None, "this recipe has no adversary"
        return self.rival


def backward(losses: Tensor) -> None:
    """The gradient of the sum holds each replica's own, since replicas share no weight."""
    losses.sum().backward()  # type: ignore[no-untyped-call]  # a gradient given to it would make torch load sympy


class Recipe(Protocol):
    """What a method that trains by gradients has to say; see methods/base.py."""

    @property
    def strength(self) -> float:
        """The trade-off λ of this replica."""

    @property
    def on_gpu(self) -> bool:
        """Can it train on a GPU? If not, it trains on the processor wherever others do."""

    @property
    def replayable(self) -> bool:
        """Does every step do the same with its batch, so that a GPU may replay one? See replay.py."""

    @property
    def phases(self) -> Sequence[float]:
        """The lengths of its phases, one after the other, in budgets: (1,) for most."""

    def adversary(self, data: Dataset, network: nn.Module, seed: int) -> nn.Module | None:
        """The second network, its weights drawn from `seed`, or None."""

    def begin(self, job: Job) -> Any:
        """What the steps of a stack remember (Learner.memory); called once, before the first step."""

    def update(self, learner: Learner, batch: Batch, progress: float) -> dict[str, Tensor]:
        """One gradient step of every replica; named losses, each (R,)."""

    def shown(self, learner: Learner, batch: Batch) -> Tensor:
        """The logits that evaluations count, live and at the end."""

    def gauges(self, learner: Learner, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        """Diagnostics on the live sample, each (R,). logits: what `shown` gave for it."""

    def exhibits(self, learner: Learner) -> Sequence[Exhibit | None]:
        """What a page may show of this moment, per replica; called after `gauges`."""

    def end(self, learner: Learner) -> None:
        """Called once after the last step."""

    def inspect(self, learner: Learner, stage: str) -> Sequence[Finding]:
        """What else is to be said of a whole split at the end, per replica; () for nothing."""

    def finished(self, learner: Learner, replica: int, network: nn.Module) -> nn.Module:
        """The module x -> logits that people get, made of a replica's trained network."""


@dataclass
class Job:
    """One stack to train: per replica its recipe, network and seed; data one for all, or one per replica. common: what
    the stacks of one fit have in common and make once."""

    recipes: Sequence[Recipe]
    networks: Sequence[nn.Module]
    seeds: Sequence[int]
    data: Sequence[Dataset]
    budget: Budget
    live: bool = True
    dtype: torch.dtype = torch.float32
    stop: threading.Event = field(default_factory=threading.Event)  # set it, and training ends after the current step
    common: Once = field(default_factory=Once)
    device: torch.device = field(init=False)
    learner: Learner = field(init=False)
    scale: Scale = field(init=False)

    def __post_init__(self) -> None:
        self.device = devices.here() if self.recipes[0].on_gpu else devices.CPU
        self.scale = Scale.of(self.data[0])
        shared_seed = len(set(self.seeds)) == 1
        mixed = devices.in_16_bits(self.budget.precision, self.device)
        net = Stack(
            [self._placed(n) for n in self.networks], self.seeds[:1] if shared_seed else self.seeds, mixed=mixed
        )
        replicas = zip(self.recipes, self.data, self.networks, self.seeds, strict=True)
        rivals = [recipe.adversary(data, network, seed) for recipe, data, network, seed in replicas]
        rival = None
        if rivals[0]:
            rival = player(Stack([self._placed(r) for r in rivals if r], mixed=mixed), self.budget)
        lam = torch.tensor([r.strength for r in self.recipes], dtype=self.dtype, device=self.device)
        known = shares(self.data[0], self.dtype).to(self.device)
        self.learner = Learner(player(net, self.budget), lam, known, rival)

    def _placed(self, network: nn.Module) -> nn.Module:
        return copy.deepcopy(network).to(self.device, self.dtype)

    def step(self) -> Callable[[Batch, float], dict[str, Tensor]]:
        """What is done with every batch, at what progress."""
        recipe, drops = self.recipes[0], self.learner.model.net.drops
        update = partial(recipe.update, self.learner)
        return replay.step(update) if self.device.type == "cuda" and recipe.replayable and not drops else update

    @property
    def shared_rows(self) -> bool:
        """Do all replicas see the same batches? Their weights may differ."""
        same = self.data[0].train
        return len(set(self.seeds)) == 1 and all(d.train.x is same.x and d.train.y is same.y for d in self.data)

    @property
    def turns_pictures(self) -> bool:
        """Do batches hold pictures that may be turned left to right?"""
        return self.budget.augment == "horizontal_flip" and self.data[0].train.x.ndim > 2

    def rows(self, role: str) -> list[Rows]:
        """A split of every replica's data ("train", "validation", "test"); of the one data set when they share it."""
        own: list[Split] = [getattr(d, role) for d in self.data]
        if not self.shared_rows:
            made = {id(split): Rows.of(split, self.dtype, self.scale) for split in {id(s): s for s in own}.values()}
            return [made[id(split)] for split in own]
        shared = Rows.of(own[0], self.dtype, self.scale)
        known = [split.w for split in own if split.w is not None]
        if len({id(w) for w in known}) > 1:
            each = [weights(w, self.dtype) for w in known]
            shared = replace(shared, w=torch.cat(each) if each[0].dim() == 3 else torch.stack(each))
        return [shared]


def train(job: Job) -> Training:
    """Train the stack where it is to be trained; see `_train`."""
    return devices.making_on(job.device, _train(job))


def _train(job: Job) -> Training:
    """Train the stack, yielding a list of (replica, Event) at every evaluation; returns the networks.

    Live events carry the mean losses since the last one, the recipe's gauges and the confusion tensor of a fixed sample
    of the validation split; the last two batches of events are the whole validation and test splits.
    """
    learner, net, budget, recipe = job.learner, job.learner.model.net, job.budget, job.recipes[0]
    n = max(len(d.train) for d in job.data)
    ends, epoch = phase_ends(budget, n, recipe.phases), -(-n // budget.batch_size)
    steps = ends[-1]
    learner.memory = recipe.begin(job)
    live = sample(job)
    report_at = {*ends}  # a mean over two phases would mix their losses
    if job.live:
        report_at |= {*evaluation_steps(steps, steps * budget.batch_size, live.s.shape[-1])}
    guard, best = Guard(net), Best(job, steps) if budget.select == "validation_loss" else None
    sums: dict[str, Tensor] = {}
    since, update = 0, job.step()
    for step, batch in zip(range(1, steps + 1), batches(job), strict=False):
        learner.phase = bisect_left(ends, step)
        start = ends[learner.phase - 1] if learner.phase else 0
        learner.epoch = (step - 1 - start) // epoch
        schedule(learner, budget, step - 1 - start, ends[learner.phase] - start)
        if job.stop.is_set():
            return []
        for name, value in update(batch, (step - 1) / steps).items():
            sums[name] = sums[name] + value if name in sums else value.clone()
        since += 1
        if step in report_at:
            means = {name: value / since for name, value in sums.items()}
            guard.check(means, step)
            if job.live:
                yield live_events(job, live, means, step, steps)
            sums, since = {}, 0
        if best and learner.phase == len(ends) - 1:  # what an earlier phase trains is not the result
            best.look(step)
    recipe.end(learner)
    if best:
        best.restore()
    guard.restore()
    for stage in ("validation", "test"):
        yield final_events(job, stage, steps, guard)
    return [recipe.finished(learner, r, in_units(net.network(r), job.scale)) for r in range(len(net))]


def later(first: int) -> Callable[[Event], Event]:
    """Events of a part before which `first` steps were made, as events of the whole."""
    return lambda event: replace(event, step=first + event.step, of=first + event.of)


def in_units(network: nn.Module, scale: Scale) -> nn.Module:
    """A regression's network is trained on standardised targets; its last layer takes the units back."""
    if scale != Scale():
        head = network.get_submodule("head")
        assert isinstance(head, nn.Linear)
        with torch.no_grad():
            head.weight.mul_(scale.sd)
            head.bias.mul_(scale.sd).add_(scale.mean)
    return network


def player(net: Stack, budget: Budget) -> Player:
    return Player(net, Adam(net.leaves, budget.lr, budget.weight_decay))


def schedule(learner: Learner, budget: Budget, step: int, steps: int) -> None:
    """The learning rate of this step, where it changes; a method may have rates of its own."""
    if not budget.lr_step and budget.lr_decay == "none":
        return
    for who in filter(None, (learner.model, learner.rival)):
        who.optimizer.lr = learning_rate(budget, step, steps)


def shares(data: Dataset, dtype: torch.dtype) -> Tensor:
    """P(y, s) in the training split, (classes, groups)."""
    n_groups = len(data.groups)
    y = data.train.y
    if data.task == "regression":
        y = np.digitize(y, data.edges)
    elif data.task == "multilabel":
        y = y[:, 0]  # methods that look at the class refuse several targets
    counts = np.bincount(y * n_groups + data.train.s, minlength=len(data.classes) * n_groups)
    return torch.from_numpy(counts.reshape(-1, n_groups) / counts.sum()).to(dtype)


def batches(job: Job) -> Iterator[Batch]:
    """The rows of every step: one shuffle per seed and epoch, the same whether a run trains alone or in a stack."""
    if job.shared_rows:
        yield from _stream(job, job.rows("train")[0], job.seeds[0])
        return
    own = list(zip(job.rows("train"), job.seeds, strict=True))
    keys = [(id(rows), seed) for rows, seed in own]
    alike = dict(zip(keys, own, strict=True))  # replicas of one seed and one data set meet the same rows
    places = None if len(alike) == len(own) else torch.tensor([list(alike).index(key) for key in keys])
    for each in zip(*(_stream(job, rows, seed) for rows, seed in alike.values()), strict=True):
        parts = side_by_side(each)
        yield parts if places is None else parts.of(places)


def _stream(job: Job, rows: Rows, seed: int) -> Iterator[Batch]:
    """One batch of these rows after the other, for ever."""
    made = (rows.take(picked) for picked in minibatches(len(rows), job.budget.batch_size, seed))
    return horizontally_flipped(made, seed) if job.turns_pictures else made


def in_parts(job: Job, splits: Sequence[Rows]) -> Iterator[Batch]:
    """A whole split, some rows at a time; all replicas' own splits are equally long."""
    for start in range(0, max(map(len, splits)), EVALUATION_ROWS):
        parts = [rows.take(slice(start, start + EVALUATION_ROWS)) for rows in splits]
        yield parts[0] if job.shared_rows else side_by_side(parts)


def sample(job: Job) -> Batch:
    """The fixed rows of the validation split that live evaluations use (all, when there are few)."""
    parts = []
    for rows in job.rows("validation"):
        most = LIVE_PICTURES if rows.x.dim() > 2 else LIVE_ROWS
        order = np.random.default_rng(0).permutation(len(rows))[:most]
        parts.append(rows.take(torch.as_tensor(order)))
    return parts[0] if job.shared_rows else side_by_side(parts)


def live_events(job: Job, batch: Batch, means: dict[str, Tensor], step: int, of: int) -> Events:
    net = job.learner.model.net
    with evaluating(net):
        logits, data = job.recipes[0].shown(job.learner, batch), job.data[0]
        counts = confusions(logits, batch, data, job.scale)
        errors = error_sums(logits, batch, data, job.scale) if data.task == "regression" else [None] * len(counts)
        values = {**means, **job.recipes[0].gauges(job.learner, batch, logits)}
        exhibits = job.recipes[0].exhibits(job.learner) or [None] * len(counts)
    table = {name: value.tolist() for name, value in values.items()}
    told = [{name: column[r] for name, column in table.items()} for r in range(len(counts))]
    return [
        (r, Event("training", step, of, told[r], counts[r], errors=errors[r], exhibit=exhibits[r]))
        for r in range(len(counts))
    ]


def final_events(job: Job, stage: str, steps: int, guard: Guard) -> Events:
    """The confusion tensor of a whole split for every replica; of a binary task its scores, of a regression its
    predictions and their measures."""
    net, data, splits = job.learner.model.net, job.data[0], job.rows(stage)
    counts, scores = [], []
    with evaluating(net):
        for batch in in_parts(job, splits):
            logits = job.recipes[0].shown(job.learner, batch)
            counts.append(confusions(logits, batch, data, job.scale))
            if data.task == "binary":
                scores.append(torch.sigmoid(logits[:, 0]).float().cpu().numpy())
            if data.task == "regression":
                scores.append(predicted_numbers(logits, job.scale))
    total = np.sum(counts, 0)
    values = [guard.values(r) for r in range(len(net))]
    found = job.recipes[0].inspect(job.learner, stage) or [({}, None)] * len(net)
    told = list(np.concatenate(scores, 1)) if scores else [None] * len(net)
    if data.task == "regression":
        for own, predicted, rows in zip(values, np.concatenate(scores, 1), job.data, strict=True):
            own |= regression.evaluate(regression.of_split(predicted, rows, stage))
    return [
        (r, Event(stage, steps, steps, values[r] | said, total[r], told[r], exhibit=exhibit))
        for r, (said, exhibit) in enumerate(found)
    ]


class Best:
    """Keeps each replica's weights at its lowest loss on the whole validation split; classes count as in training."""

    def __init__(self, job: Job, steps: int) -> None:
        self._job, self._kept = job, Kept(job.learner.model.net)
        self._rows, self._every, self._steps = job.rows("validation"), max(1, steps // SELECTIONS), steps
        if job.budget.class_weights == "balanced":
            own = [class_weights(data.validation) for data in job.data[: len(self._rows)]]
            self._rows = [replace(rows, w=weights(w, job.dtype)) for rows, w in zip(self._rows, own, strict=True)]
        self._lowest = torch.full((len(job.networks),), torch.inf, dtype=job.dtype)

    def look(self, step: int) -> None:
        if step % self._every and step < self._steps:
            return
        net, total = self._job.learner.model.net, torch.zeros_like(self._lowest)
        with evaluating(net):
            for batch in in_parts(self._job, self._rows):
                total += task_loss(net(batch.x), batch) * batch.mass
        better = total < self._lowest
        self._lowest = torch.where(better, total, self._lowest)
        self._kept.keep(better)

    def restore(self) -> None:
        self._kept.give_back(torch.isfinite(self._lowest).nonzero().flatten().tolist())
