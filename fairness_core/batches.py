"""Rows as tensors: batches, their inputs and targets in the form that a stack of networks takes, and the task's loss.

Targets are integers for classes, a leading axis of targets for several at once, and standardised numbers for a
regression: mean and standard deviation of the training rows (`Scale`) turn them into units and back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fairness_core.datasets import Dataset, Split


@dataclass
class Batch:
    """Rows of one step.

    Shared by all replicas: x (rows, ...), y and s (rows,). Each replica its own: x (R, D, rows) or, for images,
    (R, rows, channels, height, width), y and s (R, rows). Several targets: y (1 or R, targets, rows). w: how much the
    rows count in the task's loss, (rows,) or (R, rows), in each of several targets (1 or R, targets, rows), or None:
    all alike. rows: their numbers in the split, (rows,) or (R, rows), where they were picked by number. flipped: bool,
    as rows, which pictures are turned left to right, where any may be.
    """

    x: Tensor
    y: Tensor
    s: Tensor
    w: Tensor | None = None
    rows: Tensor | None = None
    flipped: Tensor | None = None

    def of(self, replicas: Tensor) -> Batch:
        """Own rows of some replicas, each of which may come several times."""
        known = (self.w, self.rows, self.flipped)
        w, rows, flipped = (None if part is None else part[replicas] for part in known)
        return Batch(self.x[replicas], self.y[replicas], self.s[replicas], w, rows, flipped)

    @property
    def mass(self) -> Tensor | int:
        """What its rows count together in the task's loss, (R,), or one number for all replicas."""
        if self.w is None:
            return self.s.shape[-1]
        return self.w.sum() if self.w.dim() == 1 else self.w.flatten(1).sum(1)

    def turned(self) -> Batch:
        """Its pictures, all turned left to right."""
        return replace(self, x=self.x.flip(-1))


@dataclass(frozen=True)
class Scale:
    """Standardised value = (value - mean) / sd; the identity unless the task is a regression."""

    mean: float = 0.0
    sd: float = 1.0

    @classmethod
    def of(cls, data: Dataset) -> Scale:
        if data.task != "regression":
            return cls()
        y = data.train.y.astype(np.float64)
        return cls(float(y.mean()), float(y.std()) or 1.0)


@dataclass(frozen=True)
class Rows:
    """One split as tensors: x as it is stored (bytes stay bytes until they are batched), y (n,) or (n, A), s (n,), and
    weights w as batches have them."""

    x: Tensor
    y: Tensor
    s: Tensor
    dtype: torch.dtype
    w: Tensor | None = None

    @classmethod
    def of(cls, split: Split, dtype: torch.dtype, scale: Scale) -> Rows:
        x, y = torch.as_tensor(split.x), torch.as_tensor(split.y)
        x = x if x.dtype == torch.uint8 else x.to(dtype)
        y = ((y - scale.mean) / scale.sd).to(dtype) if y.is_floating_point() else y
        w = None if split.w is None else weights(split.w, dtype)
        return cls(x, y, torch.as_tensor(split.s), dtype, w)

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: Tensor | slice) -> Batch:
        """These rows as a batch that all replicas share."""
        rows = rows if isinstance(rows, slice) else rows.to(self.s.device)
        x, y, s = (_picked(part, rows) for part in (self.x, self.y, self.s))
        if x.dtype == torch.uint8:
            x = x.to(self.dtype).div_(255)
        if x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        w = None if self.w is None else self.w[..., rows]
        numbers = None if isinstance(rows, slice) else rows
        return Batch(x, y.t().unsqueeze(0) if y.dim() == 2 else y, s, w, numbers)


def weights(w: np.ndarray, dtype: torch.dtype) -> Tensor:
    """The weights of a split as batches have them: (n,), or (1, A, n)."""
    own = torch.as_tensor(w).to(dtype)
    return own.t().unsqueeze(0) if own.dim() == 2 else own


def _picked(part: Tensor, rows: Tensor | slice) -> Tensor:
    return part[rows] if isinstance(rows, slice) else part.index_select(0, rows)  # several times as fast as part[rows]


def side_by_side(parts: Sequence[Batch]) -> Batch:
    """Each replica's own rows: tables features first (in memory they stay row by row), images as they are."""
    x = torch.stack([part.x for part in parts])
    y = torch.stack([part.y[0] if part.y.dim() == 3 else part.y for part in parts])
    s = torch.stack([part.s for part in parts])
    known = [part.w[0] if part.w.dim() == 3 else part.w for part in parts if part.w is not None]
    w = torch.stack(known) if known else None
    rows, flipped = (_stacked([getattr(part, name) for part in parts]) for name in ("rows", "flipped"))
    return Batch(x.transpose(1, 2) if x.dim() == 3 else x, y, s, w, rows, flipped)


def _stacked(parts: Sequence[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.stack(known) if known else None


def minibatches(n: int, size: int, seed: int) -> Iterator[Tensor]:
    """Row numbers of one batch after the other, for ever: each epoch is a fresh shuffle of all n rows."""
    generator = torch.Generator("cpu").manual_seed(seed)
    while True:
        yield from torch.split(torch.randperm(n, generator=generator, device="cpu"), size)


def horizontally_flipped(batches: Iterator[Batch], seed: int) -> Iterator[Batch]:
    """The same batches with every picture, x (rows, channels, height, width), turned left to right or not by the toss
    of a coin, anew whenever it comes."""
    generator = torch.Generator("cpu").manual_seed(seed + 9_000_001)  # apart from the shuffle's
    for batch in batches:
        flipped = (torch.rand(len(batch.x), generator=generator, device="cpu") < 0.5).to(batch.x.device)
        x = torch.where(flipped[:, None, None, None], batch.turned().x, batch.x)
        yield replace(batch, x=x, flipped=flipped)


def task_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Mean loss of every replica, (R,), over the rows as they are weighted. logits (R, 1 or T, rows)."""
    w = batch.w
    if w is None or w.dim() < 3:
        return weighted_mean(row_losses(logits, batch.y), w)
    if batch.y.dim() < 3:  # not the targets but, say, the groups are to be told
        return weighted_mean(row_losses(logits, batch.y), w.mean(1))
    least = torch.finfo(logits.dtype).tiny  # there may be no row in the batch that counts in any target
    return (_target_losses(logits, batch.y) * w).sum((1, 2)) / w.sum((1, 2)).clamp_min(least)


def weighted_mean(losses: Tensor, w: Tensor | None) -> Tensor:
    """Mean over the rows, (R,), of losses (R, rows) as w weighs them; w (rows) or (R, rows), None: all alike."""
    return losses.mean(1) if w is None else (losses * w).sum(1) / w.sum(-1)


def row_losses(logits: Tensor, y: Tensor) -> Tensor:
    """Loss of every row, (R, rows): cross-entropy (its mean over several targets), squared error for numbers."""
    if y.dim() == 3:
        return _target_losses(logits, y).mean(1)
    target = y.expand(len(logits), -1)
    if y.is_floating_point():
        return (logits.squeeze(1) - target) ** 2
    if logits.shape[1] == 1:
        own = y.to(logits.dtype).expand(len(logits), -1)
        return F.binary_cross_entropy_with_logits(logits.squeeze(1), own, reduction="none")
    return F.cross_entropy(logits, target, reduction="none")


def _target_losses(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of every row in each of several targets, (R, A, rows)."""
    return F.binary_cross_entropy_with_logits(logits, y.to(logits.dtype).expand_as(logits), reduction="none")
