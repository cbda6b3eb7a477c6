"""What can still be read off a model's features: fresh probes, and the samples of training rows they look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fairness_core.batches import Batch, Rows, row_losses, side_by_side
from fairness_core.datasets import Split
from fairness_core.models import dense, seeded
from fairness_core.optimizer import Adam
from fairness_core.stack import Stack

SAMPLE = 256  # training rows that a diagnosis looks at
WIDTH, STEPS, LR = 64, 100, 1e-2  # of a probe


def sample(rows: Sequence[Rows], size: int = SAMPLE) -> Batch:
    """The same few training rows at every look; of every replica when they have rows of their own."""
    parts = []
    for own in rows:
        order = np.sort(np.random.default_rng(1).permutation(len(own))[:size])
        parts.append(own.take(torch.as_tensor(order)))
    return parts[0] if len(parts) == 1 else side_by_side(parts)


def passes(rows: Sequence[Rows], size: int, seed: int) -> Iterator[Batch]:
    """All rows once, shuffled, some at a time."""
    order = torch.randperm(len(rows[0]), generator=torch.Generator("cpu").manual_seed(seed), device="cpu")
    for picked in torch.split(order, size):
        parts = [own.take(picked) for own in rows]
        yield parts[0] if len(parts) == 1 else side_by_side(parts)


def distance_of_means(split: Split) -> float:
    """The largest Euclidean distance between the mean rows of two groups."""
    means = np.stack([split.x[split.s == g].mean(0, dtype=np.float64) for g in np.unique(split.s)])
    between = means[:, None] - means[None]
    return float(np.sqrt((between.reshape(len(means), len(means), -1) ** 2).sum(2)).max())


def transferability(h: Tensor, labels: Tensor, clean: Tensor, s: Tensor, n_groups: int) -> Tensor:
    """r of AEDA (arXiv 2007.13632, section 3.1), (R,): a fresh probe learns `labels` from the features h, and names
    the groups s of untouched rows from theirs; mean over groups of the share it names right.

    h (R, d, m), labels (R, m), clean (R, d, rows), s (rows,) or (R, rows). Each feature is standardised by h.
    """
    mean, sd = h.mean(2, keepdim=True), h.std(2, keepdim=True).clamp(min=1e-6)
    with seeded(0):
        probe = nn.Sequential(*dense((h.shape[1], WIDTH)), nn.Linear(WIDTH, n_groups)).to(h.device, h.dtype)
    net = Stack([probe] * len(h))
    optimizer = Adam(net.leaves, LR)
    inputs = ((h - mean) / sd).contiguous()
    with torch.enable_grad():
        for _ in range(STEPS):
            optimizer.zero_grad()
            row_losses(net(inputs), labels).mean(1).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    with torch.no_grad():
        right = net(((clean - mean) / sd).contiguous()).argmax(1) == s
    return group_mean(right, s.expand_as(right), n_groups)


def group_mean(right: Tensor, s: Tensor, n_groups: int) -> Tensor:
    """Mean over groups of the share of rows that are True, (R,); groups without rows are left out."""
    members = [s == g for g in range(n_groups)]
    return torch.stack([(right & rows).sum(1) / rows.sum(1) for rows in members]).nanmean(0)


def feature_difference(h: Tensor, moved: Tensor) -> Tensor:
    """Eq. 7 of AEDA, (R,): mean over rows of |f(x) - f(x_adv)|_1 / |f(x)|_1; both (R, d, rows)."""
    return ((h - moved).abs().sum(1) / (h.abs().sum(1) + 1e-12)).mean(1)
