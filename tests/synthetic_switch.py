"""Label switches without any training: what the three experiments beside a synthetic run of AEDA would leave."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from fairness_core import exhibits
from fairness_core.config import Event, RunConfig
from fairness_core.store import Store
from tests import synthetic, synthetic_twins

RIGHT = {"hard": 0.06, "adv": 0.56, "adv_robust": 0.89}  # of the untouched test rows, in both groups
SUCCESS = {"adv": 0.99, "adv_robust": 0.81}
ROWS = {"training": 250, "validation": 400, "test": 1_000}  # of each group
LOOKS = 10


def info(config: RunConfig) -> dict[str, Any]:
    """What a store knows about the run: the groups are the classes."""
    told = synthetic_twins.info(config)
    return {**told, "classes": told["groups"], "task": "binary", "targets": []}


def advance(store: Store, config: RunConfig, looks: int = LOOKS // 2) -> None:
    """Claim it and report its first looks; the rows it learns from are shown when half of its steps are done."""
    store.submit([config])
    while synthetic.claim(store):
        pass
    store.describe([config.id], info(config))
    kind = str(config.method_options["kind"])
    for step in range(1, looks + 1):
        values = {"loss": 0.7 - 0.05 * step}
        if kind != "hard":
            values |= {"attack_success": SUCCESS[kind], "attacked_accuracy": 0.95, "chance": 0.5}
        learned = RIGHT[kind] + (0.5 - RIGHT[kind]) * math.exp(-step / 3)
        store.append([(config.id, Event("training", step, LOOKS, values, counts("training", learned)))])
        if step == LOOKS // 2 and kind != "hard":
            aeda = dataclasses.replace(config, method="aeda", method_options={"variant": "once"})
            exhibits.save(store.exhibits_path(config.id), step, synthetic_twins.twins(aeda, step))


def finish(store: Store, config: RunConfig) -> None:
    """Report everything and end it."""
    advance(store, config, LOOKS)
    kind = str(config.method_options["kind"])
    for stage in ("validation", "test"):
        store.append([(config.id, Event(stage, LOOKS, LOOKS, {}, counts(stage, RIGHT[kind])))])
    store.finish(config.id, "done", info={**info(config), "seconds": 8.0, "flags": []})


def counts(stage: str, right: float) -> np.ndarray:
    """C (2, 2, 2) of a network that names each group right so often; classes are the groups."""
    n = ROWS[stage]
    C = np.zeros((2, 2, 2), np.int64)
    for g in range(2):
        C[g, g, g], C[g, g, 1 - g] = round(n * right), n - round(n * right)
    return C
