"""What fine-tuning methods of intra-processing learn against: the bias of a mini-batch, and critics that predict it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fairness_core import posthoc
from fairness_core.batches import Batch, Rows, Scale
from fairness_core.datasets import Dataset, Split
from fairness_core.keeping import Kept
from fairness_core.models import dense, seeded
from fairness_core.optimizer import Adam
from fairness_core.stack import Stack
from fairness_core.thresholds import Choice, Objective, select
from fairness_core.training import Player

WIDTH = 32  # neurons of a critic's layers
LEAST = 2  # rows of each (class, group) cell in a mini-batch


def player(network: nn.Module, lr: float) -> Player:
    """One network that takes gradient steps: a stack of one."""
    net = Stack([network])
    return Player(net, Adam(net.leaves, lr))


class Sampler:
    """Mini-batches of `size` rows, drawn with replacement, with at least LEAST rows of every (class, group) cell that
    has any: a cell without rows would leave a rate of the batch undefined."""

    def __init__(self, y: np.ndarray, s: np.ndarray, size: int, seed: int) -> None:
        cells = [np.flatnonzero((y == t) & (s == g)) for t in range(2) for g in range(int(s.max()) + 1)]
        self._cells = [torch.from_numpy(rows) for rows in cells if len(rows)]
        self._free = max(0, size - LEAST * len(self._cells))
        self._n, self._generator = len(y), torch.Generator().manual_seed(seed)

    def draw(self) -> Tensor:
        """Row numbers of the next mini-batch."""
        picked = [rows[self._integers(len(rows), LEAST)] for rows in self._cells]
        return torch.cat([*picked, self._integers(self._n, self._free)])

    def _integers(self, below: int, n: int) -> Tensor:
        return torch.randint(below, (n,), generator=self._generator)


def soft_gap(p: Tensor, y: Tensor, s: Tensor, n_groups: int, measure: str) -> Tensor:
    """The signed gap of a mini-batch with mean scores in place of shares of decisions; p, y, s (rows,) -> scalar.

    Group g minus the last group, for the g where that is largest in magnitude (one of thresholds.MEASURES). Rates of
    groups without such rows in the batch are left out.
    """
    if measure == "statistical_parity_difference":
        return _widest(_differences(p, torch.ones_like(y, dtype=torch.bool), s, n_groups))
    tpr = _differences(p, y == 1, s, n_groups)
    if measure == "equal_opportunity_difference":
        return _widest(tpr)
    fpr = _differences(p, y == 0, s, n_groups)
    if measure == "average_odds_difference":
        return _widest((tpr + fpr) / 2)
    return _widest((tpr.abs() + fpr.abs()) / 2)


def _differences(p: Tensor, rows: Tensor, s: Tensor, n_groups: int) -> Tensor:
    """Mean score of each group but the last minus that of the last, (groups - 1,); 0 where one has no rows."""
    members = (s == torch.arange(n_groups).unsqueeze(1)) & rows
    n = members.sum(1)
    means = (members * p).sum(1) / n.clamp(min=1)
    return (means[:-1] - means[-1]) * ((n[:-1] > 0) & (n[-1] > 0))


def _widest(differences: Tensor) -> Tensor:
    return differences[differences.abs().argmax()]


class Critic:
    """Predicts the bias of a mini-batch from its features, (1, d, rows) -> scalar.

    "pooled" reads every row by itself (d -> 32 -> 32) and judges mean and spread over the batch: any batch size, any
    order. "flatten" (the authors' form) reads the whole batch as one long vector of `size` rows. It sees neither group
    nor label unless n_extra columns are appended to the features.
    """

    def __init__(self, kind: str, n_features: int, size: int, lr: float, seed: int, n_extra: int = 0) -> None:
        n_in = n_features + n_extra
        with seeded(seed + 2_000_003):
            rows: nn.Module | None = None
            if kind == "pooled":
                rows = nn.Sequential(*dense((n_in, WIDTH, WIDTH)))
                batch = nn.Sequential(*dense((2 * WIDTH, WIDTH)), nn.Linear(WIDTH, 1))
            else:
                batch = nn.Sequential(*dense((n_in * size, WIDTH, WIDTH, WIDTH, WIDTH), 0.2), nn.Linear(WIDTH, 1))
        self._rows = player(rows, lr) if rows is not None else None
        self._batch = player(batch, lr)

    @property
    def leaves(self) -> list[Tensor]:
        return [p for one in self._players for p in one.net.leaves]

    @property
    def _players(self) -> Sequence[Player]:
        return [one for one in (self._rows, self._batch) if one is not None]

    def __call__(self, h: Tensor, *, learning: bool) -> Tensor:
        """The predicted bias of the batch h (1, d, rows). learning: gradients reach the critic's own weights; otherwise
        they are constants, dropout is off, and gradients only flow to h."""
        for one in self._players:
            one.net.training = learning
        if self._rows is None:
            pooled = h.transpose(1, 2).reshape(1, -1, 1)
        else:
            each = self._rows.net(h) if learning else self._rows.net.frozen(h)
            pooled = torch.cat([each.mean(2), each.std(2)], 1).unsqueeze(2)
        guess = self._batch.net(pooled) if learning else self._batch.net.frozen(pooled)
        return guess[0, 0, 0]

    def learn(self, guess: Tensor, truth: Tensor) -> None:
        """One step towards the true bias; both scalars, truth without gradient."""
        for one in self._players:
            one.optimizer.zero_grad()
        ((guess - truth.detach()) ** 2).backward()  # type: ignore[no-untyped-call]
        for one in self._players:
            one.optimizer.step()


class Tuned:
    """A trained network that is tuned on one part of the validation rows and judged on the rest; the best weights so
    far, those it came with included, and their threshold are kept."""

    def __init__(self, model: nn.Module, data: Dataset, share: float, lr: float, seed: int, goal: Objective) -> None:
        self.player = player(model, lr)
        self.rows = Rows.of(posthoc.without(data.validation, share, seed), torch.float32, Scale())
        self._held = posthoc.held(data.validation, share, seed)
        self._kept, self._goal, self._seed = Kept(self.player.net), goal, seed
        self._data, self.best = data, Choice(0.5, -np.inf, 0.0, 0.0, 0.0, False, False)
        self.look()

    @property
    def net(self) -> Stack:
        return self.player.net

    @property
    def n_features(self) -> int:
        return int(self.net.parameters["head.weight"].shape[-1])

    def look(self) -> Choice:
        """Judge the present weights on the held rows, and keep them if they are the best."""
        choice = self._select(self._held)
        if choice.value > self.best.value:
            self.best = choice
            self._kept.keep(torch.ones(1, dtype=torch.bool))
        return choice

    def finish(self) -> tuple[nn.Module, Choice]:
        """The best network, and its threshold chosen on all validation rows."""
        self._kept.give_back([0])
        return self.net.network(0), self._select(self._data.validation)

    def _select(self, split: Split) -> Choice:
        _, scores = answers(self.net, Rows.of(split, torch.float32, Scale()))
        n_groups = len(self._data.groups)
        return select(scores.numpy()[None], split.y, split.s, n_groups, self._goal, seed=self._seed)[0]


def labels(batch: Batch, dtype: torch.dtype) -> Tensor:
    """Class and group of the rows as two more features, (1, 2, rows)."""
    return torch.stack([batch.y, batch.s]).to(dtype).unsqueeze(0)


@torch.no_grad()
def answers(net: Stack, rows: Rows, size: int = 1024) -> tuple[Tensor, Tensor]:
    """Features (1, d, n) and scores (n,) of all rows in evaluation mode."""
    training, net.training = net.training, False
    parts = [net.features(rows.take(slice(k, k + size)).x) for k in range(0, len(rows), size)]
    net.training = training
    h = torch.cat(parts, 2)
    return h, torch.sigmoid(net.head(h)[0, 0])
