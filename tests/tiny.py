"""Small made-up data sets for tests: fast, seeded, and biased as much as a test wants."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from fairness_core import experiment
from fairness_core.config import Budget, RunConfig, complete, controls_of
from fairness_core.datasets import Dataset, Split
from fairness_core.generators import ran
from fairness_core.methods import METHODS

SHORT = Budget(epochs=2, batch_size=64)


def tiny_dataset(
    n: int = 600, groups: int = 2, classes: int = 2, bias: float = 1.5, seed: int = 0, name: str = "tiny"
) -> Dataset:
    """Gaussian features, of which the first carries the class and the second the group; `bias` couples the two.

    With bias 0 the group is independent of everything else.
    """
    rng = np.random.default_rng(seed)

    def split(rows: int) -> Split:
        s = rng.integers(0, groups, rows)
        lean = bias * (s / (groups - 1) - 0.5)
        y = np.digitize(rng.normal(lean, 1.0), np.linspace(-1, 1, classes + 1)[1:-1])
        x = rng.normal(size=(rows, 6))
        x[:, 0] += 1.5 * y
        x[:, 1] += lean
        return Split(x.astype(np.float32), y.astype(np.int64), s.astype(np.int64))

    return Dataset(
        name,
        split(n),
        split(n // 2),
        split(n),
        tuple(f"class {t}" for t in range(classes)),
        tuple(f"group {g}" for g in range(groups)),
        tuple(f"x{i}" for i in range(6)),
        "binary" if classes == 2 else "multiclass",
    )


def config(method: str, seed: int = 0, prepare: str = "none", budget: Budget = SHORT, **options: Any) -> RunConfig:
    """A run on whatever `experiment.load` returns, with a small network."""
    training = {**dataclasses.asdict(budget), "prepare": prepare}
    given = complete(controls_of(METHODS[method]), options, method)
    return RunConfig("tiny", {}, "mlp", {"hidden": "8-8"}, method, given, training, seed)


def run(configs: Sequence[RunConfig], **how: Any) -> tuple[list[nn.Module], list[np.ndarray]]:
    """The networks that configurations become, and their confusion tensors on test."""
    modules, told = ran(experiment.fit(configs, live=False, **how))
    found = {i: event.confusion for events in told for i, event in events if event.stage == "test"}
    return modules, [found[i] for i in range(len(configs))]
