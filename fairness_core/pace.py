"""How many steps a training takes, when it reports, and how fast it learns on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fairness_core.config import Budget

LIVE_EVALUATIONS = (4, 24)  # fewest and most live evaluations of a run
LIVE_SHARE = 0.06  # rows evaluated per row trained: forward only, so watching costs a run under 5 % of its time


def total_steps(budget: Budget, n: int) -> int:
    """Gradient steps of a run on n training rows."""
    steps = budget.epochs * -(-n // budget.batch_size)
    return min(steps, budget.max_steps) if budget.max_steps else steps


def phase_ends(budget: Budget, n: int, phases: Sequence[float]) -> list[int]:
    """The last step of every phase, on n training rows; phases in budgets, each of whole epochs and at least one."""
    ends: list[int] = []
    for length in phases:
        epochs, cap = max(1, round(budget.epochs * length)), math.ceil(budget.max_steps * length)
        ends.append((ends[-1] if ends else 0) + total_steps(replace(budget, epochs=epochs, max_steps=cap), n))
    return ends


def evaluation_steps(steps: int, trained_rows: int, live_rows: int) -> list[int]:
    """When a run reports: early and often at first, so that something is seen at once; always at the end."""
    fewest, most = LIVE_EVALUATIONS
    n = min(most, max(fewest, int(LIVE_SHARE * trained_rows / max(live_rows, 1))))
    fractions = (np.arange(1, n + 1) / n) ** 1.5
    fractions[0] = min(fractions[0], 0.01)
    return sorted({max(1, round(steps * f)) for f in fractions})


def learning_rate(budget: Budget, step: int, steps: int) -> float:
    """Of this step, from 0: times 0.1 every `lr_step` steps, and falling to 0 if it is to."""
    lr = budget.lr * (0.1 ** (step // budget.lr_step) if budget.lr_step else 1.0)
    return lr * (1 - step / steps) if budget.lr_decay == "linear" else lr
