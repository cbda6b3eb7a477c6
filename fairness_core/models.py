"""The networks. Every model is head(features(x)) -> logits and an ordinary module, trained alone or as one of a stack.

Shapes: x (n, ...), features (n, d), logits (n, 1) for a binary task (the logit of class 1) and (n, T) otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fairness_core.config import UserError, control
from fairness_core.datasets import Dataset


class Classifier(nn.Module):
    """features: x -> (n, d) and head: (n, d) -> logits, each a plain sequence of layers."""

    def __init__(self, features: nn.Sequential, head: nn.Linear) -> None:
        super().__init__()
        self.features = features
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x))
        return logits


def dense(sizes: Sequence[int], dropout: float = 0.0) -> list[nn.Module]:
    """Linear and ReLU (and dropout) layers through the given sizes, e.g. (105, 64, 64)."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
    return layers


@dataclass(frozen=True)
class MLP:
    """Fully connected layers with ReLU, for tables."""

    name: ClassVar[str] = "mlp"
    title: ClassVar[str] = "Multi-layer perceptron"

    hidden: str = control(
        "64-64", help="Neurons of the hidden layers, first to last, joined by hyphens.", group="training"
    )
    dropout: float = control(
        0.0, 0.0, 0.9, help="Share of hidden neurons switched off at each training step.", group="advanced"
    )

    def build(self, data: Dataset, seed: int) -> Classifier:
        """A network with weights drawn from `seed` alone."""
        sizes = (*data.train.x.shape[1:], *self._hidden_sizes())
        if len(sizes) < 2 or data.train.x.ndim != 2:
            raise UserError(f"Model mlp takes tables, and {data.name} has rows of shape {data.train.x.shape[1:]}.")
        with seeded(seed):
            return Classifier(nn.Sequential(*dense(sizes, self.dropout)), nn.Linear(sizes[-1], n_logits(data)))

    def _hidden_sizes(self) -> list[int]:
        try:
            sizes = [int(part) for part in self.hidden.split("-")]
        except ValueError:
            sizes = [0]
        if not all(1 <= size <= 4096 for size in sizes) or len(sizes) > 16:
            raise UserError(
                f"hidden = {self.hidden} is not a list of layer sizes; give up to 16 numbers "
                "from 1 to 4096 joined by hyphens, for example 64-64."
            )
        return sizes


MODELS: dict[str, Any] = {MLP.name: MLP}


def n_logits(data: Dataset) -> int:
    """1 for a binary task, the number of classes otherwise."""
    return 1 if len(data.classes) == 2 else len(data.classes)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within this block torch's default generator starts from `seed`; afterwards it is as it was before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
