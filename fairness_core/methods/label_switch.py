"""The label switch of AEDA: are adversarial examples features of the group, or noise that fools one network?"""

from __future__ import annotations

import copy
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from fairness_core import probes
from fairness_core.attack_budget import alpha_control, ball, epsilon_control, norm_control, steps_control
from fairness_core.attacks import Ball, perturb
from fairness_core.balance import aims
from fairness_core.batches import Batch, row_losses, task_loss
from fairness_core.config import Event, Exhibit, RunConfig, UserError, control
from fairness_core.costs import SWITCHES
from fairness_core.datasets import Dataset, groups_as_target
from fairness_core.evaluation import decided
from fairness_core.generators import mapped
from fairness_core.methods.base import InProcessing, register, renewed
from fairness_core.models import Classifier, n_logits, seeded
from fairness_core.training import Job, Learner, Player
from fairness_core.twins import Keeper, Twins, chosen, exhibits

HARD, ADV, ROBUST = SWITCHES


@register
@dataclass(frozen=True)
class LabelSwitch:
    """An experiment, not a debiaser: a fresh network learns to name the group from training rows that all bear a wrong
    one, and is tested on untouched rows with the true one.

    Figure 3 of Zhang and Sang, ACM MM 2020, after Ilyas et al., NeurIPS 2019. "hard": the rows as they are, so it
    learns the reverse. "adv": every row is first moved by an attack until a network that names the group takes it for
    the wrong one; whatever the fresh network then gets right it has learned from what the attack changed. "adv_robust":
    the same with a network that learned from attacked rows with their true group (min-max, the same attack). The target
    plays no part; of more than two groups the wrong one is drawn evenly. All networks train for the whole budget.
    """

    name: ClassVar[str] = "label_switch"
    title: ClassVar[str] = "Label switch (experiment)"
    family: ClassVar[str] = "experiment"
    paper: ClassVar[str] = (
        "Zhang and Sang, Towards accuracy-fairness paradox, ACM Multimedia 2020, arXiv 2007.13632, figure 3; Ilyas et "
        "al., Adversarial examples are not bugs, they are features, NeurIPS 2019"
    )
    formula: ClassVar[str] = (
        r"\min_\theta \mathrm{CE}(f_\theta(x_{adv}), b'),\quad"
        r" x_{adv} = \arg\min_{\lVert x'-x\rVert\le\varepsilon} \mathrm{CE}(g(x'), b'),\quad b' \ne b"
    )
    gauges_help: ClassVar[Mapping[str, str]] = {
        "attacked_accuracy": "How often the network that is attacked names the group of untouched rows right, groups "
        "weighted alike.",
        "attack_success": "Share of moved training rows that it takes for the wrong group.",
        "chance": "What a network that knows nothing reaches: one over the number of groups.",
    }
    needs_sensitive_at_test: ClassVar[bool] = False
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "multilabel", "regression")
    on_gpu: ClassVar[bool] = True
    names_groups: ClassVar[bool] = True

    kind: str = control(ADV, choices=SWITCHES, help="Which rows bear the wrong group; see above.")
    epsilon: float | str = epsilon_control("a moved row")
    steps: int = steps_control()
    alpha: float | str = alpha_control()
    norm: str = norm_control()
    robust_share: float = control(
        0.5,
        0.0,
        1.0,
        help="adv_robust: how far rows are moved while the attacked network learns, as a share of ε. At 1 it learns to "
        "resist the very attack that follows, and few rows pass for the wrong group.",
        group="advanced",
    )

    def fit(self, model: nn.Module, data: Dataset, run: RunConfig) -> Generator[Event, None, nn.Module]:
        """Train `model` with another head on the groups; its events count groups as classes, (K, K, K). The score of
        a row is no score of the target, so none is kept. See Debiaser.fit."""
        if run.training.get("select", "last") != "last":
            raise UserError(
                f"select = {run.training['select']} would choose weights by the true groups, which this experiment "
                "must not see; choose last."
            )
        present = np.unique(data.train.s)
        if len(present) < 2:
            raise UserError(
                f"The training rows of {data.name} are all of group {data.groups[int(present[0])]}, so no group can be "
                "switched; choose another sensitive attribute."
            )
        told = groups_as_target(data)
        moved = ball(data.train, self.epsilon, self.steps, self.alpha, self.norm)
        resisted = replace(moved, radius=self.robust_share * moved.radius, step=self.robust_share * moved.step)
        lessons = Lessons(self.kind, moved, resisted, run.seed)
        training = lessons.fit(_with_outputs(model, n_logits(told), run.seed), told, run)
        return (yield from mapped(training, lambda event: replace(event, scores=None)))


def _with_outputs(model: nn.Module, n_outputs: int, seed: int) -> Classifier:
    """A copy of an untrained network with as many outputs as there are groups to tell apart."""
    assert isinstance(model, Classifier)
    network = copy.deepcopy(model)
    with seeded(seed + 2_000_003):
        network.head = nn.Linear(network.head.in_features, n_outputs)
    return network


