"""Reweighing: rows count more where class and group rarely meet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from fairness_core import preparation
from fairness_core.config import control
from fairness_core.datasets import Dataset, Split
from fairness_core.methods.base import PreProcessing, register

GRID = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)


@register
@dataclass(frozen=True)
class Reweighing(PreProcessing):
    """The loss of every row is multiplied by the weight of its class and group; the loss of a batch is divided by the
    weights in it. With extreme weights (over 50 to 1) batches become noisy: over-sample then. Of several targets at
    once each has weights of its own."""

    name: ClassVar[str] = "reweighing"
    title: ClassVar[str] = "Reweighing"
    paper: ClassVar[str] = "Kamiran, Calders, Data preprocessing techniques for classification, KAIS 2012"
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "multilabel")
    formula: ClassVar[str] = r"w_{t,s} = \Bigl(\frac{N_t N_s}{N\,N_{t,s}}\Bigr)^{\gamma}"

    temperature: float = control(
        1.0, 0.0, 1.0, symbol="γ", tradeoff=True, grid=GRID, help="Power of the weights: 0 leaves all rows alike."
    )
    mode: str = control(
        preparation.MODES[0],
        choices=preparation.MODES,
        help="kamiran_calders: class and group become independent, shares of both are kept; class_conditional: groups "
        "count alike inside each class; group_balanced: all cells of class and group count alike.",
    )
    heaviest: float = control(
        preparation.HEAVIEST, 1.0, 1000.0, help="No row counts more than this many times.", group="advanced"
    )

    def prepare(self, data: Dataset, seed: int) -> Split:
        if not self.temperature:
            return replace(data.train, w=np.ones(len(data.train), np.float32))  # whatever the cells hold
        if data.task != "multilabel":
            return replace(data.train, w=self._weights(data, data.train))
        w = [self._weights(data, own, name) for name, own in preparation.by_target(data)]
        return replace(data.train, w=np.stack(w, 1))

    def _weights(self, data: Dataset, rows: Split, target: str = "") -> np.ndarray:
        N = preparation.full_cells(rows, data.classes, data.groups, self.title, target)
        return preparation.row_weights(rows, preparation.weights(N, self.mode, self.temperature, self.heaviest))
