"""Classes of which training has a few examples only (AEDA, arXiv 2007.13632, table 3): how well each is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fairness_core.config import Option
from fairness_core.intervals import wilson
from fairness_core.measures import Counts, ratio

DIGITS = ("2", "4", "6", "8")
DATA: Mapping[str, Option] = {"few_shot": ", ".join(DIGITS), "shots": 4}  # options of C-MNIST
SETTINGS: Mapping[str, Option] = {"balance_mode": "fill_classes"}  # of AEDA there
PAPER = {"Original": (46.80, 70.37, 0.00, 0.00), "AEDA robust": (69.25, 88.88, 42.50, 25.00)}  # percent, by DIGITS
MEASURES = {"precision": "told", "accuracy": "n"}  # and the column that holds what each is a share of


def by_class(C: Counts, classes: Sequence[str], chosen: Sequence[str]) -> pd.DataFrame:
    """One row per class of `chosen`, all groups together: precision (of the rows told the class, the share that has it)
    and accuracy (of the rows that have it, the share told so: recall), each with the ends of its 95 % Wilson interval,
    told and n. A class that nobody is told has no precision (NaN). C: (K, T, T).
    """
    counts = np.asarray(C).sum(0)
    places = [list(classes).index(name) for name in chosen]
    right, told, n = (values[places] for values in (counts.diagonal(), counts.sum(0), counts.sum(1)))
    table = pd.DataFrame({"class": list(chosen), "right": right, "told": told, "n": n})
    for name, of in MEASURES.items():
        whole = table[of].to_numpy(float)
        table[name] = ratio(right.astype(float), whole)
        table[f"{name}_low"], table[f"{name}_high"] = wilson(right, whole)
    return table
