"""DVGE's grid: every (η_s, η_t, seed) as replicas of a few stacks on codes that lie there, against one by one.

Prints the seconds of the whole grid (9 x 5 x 3 on South German Credit), the ratio to training the same runs one after
the other (measured on a sample of them), and what a second sensitive attribute costs of the first: the autoencoder is
trained for the first alone. python -m fairness_core bench latent_grid
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from fairness_core import catalogue
from fairness_core.config import RunConfig, resolve
from fairness_core.experiment import fit
from fairness_core.methods.dvge import STRENGTHS, TASK_STRENGTHS

DATA = os.environ.get("FAIRNESS_DATA_DIR")
SEEDS = range(3)
SAMPLE = 9  # runs trained one by one
SETTINGS: dict[str, dict[str, Any]] = {
    "south_german": {"dataset_options": {"split": "2-fold", "sensitive_input": "keep"}},
    "celeba": {"dataset_options": {"size": 32}, "method_options": {"vae_steps": 2000}},
}
ATTRIBUTES = {"south_german": ("sex", "age"), "celeba": ("Male", "Young")}


def runs(known: Any, dataset: str, sensitive: str) -> list[RunConfig]:
    given = SETTINGS[dataset]
    return [
        resolve(
            known, dataset=dataset, method="dvge", seed=seed,
            dataset_options={**given["dataset_options"], "sensitive": sensitive},
            method_options={**given.get("method_options", {}), "eta_sensitive": s, "eta_task": t},
        )
        for seed in SEEDS
        for s in STRENGTHS
        for t in TASK_STRENGTHS
    ]  # fmt: skip


def seconds(configs: list[RunConfig], folder: Path) -> float:
    start = time.perf_counter()
    for _ in fit(configs, data_dir=DATA, encoders=folder, live=False):
        pass
    return time.perf_counter() - start


def measure(dataset: str) -> dict[str, float]:
    known = catalogue.build(DATA)
    first, second = (runs(known, dataset, sensitive) for sensitive in ATTRIBUTES[dataset])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one, other = seconds(first[:1], folder), seconds(second[:1], folder)
        grid = seconds(first, folder)
        sample = first[:: len(first) // SAMPLE]
        apart = sum(seconds([config], folder) for config in sample) / len(sample) * len(first)
    return {
        "runs": len(first), "grid_seconds": grid, "ratio_one_by_one": apart / grid,
        "first_attribute_seconds": one, "second_attribute_seconds": other, "second_over_first": other / one,
    }  # fmt: skip


def run(quick: bool) -> dict[str, Any]:
    """quick: South German Credit alone, not CelebA, whose autoencoder takes minutes."""
    return {dataset: measure(dataset) for dataset in list(SETTINGS)[: 1 if quick else None]}
