"""Weights of a stack as they were at moments worth keeping: the last good ones, and those of the best epoch."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fairness_core.stack import Stack

FEWEST = 1e-5  # a spread below it says nothing


class Kept:
    """Weights and running statistics of a stack as they were, replica by replica, at some moment worth keeping."""

    def __init__(self, net: Stack) -> None:
        self._net = net
        self._weights = [p.detach().clone() for p in net.leaves]
        self._buffers = copy.deepcopy(net.buffers)

    @torch.no_grad()
    def keep(self, replicas: Tensor) -> None:
        """Take the present state of the replicas that are True in `replicas` (R,)."""
        for kept, p in zip(self._weights, self._net.leaves, strict=True):
            kept[replicas] = p[replicas]
        for r in replicas.nonzero().flatten().tolist():
            self._buffers[r] = {name: b.clone() for name, b in self._net.buffers[r].items()}

    @torch.no_grad()
    def give_back(self, replicas: Iterable[int]) -> None:
        for r in replicas:
            for kept, p in zip(self._weights, self._net.leaves, strict=True):
                p[r] = kept[r]
            self._net.buffers[r] = self._buffers[r]


class Guard:
    """Keeps each replica's last good weights, and notes the step at which a replica's loss stopped being finite."""

    def __init__(self, net: Stack) -> None:
        self.diverged: dict[int, int] = {}
        self._net, self._kept = net, Kept(net)

    @torch.no_grad()
    def check(self, losses: dict[str, Tensor], step: int) -> None:
        good = torch.stack([torch.isfinite(value) for value in losses.values()]).all(0)
        for p in self._net.leaves:
            good &= torch.isfinite(p).flatten(1).all(1)
        for r in (~good).nonzero().flatten().tolist():
            self.diverged.setdefault(r, step)
        self._kept.keep(good)

    def restore(self) -> None:
        """Give every diverged replica its last good weights back."""
        self._kept.give_back(self.diverged)

    def values(self, replica: int) -> dict[str, float]:
        return {"diverged_at_step": float(self.diverged[replica])} if replica in self.diverged else {}


class Epochs:
    """The weights after some epochs with what they were worth, so that the best epoch can be chosen afterwards.

    BaDe's rule (its code; methods 5.5): the lowest z(bias) - z(accuracy), z over the epochs of one replica.
    """

    def __init__(self, net: Stack) -> None:
        self._net = net
        self._kept: list[Kept] = []
        self._worth: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []

    def add(self, bias: NDArray[np.float64], accuracy: NDArray[np.float64]) -> None:
        """The present weights and their bias and accuracy, (R,) each."""
        self._kept.append(Kept(self._net))
        self._worth.append((bias, accuracy))

    def give_back_best(self) -> NDArray[np.int64]:
        """Every replica gets the weights of its best epoch; returns which of those added that was, (R,). The rest is
        forgotten."""
        bias, accuracy = (np.stack(column) for column in zip(*self._worth, strict=True))
        best = (standardised(bias) - standardised(accuracy)).argmin(0)
        for r, epoch in enumerate(best):
            self._kept[epoch].give_back([r])
        self._kept, self._worth = [], []
        return np.asarray(best)


def standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """z-scores over the first axis; all 0 where the values do not vary or are undefined."""
    values = np.nan_to_num(values)
    return np.asarray((values - values.mean(0)) / np.maximum(values.std(0), FEWEST))
