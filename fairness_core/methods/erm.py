"""The untreated model: empirical risk minimisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from fairness_core.batches import Batch, task_loss
from fairness_core.methods.base import InProcessing, register
from fairness_core.training import Learner


@register
@dataclass(frozen=True)
class ERM(InProcessing):
    """The task's own loss (cross-entropy; squared error for a number) and nothing else: the anchor of comparisons."""

    name: ClassVar[str] = "erm"
    title: ClassVar[str] = "Untreated (ERM)"
    family: ClassVar[str] = "untreated"
    paper: ClassVar[str] = "Vapnik, Principles of risk minimization for learning theory, NIPS 1991"
    replayable: ClassVar[bool] = True
    formula: ClassVar[str] = r"\min_\theta\; \mathrm{CE}(f_\theta(x),\, y)"
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "multilabel", "regression")

    def update(self, learner: Learner, batch: Batch, progress: float) -> dict[str, Tensor]:
        loss = task_loss(learner.model.net(batch.x), batch)
        learner.model.descend(loss)
        return {"loss": loss.detach()}
