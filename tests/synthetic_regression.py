"""Runs of a regression without any training: communities, their crime, and predictions that are too high for one group.

Everything follows from the run's id; with growing λ the two groups' errors move together. The catalogue must know the
data set, so write a stand-in for it first (`data_folder`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fairness_core import regression, scores
from fairness_core.config import Event, RunConfig, resolve
from fairness_core.measures import confusion_tensor
from fairness_core.regression import Outcome
from fairness_core.scores import Predictions
from fairness_core.store import Store
from tests import published, synthetic

GROUPS = ["Black share < 0.06", "Black share >= 0.06"]
EDGES = (0.07, 0.15, 0.33)
CLASSES = ["< 0.07", "0.07 to < 0.15", "0.15 to < 0.33", ">= 0.33"]
ROWS = {"validation": 398, "test": 399}
LOOKS = 12
INFO: dict[str, Any] = {
    "task": "regression", "groups": GROUPS, "classes": CLASSES, "targets": [], "n_train": 1197, "n_validation": 398,
    "n_test": 399, "edges": list(EDGES), "unit": "scaled crimes per person", "tolerance": 0.12,
}  # fmt: skip


def data_folder(folder: Path) -> Path:
    """A folder with a stand-in for Communities and Crime alone, for FAIRNESS_DATA_DIR."""
    (folder / "communities").mkdir(parents=True)
    published.write_communities(folder / "communities", published.ROWS, np.random.default_rng(0))
    return folder


def configured(
    catalogue: Mapping[str, Any], method: str = "erm", *, lam: float | None = None, seed: int = 0
) -> RunConfig:
    options = {} if lam is None else {"lam": lam}
    return resolve(catalogue, dataset="communities", method=method, seed=seed, method_options=options)


def predictions(config: RunConfig, split: str) -> Predictions:
    """What the run predicts for the rows of a split; the rows are the same for every run."""
    rng = np.random.default_rng([len(split), ROWS[split]])
    n = ROWS[split]
    s = rng.integers(0, 2, n)
    y = rng.beta(0.8 + 0.7 * s, 3.6 - 1.2 * s, n).astype(np.float32)
    own = np.random.default_rng(int(config.id, 16))
    treated = 1 - math.exp(-float(config.method_options.get("lam", 0.0)))
    shift = 0.05 * (s - 0.5) * (1 - treated)
    predicted = 0.07 + 0.75 * y + shift + (0.07 + 0.03 * treated) * own.normal(size=n)
    return Predictions(predicted.astype(np.float32), y, s, n)


def outcome(config: RunConfig, split: str) -> Outcome:
    held = predictions(config, split)
    found = regression.of_numbers(held, INFO)
    assert found is not None
    return found


def sums(held: Predictions) -> np.ndarray:
    """What Event.errors holds of such predictions."""
    return regression.sums(held.predicted, held.y, np.digitize(held.y, EDGES), held.s, len(GROUPS), len(CLASSES))


def start(store: Store, config: RunConfig, looks: int = LOOKS, *, kept: bool = True) -> None:
    """Submit the run, claim it and whatever waits with it, and report its first looks; kept as in `finish`."""
    store.submit([config])
    while synthetic.claim(store):
        pass
    store.describe([config.id], INFO)
    rows = []
    for look in range(1, looks + 1):
        learned = 1 - math.exp(-4 * look / LOOKS)
        values = {"loss": 1.0 - 0.6 * learned}
        if config.method != "erm":
            values |= {"adversary_accuracy": 0.7 - 0.1 * learned, "chance": 0.52}
        counts, errors = _counts(config, "validation"), sums(predictions(config, "validation")) if kept else None
        rows.append((config.id, Event("training", 10 * look, 10 * LOOKS, values, counts, errors=errors)))
    store.append(rows)


def finish(store: Store, config: RunConfig, *, kept: bool = True) -> None:
    """Report everything of the run and end it; kept=False as code did that kept no predictions."""
    start(store, config, kept=kept)
    for split in scores.SPLITS:
        values = regression.evaluate(outcome(config, split))
        values = values if kept else {name: values[name] for name in ("mean_absolute_error", "r2", "odds_regression")}
        store.append([(config.id, Event(split, 10 * LOOKS, 10 * LOOKS, values, _counts(config, split)))])
    if kept:
        scores.save_numbers(store.numbers_path(config.id), {s: predictions(config, s) for s in scores.SPLITS})
    info = {name: value for name, value in INFO.items() if kept or name not in ("edges", "unit", "tolerance")}
    store.finish(config.id, "done", info={**info, "seconds": 0.4, "flags": []})


def sweep(store: Store, catalogue: Mapping[str, Any], *, seeds: Sequence[int] = (0, 1, 2)) -> str:
    """A finished sweep over five λ with its untreated models; its id."""
    values = [0.0, 0.5, 1.0, 1.5, 2.0]
    grid = [configured(catalogue, "adversarial_grl", lam=lam, seed=seed) for lam in values for seed in seeds]
    base = resolve(catalogue, dataset="communities", method="adversarial_grl")
    spec = {"over": "lam", "values": values, "seeds": list(seeds), "base": base.to_json()}
    made = store.submit_sweep(spec, grid, vary=("lam",))
    for config in (*grid, *(configured(catalogue, seed=seed) for seed in seeds)):
        known = store.run(config.id)
        if known is None or known.status != "done":
            finish(store, config)
    return made


def _counts(config: RunConfig, split: str) -> np.ndarray:
    held = predictions(config, split)
    truth, predicted = (np.digitize(v, EDGES) for v in (held.y, held.predicted))
    return confusion_tensor(truth, predicted, held.s, 2, len(CLASSES))
