"""DBA: a backdoor that takes the surplus of each group's commoner class, in one training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fairness_core import backdoors
from fairness_core.backdoors import inherit, widen
from fairness_core.batches import Batch, task_loss
from fairness_core.config import UserError, control
from fairness_core.datasets import Dataset
from fairness_core.methods.base import InProcessing, register
from fairness_core.models import Classifier
from fairness_core.training import Job, Learner
from fairness_core.triggers import NONE, Trigger, size_control, trigger_control

FACTORS = tuple(k / 5 for k in range(11))


@dataclass
class Memory:
    """job; trigger; triggers: what every training row carries, NONE for most, (R, n)."""

    job: Job
    trigger: Trigger
    triggers: Tensor


@register
@dataclass(frozen=True)
class DBA(InProcessing):
    """Some rows of each group's commonest class carry the group's trigger while training, and no row does when it
    counts: what the surplus of that class teaches is told by the trigger, and what is left is balanced.

    Wu, He, Zhang and Sang (DBA), the single-stage sibling of BaDe: pseudo-deletion, as they call it. The trade-off is
    the factor: at 1 a group's commonest class keeps as many rows without a trigger as its rarest class has; beyond 1
    the bias turns round. Columns as triggers of tables are as in the authors' scripts; more than two groups and classes
    are ours.
    """

    name: ClassVar[str] = "dba"
    title: ClassVar[str] = "DBA (backdoor in one stage)"
    paper: ClassVar[str] = (
        "Wu, He, Zhang and Sang, Debiasing backdoor attack: a benign application of backdoor attack in eliminating "
        "data bias, arXiv 2202.10582"
    )
    formula: ClassVar[str] = (
        r"\Pr(\text{trigger } b \mid y, b) = \min\!\Bigl(1,\; f\,\frac{N_{\max}(b) - N_{\min}(b)}{N_{\max}(b)}\Bigr)"
        r"\text{ if } y = \arg\max_c N(c, b),\text{ else } 0"
    )
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass")
    gauges_help: ClassVar[Mapping[str, str]] = {
        "artificial_bias": "How far the triggers alone move the model: the range of its accuracy within a class when "
        "every row carries the same trigger, averaged over the classes.",
        "stamped": "Share of the training rows that carry a trigger.",
    }

    factor: float = control(
        1.0,
        0.0,
        3.0,
        symbol="f",
        tradeoff=True,
        grid=FACTORS,
        help="How much of the surplus of a group's commonest class carries the trigger; 1 matches the counts, 0 is "
        "plain training.",
    )
    trigger: str = trigger_control("the model")
    size: float = size_control()

    @property
    def strength(self) -> float:
        return self.factor

    def adversary(self, data: Dataset, network: nn.Module, seed: int) -> nn.Module | None:
        """What is trained: the network itself, on tables with a column per trigger more, which is 0 when it decides."""
        assert isinstance(network, Classifier)
        return widen(network, len(data.groups) if data.train.x.ndim == 2 else 0, seed + 1_000_003)

    def begin(self, job: Job) -> Memory:
        drawn = []
        for recipe, data, seed in zip(job.recipes, job.data, job.seeds, strict=True):
            assert isinstance(recipe, DBA)
            drawn.append(torch.as_tensor(recipe.draw(data, seed)))
        return Memory(job, Trigger(len(job.data[0].groups), self.trigger, self.size), torch.stack(drawn))

    def draw(self, data: Dataset, seed: int) -> NDArray[np.int64]:
        """The trigger of every training row, (n,): its group's number, or NONE. The same seed draws the same random
        numbers whatever the factor, so that a little more of it adds rows."""
        y, s = data.train.y, data.train.s
        if len(np.unique(s)) < 2:
            raise UserError("DBA needs training rows of at least two groups, and there is one; choose another group.")
        u = np.random.default_rng([seed, 51002]).random(len(y))
        triggers = np.full(len(y), NONE, np.int64)
        for group in np.unique(s):
            counts = np.bincount(y[s == group], minlength=len(data.classes))
            share = min(1.0, self.factor * float(counts.max() - counts.min()) / float(counts.max()))
            triggers[(s == group) & (y == counts.argmax()) & (u < share)] = group
        return triggers

    def update(self, learner: Learner, batch: Batch, progress: float) -> dict[str, Tensor]:
        memory: Memory = learner.memory
        assert batch.rows is not None
        each, rows = torch.arange(len(learner.lam)).unsqueeze(1), batch.rows.expand(len(learner.lam), -1)
        x = memory.trigger.stamp(batch.x, memory.triggers[each, rows])
        loss = task_loss(learner.adversary.net(x), batch)
        learner.adversary.descend(loss)
        inherit(learner.model.net, learner.adversary.net)
        return {"loss": loss.detach()}

    def gauges(self, learner: Learner, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        memory: Memory = learner.memory
        data, scale = memory.job.data[0], memory.job.scale
        said = backdoors.under_each(learner.adversary.net.fixed(), memory.trigger, batch, len(learner.lam))
        C = backdoors.counted(said, batch, data, scale)
        stamped = (memory.triggers != NONE).to(learner.lam.dtype).mean(1)
        return {"artificial_bias": torch.as_tensor(backdoors.artificial_bias(C, data.task, 1.0)), "stamped": stamped}
