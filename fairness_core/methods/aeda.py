"""AEDA: training data balanced by adversarial examples of their own rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from fairness_core import probes
from fairness_core.attack_budget import (
    alpha_control,
    ball,
    epsilon_control,
    norm_control,
    steps_control,
    tint_control,
)
from fairness_core.attacks import Ball, perturb
from fairness_core.balance import FILL_CLASSES, MODES, aims
from fairness_core.batches import Batch, Rows, row_losses, task_loss
from fairness_core.config import Exhibit, UserError, control
from fairness_core.costs import AEDA_VARIANTS
from fairness_core.datasets import Dataset, Split
from fairness_core.evaluation import decided
from fairness_core.fillers import Fillers
from fairness_core.keeping import Kept
from fairness_core.methods.base import InProcessing, register, renewed
from fairness_core.models import Classifier, dense, layer_sizes, seeded
from fairness_core.optimizer import Adam
from fairness_core.replay import Function, Named, where_it_pays
from fairness_core.stack import Stack
from fairness_core.training import Job, Learner, Player
from fairness_core.twins import Keeper, Maker, Twins, chosen, exhibits, joined

GRID = tuple(round(k / 10, 1) for k in range(11))
Both = Callable[[Tensor], tuple[Tensor, Tensor]]  # x -> logits of the target, logits of the group


@dataclass
class Memory:
    """What the steps of one stack remember.

    rows: the training rows; sample: the few that a diagnosis looks at; start: the untrained weights; judge: the
    networks that the twins are made against, None before the first are made; move: the `attack` on them; generations:
    how many times twins were made anew; shown: what the last look saw, for the page; fillers: what twins are made of
    instead of the batches.
    """

    job: Job
    rows: list[Rows]
    sample: Batch
    start: Kept
    ball: Ball
    keeper: Keeper
    epoch: int = -1
    phase: int = 0
    judge: Both | None = None
    move: Function | None = None
    generations: int = 0
    shown: Sequence[Exhibit] = ()
    fillers: Fillers | None = None


@register
@dataclass(frozen=True)
class AEDA(InProcessing):
    """Every training row gets an adversarial twin that a bias head takes for another group while the class stays; the
    model learns from both.

    Zhang and Sang, ACM MM 2020. "pre" makes the twins once, against networks trained beforehand, for a fresh model;
    "once", "online" and "robust" make them against the model in training and a head that reads the group off its
    features; "robust" trains that head on the twins as well. The attack is Eq. 3 by iterative FGSM; λ weighs its loss
    of the group against that of the class and is the trade-off. The paper makes twins once an epoch (refresh 1); made
    anew for every batch (refresh 0, ours) they and the head keep up with the model. The twins of small pictures are
    tinted before they are moved pixel by pixel (ours, `attacks`): without it the head may learn that whatever is grainy
    belongs to one group, and twins of that group then stay where they are. Budgets, widths and λ are not in the paper;
    the defaults were chosen on C-MNIST's validation pictures.
    """

    name: ClassVar[str] = "aeda"
    title: ClassVar[str] = "AEDA (adversarial examples)"
    paper: ClassVar[str] = "Zhang and Sang, Towards accuracy-fairness paradox, ACM Multimedia 2020, arXiv 2007.13632"
    formula: ClassVar[str] = (
        r"x_{adv} = \arg\min_{\lVert x'-x\rVert\le\varepsilon}"
        r" \lambda\,\mathrm{CE}(h_b(f(x')), b') + (1-\lambda)\,\mathrm{CE}(h_t(f(x')), t)"
    )
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "multilabel")
    gauges_help: ClassVar[Mapping[str, str]] = {
        "attack_success": "Share of twins that the bias head (of pre: the bias network) takes for the other group; "
        "under a half the twins are little more than copies.",
        "class_kept": "Share of twins that the target head still gives the class of their original.",
        "transferability": "r: a fresh probe learns the group from the twins' features, labelled with the group they "
        "were moved to; how often it then names the true group of untouched rows, every group weighted alike.",
        "chance": "What a probe that knows nothing reaches: one over the number of groups.",
        "feature_difference": "How far the twins lie from their originals in the features: Eq. 7, in units of the "
        "original's size.",
    }

    lam: float = control(
        1.0,
        0.0,
        1.0,
        symbol="λ",
        tradeoff=True,
        grid=GRID,
        help="Weight of the group in the attack; 1 moves only the group, less protects the class, at 0 no group moves.",
    )
    variant: str = control("robust", choices=AEDA_VARIANTS, help="How the twins are made; see above.")
    epsilon: float | str = epsilon_control("a twin")
    steps: int = steps_control()
    alpha: float | str = alpha_control()
    norm: str = norm_control()
    tint: float | str = tint_control()
    balance_mode: str = control(
        "flip_all",
        choices=(*MODES, FILL_CLASSES),
        help="flip_all: every row gets a twin in another group. fill_minority: as many as its class lacks. "
        "fill_classes: groups are not balanced; classes with fewer rows than the median get twins up to it, half of "
        "their own rows in another group, half of other classes' rows moved to the class, where λ weighs that move.",
    )
    refresh: int = control(
        0, 0, 10, help="Twins are made anew every so many epochs; 1 = the paper, 0 = for every batch."
    )
    warmup: int = control(
        0, 0, 10, help="Plain epochs before the first twins; at least one, as in the paper, unless refresh is 0."
    )
    freeze_after: int = control(
        0, 0, 1000, help="Keep the twins as they are from this epoch on; 0 = never.", group="advanced"
    )
    bias_passes: int = control(
        4,
        1,
        20,
        help="How often the bias head learns from each batch (refresh 0), or goes over all rows after an epoch.",
        group="advanced",
    )
    bias_hidden: str = control(
        "256-256",
        help="Hidden neurons of the bias head, joined by hyphens; 0 = linear.",
        group="advanced",
    )
    bias_lr: float = control(3e-3, 1e-6, 1.0, help="Adam's learning rate of the bias head.", group="advanced")
    adv_label: str = control(
        "true",
        choices=("true", "attacked"),
        help="robust: the group that twins have when the bias head learns from them.",
        group="advanced",
    )

    def __post_init__(self) -> None:
        if self.variant == "online" and self.adv_label == "attacked":
            raise UserError("adv_label = attacked is a setting of variant robust; online never labels its twins.")

    # -- before the first step

    @property
    def phases(self) -> Sequence[float]:
        """pre trains two networks one after the other, each for the whole budget."""
        return (1.0, 1.0) if self.variant == "pre" else (1.0,)

    def adversary(self, data: Dataset, network: nn.Module, seed: int) -> nn.Module | None:
        """The bias head h_b on the features; of pre the bias network g, with features of its own."""
        assert isinstance(network, Classifier)
        n_groups = len(data.groups)
        if self.variant == "pre":
            return renewed(network, n_groups, seed + 1_000_003)
        hidden = [] if self.bias_hidden == "0" else layer_sizes("bias_hidden", self.bias_hidden)
        sizes = (network.head.in_features, *hidden)
        with seeded(seed + 1_000_003):
            return nn.Sequential(*dense(sizes), nn.Linear(sizes[-1], n_groups))

    def begin(self, job: Job) -> Memory:
        x = job.data[0].train.x
        kind = torch.half if x.ndim > 2 and job.dtype == torch.float32 else job.dtype
        rows, start, reach = job.rows("train"), Kept(job.learner.model.net), self.ball(job.data[0].train)
        if self.balance_mode == FILL_CLASSES:
            made = Fillers.of(rows, len(job.data[0].groups), len(job.recipes), -(-len(x) // job.budget.batch_size))
            keeper = Keeper(made.aims, x.shape[1:], kind, made.classes)
            return Memory(job, rows, made.sample(), start, reach, keeper, fillers=made)
        return Memory(job, rows, probes.sample(rows), start, reach, Keeper(self._aims(job, 0), x.shape[1:], kind))

    def ball(self, train: Split) -> Ball:
        """How far a twin may lie from its row, on these rows."""
        of_group = self.balance_mode != FILL_CLASSES
        return ball(train, self.epsilon, self.steps, self.alpha, self.norm, self.tint, of_group=of_group)

    def _aims(self, job: Job, generation: int) -> Tensor:
        """Whom the twins of every row are to pass for, (R, n, slots), drawn anew for each generation."""
        if self.balance_mode == "fill_minority" and job.data[0].task == "multilabel":
            raise UserError("balance_mode = fill_minority cannot balance several targets at once; choose flip_all.")
        known: dict[int, np.ndarray] = {}
        for data in job.data:
            if id(data.train.s) not in known:
                rng = np.random.default_rng([generation, 70001])
                known[id(data.train.s)] = aims(data.train.y, data.train.s, len(data.groups), self.balance_mode, rng)
        return torch.as_tensor(np.stack([known[id(data.train.s)] for data in job.data]))

    # -- one step

    def update(self, learner: Learner, batch: Batch, progress: float) -> dict[str, Tensor]:
        memory: Memory = learner.memory
        if learner.epoch != memory.epoch or learner.phase != memory.phase:
            memory.epoch, memory.phase = learner.epoch, learner.phase
            self._between_epochs(learner)
        twins = self._twins(learner, batch)
        union = batch if twins is None else joined(batch, twins)
        loss = task_loss(learner.model.net(union.x), union)
        learner.model.descend(loss)
        told = {"loss": loss.detach()}
        if self.variant == "pre" and memory.judge is None:
            told["bias_loss"] = learn(learner.adversary, batch.x, replace(batch, y=batch.s))
        elif self.refresh == 0 and not self._head_rests(memory):
            told["bias_loss"] = self._bias_step(learner, self._lesson(batch, union, twins), self.bias_passes)
        return told

    def _between_epochs(self, learner: Learner) -> None:
        """What the paper does after an epoch and before the next one."""
        memory: Memory = learner.memory
        if self.variant == "pre":
            if learner.phase == 1 and memory.judge is None:  # both networks are trained: now they judge
                self._renew(learner)
                memory.start.give_back(range(len(learner.lam)))
                old = learner.model.optimizer
                learner.model.optimizer = Adam(learner.model.net.leaves, old.lr, old.weight_decay)
            return
        if self.refresh and memory.epoch > 0 and not self._head_rests(memory):
            for _ in range(self.bias_passes):
                for batch in probes.passes(memory.rows, memory.job.budget.batch_size, seed=memory.epoch):
                    twins = self._twins(learner, batch) if self.variant == "robust" else None
                    union = batch if twins is None else joined(batch, twins)
                    self._bias_step(learner, self._lesson(batch, union, twins), 1)
        if self._due(memory):
            self._renew(learner)

    def _head_rests(self, memory: Memory) -> bool:
        """once needs its bias head no more when the twins are made; nor does pre its network."""
        return self.variant in ("pre", "once") and memory.judge is not None

    def _due(self, memory: Memory) -> bool:
        """Are twins to be made anew from now on?"""
        least = 0 if self.refresh == 0 and self.variant != "once" else 1
        since = memory.epoch - max(self.warmup, least)
        if since < 0 or memory.judge is None:
            return since >= 0
        if self.variant == "once" or 0 < self.freeze_after < memory.epoch:
            return False
        return since % max(self.refresh, 1) == 0 or memory.epoch == self.freeze_after

    def _for_each_batch(self, memory: Memory) -> bool:
        """Are twins made against the networks as they are, and never kept?"""
        frozen = self.variant in ("pre", "once") or 0 < self.freeze_after <= memory.epoch
        return self.refresh == 0 and not frozen

    def _renew(self, learner: Learner) -> None:
        """From now on twins are made against the present networks."""
        memory: Memory = learner.memory
        memory.generations += 1
        if memory.judge is not None:
            made = memory.fillers
            memory.keeper.forget(self._aims(memory.job, memory.generations) if made is None else made.aims)
        copied = not self._for_each_batch(memory)
        if not copied and memory.judge is not None:
            return  # it follows the training
        model, rival = learner.model.net.fixed(copied=copied), learner.adversary.net.fixed(copied=copied)
        memory.judge = apart(model, rival) if self.variant == "pre" else coupled(model, rival)
        memory.move = where_it_pays(attack(memory.judge, learner.lam, memory.ball), learner.lam.device)

    def _twins(self, learner: Learner, batch: Batch) -> Twins | None:
        memory: Memory = learner.memory
        if memory.judge is None:
            return None
        source = batch if memory.fillers is None else memory.fillers.batch()
        if source is None:
            return None
        return memory.keeper.twins(source, self._maker(learner), keep=not self._for_each_batch(memory))

    def _maker(self, learner: Learner) -> Maker:
        memory: Memory = learner.memory
        move, fillers = memory.move, memory.fillers
        assert move is not None

        def make(own: Batch, y: Tensor, aim: Tensor) -> Tensor:
            start = None if fillers is None else fillers.start(own.x, memory.ball)
            turned = None if fillers is None else aim == own.s  # what keeps its group is moved to a class
            return move(own.x, y, aim, start, turned)["x"]

        return make

    def _lesson(self, batch: Batch, union: Batch, twins: Twins | None) -> Batch:
        """What the bias head is to name (y): the groups of a batch (Eq. 5), for robust also of its twins (Eq. 6)."""
        if self.variant != "robust" or twins is None:
            return replace(batch, y=batch.s)
        if self.adv_label == "true":
            return replace(union, y=union.s)
        return replace(union, y=torch.cat([batch.s.expand(len(twins.aim), -1), twins.aim], 1))

    def _bias_step(self, learner: Learner, lesson: Batch, times: int) -> Tensor:
        """The bias head learns so many times from a lesson, by the features as they are now; its last loss (R,)."""
        with torch.no_grad():
            h = learner.model.net.fixed().features(lesson.x)
        learner.adversary.optimizer.lr = self.bias_lr
        for _ in range(times):
            loss = learn(learner.adversary, h, lesson)
        return loss

    # -- what it tells

    @torch.no_grad()
    def gauges(self, learner: Learner, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        memory: Memory = learner.memory
        memory.shown = ()
        if memory.judge is None:
            return {}
        twins = memory.keeper.twins(memory.sample, self._maker(learner), keep=False)
        if not len(twins):
            return {}
        before = chosen(memory.sample, twins.at, len(learner.lam))
        judged = (memory.judge(before.x), memory.judge(twins.x))
        memory.shown = exhibits(before, twins, judged)
        net, n_groups = learner.model.net.fixed(), len(memory.job.data[0].groups)
        h, moved = net.features(before.x), net.features(twins.x)
        target, group = judged[1]
        classes = decided(target, twins.y)
        return {
            "attack_success": (group.argmax(1) == twins.aim).to(h.dtype).mean(1),
            "class_kept": (classes == twins.y).to(h.dtype).flatten(1).mean(1),
            "transferability": probes.transferability(moved, twins.aim, net.features(batch.x), batch.s, n_groups),
            "chance": torch.full_like(learner.lam, 1 / n_groups),
            "feature_difference": probes.feature_difference(h, moved),
        }

    def exhibits(self, learner: Learner) -> Sequence[Exhibit | None]:
        memory: Memory = learner.memory
        return memory.shown


def coupled(model: Stack, head: Stack) -> Both:
    """Both heads on the same features: one forward pass serves the two."""

    def judge(x: Tensor) -> tuple[Tensor, Tensor]:
        h = model.features(x)
        return model.head(h), head(h)

    return judge


def apart(target: Stack, group: Stack) -> Both:
    """Two networks, each with features of its own."""
    return lambda x: (target(x), group(x))


def attack(judge: Both, lam: Tensor, ball: Ball) -> Function:
    """Eq. 3 by iterative FGSM: rows x that the judge is to see in the group `aim`, moved inside the ball. What it
    returns: (x, y, aim, start, turned) -> {"x"}, start as in `perturb`, turned as in `dual_loss`."""
    class_counts = bool((lam < 1).any())  # asked once, since a GPU has to be waited for

    def move(x: Tensor, y: Tensor, aim: Tensor, start: Tensor | None = None, turned: Tensor | None = None) -> Named:
        losses = dual_loss(judge, lam, y, aim, turned, class_counts=class_counts or turned is not None)
        with torch.enable_grad():
            return {"x": perturb(losses, x, ball, start)}

    return move


def dual_loss(
    judge: Both, lam: Tensor, y: Tensor, aim: Tensor, turned: Tensor | None = None, *, class_counts: bool = True
) -> Callable[[Tensor], Tensor]:
    """Eq. 3: λ CE(group, aim) + (1 - λ) CE(target, y) of every row, (R, rows); lam (R,), aim (R, rows). λ weighs what
    is moved: where `turned` (R, rows) is True, that is the class, and the two weights change places. class_counts: is
    any λ below 1? If not, the class need not be looked at."""
    weight = lam.unsqueeze(1)
    if turned is not None:
        weight = torch.where(turned, 1 - weight, weight)

    def losses(x: Tensor) -> Tensor:
        target, group = judge(x)
        loss = weight * row_losses(group, aim)
        return loss + (1 - weight) * row_losses(target, y) if class_counts else loss

    return losses


def learn(head: Player, h: Tensor, lesson: Batch) -> Tensor:
    """One step of the bias head on what it is to name (lesson.y); its loss (R,)."""
    loss = task_loss(head.net(h), lesson)
    head.descend(loss)
    return loss.detach()