@dataclass
class Memory:
    """keeper: the moved rows; sample: the few training rows that are looked at; success: how many of those pass once
    moved, None before the attacked network is trained; shown: what the last look saw, for the page."""

    keeper: Keeper
    sample: Batch
    n_groups: int
    success: Tensor | None = None
    shown: Sequence[Exhibit] = ()


@dataclass(frozen=True)
class Lessons(InProcessing):
    """What a label switch has the one training loop do, on data whose classes are the groups. hard: one phase. Else
    the network that is attacked (the adversary of the job) trains first, then the fresh one, each for the budget.

    ball: of the rows that the fresh network learns from; resisted: of those that the robust network learns from."""

    kind: str
    ball: Ball
    resisted: Ball
    seed: int

    @property
    def phases(self) -> Sequence[float]:
        return (1.0,) if self.kind == HARD else (1.0, 1.0)

    def adversary(self, data: Dataset, network: nn.Module, seed: int) -> nn.Module | None:
        """The network that is attacked: the same layers, weights of its own."""
        assert isinstance(network, Classifier)
        return None if self.kind == HARD else renewed(network, n_logits(data), seed + 1_000_003)

    def begin(self, job: Job) -> Memory:
        train = job.data[0].train
        n_groups, rng = len(job.data[0].groups), np.random.default_rng([self.seed, 70001])
        wrong = torch.as_tensor(aims(train.y, train.s, n_groups, "flip_all", rng))
        pictures = train.x.ndim > 2 and job.dtype == torch.float32
        keeper = Keeper(wrong.unsqueeze(0), train.x.shape[1:], torch.half if pictures else job.dtype)
        return Memory(keeper, probes.sample(job.rows("train")), n_groups)

    def update(self, learner: Learner, batch: Batch, progress: float) -> dict[str, Tensor]:
        memory: Memory = learner.memory
        if self.kind == HARD:
            assert batch.rows is not None
            return {"loss": _learn(learner.model, replace(batch, y=memory.keeper.aims[:, batch.rows, 0]))}
        if learner.phase == 0:
            lesson = self._moved(learner, batch, self.resisted) if self.kind == ROBUST else batch
            return {"attacked_loss": _learn(learner.adversary, lesson)}
        moved = self._moved(learner, batch, self.ball, keep=True)
        return {"loss": _learn(learner.model, replace(moved, y=moved.aim))}

    def _moved(self, learner: Learner, batch: Batch, ball: Ball, *, keep: bool = False) -> Twins:
        """The rows of a batch, moved inside `ball` towards where the attacked network, as it is now, sees the wrong
        group."""
        memory: Memory = learner.memory
        judge = learner.adversary.net.fixed()

        def make(rows: Batch, y: Tensor, aim: Tensor) -> Tensor:
            with torch.enable_grad():
                return perturb(lambda moved: row_losses(judge(moved), aim), rows.x, ball)

        return memory.keeper.twins(batch, make, keep=keep)

    @torch.no_grad()
    def gauges(self, learner: Learner, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        memory: Memory = learner.memory
        memory.shown = ()
        if self.kind == HARD:
            return {}
        right = decided(learner.adversary.net.fixed()(batch.x)) == batch.s
        known = probes.group_mean(right, batch.s.expand_as(right), memory.n_groups).to(learner.lam.dtype)
        told = {"attacked_accuracy": known, "chance": torch.full_like(known, 1 / memory.n_groups)}
        if learner.phase == 1:
            if memory.success is None:
                memory.success = self._look(learner)
            told["attack_success"] = memory.success
        return told

    def _look(self, learner: Learner) -> Tensor:
        """Move the sample as the fresh network's rows are moved, once, since the attacked network is done; the share
        that passes (1,), and a few rows to be shown."""
        memory: Memory = learner.memory
        judge = learner.adversary.net.fixed()
        moved = self._moved(learner, memory.sample, self.ball)
        before = chosen(memory.sample, moved.at, 1)
        known, found = judge(before.x), judge(moved.x)
        memory.shown = exhibits(before, moved, ((known, _per_group(known)), (found, _per_group(found))))
        return (decided(found) == moved.aim).to(found.dtype).mean(1)

    def exhibits(self, learner: Learner) -> Sequence[Exhibit | None]:
        memory: Memory = learner.memory
        return memory.shown


def _per_group(logits: Tensor) -> Tensor:
    """One logit per group, (R, groups, rows), also where two groups share one."""
    return torch.cat([-logits, logits], 1) if logits.shape[1] == 1 else logits


def _learn(player: Player, lesson: Batch) -> Tensor:
    """One step towards naming lesson.y; its loss (1,)."""
    loss = task_loss(player.net(lesson.x), lesson)
    player.descend(loss)
    return loss.detach()
