"""The pseudo samples of classes with few rows (AEDA, table 3): made beside the batches, some with every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from fairness_core import balance, probes
from fairness_core.attacks import Ball, scattered
from fairness_core.batches import Batch, Rows, side_by_side
from fairness_core.config import UserError


@dataclass
class Fillers:
    """Rows that twins are made of for balance.fillers, m of them; each comes once in an epoch of `steps` batches.

    rows: the training rows, of every replica when they have rows of their own. source (R or 1, m): which of them; aims
    and classes (R, m, 1), as twins.Keeper wants them: what each twin is to be. A replica that lacks less has NONE.
    """

    rows: Sequence[Rows]
    source: Tensor
    aims: Tensor
    classes: Tensor
    steps: int
    taken: int = 0
    _order: Tensor = field(init=False)

    @classmethod
    def of(cls, rows: Sequence[Rows], n_groups: int, replicas: int, steps: int) -> Fillers:
        """UserError when no class lacks rows, or when a row has several targets."""
        if rows[0].y.dim() == 2:
            raise UserError("balance_mode = fill_classes cannot balance several targets at once; choose flip_all.")
        rng = np.random.default_rng
        tables = [balance.fillers(own.y.cpu().numpy(), own.s.cpu().numpy(), n_groups, rng(70003)) for own in rows]
        most = max(map(len, tables))
        if most == 0:
            raise UserError(
                "balance_mode = fill_classes finds no class with fewer rows than the median class, so there is nothing "
                "to fill; choose flip_all, or data with few examples of some class."
            )
        padded = np.zeros((len(tables), most, 3), np.int64)
        padded[:, :, 1] = balance.NONE
        for place, table in zip(padded, tables, strict=True):
            place[: len(table)] = table
        source, aims, classes = torch.as_tensor(padded).unbind(2)
        aims, classes = (part.expand(replicas, -1).unsqueeze(2).clone() for part in (aims, classes))
        return cls(rows, source, aims, classes, steps)

    def batch(self) -> Batch | None:
        """The next rows, numbered by their place among the fillers; None where a step has none."""
        epoch, step = divmod(self.taken, self.steps)
        m = self.source.shape[1]
        if step == 0:
            stream = torch.Generator("cpu").manual_seed(epoch)
            self._order = torch.randperm(m, generator=stream, device="cpu").to(self.source.device)
        self.taken += 1
        first, last = (k * m // self.steps for k in (step, step + 1))
        return self.take(self._order[first:last]) if first < last else None

    def take(self, picked: Tensor) -> Batch:
        """These fillers' rows, with the classes they have themselves."""
        parts = [own.take(source[picked]) for own, source in zip(self.rows, self.source, strict=True)]
        batch = parts[0] if len(parts) == 1 else side_by_side(parts)
        batch.rows = picked if len(parts) == 1 else picked.expand(len(parts), -1)
        return batch

    def sample(self) -> Batch:
        """The same few at every look."""
        m = self.source.shape[1]
        return self.take(torch.as_tensor(np.sort(np.random.default_rng(1).permutation(m)[: probes.SAMPLE])))

    def start(self, x: Tensor, ball: Ball) -> Tensor:
        """Where the attack on these rows begins: at random, so that twins of one row differ."""
        return scattered(x, ball, self.taken)
