"""What a stack of networks does with rows, as counts: the confusion tensor, and the errors of a regression."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from fairness_core import regression
from fairness_core.batches import Batch, Scale
from fairness_core.datasets import Dataset
from fairness_core.stack import Stack


@contextmanager
def evaluating(net: Stack) -> Iterator[None]:
    """No gradients, no dropout and no 16 bits inside the block."""
    mixed = net.mixed
    net.training = net.mixed = False
    with torch.no_grad():
        yield
    net.training, net.mixed = True, mixed


def confusions(logits: Tensor, batch: Batch, data: Dataset, scale: Scale) -> np.ndarray:
    """The confusion tensor of every replica: int64 (R, groups, classes, classes), with several targets (R, targets,
    groups, 2, 2). logits (R, outputs, rows). A regression is counted by bins of the target."""
    truth, predicted = classes_of(logits, batch.y, data, scale)
    n_groups, n_classes = len(data.groups), len(data.classes)
    s = batch.s if predicted.dim() == 2 else batch.s.unsqueeze(-2)
    index = ((s * n_classes + truth) * n_classes) + predicted
    cells, tensors = n_groups * n_classes**2, predicted[..., 0].numel()
    index = index.expand_as(predicted).reshape(tensors, -1) + cells * torch.arange(tensors).unsqueeze(1)
    counts = torch.bincount(index.flatten(), minlength=tensors * cells)
    return counts.view(*predicted.shape[:-1], n_groups, n_classes, n_classes).cpu().numpy()


def classes_of(logits: Tensor, y: Tensor, data: Dataset, scale: Scale) -> tuple[Tensor, Tensor]:
    """True and predicted classes; predicted (R, rows), or (R, targets, rows) with several targets."""
    if data.task == "regression":
        edges = (torch.tensor(data.edges, dtype=logits.dtype) - scale.mean) / scale.sd
        truth, predicted = (torch.bucketize(v.contiguous(), edges, right=True) for v in (y, logits[:, 0]))
        return truth, predicted
    return y, decided(logits, y)


def decided(logits: Tensor, y: Tensor | None = None) -> Tensor:
    """The classes that the logits stand for, (R, rows), or (R, targets, rows) where y holds several targets."""
    if y is not None and y.dim() == 3:
        return (logits > 0).long()
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)


def predicted_numbers(logits: Tensor, scale: Scale) -> np.ndarray:
    """What a regression predicts, float32 (R, rows), in units of the target."""
    return (logits[:, 0] * scale.sd + scale.mean).float().cpu().numpy()


def error_sums(logits: Tensor, batch: Batch, data: Dataset, scale: Scale) -> np.ndarray:
    """regression.sums of every replica, (R, groups, bins, 6), in units of the target."""
    bins, _ = classes_of(logits, batch.y, data, scale)
    z = logits[:, 0]
    y, predicted = (((v * scale.sd) + scale.mean).expand_as(z).double().cpu().numpy() for v in (batch.y, z))
    s = batch.s.expand_as(z).cpu().numpy()
    sizes = (len(data.groups), len(data.classes))
    cells = zip(predicted, y, bins.expand_as(z).cpu().numpy(), s, strict=True)
    return np.stack([regression.sums(p, t, b, g, *sizes) for p, t, b, g in cells])
