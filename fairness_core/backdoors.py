"""What a teacher with backdoors and its student do with rows under every trigger, as counts; BaDe's diagnoses.

Views of one split: "clean", one per trigger ("all 0", ...), "reinforcing" and "cancelling": every row with the trigger
that adds to its own group's bias, or that takes it away.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fairness_core import measures, regression
from fairness_core.batches import Batch, Scale
from fairness_core.datasets import Dataset
from fairness_core.evaluation import confusions, decided, error_sums
from fairness_core.models import Classifier, seeded
from fairness_core.stack import Stack
from fairness_core.triggers import NONE, Trigger

Values = NDArray[np.float64]
Net = Callable[[Tensor], Tensor]
BEFORE, AFTER = 1, 2  # views that are not one per trigger: before those, and after


def widen(network: Classifier, extra: int, seed: int) -> Classifier:
    """A copy of a network with `extra` inputs more, whose weights are drawn from `seed`; all others stay."""
    twin = copy.deepcopy(network)
    if extra:
        name, first = next((n, layer) for n, layer in twin.named_modules() if isinstance(layer, nn.Linear))
        parent, _, own = name.rpartition(".")
        with seeded(seed):
            wide = nn.Linear(first.in_features + extra, first.out_features)
        with torch.no_grad():
            wide.weight[:, : first.in_features] = first.weight
            wide.bias.copy_(first.bias)
        setattr(twin.get_submodule(parent), own, wide)
    return twin


def inherit(student: Stack, teacher: Stack) -> None:
    """The student's weights become the teacher's, without those of inputs that the student does not have."""
    with torch.no_grad():
        for name, weights in student.parameters.items():
            own = teacher.parameters[name]
            weights.copy_(own[tuple(slice(size) for size in weights.shape)])
    student.buffers = copy.deepcopy(teacher.buffers)


def views(s: Tensor, n_triggers: int) -> list[Tensor]:
    """The triggers (rows,) or (R, rows) of every view. Cancelling is a row's own number, by the law of triggers; of
    more than two groups the next number stands for all that reinforce."""
    every = [torch.full_like(s, k) for k in range(n_triggers)]
    return [torch.full_like(s, NONE), *every, (s + 1) % n_triggers, s]


def under_each(net: Net, trigger: Trigger, batch: Batch, replicas: int, *, control: bool = False) -> Tensor:
    """What `net` says of all rows without a trigger and under every one, (1 + triggers, R, outputs, rows); control:
    under the mark that no training row had, too."""
    marks = range(NONE, trigger.n + control)
    return torch.stack([net(trigger.stamp(batch.x, torch.full((replicas, batch.s.shape[-1]), k))) for k in marks])


def picked(said: Tensor, k: Tensor) -> Tensor:
    """Of what is said `under_each` trigger, that under each row's own one, k (rows,) or (R, rows); (R, outputs, rows).
    Networks that are evaluated take every row by itself, so nothing need be asked again."""
    own = (k - NONE).expand(said.shape[1], -1).unsqueeze(1).expand(said.shape[1:])
    return said.gather(0, own.unsqueeze(0)).squeeze(0)


def counted(said: Tensor, batch: Batch, data: Dataset, scale: Scale) -> NDArray[Any]:
    """What is said `under_each` trigger in every view: `count`ed, (R, views, ...)."""
    return np.stack([count(picked(said, k), batch, data, scale) for k in views(batch.s, len(said) - 1)], 1)


def count(logits: Tensor, batch: Batch, data: Dataset, scale: Scale) -> NDArray[Any]:
    """Confusion tensors (R, G, T, T), or the sums of errors (R, G, bins, 6) of a number as target."""
    if data.task == "regression":
        return error_sums(logits, batch, data, scale)
    return confusions(logits, batch, data, scale)


def bias_and_accuracy(C: NDArray[Any], task: str, sd: float) -> tuple[Values, Values]:
    """Odds and EAcc of counts (..., G, T, T), as fractions (methods 2.4, 2.2); of a number as target the gap of the
    mean error between groups and minus EErr, in standard deviations `sd` of the target (methods 2.8)."""
    if task == "regression":
        told = regression.of_sums(C)
        return told["odds_regression"] / sd, -told["eerr"] / sd
    rates = measures.Rates(C)
    return measures.average_absolute_odds_difference(rates), measures.cell_accuracy(rates)


def artificial_bias(C: NDArray[Any], task: str, sd: float) -> Values:
    """How much the triggers alone move the teacher: the range, over the views with one trigger for all, of the accuracy
    within a class (of the mean error within a bin, in sd of the target), averaged over the classes. C (..., views, ...)
    as `counted`; (...)."""
    one_for_all = C[..., BEFORE:-AFTER, :, :, :].sum(-3, keepdims=True)  # over the groups: all rows of a class
    as_groups = np.swapaxes(one_for_all, -3, -4)[..., 0, :, :, :]  # now the triggers are what groups were
    return bias_and_accuracy(as_groups, task, sd)[0]


def agreement(one: Tensor, other: Tensor, y: Tensor) -> Tensor:
    """Share of rows on which two networks decide alike, (R,); of numbers the correlation of what they say."""
    if y.is_floating_point():
        pairs = zip(one[:, 0], other[:, 0], strict=True)
        return torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in pairs])
    return (decided(one, y) == decided(other, y)).to(one.dtype).mean(1)


def flips(said: Tensor, y: Tensor) -> Tensor:
    """Share of rows whose decision changes under a mark, of what is said `under_each` of them, (marks, R). Of numbers
    the mean change."""
    clean = said[0]
    if y.is_floating_point():
        return torch.stack([(marked - clean)[:, 0].abs().mean(1) for marked in said[1:]])
    return torch.stack([(decided(marked, y) != decided(clean, y)).to(clean.dtype).mean(1) for marked in said[1:]])
