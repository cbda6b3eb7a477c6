"""Under-sampling: of the groups that are common in a class rows are left out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from fairness_core import preparation
from fairness_core.config import control
from fairness_core.datasets import Dataset, Split
from fairness_core.methods.base import PreProcessing, register

GRID = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)


@register
@dataclass(frozen=True)
class Undersampling(PreProcessing):
    """Within every class rows of the larger groups are left out at random, until no group is more than 1/r times as
    large as the smallest; at r = 1 all groups of a class are equally large. With several targets at once a row that is
    left out of one still counts in the others."""

    name: ClassVar[str] = "undersampling"
    title: ClassVar[str] = "Under-sampling"
    paper: ClassVar[str] = (
        "Kamiran, Calders, Data preprocessing techniques for classification, KAIS 2012; AEDA baseline"
    )
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "multilabel")
    formula: ClassVar[str] = r"n_{t,s} = \min\bigl(N_{t,s},\ \tfrac1r \min_{s'} N_{t,s'}\bigr)"

    ratio: float = control(
        1.0, 0.01, 1.0, symbol="r", tradeoff=True, grid=GRID,
        help="Smallest group of a class over the largest one, after sampling; what is better balanced already stays.",
    )  # fmt: skip
    equal_classes: str = control(
        "no", choices=("no", "yes"), help="Make all cells of class and group equally large?", group="advanced"
    )

    def prepare(self, data: Dataset, seed: int) -> Split:
        if data.task != "multilabel":
            return preparation.sampled(data.train, self._sizes(data, data.train), seed)
        w = [preparation.kept(own, self._sizes(data, own, name), seed) for name, own in preparation.by_target(data)]
        return replace(data.train, w=np.stack(w, 1))

    def _sizes(self, data: Dataset, rows: Split, target: str = "") -> np.ndarray:
        N = preparation.full_cells(rows, data.classes, data.groups, self.title, target)
        return preparation.undersampled(N, self.ratio, self.equal_classes == "yes")
